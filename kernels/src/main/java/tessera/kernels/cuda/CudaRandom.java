package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.RandomOps;

/** Random numbers and masks on a GPU. */
final class CudaRandom implements RandomOps {
    private static final int THREADS = 256;
    private static final int VECTOR_BYTES = 16;
    /** Vectors per thread in dropout and drop-path, as in random.cu. */
    private static final int VECTORS = 4;

    private final CudaDevice device;
    private final CudaFunction mask;
    private final CudaVariants uniform;
    private final CudaVariants normal;
    private final CudaVariants dropout;
    private final CudaVariants dropPath;

    CudaRandom(CudaDevice device) {
        this.device = device;
        CudaModule module = new CudaModule(device, "random");
        this.mask = module.function("random_mask");
        this.uniform = module.variants("random_uniform");
        this.normal = module.variants("random_normal");
        this.dropout = module.variants("dropout");
        this.dropPath = module.variants("drop_path");
    }

    @Override
    public void randomMask(
            RandomStream random, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
        if (shape.masked() < 0 || shape.masked() > shape.plane()) {
            throw new IllegalArgumentException("random_mask: cannot mask " + shape.masked() + " of " + shape.plane()
                    + " cells; pass a number between 0 and " + shape.plane());
        }
        mask.begin()
                .buffers(visibleIndices, maskedIndices)
                .i64(random.seed(), random.stream())
                .address(variables())
                .i32(shape.slots(), shape.plane(), shape.masked(), shape.tube() ? 1 : 0)
                .launch(shape.batch() * shape.slots(), THREADS, 0);
    }

    @Override
    public void randomUniform(RandomStream random, double low, double high, Buffer y) {
        // Rounding must not reach the excluded upper end.
        numbers(uniform, random, low, high - low, Math.nextDown((float) high), y);
    }

    @Override
    public void randomNormal(RandomStream random, double mean, double std, Buffer y) {
        numbers(normal, random, mean, std, 0, y);
    }

    private void numbers(CudaVariants kernel, RandomStream random, double a, double b, double last, Buffer y) {
        kernel.begin(y.dtype())
                .buffer(y)
                .i64(y.length(), random.seed(), random.stream())
                .address(variables())
                .f64(a)
                .f64(b)
                .f64(last)
                .launch(Math.ceilDiv(y.length(), values(y) * THREADS), THREADS, 0);
    }

    /** Where a graph's kernels find what its launches differ in; see {@link CudaStream#variables}. */
    private long variables() {
        return device.currentStream().variables();
    }

    private static long values(Buffer y) {
        return VECTOR_BYTES / y.dtype().bytes();
    }

    @Override
    public void dropout(RandomStream random, Buffer x, double p, Buffer y) {
        CudaTypes.like(y, "dropout", x);
        dropout.begin(y.dtype())
                .buffers(x, y)
                .i64(y.length(), random.seed(), random.stream())
                .address(variables())
                .i32(threshold(p))
                .f32(1 / (1 - p))
                .launch(Math.ceilDiv(y.length(), values(y) * THREADS * VECTORS), THREADS, 0);
    }

    /** Uniform numbers are multiples of 2^-24: those below p are the words below this. */
    private static int threshold(double p) {
        return (int) Math.ceil(p * 0x1p24);
    }

    @Override
    public void dropPath(RandomStream random, @Nullable Buffer residual, Buffer x, double p, long batch, Buffer y) {
        CudaTypes.like(y, "drop_path", x);
        if (residual != null) {
            CudaTypes.like(y, "drop_path", residual);
        }
        long each = y.length() / Math.max(1, batch);
        long parts = Math.ceilDiv(each, values(y) * THREADS * VECTORS);
        dropPath.begin(y.dtype())
                .buffers(residual, x, y)
                .i64(each, parts)
                .i64(random.seed(), random.stream())
                .address(variables())
                .i32(threshold(p))
                .f32(1 / (1 - p))
                .launch(batch * parts, THREADS, 0);
    }
}
