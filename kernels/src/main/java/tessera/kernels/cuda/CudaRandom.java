package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;

/** Random numbers and masks on a GPU. */
final class CudaRandom {
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

    void randomMask(
            long seed,
            long stream,
            long batch,
            int slots,
            int plane,
            int masked,
            boolean tube,
            Buffer visibleIndices,
            @Nullable Buffer maskedIndices) {
        if (masked < 0 || masked > plane) {
            throw new IllegalArgumentException("random_mask: cannot mask " + masked + " of " + plane
                    + " cells; pass a number between 0 and " + plane);
        }
        device.module(MODULE)
                .function("random_mask")
                .begin()
                .buffer(visibleIndices)
                .buffer(maskedIndices)
                .i64(seed)
                .i64(stream)
                .pointer(device.currentStream().variables())
                .i32(slots)
                .i32(plane)
                .i32(masked)
                .i32(tube ? 1 : 0)
                .launch(batch * slots, THREADS, 0);
    }

    void randomUniform(long seed, long stream, double low, double high, Buffer y) {
        // Rounding must not reach the excluded upper end.
        numbers(uniform, seed, stream, low, high - low, Math.nextDown((float) high), y);
    }

    void randomNormal(long seed, long stream, double mean, double std, Buffer y) {
        numbers(normal, seed, stream, mean, std, 0, y);
    }

    private void numbers(CudaVariants kernel, long seed, long stream, double a, double b, double last, Buffer y) {
        kernel.of(y.dtype())
                .begin()
                .buffer(y)
                .i64(y.length())
                .i64(seed)
                .i64(stream)
                .pointer(device.currentStream().variables())
                .f64(a)
                .f64(b)
                .f64(last)
                .launch(Blocks.ceilDiv(y.length(), values(y) * THREADS), THREADS, 0);
    }

    private static long values(Buffer y) {
        return VECTOR_BYTES / y.dtype().bytes();
    }

    void dropout(Buffer x, double p, long seed, long stream, Buffer y) {
        CudaElementwise.like(y, "dropout", x);
        dropout.of(y.dtype())
                .begin()
                .buffer(x)
                .buffer(y)
                .i64(y.length())
                .i64(seed)
                .i64(stream)
                .pointer(device.currentStream().variables())
                .i32(threshold(p))
                .f32((float) (1 / (1 - p)))
                .launch(Blocks.ceilDiv(y.length(), values(y) * THREADS * VECTORS), THREADS, 0);
    }

    /** Uniform numbers are multiples of 2^-24: those below p are the words below this. */
    private static int threshold(double p) {
        return (int) Math.ceil(p * 0x1p24);
    }

    void dropPath(@Nullable Buffer residual, Buffer x, double p, long seed, long stream, long batch, Buffer y) {
        CudaElementwise.like(y, "drop_path", x);
        if (residual != null) {
            CudaElementwise.like(y, "drop_path", residual);
        }
        long each = y.length() / Math.max(1, batch);
        long parts = Blocks.ceilDiv(each, values(y) * THREADS * VECTORS);
        dropPath.of(y.dtype())
                .begin()
                .buffer(residual)
                .buffer(x)
                .buffer(y)
                .i64(each)
                .i64(parts)
                .i64(seed)
                .i64(stream)
                .pointer(device.currentStream().variables())
                .i32(threshold(p))
                .f32((float) (1 / (1 - p)))
                .launch(batch * parts, THREADS, 0);
    }
}
