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
 * Products of two matrices by oneDNN, each call on the calling thread, of the types that oneDNN multiplies: f32, bf16, and u8 with
 * s8.
 *
 * <p>A primitive of oneDNN is made for one shape, and so are the memories it is called with. Both are kept in a
 * {@link Context} that one thread has at a time, so that a call with a known shape only sets addresses.
 */
final class OneDnnProducts {
    /** The number of rows for which a weight's layout is chosen; the layout serves every other number too. */
    private static final long TYPICAL_ROWS = 256;
    /** Bytes of a cache line. */
    private static final long LINE = 64;

    private static final long ENGINE = OneDnn.engineCreate();
    private static final Slots<Context> CONTEXTS = new Slots<>(Context::new, Context::close);

    private OneDnnProducts() {}

    /**
     * With the types of a product by {@link #linear}: it is made as the convolution of single pixels. With AVX2 oneDNN keeps a weight of bytes
     * laid out for it, which its matmul lays out anew in each call, and its loops for f32 take .8 to .9 of its matmul's time. In f32 outputs
     * and inputs are multiples of {@value #BLOCK}: for others there is only oneDNN's reference, a thousand times slower.
     */
    static final int POINTWISE = 1 << 20;

    /** Outputs and inputs of a block of an f32 weight of a convolution. */
    static final int BLOCK = 8;

    // Types lie above the bits of a primitive's form, four bits each.

    /** Types of A, B and C, by oneDNN's numbers. */
    static int types(int a, int b, int c) {
        return a << 8 | b << 12 | c << 16;
    }

    private static int typeA(int types) {
        return types >> 8 & 15;
    }

    private static int typeB(int types) {
        return types >> 12 & 15;
    }

    private static int typeC(int types) {
        return types >> 16 & 15;
    }

    /**
     * Runs a product of at least one row, column and term.
     *
     * @param types of A, B and C; a product's own type does not count
     */
    static void run(int types, Gemm.Product product) {
        run(
                types,
                product,
                product.activation(),
                0,
                product.shape().m(),
                0,
                product.shape().n());
    }

    /**
     * Some rows and columns of a product, one or more; where these are not all, A, B, the addend and C have the product's own type, and
     * where columns are left out B is not packed.
     *
     * @param activation in place of the product's own
     */
    static void run(
            int types,
            Gemm.Product product,
            Activation activation,
            long fromRow,
            long toRow,
            long fromColumn,
            long toColumn) {
        run(
                types,
                product,
                activation,
                fromRow,
                toRow,
                fromColumn,
                toColumn,
                0,
                product.shape().k());
    }

    /**
     * The same of some terms of its sums, of which the first begin with the bias and the addend, and later ones are added to what C
     * holds; where they are not all, B is not packed.
     */
    static void run(
            int types,
            Gemm.Product product,
            Activation activation,
            long fromRow,
            long toRow,
            long fromColumn,
            long toColumn,
            long fromTerm,
            long toTerm) {
        MatmulShape shape = product.shape();
        MemorySegment bias = fromTerm == 0 ? product.bias() : null;
        MemorySegment addend = fromTerm == 0 ? product.addend() : product.c();
        long size = product.type().bytes();
        long at = (fromRow * shape.ldc() + fromColumn) * size;
        long a = shape.transposeA() ? fromTerm * shape.lda() + fromRow : fromRow * shape.lda() + fromTerm;
        long b = shape.transposeB() ? fromColumn * shape.ldb() + fromTerm : fromTerm * shape.ldb() + fromColumn;
        try {
            run(
                    transposed(types, shape) | (activation == Activation.GELU ? Primitive.GELU : 0),
                    product.layout(),
                    toRow - fromRow,
                    toColumn - fromColumn,
                    toTerm - fromTerm,
                    shape.lda(),
                    shape.ldb(),
                    shape.ldc(),
                    product.a().address() + a * size,
                    product.b().address() + b * size,
                    bias == null ? 0 : bias.address() + fromColumn * size,
                    addend == null ? 0 : addend.address() + at,
                    0,
                    product.c().address() + at);
        } finally {
            Reference.reachabilityFence(product);
        }
    }

