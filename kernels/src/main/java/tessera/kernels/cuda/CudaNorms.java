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
    private static final int BACKWARD_WARPS = 8;
    private static final int TOTAL_WARPS = 32;

    /** The longest rows of the kernels that keep a row in registers; the other tables have an entry for each. */
    private static final int[] CAPACITIES = {256, 384, 512, 768, 1024, 1280};

    /** Rows that a warp takes at once. */
    private static final int[] FORWARD_ROWS = {2, 2, 1, 1, 1, 1};

    private static final int[] FORWARD_ROWS_BF16 = {2, 1, 1, 1, 1, 1};

    /** Blocks of the kernels for bf16 that run at once on a multiprocessor, and walk over the rows. */
    private static final int[] FORWARD_BLOCKS_BF16 = {7, 8, 4, 3, 4, 4};

    /** What norms.cu promises of the backward kernels: as many blocks run at once, and more would run after them. */
    private static final int[] BACKWARD_BLOCKS = {2, 2, 2, 1, 1, 1};

    private static final int[] BACKWARD_BLOCKS_BF16 = {3, 2, 2, 1, 1, 1};

    private static final int LONGEST = CAPACITIES[CAPACITIES.length - 1];
    /** Softmax's rows that a warp keeps in registers, and those that it reads again from the cache. */
    private static final int SOFTMAX_SHORT = 512;

    private static final int SOFTMAX_LONGEST = 2048;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 4;

    private final CudaDevice device;
    private final CudaVariants[] forward = new CudaVariants[CAPACITIES.length];
    private final CudaVariants[] backward = new CudaVariants[CAPACITIES.length];
    private final CudaFunction total;
    private final CudaFunction scales;
    private final CudaVariants longForward;
    private final CudaVariants longBackward;
    private final CudaVariants columns;
    private final CudaVariants shortSoftmax;
    private final CudaVariants softmax;
    private final CudaVariants longSoftmax;
    private final CudaVariants shortSoftmaxBackward;
    private final CudaVariants softmaxBackward;
    private final CudaVariants longSoftmaxBackward;

    CudaNorms(CudaDevice device) {
        this.device = device;
        CudaModule module = new CudaModule(device, "norms");
        for (int i = 0; i < forward.length; i++) {
            forward[i] = module.variants("layer_norm_" + CAPACITIES[i]);
            backward[i] = module.variants("layer_norm_backward_" + CAPACITIES[i]);
        }
        this.total = module.function("layer_norm_total");
        this.scales = module.function("layer_norm_scales_bf16");
        this.longForward = module.variants("layer_norm_long");
        this.longBackward = module.variants("layer_norm_backward_long");
        this.columns = module.variants("layer_norm_columns");
        this.shortSoftmax = module.variants("softmax_" + SOFTMAX_SHORT);
        this.softmax = module.variants("softmax");
        this.longSoftmax = module.variants("softmax_long");
        this.shortSoftmaxBackward = module.variants("softmax_backward_" + SOFTMAX_SHORT);
        this.softmaxBackward = module.variants("softmax_backward");
        this.longSoftmaxBackward = module.variants("softmax_backward_long");
    }

    @Override
    public void layerNorm(
            RowShape shape, Buffer x, NormParameters parameters, Buffer y, @Nullable NormStatistics statistics) {
        Buffer mean = statistics == null ? null : statistics.mean();
        Buffer rstd = statistics == null ? null : statistics.rstd();
        CudaTypes.require("layer_norm", x.dtype(), y);
        CudaTypes.require("layer_norm", DType.F32, parameters.gamma(), parameters.beta(), mean, rstd);
        long rows = shape.rows();
        long cols = shape.cols();
        boolean inRegisters = cols <= LONGEST;
        long blocks = inRegisters ? forwardBlocks(x.dtype(), rows, capacity(cols)) : rows;
        (inRegisters ? forward[capacity(cols)] : longForward)
                .begin(x.dtype())
                .buffers(x, parameters.gamma(), parameters.beta())
                .buffers(y, mean, rstd)
                .i64(rows)
                .i32(Math.toIntExact(cols))
                .f32(parameters.eps())
                .launch(blocks, inRegisters ? WARPS * WARP : LONG_THREADS, 0);
    }

    /**
     * What rows become a layer norm by, but for its weights: their values times the first plus the second.
     *
     * @param x bf16
     * @param y f32 {@code [rows, 2]}: rstd and -mean rstd
     */
    void layerNormScales(RowShape shape, Buffer x, double eps, Buffer y) {
        scales.begin()
                .buffers(x, y)
                .i64(shape.rows())
                .i32(Math.toIntExact(shape.cols()))
                .f32(eps)
                .launch(Math.ceilDiv(shape.rows(), WARPS), WARPS * WARP, 0);
    }

    private long forwardBlocks(DType dtype, long rows, int capacity) {
        if (dtype == DType.BF16) {
            return Math.min(
                    Math.ceilDiv(rows, (long) WARPS * FORWARD_ROWS_BF16[capacity]),
                    (long) FORWARD_BLOCKS_BF16[capacity] * device.multiprocessors());
        }
        return Math.ceilDiv(rows, (long) WARPS * FORWARD_ROWS[capacity]);
    }

    @Override
    public void layerNormBackward(
            RowShape shape, Buffer x, Buffer gamma, NormStatistics statistics, Buffer dy, NormGradients gradients) {
        CudaTypes.require("layer_norm_backward", x.dtype(), dy, gradients.addend(), gradients.dx());
        CudaTypes.require("layer_norm_backward", DType.F32, gamma, statistics.mean(), statistics.rstd());
        CudaTypes.require("layer_norm_backward", DType.F32, gradients.dgamma(), gradients.dbeta());
        long rows = shape.rows();
        long cols = shape.cols();
        boolean parameters = gradients.dgamma() != null || gradients.dbeta() != null;
        Backward call = new Backward(shape, x, gamma, statistics, dy);
        if (cols <= LONGEST) {
            long blocks = Math.min(
                    Math.ceilDiv(rows, BACKWARD_WARPS),
                    (long) (x.dtype() == DType.BF16 ? BACKWARD_BLOCKS_BF16 : BACKWARD_BLOCKS)[capacity(cols)]
                            * device.multiprocessors());
            try (Buffer partials = parameters ? partials(blocks, cols) : null) {
                call.begin(backward[capacity(cols)], gradients.addend(), gradients.dx(), partials)
                        .launch(gradients.dx() == null && !parameters ? 0 : blocks, BACKWARD_WARPS * WARP, 0);
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
            return variants.begin(x.dtype())
                    .buffers(x, gamma, statistics.mean(), statistics.rstd())
                    .buffers(dy, addend, dx, partials)
                    .i64(shape.rows(), shape.cols());
        }
    }

    private void total(@Nullable Buffer partials, long count, long cols, NormGradients gradients) {
        if (partials != null) {
            total.begin()
                    .buffers(partials, gradients.dgamma(), gradients.dbeta())
                    .i64(count, cols)
                    .launch(Math.ceilDiv(2 * cols, WARP), TOTAL_WARPS * WARP, 0);
        }
    }

    @Override
    public void softmax(RowShape shape, Buffer x, boolean log, Buffer y) {
        CudaTypes.require("softmax", x.dtype(), y);
        CudaVariants kernel = byLength(shape, shortSoftmax, softmax, longSoftmax);
        launchRows(kernel.begin(x.dtype()).buffers(x, y), shape, log);
    }

    @Override
    public void softmaxBackward(RowShape shape, Buffer y, Buffer dy, boolean log, Buffer dx) {
        CudaTypes.require("softmax_backward", y.dtype(), dy, dx);
        CudaVariants kernel = byLength(shape, shortSoftmaxBackward, softmaxBackward, longSoftmaxBackward);
        launchRows(kernel.begin(y.dtype()).buffers(y, dy, dx), shape, log);
    }

    private static CudaVariants byLength(RowShape shape, CudaVariants small, CudaVariants middle, CudaVariants large) {
        return shape.cols() <= SOFTMAX_SHORT ? small : shape.cols() <= SOFTMAX_LONGEST ? middle : large;
    }

    private static void launchRows(CudaLaunch launch, RowShape shape, boolean log) {
        long rows = shape.rows();
        launch.i64(rows).i32(Math.toIntExact(shape.cols()), log ? 1 : 0);
        if (shape.cols() <= SOFTMAX_LONGEST) {
            launch.launch(Math.ceilDiv(rows, WARPS), WARPS * WARP, 0);
        } else {
            launch.launch(rows, LONG_THREADS, 0);
        }
    }

    /** Index of the kernel whose registers hold a row. */
    private static int capacity(long cols) {
        int index = 0;
        while (CAPACITIES[index] < cols) {
            index++;
        }
        return index;
    }
}
