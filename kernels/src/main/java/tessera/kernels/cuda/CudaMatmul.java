package tessera.kernels.cuda;

import java.lang.System.Logger.Level;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaException;

/**
 * Matrix products on a GPU, by cuBLASLt or by {@link CudaHopperProducts}, and batches of them by cuBLAS.
 *
 * <p>f32 with f32 accumulation (TF32 only where {@link CudaDevice#allowTf32} asks for it), or bf16 factors with f32
 * accumulation and a bf16 or f32 result; the bias has the result's type. The library counts columns first, so it is given
 * C^T = B^T A^T. Its own GELU is the tanh approximation; ours follows in a kernel of its own.
 *
 * <p>What the library refuses is computed all the same: without what it would add, which a pass of ours then adds, or by a
 * plain kernel of ours. A refusal is logged once and remembered.
 *
 * <p>Which algorithm computes a shape is kept: the one that {@link CudaTuning} found to be the fastest, or else what the library's
 * heuristics choose. Thread-safe.
 */
final class CudaMatmul implements Matmul {
    /** Kernels read a bias 16 bytes at a time. */
    private static final int LEAST_BIAS_ALIGNMENT = 16;

    private static final System.Logger LOG = System.getLogger("tessera");

    private final CudaDevice device;
    private final Map<CudaProduct.Key, CudaProduct> products = new ConcurrentHashMap<>();
    /** Products that kernels of our own can compute, and how they do where they are chosen. */
    private final Map<CudaProduct.Key, Optional<CudaHopperProducts.Variant>> owns = new ConcurrentHashMap<>();

    private final Set<CudaProduct.Key> refused = ConcurrentHashMap.newKeySet();

    private final CudaHopperProducts hopper;
    private final CudaGeluProducts geluProducts;
    private final CudaNormProducts normProducts;
    private final CudaBatchedProducts batches;
    private final CudaPlainProducts plain;
    private final CudaElementwise elementwise;
    private long handle;
    private @Nullable CudaProductTable table;

    CudaMatmul(CudaDevice device, CudaElementwise elementwise, CudaNorms norms) {
        this.device = device;
        this.elementwise = elementwise;
        this.hopper = new CudaHopperProducts(device);
        this.geluProducts = new CudaGeluProducts(device, this, hopper, elementwise);
        this.normProducts = new CudaNormProducts(device, this, hopper, elementwise, norms);
        this.batches = new CudaBatchedProducts(device);
        this.plain = new CudaPlainProducts(device);
    }

