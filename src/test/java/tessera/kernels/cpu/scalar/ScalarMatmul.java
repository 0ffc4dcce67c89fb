package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import tessera.kernels.Buffer;
import tessera.kernels.Elementwise;
import tessera.kernels.Matmul;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;
import tessera.kernels.cpu.Workers;

/**
 * Matrix products in plain Java. The output is cut into tiles; each tile is accumulated in double over panels of both inputs
 * that were copied into the cache, so the result does not depend on the number of threads.
 */
public class ScalarMatmul implements Matmul {
    private static final int TILE_ROWS = 64;
    private static final int TILE_COLS = 256;
    private static final int DEPTH = 128;
    private static final Batch ONE = new Batch(1, 0, 0, 0);

    private final Workers workers;
    private final Elementwise elementwise;

    /** @param elementwise adds up the gradient of a bias */
    public ScalarMatmul(Workers workers, Elementwise elementwise) {
        this.workers = workers;
        this.elementwise = elementwise;
    }

    @Override
    public void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        multiply(shape, ONE, a, b, epilogue, c);
    }

    @Override
    public void matmulBatched(MatmulShape shape, Batch batch, Buffer a, Buffer b, Buffer c) {
        multiply(shape, batch, a, b, Epilogue.NONE, c);
    }

    private void multiply(
            MatmulShape shape, Batch batch, Buffer aBuffer, Buffer bBuffer, Epilogue epilogue, Buffer cBuffer) {
        Matrix a = new Matrix(aBuffer, shape.transposeA(), shape.lda(), batch.strideA());
        Matrix b = new Matrix(bBuffer, shape.transposeB(), shape.ldb(), batch.strideB());
        Matrix c = new Matrix(cBuffer, false, shape.ldc(), batch.strideC());
        long rowTiles = Blocks.ceilDiv(shape.m(), TILE_ROWS);
        long colTiles = Blocks.ceilDiv(shape.n(), TILE_COLS);
        workers.parallelFor(batch.count() * rowTiles * colTiles, 1, (worker, from, to) -> {
            Tile tile = new Tile(shape.m(), shape.n(), shape.k());
            for (long t = from; t < to; t++) {
                long i = t % rowTiles * TILE_ROWS;
                long j = t / rowTiles % colTiles * TILE_COLS;
                tile.compute(t / rowTiles / colTiles, i, j, a, b);
                tile.store(epilogue, c);
            }
        });
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        Buffer copy = weight.device().allocate(weight.dtype(), n * k);
        copy.segment().copyFrom(weight.segment().asSlice(0, copy.byteSize()));
        return new Packed(copy, n, k);
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        if (!(weight instanceof Packed packed)) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed for other kernels; pack it by the kernels that use it");
        }
        matmul(MatmulShape.of(false, true, m, packed.n(), packed.k()), x, packed.weight, epilogue, y);
    }

    @Override
    public void linearBackward(LinearShape shape, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        matmul(shape.weightGradient(), dy, x, Epilogue.NONE, dw);
        elementwise.sum(dy, 1, shape.m(), shape.n(), 1, db);
    }

    /** One row-major matrix of each batch, {@code batchStride} elements apart; read as its transpose if so marked. */
    private record Matrix(Buffer buffer, boolean transposed, long rowStride, long batchStride) {
        /** Copies {@code rows x cols} elements from (row, col) on into the first rows of {@code panel}. */
        void load(long batch, long row, long col, int rows, int cols, double[][] panel, double[] scratch) {
            long start = batch * batchStride;
            if (!transposed) {
                for (int i = 0; i < rows; i++) {
                    Elements.load(buffer, start + (row + i) * rowStride + col, cols, panel[i], 0);
                }
                return;
            }
            for (int j = 0; j < cols; j++) {
                Elements.load(buffer, start + (col + j) * rowStride + row, rows, scratch, 0);
                for (int i = 0; i < rows; i++) {
                    panel[i][j] = scratch[i];
                }
            }
        }
    }

    private record Packed(Buffer weight, long n, long k) implements PackedWeight {
        @Override
        public void close() {
            weight.close();
        }
    }

    /** One tile of the output and the panels it is made from; used by one thread. */
    private static final class Tile {
        private final long m;
        private final long n;
        private final long k;
        private final double[][] sums;
        private final double[][] left;
        private final double[][] right;
        private final double[] scratch = new double[Math.max(TILE_COLS, DEPTH)];
        private long batch;
        private long row;
        private long col;
        private int rows;
        private int cols;

        Tile(long m, long n, long k) {
            this.m = m;
            this.n = n;
            this.k = k;
            int maxRows = (int) Math.min(m, TILE_ROWS);
            int maxCols = (int) Math.min(n, TILE_COLS);
            int maxDepth = (int) Math.min(k, DEPTH);
            this.sums = new double[maxRows][maxCols];
            this.left = new double[maxRows][maxDepth];
            this.right = new double[maxDepth][maxCols];
        }

        void compute(long batch, long row, long col, Matrix a, Matrix b) {
            this.batch = batch;
            this.row = row;
            this.col = col;
            rows = (int) Math.min(TILE_ROWS, m - row);
            cols = (int) Math.min(TILE_COLS, n - col);
            for (double[] sum : sums) {
                Arrays.fill(sum, 0);
            }
            for (long p = 0; p < k; p += DEPTH) {
                int depth = (int) Math.min(DEPTH, k - p);
                a.load(batch, row, p, rows, depth, left, scratch);
                b.load(batch, p, col, depth, cols, right, scratch);
                for (int i = 0; i < rows; i++) {
                    addRow(i, depth);
                }
            }
        }

        /** All arrays are indexed by j alone, which lets the compiler use vector instructions. */
        private void addRow(int i, int depth) {
            double[] a = left[i];
            double[] sum = sums[i];
            int p = 0;
            for (; p + 4 <= depth; p += 4) {
                double a0 = a[p];
                double a1 = a[p + 1];
                double a2 = a[p + 2];
                double a3 = a[p + 3];
                double[] b0 = right[p];
                double[] b1 = right[p + 1];
                double[] b2 = right[p + 2];
                double[] b3 = right[p + 3];
                for (int j = 0; j < cols; j++) {
                    sum[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
                }
            }
            for (; p < depth; p++) {
                double a0 = a[p];
                double[] b0 = right[p];
                for (int j = 0; j < cols; j++) {
                    sum[j] += a0 * b0[j];
                }
            }
        }

        void store(Epilogue epilogue, Matrix c) {
            for (int i = 0; i < rows; i++) {
                double[] sum = sums[i];
                long to = batch * c.batchStride + (row + i) * c.rowStride + col;
                if (epilogue.bias() != null) {
                    Elements.load(epilogue.bias(), col, cols, scratch, 0);
                    add(sum);
                }
                if (epilogue.addend() != null) {
                    Elements.load(epilogue.addend(), to, cols, scratch, 0);
                    add(sum);
                }
                if (epilogue.activation() == Activation.GELU) {
                    for (int j = 0; j < cols; j++) {
                        sum[j] = Erf.gelu(sum[j]);
                    }
                }
                Elements.store(sum, 0, cols, c.buffer, to);
            }
        }

        private void add(double[] sum) {
            for (int j = 0; j < cols; j++) {
                sum[j] += scratch[j];
            }
        }
    }
}