    /**
     * {@code y = act(scales * (x W^T) + bias + addend)} of at least one row, column and term, without gaps. All are addresses, 0 for none;
     * the caller keeps the memory.
     *
     * @param scales f32 {@code [n]}
     * @param addend laid out as y, or y itself
     */
    static void linear(
            int types,
            long m,
            long x,
            Gemm.Weight weight,
            long scales,
            long bias,
            long addend,
            Activation activation,
            long y) {
        run(
                types | (activation == Activation.GELU ? Primitive.GELU : 0),
                weight.layout,
                m,
                weight.n,
                weight.k,
                weight.k,
                weight.n,
                weight.n,
                x,
                weight.data.address(),
                bias,
                addend,
                scales,
                y);
    }

    /**
     * {@code C = op(A) op(B)}, or added to what C holds, of positive sizes. Arguments as {@link Gemm#tile} has them, which the caller has
     * checked; C is f32.
     *
     * @param factors type of A and B
     */
    static void tile(
            int types,
            DType factors,
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC) {
        long result = c.address() + fromC * Float.BYTES;
        try {
            run(
                    transposed(types, shape),
                    0,
                    shape.m(),
                    shape.n(),
                    shape.k(),
                    shape.lda(),
                    shape.ldb(),
                    shape.ldc(),
                    a.address() + fromA * factors.bytes(),
                    b.address() + fromB * factors.bytes(),
                    0,
                    add ? result : 0,
                    0,
                    result);
        } finally {
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(c);
        }
    }

    private static int transposed(int types, MatmulShape shape) {
        return types
                | (shape.transposeA() ? Primitive.TRANSPOSED_A : 0)
                | (shape.transposeB() ? Primitive.TRANSPOSED_B : 0);
    }

    // Numbers alone: nothing is made for a product, of which an attention has one every few microseconds.
    private static void run(
            int typesAndShape,
            long layout,
            long m,
            long n,
            long k,
            long lda,
            long ldb,
            long ldc,
            long a,
            long b,
            long bias,
            long addend,
            long scales,
            long c) {
        int form = typesAndShape
                | (layout != 0 ? Primitive.PACKED_B : 0)
                | (bias != 0 ? Primitive.BIAS : 0)
                | (scales != 0 ? Primitive.SCALES : 0)
                | (addend == 0 ? 0 : addend == c ? Primitive.ACCUMULATE : Primitive.ADDEND);
        Context context = CONTEXTS.borrow();
        int threads = OneDnn.threads();
        if (threads != 1) {
            OneDnn.setThreads(1);
        }
        try {
            context.primitive(form, layout, m, n, k, lda, ldb, ldc).execute(context, a, b, c, bias, addend, scales);
        } finally {
            if (threads != 1) {
                OneDnn.setThreads(threads);
            }
            CONTEXTS.giveBack(context);
        }
    }

    /**
     * A copy of a linear weight in the layout that products like best; the caller's.
     *
     * @param types of the products
     * @param type what the copy calls its elements
     * @param behind bytes that the memory has behind the copy, from the next whole cache line on
     * @param stored type of w, by oneDNN's number
     * @param w {@code [n, k]} of positive sizes with rows {@code ldw} elements apart
     */
    static Gemm.Weight packed(
            int types,
            HostMemory memory,
            DType type,
            long n,
            long k,
            long behind,
            int stored,
            MemorySegment w,
            long ldw) {
        long layout = favouriteLayout(types, n, k);
        Gemm.Weight weight;
        try {
            long bytes = OneDnn.memoryDescSize(layout);
            weight = new Gemm.Weight(memory, type, n, k, lines(bytes) + behind, layout);
        } catch (RuntimeException | Error e) {
            OneDnn.memoryDescDestroy(layout);
            throw e;
        }
        try (Made made = new Made()) {
            long plain = made.keep(
                    isPointwise(types)
                            ? OneDnn.pixelWeightsDesc(stored, n, k, ldw, 1)
                            : OneDnn.matrixDesc(stored, k, n, 1, ldw),
                    OneDnn::memoryDescDestroy);
            copy(plain, w.address(), layout, weight.data.address());
        } catch (RuntimeException | Error e) {
            weight.close();
            throw e;
        } finally {
            Reference.reachabilityFence(w);
        }
        return weight;
    }

