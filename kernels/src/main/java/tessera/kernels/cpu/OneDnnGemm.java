package tessera.kernels.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

/**
 * Matrix products by oneDNN in f32, each call on one thread; f64, which oneDNN does not have on CPUs, goes to Java.
 *
 * <p>A primitive of oneDNN is made for one shape, and so are the memories it is called with. Both are kept in a
 * {@link Context} that one thread has at a time, so that a call with a known shape only sets addresses.
 */
final class OneDnnGemm extends Gemm {
    /** The number of rows for which a weight's layout is chosen; the layout serves every other number too. */
    private static final long TYPICAL_ROWS = 256;

    private static final long ENGINE = OneDnn.engineCreate();
    private static final Slots<Context> CONTEXTS = new Slots<>(Context::new, Context::close);

    private final JavaGemm java;

    OneDnnGemm(Workers workers, HostMemory memory) {
        super(workers, memory);
        this.java = new JavaGemm(workers, memory);
    }

    @Override
    void product(
            DType type,
            MatmulShape shape,
            MemorySegment a,
            MemorySegment b,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment c) {
        if (type != DType.F32 || shape.k() == 0) {
            java.product(type, shape, a, b, bias, addend, activation, c);
            return;
        }
        int form = (shape.transposeA() ? Product.TRANSPOSE_A : 0)
                | (shape.transposeB() ? Product.TRANSPOSE_B : 0)
                | form(bias, addend, activation, c);
        run(form, shape.m(), shape.n(), shape.k(), a, shape.lda(), b, shape.ldb(), 0, bias, addend, c, shape.ldc());
    }

    @Override
    void product(
            long m,
            MemorySegment x,
            long ldx,
            Weight weight,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment y,
            long ldy) {
        if (weight.layout == 0) {
            java.product(m, x, ldx, weight, bias, addend, activation, y, ldy);
            return;
        }
        int form = Product.PACKED_B | form(bias, addend, activation, y);
        run(form, m, weight.n, weight.k, x, ldx, weight.data, 0, weight.layout, bias, addend, y, ldy);
    }

    private static int form(
            @Nullable MemorySegment bias, @Nullable MemorySegment addend, Activation activation, MemorySegment c) {
        int added = addend == null ? 0 : addend.address() == c.address() ? Product.ACCUMULATE : Product.ADDEND;
        return added | (bias != null ? Product.BIAS : 0) | (activation == Activation.GELU ? Product.GELU : 0);
    }

    private static void run(
            int form,
            long m,
            long n,
            long k,
            MemorySegment a,
            long lda,
            MemorySegment b,
            long ldb,
            long layoutB,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            MemorySegment c,
            long ldc) {
        Context context = CONTEXTS.borrow();
        int threads = OneDnn.threads();
        if (threads != 1) {
            OneDnn.setThreads(1);
        }
        try {
            Product product = context.product(form, m, n, k, lda, ldb, layoutB, ldc);
            product.execute(context, a.address(), b.address(), address(bias), address(addend), c.address());
        } finally {
            if (threads != 1) {
                OneDnn.setThreads(threads);
            }
            CONTEXTS.giveBack(context);
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(c);
            Reference.reachabilityFence(bias);
            Reference.reachabilityFence(addend);
        }
    }

    private static long address(@Nullable MemorySegment data) {
        return data == null ? 0 : data.address();
    }

