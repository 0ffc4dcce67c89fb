package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;

/** Layer norm and softmax on a GPU; the kernels and their layouts are described in {@code norms.cu}. */
final class CudaNorms {
    private static final int WARP = 32;
    private static final int WARPS = 4;
    private static final int LONG_THREADS = 256;
    private static final int TOTAL_WARPS = 16;
    private static final int STEP = 256;
    private static final int LONGEST = 1280;
    private static final int SOFTMAX_LONGEST = 2048;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 4;

    /** What norms.cu promises of the backward kernels: as many blocks run at once, and more would run after them. */
    private static final int[] BACKWARD_BLOCKS = {4, 4, 4, 3, 2};

    private final CudaDevice device;
    private final CudaVariants[] forward = new CudaVariants[LONGEST / STEP];
    private final CudaVariants[] backward = new CudaVariants[LONGEST / STEP];
    private final CudaVariants longForward;
    private final CudaVariants longBackward;
    private final CudaVariants columns;
    private final CudaVariants softmax;
    private final CudaVariants longSoftmax;
    private final CudaVariants softmaxBackward;
    private final CudaVariants longSoftmaxBackward;

    CudaNorms(CudaDevice device) {
        this.device = device;
        for (int i = 0; i < forward.length; i++) {
            forward[i] = variants("layer_norm_" + (i + 1) * STEP);
            backward[i] = variants("layer_norm_backward_" + (i + 1) * STEP);
        }
        this.longForward = variants("layer_norm_long");
        this.longBackward = variants("layer_norm_backward_long");
        this.columns = variants("layer_norm_columns");
        this.softmax = variants("softmax");
        this.longSoftmax = variants("softmax_long");
        this.softmaxBackward = variants("softmax_backward");
        this.longSoftmaxBackward = variants("softmax_backward_long");
    }

    private CudaVariants variants(String name) {
        return new CudaVariants(device, "norms", name);
    }

    void layerNorm(
            Buffer x,
            Buffer gamma,
            Buffer beta,
            double eps,
            long rows,
            long cols,
            Buffer y,
            @Nullable Buffer mean,
            @Nullable Buffer rstd) {
        requireType("layer_norm", x.dtype(), y);
        requireType("layer_norm", DType.F32, gamma, beta, mean, rstd);
        boolean inRegisters = cols <= LONGEST;
        (inRegisters ? forward[capacity(cols)] : longForward)
                .of(x.dtype())
                .begin()
                .buffer(x)
                .buffer(gamma)
                .buffer(beta)
                .buffer(y)
                .buffer(mean)
                .buffer(rstd)
                .i64(rows)
                .i32(Math.toIntExact(cols))
                .f32((float) eps)
                .launch(inRegisters ? Blocks.ceilDiv(rows, WARPS) : rows, inRegisters ? WARPS * WARP : LONG_THREADS, 0);
    }

    void layerNormBackward(
            Buffer x,
            Buffer gamma,
            Buffer mean,
            Buffer rstd,
            Buffer dy,
            long rows,
            long cols,
            @Nullable Buffer addend,
            @Nullable Buffer dx,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta) {
        requireType("layer_norm_backward", x.dtype(), dy, addend, dx);
        requireType("layer_norm_backward", DType.F32, gamma, mean, rstd, dgamma, dbeta);
        boolean parameters = dgamma != null || dbeta != null;
        if (cols <= LONGEST) {
            long blocks = Math.min(
                    Blocks.ceilDiv(rows, WARPS), (long) BACKWARD_BLOCKS[capacity(cols)] * device.multiprocessors());
            try (Buffer partials = parameters ? partials(blocks, cols) : null) {
                backward(backward[capacity(cols)], x, gamma, mean, rstd, dy, rows, cols, addend, dx, partials)
                        .launch(dx == null && !parameters ? 0 : blocks, WARPS * WARP, 0);
                total(partials, blocks, cols, dgamma, dbeta);
            }
            return;
        }
        if (dx != null) {
            backward(longBackward, x, gamma, mean, rstd, dy, rows, cols, addend, dx, null)
                    .launch(rows, LONG_THREADS, 0);
        }
        if (parameters) {
            long tiles = Blocks.ceilDiv(cols, WARP);
            long groups = Blocks.ceilDiv(rows, LONG_THREADS / WARP);
            long most = Math.max(1, (long) BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors() / tiles);
            long blocks = Math.min(groups, most);
            try (Buffer partials = partials(blocks, cols)) {
                backward(columns, x, gamma, mean, rstd, dy, rows, cols, null, null, partials)
                        .launch(tiles, blocks, 1, LONG_THREADS, 0);
                total(partials, blocks, cols, dgamma, dbeta);
            }
        }
    }

