package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.nn.ClipShape;

/** Which frames of a stream a window shows. Frames are known by their level. */
class StreamFramesTest {
    private static final ClipShape INPUT = new ClipShape(4, 2, 2, 3);

    private final List<int[]> windows = new ArrayList<>();
    private final List<Double> starts = new ArrayList<>();

    private void feed(StreamFrames frames, double time, int level) {
        frames.add(2, 2, target -> Arrays.fill(target, (byte) level), time, first -> note(frames, first));
    }

    private void note(StreamFrames frames, long first) {
        byte[] pixels = new byte[4 * 12];
        frames.copy(first, pixels);
        windows.add(IntStream.range(0, 4).map(k -> pixels[12 * k] & 0xFF).toArray());
        starts.add(frames.start(first));
    }

    /** As the middle frames of equal parts, at once when the last of them came. */
    @ParameterizedTest
    @CsvSource({"4, 1", "4, 4", "8, 2", "8, 8", "12, 3", "12, 24", "10, 5", "20, 5", "200, 50"})
    void framesThatAreCountedAreThoseOfUniformSampling(int window, int stride) {
        StreamFrames frames = new StreamFrames(INPUT, true, window, stride);
        int told = 0;
        for (int i = 0; i < 250; i++) {
            feed(frames, i, i);
            if (windows.size() > told) {
                int from = told * stride;
                int[] expected = Arrays.stream(FrameSampling.uniform(from, from + window, 4))
                        .mapToInt(Math::toIntExact)
                        .toArray();
                assertArrayEquals(expected, windows.get(told));
                assertEquals(i, expected[3], "told with the last frame that it shows");
                assertEquals(from, starts.get(told));
                told++;
            }
        }
        assertEquals(windows.size(), told, "never two at once");
        assertTrue(told >= (250 - window) / stride + 1, told + " windows");
    }

    /** Of a second each and cut into quarters, whose middles lie at .125, .375, .625 and .875. */
    @Test
    void whatIsShownInTheMiddleOfAPartIsSeen() {
        StreamFrames frames = new StreamFrames(INPUT, false, 1, .5);
        feed(frames, 100, 1);
        feed(frames, 100.12, 2); // shown at .125
        feed(frames, 100.13, 3);
        feed(frames, 100.374, 4); // shown at .375
        feed(frames, 100.374, 5); // in place of the frame of the same time
        feed(frames, 100.8, 6); // at .625 it was still 5
        assertEquals(0, windows.size());
        feed(frames, 100.9, 7);
        assertArrayEquals(new int[] {2, 5, 5, 6}, windows.getFirst());
        feed(frames, 101.2, 8); // at 1.125 it was still 7
        feed(frames, 101.9, 9); // 8 was shown at 1.375, 1.625 and 1.875
        assertArrayEquals(new int[] {5, 6, 7, 8}, windows.get(1));
        assertArrayEquals(new int[] {7, 8, 8, 8}, windows.get(2));
        assertEquals(List.of(100.0, 100.5, 101.0), starts);
        frames.holdUntil(102.5, first -> note(frames, first));
        assertArrayEquals(new int[] {8, 8, 9, 9}, windows.get(3));
        assertEquals(4, windows.size());
    }

    /** Half the distance of what is looked at, at most; without adding up. */
    @Test
    void windowsBeginNearTheMultiplesOfAnyStride() {
        StreamFrames frames = new StreamFrames(INPUT, false, 2, .7);
        for (int i = 0; i < 4000; i++) {
            feed(frames, .06 * i, i);
        }
        assertEquals(341, starts.size());
        for (int k = 0; k < starts.size(); k++) {
            Close.within(starts.get(k), .7 * k, .25 + 1e-9, "start of window " + k);
            int[] shown = windows.get(k);
            for (int j = 0; j < 4; j++) { // the frame i is shown from .06 i on
                double middle = starts.get(k) + .5 * j + .25;
                Close.within(shown[j], Math.floor(middle / .06) % 256, 0, "window " + k + ", frame " + j);
            }
        }
    }

    @Test
    void aStrideBetweenFramesThatAreSeenIsRefused() {
        Exception refused = assertThrows(IllegalArgumentException.class, () -> new StreamFrames(INPUT, false, 2, .49));
        assertEquals(
                "stream: a window every 0.49 of windows of 2.0, in which the student looks at 4 frames, one every 0.5;"
                        + " pass a stride of at least that, or shorter windows",
                refused.getMessage());
        new StreamFrames(INPUT, false, .3, .3 / 4);
    }

    @Test
    void aPauseIsOneOfTimeAloneAndFramesAfterItBeginAnew() {
        StreamFrames frames = new StreamFrames(INPUT, false, 1, 1);
        assertFalse(frames.isGap(1e9), "before the first frame");
        feed(frames, 5, 1);
        assertFalse(frames.isGap(6));
        assertTrue(frames.isGap(6.001));
        frames.restart();
        feed(frames, 70.5, 2);
        feed(frames, 71.5, 3);
        assertArrayEquals(new int[] {2, 2, 2, 2}, windows.getFirst());
        assertEquals(List.of(70.5), starts);
        StreamFrames counted = new StreamFrames(INPUT, true, 4, 4);
        feed(counted, 0, 1);
        assertFalse(counted.isGap(1e9));
    }

    /** Whatever comes, and however often. */
    @Test
    void noMoreIsHeldThanAWindowAndTheLastFrame() {
        StreamFrames frames = new StreamFrames(INPUT, false, 100, 25);
        Random random = new Random(4);
        double time = 0;
        for (int i = 0; i < 5000; i++) {
            int height = 1 + random.nextInt(9);
            int width = 1 + random.nextInt(9);
            byte[] pixels = new byte[3 * height * width];
            Arrays.fill(pixels, (byte) (i % 7));
            time += random.nextDouble();
            frames.add(
                    height,
                    width,
                    target -> System.arraycopy(pixels, 0, target, 0, pixels.length),
                    time,
                    first -> note(frames, first));
            assertTrue(frames.bytes() <= 4 * 12 + pixels.length + 12, frames.bytes() + " bytes");
        }
        assertTrue(windows.size() > 90, windows.size() + " windows");
        for (int[] window : windows) {
            assertTrue(IntStream.of(window).allMatch(level -> level < 7), "one colour stays one at another size");
        }
    }

    @Test
    void framesAreResizedAsElsewhere() {
        byte[] pixels = Toy.pixels(1, 5, 7, 3);
        VideoClip expected = ImageOps.resize(new VideoClip(1, 5, 7, pixels), 2, 2, true);
        StreamFrames frames = new StreamFrames(INPUT, true, 4, 4);
        byte[] seen = new byte[4 * 12];
        for (int i = 0; i < 4; i++) {
            frames.add(
                    5,
                    7,
                    target -> System.arraycopy(pixels, 0, target, 0, pixels.length),
                    i,
                    first -> frames.copy(first, seen));
        }
        for (int k = 0; k < 4; k++) {
            assertArrayEquals(expected.pixels(), Arrays.copyOfRange(seen, 12 * k, 12 * k + 12));
        }
    }
}
