package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.natives.NativeFinding;
import tessera.natives.onednn.OneDnn;

/**
 * Matrix products on the CPU, row-major, on any native memory.
 *
 * <p>{@code C = act(op(A) op(B) + bias + addend)}. The addend is laid out as C and is C itself or another matrix; else C must
 * not overlap what is read. Any of m, n and k may be zero.
 *
 * <p>The same arguments, memory alignment and number of threads give the same bits every time. Thread-safe.
 */
public abstract sealed class Gemm permits OneDnnGemm, JavaGemm {
    /** Multiply-adds below which a second thread costs more than it brings. */
    public static final long WORTH_A_THREAD = 200_000;

    /** The calling thread alone. */
    private static final Workers ALONE = new Workers(1);

    private final Workers workers;
    private final HostMemory memory;

    /** @param memory where packed weights lie */
    Gemm(Workers workers, HostMemory memory) {
        this.workers = workers;
        this.memory = memory;
    }

    /** oneDNN where it can be loaded, plain Java otherwise; the first call that falls back logs the reason. */
    public static Gemm create(Workers workers, HostMemory memory) {
        return create(workers, memory, null);
    }

    /**
     * The same.
     *
     * @param gelu what oneDNN's f32 products leave their GELU to; null where oneDNN computes it itself
     */
    public static Gemm create(Workers workers, HostMemory memory, @Nullable Gelu gelu) {
        if (Fallback.ONE_DNN.usable()) {
            return new OneDnnGemm(workers, memory, gelu);
        }
        return new JavaGemm(workers, memory);
    }

    /** The GELU of n f32 in place, from element {@code start} on; makes no object. */
    @FunctionalInterface
    public interface Gelu {
        void of(MemorySegment y, long start, int n);
    }

    private static final class Fallback {
        static final NativeFinding ONE_DNN = OneDnn.finding();

        static {
            if (!ONE_DNN.usable()) {
                System.getLogger("tessera.kernels")
                        .log(System.Logger.Level.WARNING, "matrix products run in plain Java: {0}", ONE_DNN.toString());
            }
        }
    }

    /**
     * One product: where its parts lie, in which type and shape.
     *
     * @param type {@link DType#F32} or {@link DType#F64}
     * @param layout oneDNN's descriptor of a packed b, or 0 where b is a plain matrix
     * @param bias {@code [n]} or null
     */
    record Product(
            DType type,
            MatmulShape shape,
            MemorySegment a,
            MemorySegment b,
            long layout,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment c) {}

    /**
     * The product on all workers.
     *
     * @param type {@link DType#F32} or {@link DType#F64}
     * @param bias {@code [n]} or null
     * @throws IllegalArgumentException for another type, a leading dimension below the row length, or memory that is too
     *     small or on the heap
     */
    final void gemm(
            DType type,
            MatmulShape shape,
            MemorySegment a,
            MemorySegment b,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment c) {
        check(type, shape, a, b, bias, addend, c);
        long m = shape.m();
        long n = shape.n();
        long k = shape.k();
        if (m == 0 || n == 0) {
            return;
        }
        Product whole = new Product(type, shape, a, b, 0, bias, addend, activation, c);
        if (m >= n || m >= 16L * workers.threads() || copies(whole)) {
            byRows(workers, whole);
        } else {
            // Cuts at multiples of 16 columns keep vector stores whole.
            workers.repeatableFor(
                    (n + 15) / 16,
                    grain(m, 16 * k),
                    (worker, from, to) -> multiply(whole, 0, m, 16 * from, Math.min(16 * to, n)));
        }
    }

    /** All of a product of at least one row and column, of which each thread has some rows. */
    void byRows(Workers threads, Product whole) {
        long n = whole.shape.n();
        threads.repeatableFor(
                whole.shape.m(), grain(n, whole.shape.k()), (worker, from, to) -> multiply(whole, from, to, 0, n));
    }

    /** Whether {@link #byRows} copies B first, after which the sums have other bits. */
    boolean copies(Product whole) {
        return false;
    }

    /** The product on the calling thread alone, for use inside a loop of {@link Workers}. Arguments as for {@link #gemm}. */
    public final void gemmSerial(
            DType type,
            MatmulShape shape,
            MemorySegment a,
            MemorySegment b,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment c) {
        check(type, shape, a, b, bias, addend, c);
        if (shape.m() > 0 && shape.n() > 0) {
            byRows(ALONE, new Product(type, shape, a, b, 0, bias, addend, activation, c));
        }
    }

    /**
     * {@code C = op(A) op(B)} in f32 on the calling thread, for use inside a loop of {@link Workers}: where oneDNN multiplies, nothing is
     * allocated. Sizes are positive.
     *
     * @param fromA element of {@code a} where A begins; so for b and c
     * @param add whether the product is added to what C holds
     * @throws IllegalArgumentException for a leading dimension below the row length, or a matrix that does not lie within its memory
     */
    public final void tile(
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC) {
        checkTile(DType.F32, shape, a, fromA, b, fromB, DType.F32, c, fromC);
        multiplyTile(shape, a, fromA, b, fromB, add, c, fromC);
    }

    /**
     * Copies the weight {@code [n, k]} of a linear layer into the layout this implementation likes best. The copy is
     * immutable, usable by many threads at once, and belongs to the caller, who closes it.
     */
    final Weight pack(DType type, long n, long k, MemorySegment w, long ldw) {
        checkType(type);
        checkMatrix(type, "w", n, k, w, ldw);
        return packed(memory, type, n, k, w, ldw);
    }

