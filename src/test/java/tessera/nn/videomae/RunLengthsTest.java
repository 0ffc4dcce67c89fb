package tessera.nn.videomae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Clips of three slots of two frames and 1 x 2 cells of 2 x 2 pixels, so of six tokens: 0, 2, 4 of the left cell, 1, 3, 5 of the right. */
class RunLengthsTest {
    private static final VideoMaeConfig CONFIG =
            new VideoMaeConfig(Patches.plain(1, 2, 2), 6, 2, 4, 8, 1, 2, 8, 1, 2, 1e-5, 1e-5, true, false);

    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    /** One clip from the grey of its tokens. */
    private static byte[] clip(int... greys) {
        byte[] pixels = new byte[6 * 2 * 4];
        for (int i = 0; i < pixels.length; i++) {
            int slot = i / 16;
            int cell = i % 4 / 2;
            pixels[i] = (byte) greys[2 * slot + cell];
        }
        return pixels;
    }

    private static Tensor one(byte[] pixels) {
        return Tensor.of(pixels, 1, 6, 2, 4, 1);
    }

    private static void check(RunLengths runs, int[] tokens, int[] counts, float... lengths) {
        assertArrayEquals(tokens, runs.tokens());
        assertArrayEquals(counts, runs.counts());
        assertArrayEquals(lengths, runs.lengths());
    }

    @Test
    void whatRepeatsIsKeptOnce() {
        Tensor video = one(clip(7, 200, 7, 100, 7, 100));
        check(RunLengths.of(video, List.of(), CONFIG, 0), new int[] {0, 1, 3}, new int[] {3}, 3, 1, 2);
        check(RunLengths.of(one(clip(9, 9, 9, 9, 9, 9)), List.of(), CONFIG, 0), new int[] {0, 1}, new int[] {2}, 3, 3);
    }

    /** Differences count up to the threshold, from what was kept: 10, 13, 16 is no run at 4. */
    @Test
    void theThresholdIsOfTheMeanDifferenceFromWhatWasKept() {
        Tensor slow = one(clip(10, 255, 13, 0, 16, 255));
        check(RunLengths.of(slow, List.of(), CONFIG, 4), new int[] {0, 1, 3, 4, 5}, new int[] {5}, 2, 1, 1, 1, 1);
        check(RunLengths.of(slow, List.of(), CONFIG, 6), new int[] {0, 1, 3, 5}, new int[] {4}, 3, 1, 1, 1);
        check(
                RunLengths.of(slow, List.of(), CONFIG, 2.9),
                new int[] {0, 1, 2, 3, 4, 5},
                new int[] {6},
                1,
                1,
                1,
                1,
                1,
                1);
        byte[] spot = clip(10, 20, 10, 20, 10, 20);
        spot[16] = 18; // one of the eight pixels of token 2: the mean differs by 1
        check(RunLengths.of(one(spot), List.of(), CONFIG, 1), new int[] {0, 1}, new int[] {2}, 3, 3);
        check(RunLengths.of(one(spot), List.of(), CONFIG, .99), new int[] {0, 1, 2, 4}, new int[] {4}, 1, 3, 1, 1);
    }

    /** Of 64 tokens an even number is kept: beside three first ones the repeat that differs most. */
    @Test
    void theNumberIsRoundedUpByWhatRepeatsLeast() {
        VideoMaeConfig longer =
                new VideoMaeConfig(Patches.plain(1, 2, 2), 64, 2, 4, 8, 1, 2, 8, 1, 2, 1e-5, 1e-5, true, false);
        byte[] pixels = new byte[64 * 2 * 4];
        RunLengths still = RunLengths.of(Tensor.of(pixels, 1, 64, 2, 4, 1), List.of(), longer, 3);
        check(still, new int[] {0, 1}, new int[] {2}, 32, 32);
        for (int slot = 20; slot < 32; slot++) {
            pixels[16 * slot] = 80; // the left cell changes by 10 once
        }
        pixels[16 * 5 + 2] = 8; // token 11 by 1
        pixels[16 * 9 + 2] = 16; // token 19 by 2
        RunLengths runs = RunLengths.of(Tensor.of(pixels, 1, 64, 2, 4, 1), List.of(), longer, 3);
        check(runs, new int[] {0, 1, 19, 40}, new int[] {4}, 20, 31, 1, 12);
    }

    @Test
    void bytesAndFloatsGiveTheSame() {
        byte[] pixels = clip(10, 255, 13, 0, 16, 255);
        RunLengths bytes = RunLengths.of(one(pixels), List.of(), CONFIG, 4);
        RunLengths floats = RunLengths.of(one(pixels).to(DType.F32), List.of(), CONFIG, 4);
        check(floats, bytes.tokens(), bytes.counts(), bytes.lengths());
    }

    /** Two clips through two masks: mask by mask, in each clip by clip; hidden tokens are neither kept nor compared. */
    @Test
    void masksAreLookedThrough() {
        Tensor video = Tensor.concat(0, one(clip(1, 2, 1, 2, 1, 2)), one(clip(1, 2, 3, 2, 3, 2)));
        Tensor first = Tensor.of(new int[] {0, 2, 4, 0, 2, 4}, 2, 3);
        Tensor second = Tensor.of(new int[] {1, 4, 5, 1, 2, 4}, 2, 3);
        RunLengths runs = RunLengths.of(video, List.of(first, second), CONFIG, 0);
        check(runs, new int[] {0, 0, 2, 1, 4, 1, 2}, new int[] {1, 2, 2, 2}, 3, 1, 2, 2, 1, 1, 2);
        assertArrayEquals(new int[] {0, 6, 8, 1, 4, 7, 8}, runs.tokensOfAll(2, 6));
    }
}
