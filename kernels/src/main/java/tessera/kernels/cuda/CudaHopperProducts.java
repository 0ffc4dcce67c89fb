package tessera.kernels.cuda;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;

/**
 * Products of ours on compute capability 9.0, with bias and addend or bias and exact GELU in one pass; see products.cu.
 *
 * <p>For {@code y = x w^T} in bf16 with 16-byte aligned rows. Used where they were measured to be the fastest, see
 * {@link CudaTuning}, or where {@link #PROPERTY} asks for them. Of a shape that nobody has measured they compute products with
 * GELU, which spares a pass over the result, and those whose k is so small that the epilogue, which overlaps with the next
 * tile here, weighs much. Thread-safe.
 */
final class CudaHopperProducts {
    /** System property: {@code own} computes products by these kernels wherever they can, {@code library} never. */
    static final String PROPERTY = "tessera.cuda.products";

    private static final String PREFIX = "product_";
    private static final int CAPABILITY = 90;
    private static final int DEPTH = 64;
    private static final int WARPGROUP = 128;
    private static final int WARP = 32;

    /** Rows of a warpgroup that are staged at once where boxes of x stay. */
    private static final int STAGED_ROWS = 64;

    /** The largest k at which they are faster than cuBLASLt on an H100 (k = 384 and 768, with m = 392 and 25088). */
    private static final long SMALL_K = 512;

    private static final long SMALL_K_WITH_ADDEND = 1024;
    /** Bytes that alignment may take, as in wgmma.cuh. */
    private static final int SLACK = 1008;

    /** PRODUCT_FIXED. */
    private static final int FIXED = 1;

    /** Rows and addresses are read in pieces of 16 bytes. */
    private static final int PIECE = 8;

    private static final int PIECE_BYTES = 16;

    /**
     * How the result is cut into tiles, as the macro PRODUCT in products.cu.
     *
     * @param rows of a warpgroup
     * @param together whether the warpgroups share a tile
     * @param resident 0, or as many boxes of x as stay in shared memory, which k must not exceed; then without an addend
     */
    record Variant(String name, int rows, int columns, int stages, int groups, boolean together, int resident) {
        int tileRows() {
            return together ? rows * groups : rows;
        }

        int threads() {
            boolean manySums = rows * columns >= 64 * 192 || groups > 2;
            return WARPGROUP * groups + (manySums ? WARPGROUP : WARP);
        }

        int sharedBytes() {
            int row = DEPTH * 2;
            int stage = ((resident > 0 ? 0 : tileRows()) + columns) * row;
            int staging = (resident > 0 ? STAGED_ROWS : rows) * Math.ceilDiv(columns, DEPTH) * row;
            int barriers = 2 * stages + groups + 2 * resident;
            return SLACK + stages * stage + resident * tileRows() * row + groups * staging + barriers * Long.BYTES;
        }

        boolean able(MatmulShape shape, boolean addend) {
            return resident == 0 || (!addend && shape.k() <= (long) resident * DEPTH);
        }

        long tiles(MatmulShape shape) {
            return Math.ceilDiv(shape.m(), tileRows()) * Math.ceilDiv(shape.n(), columns);
        }
    }

    /** From the smallest tiles to the largest; the last where there are many. */
    static final List<Variant> VARIANTS = List.of(
            new Variant("64x32", 64, 32, 12, 1, true, 0),
            new Variant("64x64", 64, 64, 8, 1, true, 0),
            new Variant("128x64", 64, 64, 6, 2, true, 0),
            new Variant("128x192", 64, 192, 4, 2, true, 0),
            new Variant("128x128tx6", 128, 128, 6, 2, false, 6),
            new Variant("128x128t", 128, 128, 5, 2, false, 0));

    /** The one that has kernels for GELU in training. */
    private static final Variant FOR_TRAINING = VARIANTS.getLast();

    private final CudaDevice device;
    private final CudaModule module;
    private volatile @Nullable Boolean loaded;

    CudaHopperProducts(CudaDevice device) {
        this.device = device;
        this.module = new CudaModule(device, "products");
    }

    /** Whether the device has the kernels and they are wanted. */
    boolean available() {
        return device.capability() == CAPABILITY
                && !System.getProperty(PROPERTY, "").equals("library")
                && loaded();
    }

    /** Whether a product can be computed here. */
    boolean takes(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        return device.capability() == CAPABILITY && able(shape, a, b, epilogue, c) && loaded();
    }

    /** The variants that can compute a product that can be computed here. */
    static Stream<Variant> variants(CudaProduct.Key key) {
        return key.keeping() || key.gradient()
                ? Stream.of(FOR_TRAINING)
                : VARIANTS.stream().filter(variant -> variant.able(key.shape(), key.addend()));
    }

    /**
     * The variant for a product that nobody has measured; none where the library had better compute it. For exact GELU that needs a pass
     * of ours.
     */
    Optional<Variant> choice(CudaProduct.Key key) {
        if (key.norm()) {
            return CudaNormProducts.wanted() ? Optional.of(variant(key.shape())) : Optional.empty();
        }
        String wanted = System.getProperty(PROPERTY, "");
        // Sums of columns come from another product else, and nobody has measured what is faster.
        boolean faster =
                !key.sums() && (key.gelu() || key.shape().k() <= (key.addend() ? SMALL_K_WITH_ADDEND : SMALL_K));
        if (!wanted.equals("own") && (wanted.equals("library") || !faster)) {
            return Optional.empty();
        }
        return Optional.of(key.keeping() || key.gradient() ? FOR_TRAINING : variant(key.shape()));
    }

