package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Pooling;
import tessera.nn.inference.StreamPredictor.Options;
import tessera.nn.inference.StreamPredictor.Statistics;
import tessera.nn.inference.StreamPredictor.Window;

/** A student of 4 frames of 16 x 16 pixels looks at streams. */
class StreamPredictorTest {
    private static final int HEIGHT = 20;
    private static final int WIDTH = 27;
    private static final int LENGTH = 3 * HEIGHT * WIDTH;

    @TempDir
    private Path folder;

    private Predictor predictor;
    private Device device;
    private final List<Window> windows = Collections.synchronizedList(new ArrayList<>());

    @BeforeEach
    void open() {
        Path student = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        Path head = folder.resolve("head.safetensors");
        Toy.head(4, "cut", "pour", "wipe").save(head);
        device = Device.cpu(1);
        predictor = Predictor.open(new Predictor.Options(device, DType.F32, Masking.of(.75, 2), 9), student, head);
    }

    @AfterEach
    void close() {
        predictor.close();
        assertEquals(0, device.memory().live());
    }

    private static byte[] frame(int number) {
        return Toy.pixels(1, HEIGHT, WIDTH, number);
    }

    private Prediction alone(int from, int to) {
        byte[] frames = new byte[(to - from) * LENGTH];
        for (int i = from; i < to; i++) {
            System.arraycopy(frame(i), 0, frames, (i - from) * LENGTH, LENGTH);
        }
        return predictor.predict(frames, to - from, HEIGHT, WIDTH);
    }

    private StreamPredictor stream(Options options) {
        return new StreamPredictor(predictor, options, (window, seen) -> windows.add(window));
    }

    @Test
    void everyWindowIsPredictedAsItsFramesAre() {
        try (StreamPredictor stream = stream(Options.frames(8, 2).inCallersThread())) {
            for (int i = 0; i < 21; i++) {
                stream.add(frame(i), HEIGHT, WIDTH);
                assertEquals(i < 7 ? 0 : (i - 7) / 2 + 1, windows.size(), "told at once");
            }
            stream.finish();
            assertEquals(new Statistics(21, 7, 0, 0, stream.statistics().latency()), stream.statistics());
        }
        for (int k = 0; k < 7; k++) {
            assertEquals(2 * k, windows.get(k).start());
            assertEquals(2 * k + 8, windows.get(k).end());
            assertEquals(alone(2 * k, 2 * k + 8), windows.get(k).prediction());
            assertSame(windows.get(k).prediction(), windows.get(k).smoothed());
        }
        assertNotEquals(windows.get(0).prediction(), windows.get(1).prediction());
    }

    @Test
    void everyKindOfFrameIsTaken() {
        Options options = Options.seconds(4, 4).inCallersThread();
        try (StreamPredictor stream = stream(options);
                Arena arena = Arena.ofConfined()) {
            for (int i = 0; i < 12; i++) {
                byte[] pixels = frame(i % 4);
                switch (i / 4) {
                    case 0 -> stream.add(pixels, HEIGHT, WIDTH, i);
                    case 1 ->
                        stream.add(arena.allocate(LENGTH).copyFrom(MemorySegment.ofArray(pixels)), HEIGHT, WIDTH, i);
                    default -> stream.add(picture(pixels), i);
                }
                Arrays.fill(pixels, (byte) 0); // it is the caller's again
            }
            stream.finish(12);
        }
        assertEquals(3, windows.size());
        for (Window window : windows) {
            assertEquals(alone(0, 4), window.prediction());
        }
    }

