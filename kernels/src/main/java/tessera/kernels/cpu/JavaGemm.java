package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;

/**
 * Matrix products in Java: the only ones in f64, and those in f32 where no native library can be loaded.
 *
 * <p>The usual blocking: a block of B is copied into panels that stay in the second-level cache, four rows of A at a time
 * are multiplied with a panel into a tile of C that stays in registers.
 */
final class JavaGemm extends Gemm {
    private static final long DEPTH = 256;
    private static final long COLUMNS = 256;

    private static final Slots<Tiles> FLOATS = new Slots<>(JavaGemm::floatTiles, tiles -> {});
    private static final Slots<Tiles> DOUBLES = new Slots<>(DoubleTiles::new, tiles -> {});

    JavaGemm(Workers workers, HostMemory memory) {
        super(workers, memory);
    }

    private static Tiles floatTiles() {
        return VectorApi.usable() ? VectorTiles.create() : new FloatTiles(4);
    }

    @Override
    void multiply(Product product, long fromRow, long toRow, long fromColumn, long toColumn) {
        Slots<Tiles> slots = product.type() == DType.F32 ? FLOATS : DOUBLES;
        Tiles tiles = slots.borrow();
        try {
            MatmulShape shape = product.shape();
            long k = shape.k();
            long rowA = shape.transposeA() ? 1 : shape.lda();
            long columnA = shape.transposeA() ? shape.lda() : 1;
            long rowB = shape.transposeB() ? 1 : shape.ldb();
            long columnB = shape.transposeB() ? shape.ldb() : 1;
            long depthFrom = 0;
            do {
                int depth = (int) Math.min(DEPTH, k - depthFrom);
                boolean first = depthFrom == 0;
                boolean gelu = depthFrom + depth == k && product.activation() == Activation.GELU;
                for (long j = fromColumn; j < toColumn; j += COLUMNS) {
                    int columns = (int) Math.min(COLUMNS, toColumn - j);
                    tiles.packB(product.b(), depthFrom * rowB + j * columnB, rowB, columnB, depth, columns);
                    for (long i = fromRow; i < toRow; i += Tiles.ROWS) {
                        int rows = (int) Math.min(Tiles.ROWS, toRow - i);
                        tiles.packA(product.a(), i * rowA + depthFrom * columnA, rowA, columnA, rows, depth);
                        for (int panel = 0; panel * tiles.width < columns; panel++) {
                            int from = panel * tiles.width;
                            tiles.multiply(depth, panel);
                            tiles.store(product, i, j + from, rows, Math.min(tiles.width, columns - from), first, gelu);
                        }
                    }
                }
                depthFrom += depth;
            } while (depthFrom < k);
        } finally {
            slots.giveBack(tiles);
        }
    }

    @Override
    void multiplyTile(
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC) {
        MemorySegment result = c.asSlice(fromC * Float.BYTES);
        Product product = new Product(
                DType.F32,
                shape,
                a.asSlice(fromA * Float.BYTES),
                b.asSlice(fromB * Float.BYTES),
                0,
                null,
                add ? result : null,
                Activation.NONE,
                result);
        multiply(product, 0, shape.m(), 0, shape.n());
    }

