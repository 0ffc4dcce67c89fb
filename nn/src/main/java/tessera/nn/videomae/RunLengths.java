package tessera.nn.videomae;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/**
 * Which patches of clips repeat (Choudhury et al., "Don't look twice", NeurIPS 2024): a visible patch whose pixels differ from the last
 * one kept in its cell by no more than a threshold, on average, is a part of that one's run. Comparing with what was kept, not with
 * the patch before, keeps slow changes from getting lost.
 *
 * <p>How many are kept of a clip is rounded up to a {@value #SHARES}nd of its tokens: of those that repeat, the ones that differ most
 * are kept too. Every other number is another size of matrix product, which a CPU takes time to prepare.
 *
 * @param tokens the first of each run, numbered within its clip, ascending; clip by clip, all of them through one mask after the other
 * @param counts how many there are of each clip through each mask
 * @param lengths how many visible tokens each stands for
 */
record RunLengths(int[] tokens, int[] counts, float[] lengths) {
    private static final int SHARES = 32;

    /**
     * Finds the runs.
     *
     * @param video u8 or floating {@code [B, T, H, W, C]}, on any device; compared on the host, so that all give the same
     * @param visible i32 {@code [B, Nvis]} ascending for each mask; none to see every token
     * @param threshold in the units of the pixels
     */
    static RunLengths of(Tensor video, List<Tensor> visible, VideoMaeConfig config, double threshold) {
        int clips = Math.toIntExact(video.size(0));
        int tokens = config.tokens();
        int masks = Math.max(1, visible.size());
        int[] all = new int[tokens];
        Arrays.setAll(all, i -> i);
        Pixels pixels = Pixels.of(video, config);
        int[] kept = new int[masks * clips * tokens];
        float[] lengths = new float[kept.length];
        int[] counts = new int[masks * clips];
        int end = 0;
        for (int mask = 0; mask < masks; mask++) {
            int[] seen = visible.isEmpty() ? all : visible.get(mask).toInts();
            int each = visible.isEmpty() ? tokens : seen.length / Math.max(1, clips);
            for (int clip = 0; clip < clips; clip++) {
                int[] own = visible.isEmpty() ? all : Arrays.copyOfRange(seen, clip * each, (clip + 1) * each);
                int[] first = firsts(own, clip, pixels, config.plane(), threshold);
                int[] place = new int[each];
                int begin = end;
                for (int i = 0; i < each; i++) {
                    if (first[i] == i) {
                        place[i] = end;
                        kept[end++] = own[i];
                    }
                    lengths[place[first[i]]]++;
                }
                counts[mask * clips + clip] = end - begin;
            }
        }
        return new RunLengths(Arrays.copyOf(kept, end), counts, Arrays.copyOf(lengths, end));
    }

    /** For each token of a clip the first one of its run; those of the rounded number are runs of their own. */
    private static int[] firsts(int[] tokens, int clip, Pixels pixels, int plane, double threshold) {
        int[] first = new int[tokens.length];
        int[] last = new int[plane]; // the last one that was kept of each cell, and 1
        long[] repeats = new long[tokens.length]; // those that differ most first
        int number = 0;
        for (int i = 0; i < tokens.length; i++) {
            int cell = tokens[i] % plane;
            int before = last[cell] - 1;
            double difference = before < 0 ? Double.POSITIVE_INFINITY : pixels.differ(clip, tokens[before], tokens[i]);
            if (difference <= threshold) {
                first[i] = before;
                repeats[number++] = ((long) ~Float.floatToIntBits((float) difference) << Integer.SIZE) | i;
            } else {
                first[i] = i;
                last[cell] = i + 1;
            }
        }
        int step = Math.ceilDiv(tokens.length, SHARES);
        int kept = tokens.length - number;
        int more = Math.min(number, Math.ceilDiv(kept, step) * step - kept);
        Arrays.sort(repeats, 0, number);
        for (int i = 0; i < more; i++) {
            int token = (int) repeats[i];
            first[token] = token;
        }
        return first;
    }

    /** Where the kept tokens are when all clips are one long video, mask by mask. */
    int[] tokensOfAll(int clips, int tokensOfClip) {
        int[] places = tokens.clone();
        int from = 0;
        for (int i = 0; i < counts.length; i++) {
            for (int j = from; j < from + counts[i]; j++) {
                places[j] += i % clips * tokensOfClip;
            }
            from += counts[i];
        }
        return places;
    }

    /** Pixels in the heap: bytes or floats. */
    private record Pixels(byte[] bytes, float[] floats, VideoMaeConfig config) {
        static Pixels of(Tensor video, VideoMaeConfig config) {
            Tensor here = video.device().isHost() ? video.contiguous() : video.to(Device.cpu());
            return here.dtype() == DType.U8
                    ? new Pixels(here.segment().toArray(ValueLayout.JAVA_BYTE), new float[0], config)
                    : new Pixels(new byte[0], here.to(DType.F32).toFloats(), config);
        }

        /** The mean absolute difference of two patches of a clip. */
        double differ(int clip, int a, int b) {
            Patches patches = config.patches();
            int length = patches.patch() * patches.channels();
            double sum = 0;
            for (int frame = 0; frame < patches.tubelet(); frame++) {
                for (int row = 0; row < patches.patch(); row++) {
                    int first = at(clip, a, frame, row);
                    int second = at(clip, b, frame, row);
                    sum += bytes.length > 0 ? ofBytes(first, second, length) : ofFloats(first, second, length);
                }
            }
            return sum / patches.patchLength();
        }

        /** Where a row of a patch begins. */
        private int at(int clip, int token, int frame, int row) {
            Patches patches = config.patches();
            int columns = config.width() / patches.patch();
            int cell = token % config.plane();
            int t = token / config.plane() * patches.tubelet() + frame;
            int y = cell / columns * patches.patch() + row;
            int x = cell % columns * patches.patch();
            return (((clip * config.frames() + t) * config.height() + y) * config.width() + x) * patches.channels();
        }

        private int ofBytes(int first, int second, int length) {
            int sum = 0;
            for (int i = 0; i < length; i++) {
                sum += Math.abs((bytes[first + i] & 0xFF) - (bytes[second + i] & 0xFF));
            }
            return sum;
        }

        private double ofFloats(int first, int second, int length) {
            double sum = 0;
            for (int i = 0; i < length; i++) {
                sum += Math.abs((double) floats[first + i] - floats[second + i]);
            }
            return sum;
        }
    }
}
