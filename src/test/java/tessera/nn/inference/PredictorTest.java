package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class PredictorTest {
    private static final int HEIGHT = 20;
    private static final int WIDTH = 27;

    @TempDir
    private Path folder;

    private Path student;
    private Path head;
    private Predictor.Options options;

    @BeforeEach
    void write() {
        student = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        head = folder.resolve("head.safetensors");
        Toy.head(4, "cut", "pour", "wipe").save(head);
        options = new Predictor.Options(Device.cpu(), DType.F32, Masking.of(.75, 2), 9);
    }

    /** Sampling, resizing and prediction step by step. */
    private double[] byHand(byte[] frames, int count) {
        VideoClip clip = new VideoClip(count, HEIGHT, WIDTH, frames);
        VideoClip fitted = ImageOps.resize(clip.select(FrameSampling.uniform(0, count, 4)), 16, 16, true);
        try (Scope scope = Scope.open();
                Student plain = Student.load(student, Device.cpu())) {
            Tensor clips = Tensor.of(fitted.pixels(), 1, 4, 16, 16, 3);
            return plain.withHead(Head.load(head))
                    .predict(clips, Masking.of(.75, 2), 9)
                    .toDoubles();
        }
    }

    private static double[] probabilities(Prediction prediction) {
        return prediction.answers().getFirst().scores().stream()
                .mapToDouble(Prediction.Score::probability)
                .toArray();
    }

    /** Also with fewer frames than the model takes. */
    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4, 11})
    void everyKindOfFramesEqualsTheWayByHand(int count) {
        byte[] frames = Toy.pixels(count, HEIGHT, WIDTH, count);
        double[] expected = byHand(frames, count);
        try (Predictor predictor = Predictor.open(options, student, head);
                Arena arena = Arena.ofConfined()) {
            assertArrayEquals(expected, probabilities(predictor.predict(frames, count, HEIGHT, WIDTH)));
            MemorySegment outside = arena.allocate(frames.length).copyFrom(MemorySegment.ofArray(frames));
            assertArrayEquals(expected, probabilities(predictor.predict(outside, count, HEIGHT, WIDTH)));
            for (int type : new int[] {BufferedImage.TYPE_INT_RGB, BufferedImage.TYPE_3BYTE_BGR}) {
                assertArrayEquals(expected, probabilities(predictor.predict(pictures(frames, count, type))));
            }
            List<VideoClip> clips = List.of(new VideoClip(count, HEIGHT, WIDTH, frames));
            assertArrayEquals(
                    expected, probabilities(predictor.predictAll(clips).getFirst()));
        }
    }

    private static List<BufferedImage> pictures(byte[] frames, int count, int type) {
        List<BufferedImage> pictures = new ArrayList<>();
        for (int t = 0; t < count; t++) {
            BufferedImage picture = new BufferedImage(WIDTH, HEIGHT, type);
            for (int i = 0; i < HEIGHT * WIDTH; i++) {
                int at = 3 * (t * HEIGHT * WIDTH + i);
                int rgb = ((frames[at] & 0xFF) << 16) | ((frames[at + 1] & 0xFF) << 8) | (frames[at + 2] & 0xFF);
                picture.setRGB(i % WIDTH, i / WIDTH, rgb);
            }
            pictures.add(picture);
        }
        return pictures;
    }

    @Test
    void everyHeadAnswersAsItDoesAlone() {
        Path place = folder.resolve("place.safetensors");
        Toy.head(8, "kitchen", "garden").named("place").save(place);
        byte[] frames = Toy.pixels(6, HEIGHT, WIDTH, 1);
        try (Predictor both = Predictor.open(options, student, head, place);
                Predictor alone = Predictor.open(options, student, place)) {
            Prediction prediction = both.predict(frames, 6, HEIGHT, WIDTH);
            assertEquals(
                    List.of("action", "place"),
                    prediction.answers().stream().map(Prediction.Answer::head).toList());
            assertArrayEquals(byHand(frames, 6), probabilities(prediction));
            assertEquals(alone.predict(frames, 6, HEIGHT, WIDTH).answer("place"), prediction.answer("place"));
            assertEquals(prediction.top(1).getFirst().label(), prediction.label());
            assertEquals(3, prediction.top(9).size());
            assertTrue(prediction.top(2).get(1).probability() <= prediction.probability());
            assertRefused(() -> prediction.answer("verb"), "no head is called 'verb'");
        }
    }

    @Test
    void manyClipsAreBatchesWhoseMasksDependOnTheFirst() {
        List<VideoClip> clips = IntStream.range(0, 10)
                .mapToObj(i -> new VideoClip(4, 16, 16, Toy.pixels(4, 16, 16, i)))
                .toList();
        try (Predictor predictor = Predictor.open(options, student, head);
                Scope scope = Scope.open()) {
            List<Prediction> predictions = predictor.predictAll(clips);
            Tensor last = Tensor.concat(0, Toy.clips(1, 8), Toy.clips(1, 9));
            double[] expected =
                    predictor.student().predict(last, options.masking(), 9 + 8).toDoubles();
            assertEquals(10, predictions.size());
            assertArrayEquals(
                    expected,
                    predictions.subList(8, 10).stream()
                            .flatMapToDouble(p -> Arrays.stream(probabilities(p)))
                            .toArray());
        }
    }

    @Test
    void timesOfAllCallsAreAddedUp() {
        byte[] frames = Toy.pixels(6, HEIGHT, WIDTH, 1);
        Predictor predictor = Predictor.open(options, student, head);
        assertEquals(new Predictor.Times(0, Duration.ZERO, Duration.ZERO), predictor.times());
        List<Supplier<Integer>> calls = List.of(
                () -> predictor.predict(frames, 6, HEIGHT, WIDTH).answers().size(),
                () -> predictor
                        .predict(pictures(frames, 6, BufferedImage.TYPE_INT_RGB))
                        .answers()
                        .size(),
                () -> predictor
                        .predictAll(List.of(new VideoClip(6, HEIGHT, WIDTH, frames)))
                        .size(),
                () -> (int) predictor
                        .features(List.of(new VideoClip(6, HEIGHT, WIDTH, frames)))
                        .size(1));
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < calls.size(); i++) {
                Predictor.Times before = predictor.times();
                assertEquals(1, calls.get(i).get());
                Predictor.Times times = predictor.times();
                assertEquals(i + 1, times.clips());
                assertTrue(times.preparing().compareTo(before.preparing()) > 0, times + " after " + before);
                assertTrue(times.computing().compareTo(before.computing()) > 0, times + " after " + before);
            }
        }
        Predictor.Times last = predictor.times();
        predictor.close();
        assertEquals(last, predictor.times());
    }

    @Test
    void threadsShareAPredictor() {
        byte[] frames = Toy.pixels(4, HEIGHT, WIDTH, 2);
        try (Predictor predictor = Predictor.open(options, student, head)) {
            Prediction expected = predictor.predict(frames, 4, HEIGHT, WIDTH);
            List<CompletableFuture<Prediction>> results = IntStream.range(0, 8)
                    .mapToObj(i -> CompletableFuture.supplyAsync(() -> predictor.predict(frames, 4, HEIGHT, WIDTH)))
                    .toList();
            results.forEach(result -> assertEquals(expected, result.join()));
        }
    }

    @Test
    void closingReturnsTheMemory() {
        Device own = Device.cpu(1);
        Predictor predictor = Predictor.open(options.withDevice(own), student, head);
        predictor.predict(Toy.pixels(1, 8, 8, 1), 1, 8, 8);
        assertTrue(own.memory().live() > 0);
        predictor.close();
        predictor.close();
        assertEquals(0, own.memory().live());
        assertThrows(IllegalStateException.class, () -> predictor.predict(new byte[3], 1, 1, 1));
        List<VideoClip> clips = List.of(new VideoClip(1, 8, 8, Toy.pixels(1, 8, 8, 1)));
        Exception closed = assertThrows(IllegalStateException.class, () -> predictor.predictAll(clips));
        assertEquals("the predictor is closed; open another with Predictor.open", closed.getMessage());
        assertThrows(IllegalStateException.class, () -> predictor.features(clips));
    }

    /** Also of a student that sees no pictures. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void featuresNeedNoHeadAndEqualTheStudents(int channels) {
        Path file = Toy.student(folder.resolve("plain.safetensors"), Toy.config(channels), 5);
        float[] values = new float[2 * 4 * 16 * 16 * channels];
        for (int i = 0; i < values.length; i++) {
            values[i] = i * 37 % 256;
        }
        try (Predictor predictor = Predictor.open(options, file);
                Student plain = Student.load(file, Device.cpu());
                Scope scope = Scope.open()) {
            Tensor clips = Tensor.of(values, 2, 4, 16, 16, channels);
            Tensor features = predictor.features(clips);
            assertEquals(plain.features(clips, options.masking(), 9).shape(), features.shape());
            assertArrayEquals(plain.features(clips, options.masking(), 9).toFloats(), features.toFloats());
            assertArrayEquals(
                    plain.features(clips, options.masking(), 4).toFloats(),
                    predictor.features(clips, 4).toFloats());
        }
    }

    @Test
    void framesHaveTheFeaturesOfWhatTheyArePreparedTo() {
        List<VideoClip> clips = IntStream.range(0, 10)
                .mapToObj(i -> new VideoClip(5, HEIGHT, WIDTH, Toy.pixels(5, HEIGHT, WIDTH, i)))
                .toList();
        try (Predictor predictor = Predictor.open(options, student);
                Scope scope = Scope.open()) {
            Tensor features = predictor.features(clips);
            Tensor[] prepared = clips.stream()
                    .map(clip -> ImageOps.resize(clip.select(FrameSampling.uniform(0, 5, 4)), 16, 16, true))
                    .map(clip -> Tensor.of(clip.pixels(), 1, 4, 16, 16, 3))
                    .toArray(Tensor[]::new);
            for (int from : new int[] {0, 8}) {
                Tensor batch = Tensor.concat(0, Arrays.copyOfRange(prepared, from, Math.min(10, from + 8)));
                Tensor expected = predictor.student().features(batch, options.masking(), 9 + from);
                Tensor found = features.slice(1, from, from + batch.size(0));
                assertEquals(expected.shape(), found.shape());
                assertArrayEquals(expected.toFloats(), found.toFloats());
            }
        }
    }

    @Test
    void withoutAHeadPredictionIsRefused() {
        List<VideoClip> clips = List.of(new VideoClip(1, 8, 8, Toy.pixels(1, 8, 8, 1)));
        Path flow = Toy.student(folder.resolve("flow.safetensors"), Toy.config(2), 5);
        try (Predictor predictor = Predictor.open(options, student);
                Predictor ofFlow = Predictor.open(options, flow)) {
            assertRefused(() -> predictor.predict(new byte[12], 1, 2, 2), "no head given");
            assertRefused(() -> predictor.predict(pictures(Toy.pixels(1, HEIGHT, WIDTH, 1), 1, 1)), "no head given");
            assertRefused(() -> predictor.predictAll(clips), "no head given");
            assertRefused(() -> predictor.features(List.of()), "pass one or more");
            assertRefused(() -> ofFlow.features(clips), "the student sees 2 channels");
            try (Student judged = ofFlow.student().withHead(Toy.head(4, "cut", "pour"))) {
                assertRefused(() -> Predictor.of(judged, Masking.none(), 1), "the student sees 2 channels");
            }
            assertEquals(
                    "f32[2, 2, 24]", // two masks
                    ofFlow.features(Tensor.zeros(2, 4, 16, 16, 2)).describe(),
                    "features of tensors are given all the same");
        }
    }

    /** A list may make predictions when it is asked: of a day's clips that is long. */
    @Test
    void aMeanAsksForEachPredictionOnce() {
        int[] asked = {0};
        List<Prediction> clips = new AbstractList<>() {
            @Override
            public Prediction get(int clip) {
                asked[0]++;
                return new Prediction(
                        List.of(
                                new Prediction.Answer("verb", List.of(new Prediction.Score("cut", clip / 4.0))),
                                new Prediction.Answer(
                                        "noun",
                                        List.of(
                                                new Prediction.Score("pan", 1 - clip / 4.0),
                                                new Prediction.Score("cup", clip / 4.0)))),
                        clip);
            }

            @Override
            public int size() {
                return 5;
            }
        };
        Prediction mean = Prediction.mean(clips);
        assertTrue(asked[0] <= 6, asked[0] + " times"); // the names are the first one's
        assertEquals(
                List.of("verb", "noun"),
                mean.answers().stream().map(Prediction.Answer::head).toList());
        assertEquals(2, mean.passes());
        Close.within(mean.probability(), .5, 1e-12, "verb");
        Close.within(mean.answer("noun").scores().get(1).probability(), .5, 1e-12, "noun");
    }

    @Test
    void whatCannotWorkIsRefused() {
        Path flow = Toy.student(folder.resolve("flow.safetensors"), Toy.config(2), 5);
        assertRefused(() -> Predictor.open(options, flow, head), flow + ": the student sees 2 channels");
        assertRefused(() -> Predictor.open(options, student, head, head), "two heads are called 'action'");
        assertRefused(() -> Prediction.mean(List.of()), "no mean of 0 predictions; pass one or more");
        try (Predictor predictor = Predictor.open(options, student, head)) {
            assertRefused(() -> predictor.predict(new byte[10], 1, 2, 2), "needs 12 bytes but 10 are given");
            assertRefused(() -> predictor.predict(new byte[0], 0, 2, 2), "u8[0, 2, 2, 3] has no pixels");
            assertRefused(() -> predictor.predict(List.of()), "pass one or more pictures");
        }
    }

    private static void assertRefused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