    @Override
    public void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        matmul(shape, a, b, epilogue, c, false);
    }

    /** The same; {@code fixed} where b was written before anything was recorded that may be running. */
    private void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c, boolean fixed) {
        check(a, b, c, epilogue);
        long m = shape.m();
        long n = shape.n();
        if (m == 0 || n == 0) {
            return;
        }
        if (shape.k() == 0) {
            // A product of zeros is the same, and the library takes no empty factors.
            try (Buffer zeros = device.allocate(a.dtype(), Math.max(m, n))) {
                device.clear(zeros);
                MatmulShape one = new MatmulShape(false, true, m, n, 1, 1, 1, shape.ldc());
                matmul(one, zeros, zeros, epilogue, c);
            }
            return;
        }
        CudaHopperProducts.Variant own = own(shape, a, b, epilogue, c);
        if (own != null) {
            hopper.run(own, shape, a, b, epilogue, c, fixed);
        } else {
            byLibrary(shape, a, b, epilogue, c);
        }
    }

    /** How kernels of our own compute a product where they are faster than the library, as was measured or else as they think. */
    private CudaHopperProducts.@Nullable Variant own(
            MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        if (!hopper.takes(shape, a, b, epilogue, c)) {
            return null;
        }
        return own(key(shape, kind(epilogue), a, b, epilogue, c));
    }

    /** The same of a product that kernels of our own can compute. */
    CudaHopperProducts.@Nullable Variant own(CudaProduct.Key key) {
        Optional<CudaHopperProducts.Variant> known = owns.get(key);
        if (known == null) {
            CudaProductTable.Choice choice = table().choice(key);
            known = choice.known() ? own(key, choice) : hopper.choice(key);
            owns.put(key, known);
        }
        return known.orElse(null);
    }

    private static Optional<CudaHopperProducts.Variant> own(CudaProduct.Key key, CudaProductTable.Choice choice) {
        return CudaHopperProducts.variants(key)
                .filter(variant -> variant.name().equals(choice.own()))
                .findFirst();
    }

    /** The epilogue in terms of the library, exact GELU among them though it has another. */
    private static int kind(Epilogue epilogue) {
        int bias = epilogue.bias() == null ? 0 : CublasLt.EPILOGUE_BIAS;
        int gelu = epilogue.activation() == Activation.GELU ? CublasLt.EPILOGUE_GELU : 0;
        return bias + gelu == 0 ? CublasLt.EPILOGUE_DEFAULT : bias + gelu;
    }

    /** The same by the library, whoever is faster; no side is 0. */
    void byLibrary(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        Buffer bias = epilogue.bias();
        Buffer addend = epilogue.addend();
        long m = shape.m();
        long n = shape.n();
        if (epilogue.activation() == Activation.GELU && shape.ldc() != n) {
            MatmulShape packed = new MatmulShape(
                    shape.transposeA(), shape.transposeB(), m, n, shape.k(), shape.lda(), shape.ldb(), n);
            try (Buffer rows = device.allocate(c.dtype(), m * n)) {
                if (addend != null) {
                    copyRows(addend, shape.ldc(), rows, n, shape);
                }
                byLibrary(packed, a, b, new Epilogue(bias, addend == null ? null : rows, Activation.GELU), rows);
                copyRows(rows, n, c, shape.ldc(), shape);
            }
            return;
        }
        if (bias != null && alignment(bias) < LEAST_BIAS_ALIGNMENT) {
            try (Buffer aligned = converted(bias, n, n, 1, bias.dtype())) {
                byLibrary(shape, a, b, new Epilogue(aligned, addend, epilogue.activation()), c);
            }
            return;
        }
        int kind = bias == null ? CublasLt.EPILOGUE_DEFAULT : CublasLt.EPILOGUE_BIAS;
        if (!computed(key(shape, kind, a, b, epilogue, c), a, b, epilogue, c)) {
            inParts(shape, a, b, epilogue, c);
        }
        if (epilogue.activation() == Activation.GELU) {
            Buffer result = c.slice(0, m * n);
            elementwise.unary(UnaryOp.GELU, result, result);
        }
    }

    /** A product that the library refuses with its epilogue: without it, in f32, and the rest in passes of ours. */
    private void inParts(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        Buffer bias = epilogue.bias();
        Buffer addend = epilogue.addend();
        long m = shape.m();
        long n = shape.n();
        MatmulShape packed =
                new MatmulShape(shape.transposeA(), shape.transposeB(), m, n, shape.k(), shape.lda(), shape.ldb(), n);
        try (Buffer product = device.allocate(DType.F32, m * n)) {
            CudaProduct.Key key = key(packed, CublasLt.EPILOGUE_DEFAULT, a, b, Epilogue.NONE, product);
            boolean alone = bias == null && addend == null;
            if (alone || !computed(key, a, b, Epilogue.NONE, product)) {
                plain.run(shape, a, b, bias, addend, c);
                return;
            }
            Strided rows = new Strided(product, 0, n, 1);
            long[] sides = {m, n};
            if (bias != null) {
                try (Buffer wide = converted(bias, n, n, 1, DType.F32)) {
                    elementwise.binary(BinaryOp.ADD, rows, new Strided(wide, 0, 0, 1), product, sides);
                }
            }
            if (addend != null) {
                try (Buffer wide = converted(addend, shape.ldc(), n, m, DType.F32)) {
                    elementwise.binary(BinaryOp.ADD, rows, new Strided(wide, 0, n, 1), product, sides);
                }
            }
            try (Buffer rounded = converted(product, n, n, m, c.dtype())) {
                copyRows(rounded, n, c, shape.ldc(), shape);
            }
        }
    }

    /** A copy of rows without gaps, in another type. */
    private Buffer converted(Buffer x, long stride, long columns, long rows, DType dtype) {
        try (Buffer packed = device.filled(
                x.dtype(),
                rows * columns,
                y -> elementwise.copyStrided(
                        new Strided(x, 0, stride, 1), new Strided(y, 0, columns, 1), new long[] {rows, columns}))) {
            return device.filled(dtype, rows * columns, y -> elementwise.cast(packed, y));
        }
    }

    /** What a product is known by; {@code kind} is its epilogue in terms of the library. */
    CudaProduct.Key key(MatmulShape shape, int kind, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        Buffer addend = epilogue.addend();
        return new CudaProduct.Key(
                shape,
                a.dtype(),
                c.dtype(),
                kind,
                addend != null,
                false,
                device.tf32(),
                alignment(a),
                alignment(b),
                alignment(addend == null ? c : addend),
                alignment(c),
                alignment(epilogue.bias()));
    }

    private void copyRows(Buffer x, long ldx, Buffer y, long ldy, MatmulShape shape) {
        elementwise.copyStrided(
                new Strided(x, 0, ldx, 1), new Strided(y, 0, ldy, 1), new long[] {shape.m(), shape.n()});
    }

    @Override
    public void matmulBatched(MatmulShape shape, Batch batch, Buffer a, Buffer b, Buffer c) {
        check(a, b, c, Epilogue.NONE);
        if (batch.count() == 0 || shape.m() == 0 || shape.n() == 0) {
            return;
        }
        if (shape.k() == 0) {
            for (long i = 0; i < batch.count(); i++) {
                Buffer one = c.slice(i * batch.strideC(), (shape.m() - 1) * shape.ldc() + shape.n());
                matmul(shape, a, b, Epilogue.NONE, one);
            }
            return;
        }
        if (!device.call(() -> batches.run(shape, batch, a, b, c))) {
            plain.run(shape, batch, a, b, null, null, c);
        }
    }

    /** The sums of dY's columns come from the product's epilogue where the library knows how, else from a kernel of ours. */
    @Override
    public void linearBackward(LinearShape linear, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        check(dy, x, dw, Epilogue.bias(db));
        MatmulShape shape = linear.weightGradient();
        boolean empty = linear.m() == 0 || linear.n() == 0 || linear.k() == 0;
        if (empty || !withColumnSums(shape, dy, x, dw, db)) {
            matmul(shape, dy, x, Epilogue.NONE, dw);
            elementwise.sum(dy, 1, linear.m(), linear.n(), 1, db);
        }
    }

    private boolean withColumnSums(MatmulShape shape, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        // In the library's transposed view dY is B, and the sums lie where a bias would.
        Epilogue sums = Epilogue.bias(db);
        return computed(key(shape, CublasLt.EPILOGUE_BGRADB, dy, x, sums, dw), dy, x, sums, dw);
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        Buffer part = weight.slice(0, n * k);
        return new Weight(n, k, device.filled(weight.dtype(), n * k, part::copyTo));
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        if (!(weight instanceof Weight mine) || mine.copy.device() != device) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed on another device; pack it with the kernels of " + device);
        }
        matmul(MatmulShape.of(false, true, m, mine.n, mine.k), x, mine.copy, epilogue, y, true);
    }

    @Override
    public Optional<GeluProducts> geluProducts() {
        return hopper.available() ? Optional.of(geluProducts) : Optional.empty();
    }

    @Override
    public Optional<NormProducts> normProducts() {
        return normProducts.available() ? Optional.of(normProducts) : Optional.empty();
    }

    /** Whether a layer with the norm before it was measured to be faster in one kernel, whatever its shape. */
    boolean knowsNorms() {
        return table().ownsNorms();
    }

    /** A copy as it is: the library reads every layout at full speed. */
    private record Weight(long n, long k, Buffer copy) implements PackedWeight {
        @Override
        public void close() {
            copy.close();
        }
    }

    /** Enqueues a product, or returns false where the library does not support it. */
    private boolean computed(CudaProduct.Key key, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        if (key.alignmentBias() < LEAST_BIAS_ALIGNMENT || refused.contains(key)) {
            return false;
        }
        try {
            run(key, a, b, epilogue, c);
            return true;
        } catch (CudaProduct.Refused e) {
            if (refused.add(key)) {
                LOG.log(Level.DEBUG, "a product on {0} is computed in another way: {1}", device, e.getMessage());
            }
            return false;
        }
    }

    private void run(CudaProduct.Key key, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        try {
            CudaProduct product = products.get(key);
            if (product == null) {
                product = products.computeIfAbsent(key, this::describe);
            }
            CudaMemory.Block workspace = device.scratch(product.workspaceBytes());
            try {
                long stream = device.currentStream().handle();
                product.run(handle(), a, b, epilogue, c, workspace.address(), stream);
            } finally {
                workspace.free();
            }
        } catch (CudaException | NativeLibraryException e) {
            throw device.failed(e);
        }
    }

    private CudaProduct describe(CudaProduct.Key key) {
        long library = handle();
        CudaProductTable.Choice choice = table().choice(key);
        if (choice.apart()) {
            throw new CudaProduct.Refused(key, null);
        }
        CudaThread.get().use(device);
        return new CudaProduct(device, library, key, choice.algorithm());
    }

    /** What this process has computed so far by the library, or could have by our own kernels too. */
    Set<CudaProduct.Key> computed() {
        Set<CudaProduct.Key> keys = new HashSet<>(products.keySet());
        for (CudaProduct.Key key : owns.keySet()) {
            keys.add(key);
            keys.add(key.withoutNorm()); // with which one that has a norm is compared
        }
        return keys;
    }

    CudaHopperProducts hopper() {
        return hopper;
    }

    CudaGeluProducts gelu() {
        return geluProducts;
    }

    CudaNormProducts norm() {
        return normProducts;
    }

    /** From now on computes a product as was found to be the fastest; what is recorded already stays as it is. */
    void choose(CudaProduct.Key key, CudaProductTable.Choice choice) {
        if (owns.containsKey(key) || choice.own() != null) {
            owns.put(key, own(key, choice));
        }
        if (choice.own() != null || key.gelu() || key.norm()) {
            return;
        }
        if (choice.apart()) {
            refused.add(key);
        } else {
            long library = handle();
            CudaThread.get().use(device);
            products.put(key, new CudaProduct(device, library, key, choice.algorithm()));
        }
    }

    private synchronized CudaProductTable table() {
        CudaProductTable known = table;
        if (known == null) {
            known = CudaProductTable.read(device);
            table = known;
        }
        return known;
    }

    /** The library's handle, once a product was asked for. */
    synchronized long handle() {
        if (handle == 0) {
            CudaThread.get().use(device);
            handle = CublasLt.create();
        }
        return handle;
    }

    private static int alignment(@Nullable Buffer buffer) {
        return buffer == null || buffer.address() == 0
                ? CudaProduct.LARGEST_ALIGNMENT
                : (int) Math.min(CudaProduct.LARGEST_ALIGNMENT, Long.lowestOneBit(buffer.address()));
    }

    private static void check(Buffer a, Buffer b, Buffer c, Epilogue epilogue) {
        Buffer bias = epilogue.bias();
        Buffer addend = epilogue.addend();
        boolean single = a.dtype() == DType.F32 && c.dtype() == DType.F32;
        boolean half = a.dtype() == DType.BF16 && (c.dtype() == DType.F32 || c.dtype() == DType.BF16);
        if (!(single || half) || b.dtype() != a.dtype() || differs(bias, c) || differs(addend, c)) {
            throw new IllegalArgumentException("matmul: " + a.dtype() + " x " + b.dtype()
                    + (bias == null ? "" : " + " + bias.dtype()) + (addend == null ? "" : " + " + addend.dtype())
                    + " -> " + c.dtype()
                    + " is not computed on a GPU; use f32, or bf16 factors, and add what has the result's type");
        }
    }

    private static boolean differs(@Nullable Buffer added, Buffer c) {
        return added != null && added.dtype() != c.dtype();
    }
}
