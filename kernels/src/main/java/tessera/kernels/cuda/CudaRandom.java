package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.RandomOps;

/** Random numbers and masks on a GPU. */
final class CudaRandom implements RandomOps {
    private static final String MODULE = "random";
    private static final int THREADS = 256;
    private static final int VECTOR_BYTES = 16;
    /** Vectors per thread in dropout and drop-path, as in random.cu. */
    private static final int VECTORS = 4;

    private final CudaDevice device;
    private final CudaVariants uniform;
    private final CudaVariants normal;
    private final CudaVariants dropout;
    private final CudaVariants dropPath;

    CudaRandom(CudaDevice device) {
        this.device = device;
        this.uniform = new CudaVariants(device, MODULE, "random_uniform");
        this.normal = new CudaVariants(device, MODULE, "random_normal");
        this.dropout = new CudaVariants(device, MODULE, "dropout");
        this.dropPath = new CudaVariants(device, MODULE, "drop_path");
    }

    @Override
    public void randomMask(
            RandomStream random, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
        if (shape.masked() < 0 || shape.masked() > shape.plane()) {
            throw new IllegalArgumentException("random_mask: cannot mask " + shape.masked() + " of " + shape.plane()
                    + " cells; pass a number between 0 and " + shape.plane());
        }
        device.module(MODULE)
                .function("random_mask")
                .begin()
                .buffer(visibleIndices)
                .buffer(maskedIndices)
                .i64(random.seed())
                .i64(random.stream())
                .pointer(device.currentStream().variables())
                .i32(shape.slots())
                .i32(shape.plane())
                .i32(shape.masked())
                .i32(shape.tube() ? 1 : 0)
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
        kernel.of(y.dtype())
                .begin()
                .buffer(y)
                .i64(y.length())
                .i64(random.seed())
                .i64(random.stream())
                .pointer(device.currentStream().variables())
                .f64(a)
                .f64(b)
                .f64(last)
                .launch(Math.ceilDiv(y.length(), values(y) * THREADS), THREADS, 0);
    }

    private static long values(Buffer y) {
        return VECTOR_BYTES / y.dtype().bytes();
    }

    @Override
    public void dropout(RandomStream random, Buffer x, double p, Buffer y) {
        CudaElementwise.like(y, "dropout", x);
        dropout.of(y.dtype())
                .begin()
                .buffer(x)
                .buffer(y)
                .i64(y.length())
                .i64(random.seed())
                .i64(random.stream())
                .pointer(device.currentStream().variables())
                .i32(threshold(p))
                .f32((float) (1 / (1 - p)))
                .launch(Math.ceilDiv(y.length(), values(y) * THREADS * VECTORS), THREADS, 0);
    }

    /** Uniform numbers are multiples of 2^-24: those below p are the words below this. */
    private static int threshold(double p) {
        return (int) Math.ceil(p * 0x1p24);
    }

    @Override
    public void dropPath(RandomStream random, @Nullable Buffer residual, Buffer x, double p, long batch, Buffer y) {
        CudaElementwise.like(y, "drop_path", x);
        if (residual != null) {
            CudaElementwise.like(y, "drop_path", residual);
        }
        long each = y.length() / Math.max(1, batch);
        long parts = Math.ceilDiv(each, values(y) * THREADS * VECTORS);
        dropPath.of(y.dtype())
                .begin()
                .buffer(residual)
                .buffer(x)
                .buffer(y)
                .i64(each)
                .i64(parts)
                .i64(random.seed())
                .i64(random.stream())
                .pointer(device.currentStream().variables())
                .i32(threshold(p))
                .f32((float) (1 / (1 - p)))
                .launch(batch * parts, THREADS, 0);
    }
}
