package tessera.nn;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Tube masks that show the cells in which frames differ most. */
record MotionMasks() implements MaskStrategy {
    @Override
    public TokenMask draw(MaskContext c) {
        Tensor clips = c.clips();
        if (clips == null) {
            throw new IllegalArgumentException("motion masks follow the frames of a clip, but here masks are drawn"
                    + " without clips; use another strategy, such as tube");
        }
        if (clips.rank() != 5 || clips.size(0) != c.batch()) {
            throw new IllegalArgumentException("motion masks of " + c.batch() + " clips but " + clips.describe()
                    + " are given; pass [" + c.batch() + ", T, H, W, C]");
        }
        Tensor here = (clips.device().isHost() ? clips : clips.to(Device.cpu())).contiguous();
        return HostMasks.tubes(
                c, clip -> HostMasks.turn(c, HostMasks.falling(c, clip, differences(here, clip, c.grid()))));
    }

    /** For each cell the sum of the differences of its pixels from frame to frame. */
    private static double[] differences(Tensor clips, int clip, TokenGrid grid) {
        int frames = Math.toIntExact(clips.size(1));
        int height = Math.toIntExact(clips.size(2));
        int width = Math.toIntExact(clips.size(3));
        int channels = Math.toIntExact(clips.size(4));
        int row = width * channels;
        Rows rows = new Rows(clips, (long) clip * frames * height, row);
        double[] sums = new double[grid.plane()];
        float[] before = new float[row];
        float[] after = new float[row];
        for (int t = 0; t + 1 < frames; t++) {
            for (int y = 0; y < height; y++) {
                rows.read((long) t * height + y, before);
                rows.read((long) (t + 1) * height + y, after);
                int first = y * grid.rows() / height * grid.columns();
                for (int column = 0; column < grid.columns(); column++) {
                    int from = start(column, grid.columns(), width) * channels;
                    int to = start(column + 1, grid.columns(), width) * channels;
                    float sum = 0;
                    for (int x = from; x < to; x++) {
                        sum += Math.abs(after[x] - before[x]);
                    }
                    sums[first + column] += sum;
                }
            }
        }
        return sums;
    }

    /** The first pixel of a column of cells. */
    private static int start(int column, int columns, int width) {
        return (column * width + columns - 1) / columns;
    }

    /** Rows of pixels of some clip. */
    private record Rows(Tensor clips, long first, int length) {
        void read(long row, float[] values) {
            long from = (first + row) * length;
            MemorySegment segment = clips.segment();
            if (clips.dtype() == DType.U8) {
                for (int i = 0; i < length; i++) {
                    values[i] = segment.get(ValueLayout.JAVA_BYTE, from + i) & 0xFF;
                }
            } else if (clips.dtype() == DType.F32) {
                MemorySegment.copy(segment, ValueLayout.JAVA_FLOAT, from * Float.BYTES, values, 0, length);
            } else {
                throw new IllegalArgumentException(
                        "motion masks of clips " + clips.describe() + "; pass clips of u8 or f32");
            }
        }
    }

    @Override
    public boolean showsTubes() {
        return true;
    }

    @Override
    public String word() {
        return "motion";
    }
}