    private static BufferedImage picture(byte[] pixels) {
        BufferedImage picture = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_3BYTE_BGR);
        for (int i = 0; i < HEIGHT * WIDTH; i++) {
            int rgb = ((pixels[3 * i] & 0xFF) << 16) | ((pixels[3 * i + 1] & 0xFF) << 8) | (pixels[3 * i + 2] & 0xFF);
            picture.setRGB(i % WIDTH, i / WIDTH, rgb);
        }
        return picture;
    }

    @Test
    void theListenerSeesWhatTheStudentSaw() {
        List<byte[]> seen = new ArrayList<>();
        try (StreamPredictor stream = new StreamPredictor(
                predictor,
                Options.frames(8, 8).inCallersThread(),
                (window, clip) -> seen.add(clip.pixels().clone()))) {
            for (int i = 0; i < 8; i++) {
                stream.add(frame(i), HEIGHT, WIDTH);
            }
        }
        byte[] expected = new byte[4 * 16 * 16 * 3];
        int k = 0;
        for (long i : FrameSampling.uniform(0, 8, 4)) {
            VideoClip fitted = ImageOps.resize(new VideoClip(1, HEIGHT, WIDTH, frame((int) i)), 16, 16, true);
            System.arraycopy(fitted.pixels(), 0, expected, k++ * 768, 768);
        }
        assertArrayEquals(expected, seen.getFirst());
    }

    private static double first(Prediction prediction) {
        return prediction.answers().getFirst().scores().getFirst().probability();
    }

    @Test
    void predictionsAreSmoothedOverTheLastWindows() {
        for (Smoothing smoothing : List.of(Smoothing.mean(3), Smoothing.exponential(.25))) {
            windows.clear();
            Options options = Options.frames(4, 1).inCallersThread().withSmoothing(smoothing);
            try (StreamPredictor stream = stream(options)) {
                for (int i = 0; i < 9; i++) {
                    stream.add(frame(i), HEIGHT, WIDTH);
                }
            }
            assertEquals(6, windows.size());
            double mixed = first(windows.getFirst().prediction());
            for (int k = 0; k < 6; k++) {
                Window window = windows.get(k);
                assertEquals(alone(k, k + 4), window.prediction());
                int from = Math.max(0, k - 2);
                double mean = windows.subList(from, k + 1).stream()
                        .mapToDouble(each -> first(each.prediction()))
                        .average()
                        .orElseThrow();
                mixed = k == 0 ? mixed : .25 * first(window.prediction()) + .75 * mixed;
                double expected = smoothing instanceof Smoothing.Mean ? mean : mixed;
                Close.within(first(window.smoothed()), expected, 1e-12, smoothing + " of window " + k);
                double sum = window.smoothed().answers().getFirst().scores().stream()
                        .mapToDouble(Prediction.Score::probability)
                        .sum();
                Close.within(sum, 1, 1e-6, "probabilities");
            }
        }
    }

    @Test
    void behindAPauseWindowsAndSmoothingBeginAnew() {
        AtomicLong clock = new AtomicLong(77_000_000_000L);
        Options options = Options.seconds(2, 1)
                .withSmoothing(Smoothing.mean(100))
                .withClock(clock::get)
                .inCallersThread();
        try (StreamPredictor stream = stream(options)) {
            for (int i = 0; i < 20; i++) {
                stream.add(frame(i), HEIGHT, WIDTH);
                clock.addAndGet(i == 9 ? 2_600_000_000L : 500_000_000L);
            }
            assertEquals(new Statistics(20, 6, 0, 1, 0), stream.statistics());
        }
        double[] starts = {0, 1, 2, 7.1, 8.1, 9.1};
        for (int k = 0; k < 6; k++) {
            Close.within(windows.get(k).start(), starts[k], 1e-9, "start of window " + k);
            Close.within(windows.get(k).end(), starts[k] + 2, 1e-9, "end of window " + k);
        }
        assertNotEquals(windows.get(2).prediction(), windows.get(2).smoothed());
        assertEquals(windows.get(3).prediction(), windows.get(3).smoothed());
        assertEquals(alone(10, 14), windows.get(3).prediction());
    }

    @Test
    void latencyIsTheClocksFromWhenAWindowWasDue() {
        AtomicLong clock = new AtomicLong();
        Options options = Options.frames(4, 4)
                .withClock(() -> clock.addAndGet(250_000_000))
                .inCallersThread();
        try (StreamPredictor stream = stream(options)) {
            assertTrue(Double.isNaN(stream.statistics().latency()));
            for (int i = 0; i < 4; i++) {
                stream.add(frame(i), HEIGHT, WIDTH);
            }
            assertEquals(.25, windows.getFirst().latency(), "the clock goes on by so much at each look");
            assertEquals(.25, stream.statistics().latency());
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(60, TimeUnit.SECONDS));
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void whileOneWindowIsComputedTheLastOfTheOthersWaits() {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        try (StreamPredictor stream = new StreamPredictor(predictor, Options.frames(4, 1), (window, seen) -> {
            windows.add(window);
            begun.countDown();
            await(go);
        })) {
            for (int i = 0; i < 4; i++) {
                stream.add(frame(i), HEIGHT, WIDTH);
            }
            await(begun);
            for (int i = 4; i < 8; i++) {
                stream.add(frame(i), HEIGHT, WIDTH); // never waits
            }
            assertEquals(3, stream.statistics().dropped());
            go.countDown();
            stream.finish();
            assertEquals(new Statistics(8, 2, 3, 0, stream.statistics().latency()), stream.statistics());
        }
        assertEquals(List.of(0.0, 4.0), windows.stream().map(Window::start).toList());
        assertEquals(List.of(0L, 3L), windows.stream().map(Window::dropped).toList());
        assertEquals(alone(4, 8), windows.get(1).prediction());
    }

    /** Those that the end completes are predicted all, one after the other. */
    @Test
    void finishingDropsNothing() {
        try (StreamPredictor stream = stream(Options.seconds(8, 2))) {
            stream.add(frame(0), HEIGHT, WIDTH, 0);
            stream.add(frame(1), HEIGHT, WIDTH, 7.5);
            stream.finish(15.5);
            assertEquals(0, stream.statistics().dropped());
            assertThrows(IllegalStateException.class, () -> stream.add(frame(2), HEIGHT, WIDTH, 16));
        }
        assertEquals(
                List.of(0.0, 2.0, 4.0, 6.0, 8.0),
                windows.stream().map(Window::start).toList());
    }

    @Test
    void closingLeavesOutWhatHasNotBegun() {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        CountDownLatch closed = new CountDownLatch(1);
        AtomicReference<StreamPredictor> opened = new AtomicReference<>();
        StreamPredictor stream = new StreamPredictor(predictor, Options.frames(4, 4), (window, seen) -> {
            windows.add(window);
            begun.countDown();
            await(go);
            Objects.requireNonNull(opened.get()).close();
            closed.countDown();
        });
        opened.set(stream);
        for (int i = 0; i < 8; i++) {
            stream.add(frame(i), HEIGHT, WIDTH);
            if (i == 3) {
                await(begun);
            }
        }
        go.countDown();
        await(closed);
        stream.close();
        assertEquals(1, windows.size());
        assertEquals(1, stream.statistics().dropped());
        String told = assertThrows(IllegalStateException.class, () -> stream.add(frame(1), HEIGHT, WIDTH))
                .getMessage();
        assertEquals("the stream is closed; open another", told);
        assertThrows(IllegalStateException.class, stream::finish);
    }

    @Test
    void whatFailsIsThrownByTheNextCall() {
        for (Options options :
                List.of(Options.frames(4, 4), Options.frames(4, 4).inCallersThread())) {
            IllegalStateException expected = new IllegalStateException("the listener has no disk left");
            try (StreamPredictor stream = new StreamPredictor(predictor, options, (window, seen) -> {
                throw expected;
            })) {
                Exception found = assertThrows(IllegalStateException.class, () -> {
                    for (int i = 0; i < 4; i++) {
                        stream.add(frame(i), HEIGHT, WIDTH);
                    }
                    stream.finish();
                });
                assertSame(expected, found);
                assertSame(
                        expected, assertThrows(IllegalStateException.class, () -> stream.add(frame(1), HEIGHT, WIDTH)));
            }
        }
        StreamPredictor untold = new StreamPredictor(predictor, Options.frames(4, 4), (window, seen) -> {
            throw new IllegalStateException("told by closing");
        });
        for (int i = 0; i < 4; i++) {
            untold.add(frame(i), HEIGHT, WIDTH);
        }
        CompletableFuture<Void> predicted = CompletableFuture.runAsync(() -> {
            while (untold.statistics().windows() == 0) {
                Thread.onSpinWait();
            }
        });
        predicted.orTimeout(60, TimeUnit.SECONDS).join();
        assertThrows(IllegalStateException.class, untold::close);
        untold.close();
    }

    @Test
    void theListenerMustNotBringFrames() {
        for (Options options :
                List.of(Options.frames(4, 4), Options.frames(4, 4).inCallersThread())) {
            AtomicReference<StreamPredictor> opened = new AtomicReference<>();
            StreamPredictor stream = new StreamPredictor(
                    predictor,
                    options,
                    (window, seen) -> Objects.requireNonNull(opened.get()).add(frame(1), HEIGHT, WIDTH));
            opened.set(stream);
            String told = assertThrows(IllegalStateException.class, () -> {
                        for (int i = 0; i < 4; i++) {
                            stream.add(frame(i), HEIGHT, WIDTH);
                        }
                        stream.finish();
                    })
                    .getMessage();
            assertEquals("the stream's listener brings frames or ends it; hand them to another thread", told);
            stream.close();
        }
    }

    @Test
    void threadsShareAStream() {
        try (StreamPredictor stream = stream(Options.frames(4, 2))) {
            List<CompletableFuture<Void>> cameras = IntStream.range(0, 4)
                    .mapToObj(c -> CompletableFuture.runAsync(() -> {
                        for (int i = 0; i < 50; i++) {
                            stream.add(frame(c), HEIGHT, WIDTH);
                        }
                    }))
                    .toList();
            cameras.forEach(CompletableFuture::join);
            stream.finish();
            Statistics statistics = stream.statistics();
            assertEquals(200, statistics.frames());
            assertEquals(99, statistics.windows() + statistics.dropped());
            assertEquals(windows.size(), statistics.windows());
        }
    }

    private static long usedHeap() {
        System.gc();
        return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
    }

    /** A frame a second, by a clock that a day passes on. A frame kept of each second would be 66 MB more. */
    @Test
    void aDayLeavesNothingBehind() {
        AtomicLong clock = new AtomicLong();
        AtomicLong told = new AtomicLong();
        byte[] pixels = frame(1);
        Options options = Options.seconds(8, 4)
                .withSmoothing(Smoothing.mean(3))
                .withClock(clock::get)
                .inCallersThread();
        long held = 0;
        long heap = 0;
        long live = 0;
        try (StreamPredictor stream =
                new StreamPredictor(predictor, options, (window, seen) -> told.incrementAndGet())) {
            for (int second = 0; second < 24 * 3600; second++) {
                if (second == 3600) {
                    held = stream.heldBytes();
                    heap = usedHeap();
                    live = device.memory().live();
                }
                pixels[second % LENGTH]++;
                stream.add(pixels, HEIGHT, WIDTH);
                clock.addAndGet(1_000_000_000);
            }
            assertEquals(held, stream.heldBytes());
            assertEquals(live, device.memory().live());
            long more = usedHeap() - heap;
            assertTrue(more < 4 << 20, more + " bytes more on the heap");
            assertTrue(held <= 2 * 4 * 768 + LENGTH + 768, held + " bytes");
            assertEquals(new Statistics(86_400, 21_599, 0, 0, 0), stream.statistics());
            stream.finish(86_400);
            assertEquals(21_599, told.get());
        }
    }

    @Test
    void whatCannotWorkIsRefused() {
        try (StreamPredictor stream = stream(Options.seconds(2, 1));
                StreamPredictor counted = stream(Options.frames(4, 4))) {
            stream.add(frame(1), HEIGHT, WIDTH, 3);
            assertRefused(
                    () -> stream.add(frame(1), HEIGHT, WIDTH, 2),
                    "stream: the time is 2.0 after a frame at 3.0; frames come in the order of time");
            assertRefused(() -> stream.add(frame(1), HEIGHT, WIDTH, Double.NaN), "the time is NaN");
            assertRefused(() -> stream.add(new byte[5], 1, 2), "a frame u8[1, 2, 3] of 5 bytes");
            assertRefused(() -> stream.finish(5.5), "the time is 5.5 after a frame at 3.0; pass one from there to 5.0");
            assertRefused(() -> counted.add(frame(1), HEIGHT, WIDTH, 2), "windows are counted in frames");
            assertRefused(() -> counted.finish(2), "windows are counted in frames");
            assertRefused(() -> stream(Options.frames(4, 0)), "a window of 4.0 every 0.0; pass positive numbers");
            assertRefused(() -> stream(Options.seconds(4, .5)), "one every 1.0; pass a stride of at least that");
            assertRefused(() -> Smoothing.mean(0), "the mean of 0 windows; pass 1 or more");
            assertRefused(() -> Smoothing.exponential(0), "the newest window has the weight 0.0");
            assertEquals(1, stream.statistics().frames(), "what was refused is no frame");
        }
        try (Predictor headless = Predictor.of(predictor.student().pooled(Pooling.MEAN), Masking.none(), 1)) {
            assertRefused(() -> new StreamPredictor(headless, Options.frames(4, 4), (w, s) -> {}), "no head given");
        }
    }

    private static void assertRefused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
