package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Norms;

/** Layer norm and softmax on a GPU; the kernels and their layouts are described in {@code norms.cu}. */
final class CudaNorms implements Norms {
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

    @Override
    public void layerNorm(
            RowShape shape, Buffer x, NormParameters parameters, Buffer y, @Nullable NormStatistics statistics) {
        Buffer mean = statistics == null ? null : statistics.mean();
        Buffer rstd = statistics == null ? null : statistics.rstd();
        requireType("layer_norm", x.dtype(), y);
        requireType("layer_norm", DType.F32, parameters.gamma(), parameters.beta(), mean, rstd);
        long rows = shape.rows();
        long cols = shape.cols();
        boolean inRegisters = cols <= LONGEST;
        (inRegisters ? forward[capacity(cols)] : longForward)
                .of(x.dtype())
                .begin()
                .buffer(x)
                .buffer(parameters.gamma())
                .buffer(parameters.beta())
                .buffer(y)
                .buffer(mean)
                .buffer(rstd)
                .i64(rows)
                .i32(Math.toIntExact(cols))
                .f32((float) parameters.eps())
                .launch(inRegisters ? Math.ceilDiv(rows, WARPS) : rows, inRegisters ? WARPS * WARP : LONG_THREADS, 0);
    }

    @Override
    public void layerNormBackward(
            RowShape shape, Buffer x, Buffer gamma, NormStatistics statistics, Buffer dy, NormGradients gradients) {
        requireType("layer_norm_backward", x.dtype(), dy, gradients.addend(), gradients.dx());
        requireType(
                "layer_norm_backward",
                DType.F32,
                gamma,
                statistics.mean(),
                statistics.rstd(),
                gradients.dgamma(),
                gradients.dbeta());
        long rows = shape.rows();
        long cols = shape.cols();
        boolean parameters = gradients.dgamma() != null || gradients.dbeta() != null;
        Backward call = new Backward(shape, x, gamma, statistics, dy);
        if (cols <= LONGEST) {
            long blocks = Math.min(
                    Math.ceilDiv(rows, WARPS), (long) BACKWARD_BLOCKS[capacity(cols)] * device.multiprocessors());
            try (Buffer partials = parameters ? partials(blocks, cols) : null) {
                call.begin(backward[capacity(cols)], gradients.addend(), gradients.dx(), partials)
                        .launch(gradients.dx() == null && !parameters ? 0 : blocks, WARPS * WARP, 0);
                total(partials, blocks, cols, gradients);
            }
            return;
        }
        if (gradients.dx() != null) {
            call.begin(longBackward, gradients.addend(), gradients.dx(), null).launch(rows, LONG_THREADS, 0);
        }
        if (parameters) {
            long tiles = Math.ceilDiv(cols, WARP);
            long groups = Math.ceilDiv(rows, LONG_THREADS / WARP);
            long most = Math.max(1, (long) BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors() / tiles);
            long blocks = Math.min(groups, most);
            try (Buffer partials = partials(blocks, cols)) {
                call.begin(columns, null, null, partials).launch(tiles, blocks, 1, LONG_THREADS, 0);
                total(partials, blocks, cols, gradients);
            }
        }
    }

    private Buffer partials(long blocks, long cols) {
        return device.allocate(DType.F32, Math.max(1, 2 * blocks * cols));
    }

    /** What all kernels of one backward pass share. */
    private record Backward(RowShape shape, Buffer x, Buffer gamma, NormStatistics statistics, Buffer dy) {
        CudaLaunch begin(
                CudaVariants variants, @Nullable Buffer addend, @Nullable Buffer dx, @Nullable Buffer partials) {
            return variants.of(x.dtype())
                    .begin()
                    .buffer(x)
                    .buffer(gamma)
                    .buffer(statistics.mean())
                    .buffer(statistics.rstd())
                    .buffer(dy)
                    .buffer(addend)
                    .buffer(dx)
                    .buffer(partials)
                    .i64(shape.rows())
                    .i64(shape.cols());
        }
    }

    private void total(@Nullable Buffer partials, long count, long cols, NormGradients gradients) {
        if (partials != null) {
            device.module("norms")
                    .function("layer_norm_total")
                    .begin()
                    .buffer(partials)
                    .buffer(gradients.dgamma())
                    .buffer(gradients.dbeta())
                    .i64(count)
                    .i64(cols)
                    .launch(Math.ceilDiv(2 * cols, WARP), TOTAL_WARPS * WARP, 0);
        }
    }

    @Override
    public void softmax(RowShape shape, Buffer x, boolean log, Buffer y) {
        long rows = shape.rows();
        long cols = shape.cols();
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
                .launch(warps ? Math.ceilDiv(rows, WARPS) : rows, warps ? WARPS * WARP : LONG_THREADS, 0);
    }

    @Override
    public void softmaxBackward(RowShape shape, Buffer y, Buffer dy, boolean log, Buffer dx) {
        long rows = shape.rows();
        long cols = shape.cols();
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
                .launch(warps ? Math.ceilDiv(rows, WARPS) : rows, warps ? WARPS * WARP : LONG_THREADS, 0);
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