    /** Bytes in whole cache lines. */
    static long lines(long bytes) {
        return (bytes + LINE - 1) / LINE * LINE;
    }

    /**
     * Copies outputs of a plain B of f32 into the layout of {@link OneDnn#pixelWeightsDescInBlocks}, on this thread. All their numbers, and
     * that of the inputs, are multiples of {@link #BLOCK}.
     *
     * @param shape of the product
     * @param copy of as many f32 as all of B has, without gaps, from a cache line on
     */
    static void copyInBlocks(MatmulShape shape, MemorySegment b, long fromOutput, long toOutput, MemorySegment copy) {
        long outputs = toOutput - fromOutput;
        long inputs = shape.k();
        long strideOfOutputs = shape.transposeB() ? shape.ldb() : 1;
        long strideOfInputs = shape.transposeB() ? 1 : shape.ldb();
        try (Made made = new Made()) {
            long plain = made.keep(
                    OneDnn.pixelWeightsDesc(OneDnn.F32, outputs, inputs, strideOfOutputs, strideOfInputs),
                    OneDnn::memoryDescDestroy);
            long blocks =
                    made.keep(OneDnn.pixelWeightsDescInBlocks(OneDnn.F32, outputs, inputs), OneDnn::memoryDescDestroy);
            copy(
                    plain,
                    b.address() + fromOutput * strideOfOutputs * Float.BYTES,
                    blocks,
                    copy.address() + fromOutput * inputs * Float.BYTES);
        } finally {
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(copy);
        }
    }

