package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

/** Matrix products by oneDNN in f32, each call on one thread; f64, which oneDNN does not have on CPUs, goes to Java. */
final class OneDnnGemm extends Gemm {
    private static final int F32 = OneDnnProducts.types(OneDnn.F32, OneDnn.F32, OneDnn.F32);

    /** Fewest rows of a product for which B is copied; of 392 the copy takes a tenth of the time, and the convolution saves two. */
    private static final long ROWS_OF_COPIES = 256;

    /** Elements of B below which a second thread is not worth its waking. */
    private static final long COPIED_FOR_A_THREAD = 1 << 14;

    private static final boolean CONVOLUTIONS = OneDnn.isLimitedToAvx2();

    /** Bytes of a block of rows that are still in the second-level cache when their GELU is computed. */
    private static final long GELU_BYTES = 1 << 18;
    /** Rows of a block; with fewer, products get slower. */
    private static final long LEAST_GELU_ROWS = 48;

    /**
     * Most terms and columns of a block of B where vectors are short and B is not transposed: oneDNN goes through B once for each few rows,
     * and a third slower where it does not stay in the caches.
     */
    private static final long TERMS = 384;

    private static final long COLUMNS = 128;
    /** The same where A is transposed, of which oneDNN copies a block. */
    private static final long TERMS_OF_COLUMNS = 208;

    private static final long COLUMNS_OF_COLUMNS = 384;
    /** f32 of a cache line. */
    private static final long LINE = 16;

    private final JavaGemm java;
    private final @Nullable Gelu gelu;

    /** @param gelu what products leave their GELU to, or null */
    OneDnnGemm(Workers workers, HostMemory memory, @Nullable Gelu gelu) {
        super(workers, memory);
        this.java = new JavaGemm(workers, memory);
        this.gelu = gelu;
    }

    /**
     * By a convolution, where that is faster than the product of plain matrices. B is copied by all threads before they share the rows: on
     * many threads each has few rows, for which a copy of its own would take longer than it saves.
     */
    @Override
    void byRows(Workers threads, Product whole) {
        if (!copies(whole)) {
            super.byRows(threads, whole);
            return;
        }
        MatmulShape shape = whole.shape();
        long n = shape.n();
        long k = shape.k();
        long layout = OneDnn.pixelWeightsDescInBlocks(OneDnn.F32, n, k);
        try (Scratch scratch = Scratch.borrow()) {
            MemorySegment copy = scratch.floats(n * k);
            threads.parallelFor(
                    n / OneDnnProducts.BLOCK,
                    Math.max(1, COPIED_FOR_A_THREAD / (OneDnnProducts.BLOCK * k)),
                    (worker, from, to) -> OneDnnProducts.copyInBlocks(
                            shape, whole.b(), OneDnnProducts.BLOCK * from, OneDnnProducts.BLOCK * to, copy));
            Product copied = new Product(
                    whole.type(),
                    new MatmulShape(false, false, shape.m(), n, k, k, n, n),
                    whole.a(),
                    copy,
                    layout,
                    whole.bias(),
                    whole.addend(),
                    whole.activation(),
                    whole.c());
            threads.parallelFor(shape.m(), grain(n, k), (worker, from, to) -> multiply(copied, from, to, 0, n));
        } finally {
            OneDnn.memoryDescDestroy(layout);
        }
    }

    @Override
    boolean copies(Product whole) {
        MatmulShape shape = whole.shape();
        return whole.layout() == 0
                && whole.type() == DType.F32
                && shape.m() >= ROWS_OF_COPIES
                && shape.k() > 0
                && !shape.transposeA()
                && shape.lda() == shape.k()
                && shape.ldc() == shape.n()
                && packedTypes(shape.n(), shape.k()) != F32;
    }

    @Override
    void multiply(Product product, long fromRow, long toRow, long fromColumn, long toColumn) {
        if (product.layout() == 0
                && (product.type() != DType.F32 || product.shape().k() == 0)) {
            java.multiply(product, fromRow, toRow, fromColumn, toColumn);
            return;
        }
        Gelu own = gelu;
        int types = product.layout() == 0
                ? F32
                : packedTypes(product.shape().n(), product.shape().k());
        if (own == null) {
            OneDnnProducts.run(types, product, product.activation(), fromRow, toRow, fromColumn, toColumn);
            return;
        }
        boolean whole = product.activation() != Activation.GELU;
        long columns = toColumn - fromColumn;
        long blocks = whole
                ? 1
                : Blocks.ceilDiv(toRow - fromRow, Math.max(LEAST_GELU_ROWS, GELU_BYTES / (columns * Float.BYTES)));
        long each = Blocks.ceilDiv(toRow - fromRow, blocks);
        for (long row = fromRow; row < toRow; row += each) {
            long end = Math.min(toRow, row + each);
            if (product.layout() == 0 && !product.shape().transposeB()) {
                inBlocks(product, row, end, fromColumn, toColumn);
            } else {
                OneDnnProducts.run(types, product, Activation.NONE, row, end, fromColumn, toColumn);
            }
            for (long r = row; r < end && !whole; r++) {
                own.of(product.c(), r * product.shape().ldc() + fromColumn, Math.toIntExact(columns));
            }
        }
    }

    /** A product without its activation, in blocks of B that its rows share in the second-level cache. */
    private static void inBlocks(Product product, long fromRow, long toRow, long fromColumn, long toColumn) {
        MatmulShape shape = product.shape();
        long terms = equal(shape.k(), shape.transposeA() ? TERMS_OF_COLUMNS : TERMS);
        long columns = equal(toColumn - fromColumn, shape.transposeA() ? COLUMNS_OF_COLUMNS : COLUMNS);
        for (long column = fromColumn; column < toColumn; column += columns) {
            long endColumn = Math.min(toColumn, column + columns);
            for (long term = 0; term < shape.k(); term += terms) {
                long endTerm = Math.min(shape.k(), term + terms);
                OneDnnProducts.run(F32, product, Activation.NONE, fromRow, toRow, column, endColumn, term, endTerm);
            }
        }
    }

    /** The size of equal parts of at most so many, but for the last, in whole cache lines. */
    private static long equal(long count, long most) {
        return Math.min(most, Blocks.ceilDiv(Blocks.ceilDiv(count, Blocks.ceilDiv(count, most)), LINE) * LINE);
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
        OneDnnProducts.tile(F32, DType.F32, shape, a, fromA, b, fromB, add, c, fromC);
    }

    /** Types and way of products with a packed weight. */
    private static int packedTypes(long n, long k) {
        boolean blocks = n % OneDnnProducts.BLOCK == 0 && k % OneDnnProducts.BLOCK == 0;
        return CONVOLUTIONS && blocks ? F32 | OneDnnProducts.POINTWISE : F32;
    }

    @Override
    Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw) {
        if (type != DType.F32 || n == 0 || k == 0) {
            return java.packed(target, type, n, k, w, ldw);
        }
        return OneDnnProducts.packed(packedTypes(n, k), target, type, n, k, 0, OneDnn.F32, w, ldw);
    }
}