    /**
     * {@code y = act(x W^T + bias + addend)} with x {@code [m, k]} and y {@code [m, n]}, both without gaps, on all workers.
     */
    final void linear(
            long m,
            MemorySegment x,
            Weight weight,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment y) {
        DType type = weight.type;
        long n = weight.n;
        checkMatrix(type, "x", m, weight.k, x, weight.k);
        checkMatrix(type, "y", m, n, y, n);
        checkAdded(type, m, n, n, bias, addend);
        if (m == 0 || n == 0) {
            return;
        }
        MatmulShape shape = new MatmulShape(false, false, m, n, weight.k, weight.k, n, n);
        Product whole = new Product(type, shape, x, weight.data, weight.layout, bias, addend, activation, y);
        workers.repeatableFor(m, grain(n, weight.k), (worker, from, to) -> multiply(whole, from, to, 0, n), weight);
    }

    static long grain(long n, long k) {
        return Math.max(1, WORTH_A_THREAD / Math.max(1, n * k));
    }

    /** Some rows and columns of a product, one or more of each, on this thread; arguments were checked, and columns are left out of plain B alone. */
    abstract void multiply(Product product, long fromRow, long toRow, long fromColumn, long toColumn);

    /** As {@link #tile}, whose arguments were checked. */
    abstract void multiplyTile(
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC);

    abstract Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw);

    // ------------------------------------------------------------------------------------------------------ checks

    private static void check(
            DType type,
            MatmulShape s,
            MemorySegment a,
            MemorySegment b,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            MemorySegment c) {
        checkType(type);
        checkTile(type, s, a, 0, b, 0, type, c, 0);
        checkAdded(type, s.m(), s.n(), s.ldc(), bias, addend);
    }

    /** Refuses matrices that do not lie within their memory from these elements on. */
    static void checkTile(
            DType factors,
            MatmulShape s,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            DType result,
            MemorySegment c,
            long fromC) {
        checkMatrix(factors, "a", s.transposeA() ? s.k() : s.m(), s.transposeA() ? s.m() : s.k(), a, fromA, s.lda());
        checkMatrix(factors, "b", s.transposeB() ? s.n() : s.k(), s.transposeB() ? s.k() : s.n(), b, fromB, s.ldb());
        checkMatrix(result, "c", s.m(), s.n(), c, fromC, s.ldc());
    }

    private static void checkType(DType type) {
        if (type != DType.F32 && type != DType.F64) {
            throw new IllegalArgumentException("matmul: type is " + type + " but f32 or f64 is needed; convert first");
        }
    }

    private static void checkMatrix(DType type, String name, long rows, long columns, MemorySegment data, long ld) {
        checkMatrix(type, name, rows, columns, data, 0, ld);
    }

    // Only comparisons on the good path: tiles of an attention come through here every few microseconds.
    private static void checkMatrix(
            DType type, String name, long rows, long columns, MemorySegment data, long from, long ld) {
        if (rows < 0 || columns < 0 || ld < columns) {
            throw new IllegalArgumentException("matmul: " + name + " is [" + rows + ", " + columns + "] with rows " + ld
                    + " elements apart; sizes must not be negative and rows must not overlap");
        }
        if (rows == 0 || columns == 0) {
            return;
        }
        long needed = (from + (rows - 1) * ld + columns) * type.bytes();
        if (from < 0 || !data.isNative() || data.byteSize() < needed) {
            throw new IllegalArgumentException("matmul: " + name + " is [" + rows + ", " + columns + "] with rows " + ld
                    + " elements apart and needs " + needed + " bytes of native memory but has " + data);
        }
    }

    private static void checkAdded(
            DType type, long m, long n, long ldc, @Nullable MemorySegment bias, @Nullable MemorySegment addend) {
        if (bias != null) {
            checkMatrix(type, "bias", 1, n, bias, n);
        }
        if (addend != null) {
            checkMatrix(type, "addend", m, n, addend, ldc);
        }
    }

    // ------------------------------------------------------------------------------------------------------ weight

    /** A linear weight in the layout of one implementation. */
    static final class Weight implements PackedWeight, Workers.Held {
        private static final int CLOSED = 1 << 30;

        final DType type;
        final long n;
        final long k;
        final MemorySegment data;
        /** Descriptor of oneDNN; 0 where oneDNN has no part in it and the data are the transpose, {@code [k, n]}. */
        final long layout;

        private final HostMemory.Block block;
        /** Calls that use the data now, plus {@link #CLOSED} once no new ones may come. */
        private final AtomicInteger uses = new AtomicInteger();

        /** Takes over the layout, if there is memory. */
        Weight(HostMemory memory, DType type, long n, long k, long bytes, long layout) {
            this.type = type;
            this.n = n;
            this.k = k;
            this.block = memory.allocate(bytes);
            this.data = block.segment();
            this.layout = layout;
        }

        @Override
        public long n() {
            return n;
        }

        @Override
        public long k() {
            return k;
        }

        @Override
        public void acquire() {
            int now = uses.get();
            while (now < CLOSED && !uses.compareAndSet(now, now + 1)) {
                now = uses.get();
            }
            if (now >= CLOSED) {
                throw new IllegalStateException("linear: the packed weight [" + n + ", " + k + "] is closed");
            }
        }

        @Override
        public void release() {
            if (uses.decrementAndGet() == CLOSED) {
                free();
            }
        }

        /** Gives the memory back, after the last call that uses it; a second close does nothing. */
        @Override
        public void close() {
            for (int now = uses.get(); now < CLOSED; now = uses.get()) {
                if (uses.compareAndSet(now, now + CLOSED)) {
                    if (now == 0) {
                        free();
                    }
                    return;
                }
            }
        }

        private void free() {
            block.free();
            if (layout != 0) {
                OneDnn.memoryDescDestroy(layout);
            }
        }
    }
}
