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
 * @param tokens the first of each run, numbered within its clip, ascending; clip by clip, all of them through one mask after the other
 * @param counts how many there are of each clip through each mask
 * @param lengths how many visible tokens each stands for
 */
record RunLengths(int[] tokens, int[] counts, float[] lengths) {

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
                int[] last = new int[config.plane()]; // where the last one of each cell is in kept, and 1
                int begin = end;
                for (int i = 0; i < each; i++) {
                    int token = seen[visible.isEmpty() ? i : clip * each + i];
                    int before = last[token % last.length] - 1;
                    if (before >= 0 && pixels.differ(clip, kept[before], token) <= threshold) {
                        lengths[before]++;
                    } else {
                        kept[end] = token;
                        lengths[end] = 1;
                        last[token % last.length] = ++end;
                    }
                }
                counts[mask * clips + clip] = end - begin;
            }
        }
        return new RunLengths(Arrays.copyOf(kept, end), counts, Arrays.copyOf(lengths, end));
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