    /** Copies a matrix from one layout to another. */
    private static void copy(long from, long address, long to, long target) {
        int threads = OneDnn.threads();
        Context context = CONTEXTS.borrow();
        OneDnn.setThreads(1);
        try (Made made = new Made();
                Arena arena = Arena.ofConfined()) {
            long attr = made.keep(OneDnn.attrCreate(false, 0, false), OneDnn::attrDestroy);
            long desc = made.keep(OneDnn.reorderDescCreate(from, to, ENGINE, attr), OneDnn::primitiveDescDestroy);
            long reorder = made.keep(OneDnn.primitiveCreate(desc), OneDnn::primitiveDestroy);
            long scratch = OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_SCRATCHPAD);
            long scratchAddress = context.scratch(OneDnn.memoryDescSize(scratch));
            long[] memories = {
                made.keep(OneDnn.memoryCreate(from, ENGINE, address), OneDnn::memoryDestroy),
                made.keep(OneDnn.memoryCreate(to, ENGINE, target), OneDnn::memoryDestroy),
                made.keep(OneDnn.memoryCreate(scratch, ENGINE, scratchAddress), OneDnn::memoryDestroy)
            };
            int[] numbers = {OneDnn.ARG_SRC, OneDnn.ARG_DST, OneDnn.ARG_SCRATCHPAD};
            OneDnn.primitiveExecute(
                    reorder,
                    context.stream,
                    numbers.length,
                    arguments(arena, numbers, memories).address());
        } finally {
            CONTEXTS.giveBack(context);
            OneDnn.setThreads(threads);
        }
    }

    /** Descriptor of the layout that products like best for a linear weight {@code [n, k]}; the caller's. */
    private static long favouriteLayout(int types, long n, long k) {
        if (isPointwise(types) && typeB(types) == OneDnn.F32) {
            // What oneDNN would choose depends on the number of rows, and serves other numbers by its reference.
            return OneDnn.pixelWeightsDescInBlocks(OneDnn.F32, n, k);
        }
        try (Made made = new Made()) {
            long source = made.keep(rows(types, typeA(types), TYPICAL_ROWS, k), OneDnn::memoryDescDestroy);
            long weights = made.keep(
                    isPointwise(types)
                            ? OneDnn.pixelWeightsDescAny(typeB(types), n, k)
                            : OneDnn.matrixDescAny(typeB(types), k, n),
                    OneDnn::memoryDescDestroy);
            long destination = made.keep(rows(types, typeC(types), TYPICAL_ROWS, n), OneDnn::memoryDescDestroy);
            long attr = made.keep(OneDnn.attrCreate(false, 0, false), OneDnn::attrDestroy);
            long desc = made.keep(product(types, source, weights, 0, destination, attr), OneDnn::primitiveDescDestroy);
            return OneDnn.memoryDescClone(OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_WEIGHTS));
        }
    }

    private static boolean isPointwise(int types) {
        return (types & POINTWISE) != 0;
    }

    /** Descriptor of a matrix without gaps. */
    private static long rows(int types, int type, long rows, long columns) {
        return isPointwise(types)
                ? OneDnn.pixelsDesc(type, rows, columns)
                : OneDnn.matrixDesc(type, rows, columns, columns, 1);
    }

    private static long product(int types, long source, long weights, long bias, long destination, long attr) {
        return isPointwise(types)
                ? OneDnn.pixelConvolutionDescCreate(ENGINE, source, weights, bias, destination, attr)
                : OneDnn.matmulDescCreate(ENGINE, source, weights, bias, destination, attr);
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
        private final @Nullable Primitive[] primitives = new @Nullable Primitive[SETS * WAYS];
        private final int[] oldest = new int[SETS];
        private MemorySegment scratch = MemorySegment.NULL;

        /** The primitive of such products, made when it is not there; makes room by dropping the oldest of its set. */
        Primitive primitive(int form, long layout, long m, long n, long k, long lda, long ldb, long ldc) {
            long hash = ((((m * 31 + n) * 31 + k) * 31 + lda) * 31 + ldb) * 31 + ldc;
            int set = (int) (((hash << 24 ^ hash ^ form) * 0x9E3779B97F4A7C15L) >>> 58);
            int free = set * WAYS + oldest[set];
            for (int i = set * WAYS; i < set * WAYS + WAYS; i++) {
                Primitive primitive = primitives[i];
                if (primitive == null) {
                    free = i;
                    break;
                }
                if (primitive.is(form, m, n, k, lda, ldb, ldc)) {
                    return primitive;
                }
            }
            Primitive made = new Primitive(form, layout, m, n, k, lda, ldb, ldc);
            Primitive dropped = primitives[free];
            primitives[free] = made;
            if (dropped != null) {
                oldest[set] = (oldest[set] + 1) % WAYS;
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
            for (Primitive primitive : primitives) {
                if (primitive != null) {
                    primitive.close();
                }
            }
            OneDnn.streamDestroy(stream);
        }
    }

    /** A matmul primitive of one shape with the memories it is called with. */
    private static final class Primitive {
        private static final int PACKED_B = 1;
        private static final int BIAS = 2;
        private static final int GELU = 4;
        private static final int ACCUMULATE = 8;
        private static final int ADDEND = 16;
        private static final int SCALES = 32;
        private static final int TRANSPOSED_A = 64;
        private static final int TRANSPOSED_B = 128;

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
        private final long scales;
        private final long scratchBytes;
        private final Made lasting = new Made();
        private final Arena arena = Arena.ofShared();
        private final MemorySegment args;
        private final int argCount;

        Primitive(int form, long layoutB, long m, long n, long k, long lda, long ldb, long ldc) {
            this.form = form;
            this.m = m;
            this.n = n;
            this.k = k;
            this.lda = lda;
            this.ldb = ldb;
            this.ldc = ldc;
            try (Made made = new Made()) {
                long a = made.keep(
                        isPointwise(form)
                                ? rows(form, typeA(form), m, k)
                                : matrix(typeA(form), has(TRANSPOSED_A), m, k, lda),
                        OneDnn::memoryDescDestroy);
                long b = made.keep(
                        has(PACKED_B)
                                ? OneDnn.memoryDescClone(layoutB)
                                : matrix(typeB(form), has(TRANSPOSED_B), k, n, ldb),
                        OneDnn::memoryDescDestroy);
                long c = made.keep(
                        isPointwise(form) ? rows(form, typeC(form), m, n) : matrix(typeC(form), false, m, n, ldc),
                        OneDnn::memoryDescDestroy);
                long row = has(BIAS)
                        ? made.keep(
                                isPointwise(form) ? OneDnn.vectorDesc(n) : matrix(OneDnn.F32, false, 1, n, n),
                                OneDnn::memoryDescDestroy)
                        : 0;
                long column = has(SCALES) ? made.keep(OneDnn.vectorDesc(n), OneDnn::memoryDescDestroy) : 0;
                long attr = made.keep(
                        OneDnn.attrCreate(has(ACCUMULATE), has(ADDEND) ? c : 0, has(GELU)), OneDnn::attrDestroy);
                if (has(SCALES) && isPointwise(form)) {
                    OneDnn.attrScaleOutputs(attr);
                } else if (has(SCALES)) {
                    OneDnn.attrScaleColumns(attr);
                }
                long desc = made.keep(product(form, a, b, row, c, attr), OneDnn::primitiveDescDestroy);
                long pad = OneDnn.primitiveDescMemory(desc, OneDnn.QUERY_SCRATCHPAD);
                scratchBytes = OneDnn.memoryDescSize(pad);
                primitive = lasting.keep(OneDnn.primitiveCreate(desc), OneDnn::primitiveDestroy);
                source = memory(a);
                weights = memory(b);
                destination = memory(c);
                scratch = memory(pad);
                bias = memory(row);
                addend = memory(has(ADDEND) ? c : 0);
                scales = memory(column);
            } catch (RuntimeException | Error e) {
                close();
                throw e;
            }
            int[] numbers = {OneDnn.ARG_SRC, OneDnn.ARG_WEIGHTS, OneDnn.ARG_DST, OneDnn.ARG_SCRATCHPAD, 0, 0, 0};
            long[] memories = {source, weights, destination, scratch, 0, 0, 0};
            int count = 4;
            if (bias != 0) {
                numbers[count] = OneDnn.ARG_BIAS;
                memories[count++] = bias;
            }
            if (addend != 0) {
                numbers[count] = OneDnn.ARG_ADDEND;
                memories[count++] = addend;
            }
            if (scales != 0) {
                numbers[count] = OneDnn.ARG_WEIGHTS_SCALES;
                memories[count++] = scales;
            }
            argCount = count;
            args = arguments(arena, numbers, memories);
        }

        /** A memory of this layout, of an address that each call sets; 0 where there is no layout. */
        private long memory(long desc) {
            return desc == 0 ? 0 : lasting.keep(OneDnn.memoryCreate(desc, ENGINE, 0), OneDnn::memoryDestroy);
        }

        boolean is(int otherForm, long rows, long columns, long terms, long distanceA, long distanceB, long distanceC) {
            return form == otherForm
                    && m == rows
                    && n == columns
                    && k == terms
                    && lda == distanceA
                    && ldb == distanceB
                    && ldc == distanceC;
        }

        private boolean has(int bit) {
            return (form & bit) != 0;
        }

        private static long matrix(int type, boolean transposed, long rows, long columns, long ld) {
            return transposed
                    ? OneDnn.matrixDesc(type, rows, columns, 1, ld)
                    : OneDnn.matrixDesc(type, rows, columns, ld, 1);
        }

        void execute(
                Context context, long a, long b, long c, long biasAddress, long addendAddress, long scalesAddress) {
            OneDnn.memorySetAddress(source, a);
            OneDnn.memorySetAddress(weights, b);
            OneDnn.memorySetAddress(destination, c);
            if (bias != 0) {
                OneDnn.memorySetAddress(bias, biasAddress);
            }
            if (addend != 0) {
                OneDnn.memorySetAddress(addend, addendAddress);
            }
            if (scales != 0) {
                OneDnn.memorySetAddress(scales, scalesAddress);
            }
            if (scratchBytes != 0) {
                OneDnn.memorySetAddress(scratch, context.scratch(scratchBytes));
            }
            OneDnn.primitiveExecute(primitive, context.stream, argCount, args.address());
        }

        void close() {
            lasting.close();
            arena.close();
        }
    }
}