    @Override
    Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw) {
        if (type != DType.F32 || n == 0 || k == 0) {
            return java.packed(target, type, n, k, w, ldw);
        }
        int threads = OneDnn.threads();
        OneDnn.setThreads(1);
        Context context = CONTEXTS.borrow();
        try {
            long layout = favouriteLayout(n, k);
            Weight weight = new Weight(target, type, n, k, OneDnn.memoryDescSize(layout), layout);
            long stored = OneDnn.matrixDesc(k, n, 1, ldw);
            long attr = OneDnn.attrCreate(false, 0, false);
            long desc = OneDnn.reorderDescCreate(stored, layout, ENGINE, attr);
            long reorder = OneDnn.primitiveCreate(desc);
            long from = OneDnn.memoryCreate(stored, ENGINE, w.address());
            long to = OneDnn.memoryCreate(layout, ENGINE, weight.data.address());
            long scratch = OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_SCRATCHPAD);
            long scratchMemory = OneDnn.memoryCreate(scratch, ENGINE, context.scratch(OneDnn.memoryDescSize(scratch)));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment args =
                        arguments(arena, new int[] {OneDnn.ARG_SRC, OneDnn.ARG_DST, OneDnn.ARG_SCRATCHPAD}, new long[] {
                            from, to, scratchMemory
                        });
                OneDnn.primitiveExecute(reorder, context.stream, 3, args.address());
            }
            OneDnn.memoryDestroy(scratchMemory);
            OneDnn.memoryDestroy(from);
            OneDnn.memoryDestroy(to);
            OneDnn.primitiveDestroy(reorder);
            OneDnn.primitiveDescDestroy(desc);
            OneDnn.attrDestroy(attr);
            OneDnn.memoryDescDestroy(stored);
            return weight;
        } finally {
            CONTEXTS.giveBack(context);
            OneDnn.setThreads(threads);
            Reference.reachabilityFence(w);
        }
    }

    private static long favouriteLayout(long n, long k) {
        long source = OneDnn.matrixDesc(TYPICAL_ROWS, k, k, 1);
        long weights = OneDnn.matrixDescAny(k, n);
        long destination = OneDnn.matrixDesc(TYPICAL_ROWS, n, n, 1);
        long attr = OneDnn.attrCreate(false, 0, false);
        long desc = OneDnn.matmulDescCreate(ENGINE, source, weights, 0, destination, attr);
        long layout = OneDnn.memoryDescClone(OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_WEIGHTS));
        OneDnn.primitiveDescDestroy(desc);
        OneDnn.attrDestroy(attr);
        OneDnn.memoryDescDestroy(source);
        OneDnn.memoryDescDestroy(weights);
        OneDnn.memoryDescDestroy(destination);
        return layout;
    }

    private static MemorySegment arguments(Arena arena, int[] numbers, long[] memories) {
        MemorySegment args = arena.allocate(numbers.length * OneDnn.EXEC_ARG_BYTES, 8);
        for (int i = 0; i < numbers.length; i++) {
            args.set(ValueLayout.JAVA_INT, i * OneDnn.EXEC_ARG_BYTES, numbers[i]);
            args.set(ValueLayout.JAVA_LONG, i * OneDnn.EXEC_ARG_BYTES + 8, memories[i]);
        }
        return args;
    }

    /** What one thread needs at a time: a stream, scratch memory and the products it has made. */
    private static final class Context {
        private static final int SETS = 64;
        private static final int WAYS = 8;

        final long stream = OneDnn.streamCreate(ENGINE);
        private final @Nullable Product[] products = new @Nullable Product[SETS * WAYS];
        private final int[] oldest = new int[SETS];
        private MemorySegment scratch = MemorySegment.NULL;

        /** The product of this shape, made when it is not there; makes room by dropping the oldest of its set. */
        Product product(int form, long m, long n, long k, long lda, long ldb, long layoutB, long ldc) {
            long hash = ((((m * 31 + n) * 31 + k) * 31 + lda) * 31 + ldb) * 31 + ldc;
            hash = (hash * 128 + form) * 0x9E3779B97F4A7C15L;
            int set = (int) (hash >>> 58);
            for (int i = set * WAYS; i < set * WAYS + WAYS; i++) {
                Product product = products[i];
                if (product == null) {
                    product = new Product(form, m, n, k, lda, ldb, layoutB, ldc);
                    products[i] = product;
                    return product;
                }
                if (product.is(form, m, n, k, lda, ldb, ldc)) {
                    return product;
                }
            }
            int victim = set * WAYS + oldest[set];
            oldest[set] = (oldest[set] + 1) % WAYS;
            Product made = new Product(form, m, n, k, lda, ldb, layoutB, ldc);
            Product dropped = products[victim];
            products[victim] = made;
            if (dropped != null) {
                dropped.close();
            }
            return made;
        }

        long scratch(long bytes) {
            if (scratch.byteSize() < bytes) {
                scratch = Arena.ofAuto().allocate(bytes, 64);
            }
            return scratch.address();
        }

        void close() {
            for (Product product : products) {
                if (product != null) {
                    product.close();
                }
            }
            OneDnn.streamDestroy(stream);
        }
    }

    /** A matmul primitive of one shape with the memories it is called with. */
    private static final class Product {
        static final int TRANSPOSE_A = 1;
        static final int TRANSPOSE_B = 2;
        static final int PACKED_B = 4;
        static final int BIAS = 8;
        static final int GELU = 16;
        static final int ACCUMULATE = 32;
        static final int ADDEND = 64;

        private final int form;
        private final long m;
        private final long n;
        private final long k;
        private final long lda;
        private final long ldb;
        private final long ldc;

        private final long primitive;
        private final long source;
        private final long weights;
        private final long destination;
        private final long scratch;
        private final long bias;
        private final long addend;
        private final long scratchBytes;
        private final Arena arena = Arena.ofShared();
        private final MemorySegment args;
        private final int argCount;

        Product(int form, long m, long n, long k, long lda, long ldb, long layoutB, long ldc) {
            this.form = form;
            this.m = m;
            this.n = n;
            this.k = k;
            this.lda = lda;
            this.ldb = ldb;
            this.ldc = ldc;
            long a = has(TRANSPOSE_A) ? OneDnn.matrixDesc(m, k, 1, lda) : OneDnn.matrixDesc(m, k, lda, 1);
            long b = has(PACKED_B)
                    ? OneDnn.memoryDescClone(layoutB)
                    : has(TRANSPOSE_B) ? OneDnn.matrixDesc(k, n, 1, ldb) : OneDnn.matrixDesc(k, n, ldb, 1);
            long c = OneDnn.matrixDesc(m, n, ldc, 1);
            long row = has(BIAS) ? OneDnn.matrixDesc(1, n, n, 1) : 0;
            long attr = OneDnn.attrCreate(has(ACCUMULATE), has(ADDEND) ? c : 0, has(GELU));
            long desc = OneDnn.matmulDescCreate(ENGINE, a, b, row, c, attr);
            long pad = OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_SCRATCHPAD);
            primitive = OneDnn.primitiveCreate(desc);
            source = OneDnn.memoryCreate(a, ENGINE, 0);
            weights = OneDnn.memoryCreate(b, ENGINE, 0);
            destination = OneDnn.memoryCreate(c, ENGINE, 0);
            bias = row == 0 ? 0 : OneDnn.memoryCreate(row, ENGINE, 0);
            addend = has(ADDEND) ? OneDnn.memoryCreate(c, ENGINE, 0) : 0;
            scratchBytes = OneDnn.memoryDescSize(pad);
            scratch = OneDnn.memoryCreate(pad, ENGINE, 0);
            OneDnn.primitiveDescDestroy(desc);
            OneDnn.attrDestroy(attr);
            OneDnn.memoryDescDestroy(a);
            OneDnn.memoryDescDestroy(b);
            OneDnn.memoryDescDestroy(c);
            if (row != 0) {
                OneDnn.memoryDescDestroy(row);
            }
            int[] numbers = {OneDnn.ARG_SRC, OneDnn.ARG_WEIGHTS, OneDnn.ARG_DST, OneDnn.ARG_SCRATCHPAD, 0, 0};
            long[] memories = {source, weights, destination, scratch, 0, 0};
            int count = 4;
            if (bias != 0) {
                numbers[count] = OneDnn.ARG_BIAS;
                memories[count++] = bias;
            }
            if (addend != 0) {
                numbers[count] = OneDnn.ARG_ADDEND;
                memories[count++] = addend;
            }
            argCount = count;
            args = arguments(arena, numbers, memories);
        }

        private boolean has(int bit) {
            return (form & bit) != 0;
        }

        boolean is(int form, long m, long n, long k, long lda, long ldb, long ldc) {
            return this.form == form
                    && this.m == m
                    && this.n == n
                    && this.k == k
                    && this.lda == lda
                    && this.ldb == ldb
                    && this.ldc == ldc;
        }

        void execute(
                Context context, long aAddress, long bAddress, long biasAddress, long addendAddress, long cAddress) {
            OneDnn.memorySetAddress(source, aAddress);
            OneDnn.memorySetAddress(weights, bAddress);
            OneDnn.memorySetAddress(destination, cAddress);
            if (bias != 0) {
                OneDnn.memorySetAddress(bias, biasAddress);
            }
            if (addend != 0) {
                OneDnn.memorySetAddress(addend, addendAddress);
            }
            if (scratchBytes != 0) {
                OneDnn.memorySetAddress(scratch, context.scratch(scratchBytes));
            }
            OneDnn.primitiveExecute(primitive, context.stream, argCount, args.address());
        }

        void close() {
            OneDnn.primitiveDestroy(primitive);
            OneDnn.memoryDestroy(source);
            OneDnn.memoryDestroy(weights);
            OneDnn.memoryDestroy(destination);
            OneDnn.memoryDestroy(scratch);
            if (bias != 0) {
                OneDnn.memoryDestroy(bias);
            }
            if (addend != 0) {
                OneDnn.memoryDestroy(addend);
            }
            arena.close();
        }
    }
}