    /** The transposed copy, whose rows are as a panel wants them. */
    @Override
    Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw) {
        Weight weight = new Weight(target, type, n, k, n * k * type.bytes(), 0);
        for (long j = 0; j < n; j++) {
            for (long p = 0; p < k; p++) {
                if (type == DType.F32) {
                    float value = w.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, j * ldw + p);
                    weight.data.setAtIndex(ValueLayout.JAVA_FLOAT, p * n + j, value);
                } else {
                    double value = w.getAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, j * ldw + p);
                    weight.data.setAtIndex(ValueLayout.JAVA_DOUBLE, p * n + j, value);
                }
            }
        }
        return weight;
    }

    /** Packed blocks of A and B and one tile of C, for one element type. Offsets and strides are in elements. */
    abstract static class Tiles {
        static final int ROWS = 4;

        /** Columns of a tile and of a panel of B. */
        final int width;

        Tiles(int width) {
            this.width = width;
        }

        static int panelElements(int width) {
            return (int) ((COLUMNS + width - 1) / width * width * DEPTH);
        }

        abstract void packA(MemorySegment a, long offset, long rowStride, long columnStride, int rows, int depth);

        abstract void packB(MemorySegment b, long offset, long rowStride, long columnStride, int depth, int columns);

        /** The tile becomes the product of the packed rows of A and a panel of B. */
        abstract void multiply(int depth, int panel);

        /**
         * Adds the tile to what C holds, or in the first pass to the addend and the bias.
         *
         * @param row where the tile begins in C
         * @param rows of the tile that exist
         */
        abstract void store(Product to, long row, long column, int rows, int columns, boolean first, boolean gelu);
    }

    /** f32 in scalars: sixteen sums in registers. A subclass may have wider tiles. */
    static class FloatTiles extends Tiles {
        private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

        /** {@code [depth][ROWS]}; missing rows are zero. */
        final float[] a = new float[(int) DEPTH * ROWS];
        /** {@code [panel][depth][width]}; missing columns are zero. */
        final float[] b;
        /** {@code [ROWS][width]}. */
        final float[] tile;

        FloatTiles(int width) {
            super(width);
            b = new float[panelElements(width)];
            tile = new float[ROWS * width];
        }

        @Override
        void packA(MemorySegment from, long offset, long rowStride, long columnStride, int rows, int depth) {
            for (int r = 0; r < ROWS; r++) {
                for (int p = 0; p < depth; p++) {
                    a[p * ROWS + r] = r < rows ? from.getAtIndex(FLOAT, offset + r * rowStride + p * columnStride) : 0;
                }
            }
        }

        @Override
        void packB(MemorySegment from, long offset, long rowStride, long columnStride, int depth, int columns) {
            for (int start = 0; start < columns; start += width) {
                for (int p = 0; p < depth; p++) {
                    int to = start * depth + p * width;
                    long row = offset + p * rowStride;
                    for (int j = start; j < start + width; j++) {
                        b[to + j - start] = j < columns ? from.getAtIndex(FLOAT, row + j * columnStride) : 0;
                    }
                }
            }
        }

        @Override
        void multiply(int depth, int panel) {
            float c00 = 0;
            float c01 = 0;
            float c02 = 0;
            float c03 = 0;
            float c10 = 0;
            float c11 = 0;
            float c12 = 0;
            float c13 = 0;
            float c20 = 0;
            float c21 = 0;
            float c22 = 0;
            float c23 = 0;
            float c30 = 0;
            float c31 = 0;
            float c32 = 0;
            float c33 = 0;
            int row = panel * 4 * depth;
            for (int p = 0; p < 4 * depth; p += 4, row += 4) {
                float b0 = b[row];
                float b1 = b[row + 1];
                float b2 = b[row + 2];
                float b3 = b[row + 3];
                float a0 = a[p];
                c00 += a0 * b0;
                c01 += a0 * b1;
                c02 += a0 * b2;
                c03 += a0 * b3;
                float a1 = a[p + 1];
                c10 += a1 * b0;
                c11 += a1 * b1;
                c12 += a1 * b2;
                c13 += a1 * b3;
                float a2 = a[p + 2];
                c20 += a2 * b0;
                c21 += a2 * b1;
                c22 += a2 * b2;
                c23 += a2 * b3;
                float a3 = a[p + 3];
                c30 += a3 * b0;
                c31 += a3 * b1;
                c32 += a3 * b2;
                c33 += a3 * b3;
            }
            tile[0] = c00;
            tile[1] = c01;
            tile[2] = c02;
            tile[3] = c03;
            tile[4] = c10;
            tile[5] = c11;
            tile[6] = c12;
            tile[7] = c13;
            tile[8] = c20;
            tile[9] = c21;
            tile[10] = c22;
            tile[11] = c23;
            tile[12] = c30;
            tile[13] = c31;
            tile[14] = c32;
            tile[15] = c33;
        }

        @Override
        void store(Product to, long row, long column, int rows, int columns, boolean first, boolean gelu) {
            MemorySegment addend = first ? to.addend() : to.c();
            MemorySegment bias = first ? to.bias() : null;
            MemorySegment c = to.c();
            for (int r = 0; r < rows; r++) {
                long at = (row + r) * to.shape().ldc() + column;
                for (int j = 0; j < columns; j++) {
                    float value = tile[r * width + j];
                    if (addend != null) {
                        value += addend.getAtIndex(FLOAT, at + j);
                    }
                    if (bias != null) {
                        value += bias.getAtIndex(FLOAT, column + j);
                    }
                    c.setAtIndex(FLOAT, at + j, gelu ? Erf.gelu(value) : value);
                }
            }
        }
    }

    /** f64 in scalars: sixteen sums in registers. */
    static final class DoubleTiles extends Tiles {
        private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
        private static final int WIDTH = 4;

        private final double[] a = new double[(int) DEPTH * ROWS];
        private final double[] b = new double[panelElements(WIDTH)];
        private final double[] tile = new double[ROWS * WIDTH];

        DoubleTiles() {
            super(WIDTH);
        }

        @Override
        void packA(MemorySegment from, long offset, long rowStride, long columnStride, int rows, int depth) {
            for (int r = 0; r < ROWS; r++) {
                for (int p = 0; p < depth; p++) {
                    a[p * ROWS + r] = r < rows ? from.getAtIndex(DOUBLE, offset + r * rowStride + p * columnStride) : 0;
                }
            }
        }

        @Override
        void packB(MemorySegment from, long offset, long rowStride, long columnStride, int depth, int columns) {
            for (int start = 0; start < columns; start += WIDTH) {
                for (int p = 0; p < depth; p++) {
                    int to = start * depth + p * WIDTH;
                    long row = offset + p * rowStride;
                    for (int j = start; j < start + WIDTH; j++) {
                        b[to + j - start] = j < columns ? from.getAtIndex(DOUBLE, row + j * columnStride) : 0;
                    }
                }
            }
        }

        @Override
        void multiply(int depth, int panel) {
            double c00 = 0;
            double c01 = 0;
            double c02 = 0;
            double c03 = 0;
            double c10 = 0;
            double c11 = 0;
            double c12 = 0;
            double c13 = 0;
            double c20 = 0;
            double c21 = 0;
            double c22 = 0;
            double c23 = 0;
            double c30 = 0;
            double c31 = 0;
            double c32 = 0;
            double c33 = 0;
            int row = panel * 4 * depth;
            for (int p = 0; p < 4 * depth; p += 4, row += 4) {
                double b0 = b[row];
                double b1 = b[row + 1];
                double b2 = b[row + 2];
                double b3 = b[row + 3];
                double a0 = a[p];
                c00 += a0 * b0;
                c01 += a0 * b1;
                c02 += a0 * b2;
                c03 += a0 * b3;
                double a1 = a[p + 1];
                c10 += a1 * b0;
                c11 += a1 * b1;
                c12 += a1 * b2;
                c13 += a1 * b3;
                double a2 = a[p + 2];
                c20 += a2 * b0;
                c21 += a2 * b1;
                c22 += a2 * b2;
                c23 += a2 * b3;
                double a3 = a[p + 3];
                c30 += a3 * b0;
                c31 += a3 * b1;
                c32 += a3 * b2;
                c33 += a3 * b3;
            }
            tile[0] = c00;
            tile[1] = c01;
            tile[2] = c02;
            tile[3] = c03;
            tile[4] = c10;
            tile[5] = c11;
            tile[6] = c12;
            tile[7] = c13;
            tile[8] = c20;
            tile[9] = c21;
            tile[10] = c22;
            tile[11] = c23;
            tile[12] = c30;
            tile[13] = c31;
            tile[14] = c32;
            tile[15] = c33;
        }

        @Override
        void store(Product to, long row, long column, int rows, int columns, boolean first, boolean gelu) {
            MemorySegment addend = first ? to.addend() : to.c();
            MemorySegment bias = first ? to.bias() : null;
            MemorySegment c = to.c();
            for (int r = 0; r < rows; r++) {
                long at = (row + r) * to.shape().ldc() + column;
                for (int j = 0; j < columns; j++) {
                    double value = tile[r * WIDTH + j];
                    if (addend != null) {
                        value += addend.getAtIndex(DOUBLE, at + j);
                    }
                    if (bias != null) {
                        value += bias.getAtIndex(DOUBLE, column + j);
                    }
                    c.setAtIndex(DOUBLE, at + j, gelu ? Erf.gelu(value) : value);
                }
            }
        }
    }
}
