package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.video.OpticalFlow;
import tessera.nn.inference.VideoClip;

class OpticalFlowTest {
    private static final int SIZE = 64;
    /** What enters or leaves at the border has no counterpart. */
    private static final int BORDER = 8;

    /** What moves to where: the flow from frame 0 to frame 1 at a pixel. */
    @FunctionalInterface
    private interface Truth {
        double[] at(double x, double y);
    }

    private static void check(MovingVideo.Motion motion, Truth truth, String what) {
        float[] flow = OpticalFlow.dis().of(MovingVideo.clip(2, SIZE, motion));
        assertEquals(2 * SIZE * SIZE * 2, flow.length);
        for (int y = BORDER; y < SIZE - BORDER; y++) {
            for (int x = BORDER; x < SIZE - BORDER; x++) {
                double[] expected = truth.at(x, y);
                int at = 2 * (y * SIZE + x);
                Close.within(flow[at], expected[0], .3, what + ", right at " + x + "," + y);
                Close.within(flow[at + 1], expected[1], .3, what + ", down at " + x + "," + y);
            }
        }
    }

    @Test
    void translation() {
        for (double[] by : new double[][] {{0, 0}, {1.5, -.75}, {-3, 2.25}, {0, 4}}) {
            check(MovingVideo.steady(by[0], by[1]), (x, y) -> by, "moved by " + Arrays.toString(by));
        }
    }

    @Test
    void rotation() {
        double middle = (SIZE - 1) / 2.0;
        double angle = Math.toRadians(4);
        check(
                (x, y, frame) -> turned(x, y, middle, -angle * frame),
                (x, y) -> {
                    double[] to = turned(x, y, middle, angle);
                    return new double[] {to[0] - x, to[1] - y};
                },
                "turned");
    }

    private static double[] turned(double x, double y, double middle, double angle) {
        double cos = Math.cos(angle);
        double sin = Math.sin(angle);
        double right = x - middle;
        double down = y - middle;
        return new double[] {middle + cos * right - sin * down, middle + sin * right + cos * down};
    }

    @Test
    void scale() {
        double middle = (SIZE - 1) / 2.0;
        check(
                (x, y, frame) -> new double[] {
                    middle + (x - middle) / (frame == 0 ? 1 : 1.06), middle + (y - middle) / (frame == 0 ? 1 : 1.06)
                },
                (x, y) -> new double[] {.06 * (x - middle), .06 * (y - middle)},
                "grown");
    }

    @Test
    void theLastFrameRepeatsTheLastPairAndTheSameFramesGiveTheSameFlow() {
        VideoClip clip = MovingVideo.clip(3, SIZE, (x, y, frame) -> new double[] {x - (frame == 2 ? 3 : frame), y});
        float[] flow = OpticalFlow.dis().of(clip);
        int length = 2 * SIZE * SIZE;
        assertEquals(3 * length, flow.length);
        int middle = SIZE * SIZE + SIZE;
        Close.within(flow[middle], 1, .3, "first pair");
        Close.within(flow[length + middle], 2, .3, "second pair");
        assertArrayEquals(
                Arrays.copyOfRange(flow, length, 2 * length), Arrays.copyOfRange(flow, 2 * length, 3 * length));
        assertArrayEquals(flow, OpticalFlow.dis().of(clip));
    }

    @Test
    void whatHasNoMotionOrIsTooSmallIsRefused() {
        for (VideoClip clip : new VideoClip[] {
            MovingVideo.clip(1, SIZE, MovingVideo.steady(0, 0)), MovingVideo.clip(2, 12, MovingVideo.steady(0, 0))
        }) {
            IllegalArgumentException refused = assertThrows(
                    IllegalArgumentException.class, () -> OpticalFlow.dis().of(clip));
            assertTrue(requireNonNull(refused.getMessage()).contains("of at least 16 x 16"), refused.getMessage());
        }
    }
}