    private Buffer partials(long blocks, long cols) {
        return device.allocate(DType.F32, Math.max(1, 2 * blocks * cols));
    }

    private static CudaLaunch backward(
            CudaVariants variants,
            Buffer x,
            Buffer gamma,
            Buffer mean,
            Buffer rstd,
            Buffer dy,
            long rows,
            long cols,
            @Nullable Buffer addend,
            @Nullable Buffer dx,
            @Nullable Buffer partials) {
        return variants.of(x.dtype())
                .begin()
                .buffer(x)
                .buffer(gamma)
                .buffer(mean)
                .buffer(rstd)
                .buffer(dy)
                .buffer(addend)
                .buffer(dx)
                .buffer(partials)
                .i64(rows)
                .i64(cols);
    }

    private void total(
            @Nullable Buffer partials, long count, long cols, @Nullable Buffer dgamma, @Nullable Buffer dbeta) {
        if (partials != null) {
            device.module("norms")
                    .function("layer_norm_total")
                    .begin()
                    .buffer(partials)
                    .buffer(dgamma)
                    .buffer(dbeta)
                    .i64(count)
                    .i64(cols)
                    .launch(Blocks.ceilDiv(2 * cols, WARP), TOTAL_WARPS * WARP, 0);
        }
    }

    void softmax(Buffer x, long rows, long cols, boolean log, Buffer y) {
        requireType("softmax", x.dtype(), y);
        boolean warps = cols <= SOFTMAX_LONGEST;
        (warps ? softmax : longSoftmax)
                .of(x.dtype())
                .begin()
                .buffer(x)
                .buffer(y)
                .i64(rows)
                .i32(Math.toIntExact(cols))
                .i32(log ? 1 : 0)
                .launch(warps ? Blocks.ceilDiv(rows, WARPS) : rows, warps ? WARPS * WARP : LONG_THREADS, 0);
    }

    void softmaxBackward(Buffer y, Buffer dy, long rows, long cols, boolean log, Buffer dx) {
        requireType("softmax_backward", y.dtype(), dy, dx);
        boolean warps = cols <= SOFTMAX_LONGEST;
        (warps ? softmaxBackward : longSoftmaxBackward)
                .of(y.dtype())
                .begin()
                .buffer(y)
                .buffer(dy)
                .buffer(dx)
                .i64(rows)
                .i32(Math.toIntExact(cols))
                .i32(log ? 1 : 0)
                .launch(warps ? Blocks.ceilDiv(rows, WARPS) : rows, warps ? WARPS * WARP : LONG_THREADS, 0);
    }

    /** Index of the kernel whose registers hold a row. */
    private static int capacity(long cols) {
        return (int) Math.max(0, (cols - 1) / STEP);
    }

    private static void requireType(String op, DType dtype, @Nullable Buffer... buffers) {
        for (Buffer buffer : buffers) {
            if (buffer != null && buffer.dtype() != dtype) {
                throw new IllegalArgumentException(op + " on " + buffer.device() + " was given " + buffer.dtype()
                        + " where " + dtype + " is needed; convert it");
            }
        }
    }
}
