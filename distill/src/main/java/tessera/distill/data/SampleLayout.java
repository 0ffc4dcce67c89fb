package tessera.distill.data;

import java.util.List;
import tessera.kernels.DType;

/**
 * What the samples of a modality are: {@code [T, rows, columns, channels]} for each clip.
 *
 * @param channels numbers of a cell
 * @param values what kind of numbers
 * @param grid how many cells a frame has
 * @param mean of each channel, which normalisation subtracts; empty if it is measured on the clips
 * @param std of each channel, by which normalisation divides, positive; empty if it is measured on the clips
 */
public record SampleLayout(int channels, Values values, Grid grid, List<Double> mean, List<Double> std) {

    /** What kind of numbers a sample holds, and how thousands of clips are kept in memory. */
    public enum Values {
        /** u8, 255 as one. */
        BYTE(DType.U8, DType.U8),
        /** Finite f32, kept as bf16. */
        REAL(DType.F32, DType.BF16),
        /** f32 in [0, 1], kept as u8 with 255 as one. */
        SHARE(DType.F32, DType.U8),
        /** Finite f32, kept as it is. */
        EXACT(DType.F32, DType.F32);

        private final DType given;
        private final DType kept;

        Values(DType given, DType kept) {
            this.given = given;
            this.kept = kept;
        }

        /** The type of files and of whatever delivers clips. */
        public DType given() {
            return given;
        }

        DType kept() {
            return kept;
        }

        /** The type in which models get them. */
        public DType batched() {
            return kept == DType.BF16 ? DType.F32 : kept;
        }

        /** What models multiply the numbers of a batch with before they are normalised. */
        public double scale() {
            return kept == DType.U8 ? 1 / 255.0 : 1;
        }

        /** Whether a sample may hold a number. */
        boolean allows(float value) {
            return this == SHARE ? value >= 0 && value <= 1 : Math.abs(value) <= Float.MAX_VALUE;
        }
    }

    /** How many cells a frame has; {@link Geometry} gives the rows and columns. */
    public sealed interface Grid {
        /** Those of the picture, {@link Geometry#size} x {@link Geometry#width}. */
        Grid PICTURE = Scaled.PICTURE;
        /** Those of a coarser map of the picture, {@link Geometry#poseSize} x {@link Geometry#poseWidth}. */
        Grid MAP = Scaled.MAP;
        /** {@link Geometry#size} x {@link Geometry#size}, whatever the width of pictures: an image of something unseen. */
        Grid SQUARE = Scaled.SQUARE;

        /** Cells that follow the size of pictures. */
        enum Scaled implements Grid {
            PICTURE,
            MAP,
            SQUARE
        }

        /** The same number of cells, however large pictures are. */
        record Fixed(int rows, int columns) implements Grid {
            public Fixed {
                if (rows < 1 || columns < 1) {
                    throw new IllegalArgumentException(
                            "a grid of " + rows + " x " + columns + " cells; pass positive numbers");
                }
            }
        }
    }

    public SampleLayout {
        mean = List.copyOf(mean);
        std = List.copyOf(std);
        boolean measured = mean.isEmpty() && std.isEmpty();
        if (channels < 1 || !(measured || (mean.size() == channels && std.size() == channels))) {
            throw new IllegalArgumentException("a layout of " + channels + " channels with " + mean.size()
                    + " means and " + std.size() + " deviations; pass one of each for every channel, or none");
        }
    }
}