    /** Whether what was loaded was compiled for this very capability; kernels for Hopper are in no other. */
    private boolean loaded() {
        Boolean known = loaded;
        if (known == null) {
            known = module.has(PREFIX + VARIANTS.getFirst().name);
            loaded = known;
        }
        return known;
    }

    /** Whether a product can be computed here, on a device that has the instructions. */
    static boolean able(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        return a.dtype() == DType.BF16
                && c.dtype() == DType.BF16
                && (epilogue.addend() == null || epilogue.activation() == Activation.NONE)
                && !shape.transposeA()
                && shape.transposeB()
                && shape.m() > 0
                && shape.m() <= Integer.MAX_VALUE - WARPGROUP * 2
                && shape.n() > 0
                && shape.n() <= Integer.MAX_VALUE / 2
                && shape.k() > 0
                && shape.k() <= Integer.MAX_VALUE / 2
                && (shape.n() | shape.k() | shape.lda() | shape.ldb() | shape.ldc()) % PIECE == 0
                && (a.address() | b.address() | c.address() | address(epilogue.bias()) | address(epilogue.addend()))
                                % PIECE_BYTES
                        == 0
                && Math.ceilDiv(shape.m(), 64) * Math.ceilDiv(shape.n(), 64) <= Integer.MAX_VALUE;
    }

    /** Whether a buffer begins where rows of it are read and written in pieces. */
    static boolean aligned(Buffer buffer) {
        return buffer.address() % PIECE_BYTES == 0;
    }

    private static long address(@Nullable Buffer buffer) {
        return buffer == null ? 0 : buffer.address();
    }

    /** The smallest tiles that are all computed at once: blocks are busy for as long as one tile takes. Else the largest. */
    Variant variant(MatmulShape shape) {
        for (Variant variant : VARIANTS) {
            if (variant.columns <= DEPTH && variant.tiles(shape) <= device.multiprocessors()) {
                return variant;
            }
        }
        return VARIANTS.getLast();
    }

    void run(Variant variant, MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c, boolean fixed) {
        String kind = epilogue.activation() == Activation.GELU ? "_gelu" : epilogue.addend() != null ? "_add" : "";
        CudaLaunch launch =
                begin(variant, kind, shape, a).matrix(b, shape.n(), shape.k(), shape.ldb(), variant.columns);
        launch.buffers(epilogue.bias(), epilogue.addend(), c, null).buffers(null, null, null);
        enqueue(launch, variant, shape, fixed);
    }

    /**
     * {@code y = act(norm(x) W^T + bias)} for x before a norm whose scale is in the weight and whose shift is in the bias, of what
     * {@link #able} accepts, without gaps.
     *
     * @param rows f32 {@code [m, 2]}, see layer_norm_scales
     * @param channels f32 {@code [n, 2]}: 1 and the sum of the weight's row
     */
    void runBehindNorm(
            Variant variant,
            MatmulShape shape,
            Buffer x,
            Buffer weight,
            Epilogue epilogue,
            Buffer rows,
            Buffer channels,
            Buffer y) {
        String kind = epilogue.activation() == Activation.GELU ? "_norm_gelu" : "_norm";
        CudaLaunch launch =
                begin(variant, kind, shape, x).matrix(weight, shape.n(), shape.k(), shape.ldb(), variant.columns);
        launch.buffers(epilogue.bias(), null, y, null).buffers(rows, channels, null);
        enqueue(launch, variant, shape, true);
    }

    /** {@code z = x W^T + bias} and {@code y = GELU(z)} of what {@link #able} accepts, without gaps. */
    void runKeeping(MatmulShape shape, Buffer x, Buffer weight, @Nullable Buffer bias, Buffer z, Buffer y) {
        CudaLaunch launch = begin(FOR_TRAINING, "_gelu_keep", shape, x)
                .matrix(weight, shape.n(), shape.k(), shape.ldb(), FOR_TRAINING.columns);
        enqueue(launch.buffers(bias, null, y, z).buffers(null, null, null), FOR_TRAINING, shape, false);
    }

    /** Rows of parts of sums of columns: those of four warps for each row of tiles. */
    static long rowsOfSums(MatmulShape shape) {
        return 4 * Math.ceilDiv(shape.m(), FOR_TRAINING.tileRows());
    }

    /**
     * {@code dz = (dY W) GELU'(z)} for {@code dY [m, k]}, {@code W [k, n]} and {@code z [m, n]}, without gaps.
     *
     * @param sums f32 {@code [rowsOfSums, n]}, which add up to the sums of dz's columns; or null
     */
    void runGradient(MatmulShape shape, Buffer dy, Buffer weight, Buffer z, Buffer dz, @Nullable Buffer sums) {
        String kind = sums == null ? "_gelu_gradient" : "_gelu_gradient_sums";
        CudaLaunch launch =
                begin(FOR_TRAINING, kind, shape, dy).matrix(weight, shape.k(), shape.n(), shape.ldb(), DEPTH);
        enqueue(launch.buffers(null, z, dz, null).buffers(null, null, sums), FOR_TRAINING, shape, false);
    }

    // In the order of struct ProductArgs.

    private CudaLaunch begin(Variant variant, String kind, MatmulShape shape, Buffer x) {
        return module.function(PREFIX + variant.name + kind)
                .begin()
                .matrix(x, shape.m(), shape.k(), shape.lda(), variant.tileRows());
    }

    private void enqueue(CudaLaunch launch, Variant variant, MatmulShape shape, boolean fixed) {
        launch.i32((int) shape.m(), (int) shape.n(), (int) shape.k(), (int) shape.ldc())
                .i32(fixed ? FIXED : 0)
                .launch(
                        Math.min(variant.tiles(shape), device.multiprocessors()),
                        variant.threads(),
                        variant.sharedBytes());
    }
}
