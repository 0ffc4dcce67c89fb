package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.DType;

/** Scaled dot-product attention on a GPU; the kernels and their layouts are described in {@code attention.cu}. */
final class CudaAttention implements Attention {
    /** Property that keeps the gradients of attention from one kernel: auto or two-kernels. */
    static final String GRADIENTS_PROPERTY = "tessera.cuda.attention.gradients";

    private static final int LARGEST_HEAD_DIM = 80;
    private static final int HEAD_DIMS = LARGEST_HEAD_DIM / 16;
    /** The largest whose gradients warpgroups compute as a matter of course. */
    private static final int USUAL_HEAD_DIM = 64;

    /** More dims of 32 rows do not fit into a warp's registers. */
    private static final int TALL_HEAD_DIM = 64;

    /** Queries of a block whose warps own 32 each. */
    private static final int TALL_ROWS = 128;

    private static final int TALL_THREADS = 128;
    private static final int THREADS = 256;
    private static final int THREADS_PER_STAT = 8;
    /** Of the gradient of a bias: three to six are computed at a time, so the last ones are few among all. */
    private static final int BLOCKS_PER_MULTIPROCESSOR = 16;

    private final CudaDevice device;
    private final Passes[] plain = new Passes[HEAD_DIMS];
    private final Passes[] biased = new Passes[HEAD_DIMS];
    private final @Nullable CudaFunction[] tallForward = new @Nullable CudaFunction[HEAD_DIMS];
    private final CudaVariants[] biasGradients = new CudaVariants[HEAD_DIMS];
    private final CudaFunction total;
    private final CudaVariants stats;
    private final CudnnAttention cudnn;
    private final HopperAttention hopper;
    private final CudaGradients gradients;
    private volatile boolean together = gradientsTogether();
    private volatile boolean tall;
    private volatile boolean warpgroups;

    CudaAttention(CudaDevice device) {
        CudaModule module = new CudaModule(device, "attention");
        this.device = device;
        for (int i = 0; i < HEAD_DIMS; i++) {
            int dim = (i + 1) * 16;
            plain[i] = new Passes(module, "" + dim);
            biased[i] = new Passes(module, "biased_" + dim);
            biasGradients[i] = module.variants("attention_bias_" + dim);
            tallForward[i] =
                    dim == 16 || dim > TALL_HEAD_DIM ? null : module.function("attention_tall_" + dim + "_bf16");
        }
        this.total = module.function("attention_bias_total");
        this.stats = module.variants("attention_stats");
        this.cudnn = new CudnnAttention(device);
        this.hopper = new HopperAttention(device);
        this.gradients = new CudaGradients(device);
    }

    private static boolean gradientsTogether() {
        String text = System.getProperty(GRADIENTS_PROPERTY, "auto");
        if (!text.equals("auto") && !text.equals("two-kernels")) {
            throw new IllegalArgumentException(
                    "property " + GRADIENTS_PROPERTY + " is '" + text + "'; set it to auto or two-kernels");
        }
        return text.equals("auto");
    }

    /** Whether one kernel may compute all gradients from now on where there is one, for tests and measurements. */
    void gradientsTogether(boolean allowed) {
        together = allowed;
    }

    /** Whether warps own 32 rows from now on wherever there is such a kernel, for tests and measurements; else the table says where. */
    void tall(boolean always) {
        tall = always;
    }

    /** Whether warpgroups compute from now on wherever they can, for tests; else the table says where. */
    void warpgroups(boolean always) {
        warpgroups = always;
    }

    @Override
    public void attention(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        DType dtype = in.q().dtype();
        require(dtype, in);
        CudaTypes.require("attention", dtype, out);
        CudaTypes.require("attention", DType.F32, logSumExp);
        int index = index(shape, dtype);
        Call call = new Call(shape, in, out, logSumExp, null, null, aligned(shape, in, out));
        Runnable own = () -> forward(call, index);
        if (!call.suitsCudnn() || !cudnn.forward(shape, in, out, logSumExp, own)) {
            own.run();
        }
    }

    @Override
    public void attentionBackward(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients) {
        DType dtype = in.q().dtype();
        require(dtype, in);
        require(dtype, gradients);
        CudaTypes.require("attention", dtype, out, dout, gradients.q());
        CudaTypes.require("attention", DType.F32, logSumExp);
        int index = index(shape, dtype);
        boolean aligned = aligned(shape, in, out) && aligned(shape, gradients, dout);
        Call call = new Call(shape, in, out, logSumExp, dout, gradients, aligned);
        Buffer dbias = gradients.bias();
        Runnable own = () -> backward(call, index, dbias);
        if (!call.suitsCudnn() || dbias != null || !cudnn.backward(shape, in, out, logSumExp, dout, gradients, own)) {
            own.run();
        }
    }

    private void forward(Call call, int index) {
        AttentionShape shape = call.shape;
        CudaFunction rows32 = call.plainBf16() && tall(shape) ? tallForward[index] : null;
        HopperAttention.Variant variant = null;
        if (call.plainBf16()) {
            variant = hopper.forward(shape, false);
        } else if (call.biasedBf16() && call.biasInPairs() && warpgroups(false, shape)) {
            variant = hopper.forward(shape, true);
        }
        if (rows32 != null) {
            call.arguments(rows32.begin(), null, null, 1)
                    .launch(call.heads() * Math.ceilDiv(shape.queries(), TALL_ROWS), TALL_THREADS, 0);
        } else if (variant != null) {
            long blocks = variant.blocks(call.heads(), shape.queries());
            call.arguments(variant.kernel().begin(), null, null, 1)
                    .launch(blocks, variant.threads(), variant.sharedBytes());
        } else {
            call.launch((call.biased() ? biased : plain)[index].forward, call.blocks(shape.queries()), null, null, 1);
        }
    }

    private boolean tall(AttentionShape shape) {
        return tall || AttentionProviders.of(device, false, shape) == AttentionProviders.Provider.TALL;
    }

    /** Whether warpgroups compute what they have not been measured to compute fastest in general. */
    private boolean warpgroups(boolean backward, AttentionShape shape) {
        return warpgroups || AttentionProviders.of(device, backward, shape) == AttentionProviders.Provider.WGMMA;
    }

    /** The kernel that computes all gradients but that of a bias, or null. */
    private @Nullable CudaFunction together(Call call) {
        boolean plain = call.plainBf16();
        boolean usual = plain && call.shape.headDim() <= USUAL_HEAD_DIM;
        return together && (plain || call.biasedBf16()) && (usual || warpgroups(true, call.shape))
                ? gradients.kernel(call.shape, !plain)
                : null;
    }

    private void backward(Call call, int index, @Nullable Buffer dbias) {
        AttentionShape shape = call.shape;
        CudaFunction kernel = together(call);
        if (kernel != null) {
            gradientsTogether(call, kernel);
            if (dbias == null) {
                return;
            }
        }
        long padded = call.heads() * call.padded();
        try (Buffer scratch = device.allocate(DType.F32, Math.max(1, 2 * padded))) {
            call.arguments(stats.begin(call.dtype()), null, scratch, 1)
                    .launch(Math.ceilDiv(padded * THREADS_PER_STAT, THREADS), THREADS, 0);
            if (kernel == null) {
                Passes passes = (call.biased() ? biased : plain)[index];
                call.launch(passes.keys, call.blocks(shape.keys()), null, scratch, 1);
                call.launch(passes.queries, call.blocks(shape.queries()), null, scratch, 1);
            }
            if (dbias != null) {
                biasGradient(call, biasGradients[index], dbias, scratch);
            }
        }
    }

    /** The statistics of the rows and then all gradients. */
    private void gradientsTogether(Call call, CudaFunction kernel) {
        AttentionShape shape = call.shape();
        long rows = call.heads() * call.padded();
        try (Buffer stats = device.allocate(DType.F32, gradients.stats(shape, rows));
                Buffer sums = device.allocate(DType.F32, gradients.sums(shape, rows));
                Buffer turns = device.allocate(DType.I32, gradients.turns(shape, rows))) {
            if (!CudaGradients.alone(shape)) {
                call.arguments(gradients.statistics().begin(), null, stats, 1, sums, turns)
                        .launch(gradients.statisticsBlocks(rows), THREADS, 0);
            }
            call.arguments(kernel.begin(), null, stats, 1, sums, turns)
                    .launch(gradients.blocks(shape), gradients.threads(), gradients.sharedBytes(shape));
        }
    }

    private void require(DType dtype, AttentionTensors tensors) {
        CudaTypes.single("attention", dtype, device);
        CudaTypes.require("attention", dtype, tensors.k(), tensors.v());
        CudaTypes.require("attention", DType.I32, tensors.regions());
        Buffer bias = tensors.bias();
        if (bias != null) {
            CudaTypes.single("attention's bias", bias.dtype(), device);
        }
    }

    /** Blocks share the samples of a common bias where its tiles alone are too few to fill the device evenly. */
    private void biasGradient(Call call, CudaVariants kernel, Buffer dbias, Buffer scratch) {
        AttentionShape shape = call.shape;
        long tiles = shape.heads() * call.tiles(shape.queries()) * call.tiles(shape.keys());
        if (tiles == 0) {
            return;
        }
        long most = (long) BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors();
        boolean common = shape.biasBatch() == 1;
        int splits = Math.toIntExact(common ? Math.min(shape.batch(), Math.ceilDiv(most, tiles)) : shape.batch());
        if (!common || splits == 1) {
            call.launch(kernel, tiles * splits, dbias, scratch, splits);
            return;
        }
        long count = (long) shape.heads() * shape.queries() * shape.keys();
        try (Buffer partials = device.allocate(DType.F32, Math.max(1, splits * count))) {
            call.launch(kernel, tiles * splits, partials, scratch, splits);
            total.begin()
                    .buffers(partials, dbias)
                    .i64(count)
                    .i32(splits, CudaTypes.isBf16(dbias))
                    .launch(Math.min(Math.ceilDiv(count, THREADS), most), THREADS, 0);
        }
    }

    /** Index of the kernels of the smallest head dim that holds this one; f32 has fewer. */
    private int index(AttentionShape shape, DType dtype) {
        if (shape.biasOfKeys()) {
            throw new IllegalArgumentException("attention on " + device
                    + " was given a bias of the keys alone; give one of every head, query and key, or use the cpu");
        }
        int headDim = shape.headDim();
        if (headDim > LARGEST_HEAD_DIM) {
            throw new IllegalArgumentException("attention on " + device + " was given a head dim of " + headDim
                    + " but computes at most " + LARGEST_HEAD_DIM + "; use more heads or the cpu");
        }
        int wanted = Math.max(0, (headDim - 1) / 16);
        return dtype == DType.BF16 || wanted == 4 ? wanted : wanted | 1;
    }

    /** Whether 16-byte accesses may be used on all rows. */
    private static boolean aligned(AttentionShape shape, AttentionTensors in, Buffer out) {
        return shape.headDim() * in.q().dtype().bytes() % 16 == 0
                && aligned(shape.q(), in.q())
                && aligned(shape.k(), in.k())
                && aligned(shape.v(), in.v())
                && aligned(shape.out(), out);
    }

    private static boolean aligned(Strides strides, Buffer buffer) {
        long bytes = (strides.batch() | strides.head() | strides.row())
                * buffer.dtype().bytes();
        return (bytes | buffer.address()) % 16 == 0;
    }

    /** The passes over tiles for one padded head dim. */
    private record Passes(CudaVariants forward, CudaVariants keys, CudaVariants queries) {
        Passes(CudaModule module, String suffix) {
            this(
                    module.variants("attention_" + suffix),
                    module.variants("attention_keys_" + suffix),
                    module.variants("attention_queries_" + suffix));
        }
    }

    /** What all kernels of one call share. */
    private record Call(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            @Nullable Buffer logSumExp,
            @Nullable Buffer dout,
            @Nullable AttentionTensors gradients,
            boolean aligned) {
        DType dtype() {
            return in.q().dtype();
        }

        /** The kernels that know no bias and regions take the largest product for the largest score. */
        boolean biased() {
            return in.bias() != null || in.regions() != null || !(shape.scale() > 0);
        }

        boolean plainBf16() {
            return dtype() == DType.BF16 && !biased() && aligned && heads() * shape.queries() * shape.keys() > 0;
        }

        /** The kernels of warpgroups divide the bias by the scale. */
        boolean biasedBf16() {
            return dtype() == DType.BF16
                    && biased()
                    && shape.scale() > 0
                    && aligned
                    && heads() * shape.queries() * shape.keys() > 0;
        }

        /** Whether the bias, if any, and the regions may be read by two keys at a time. */
        boolean biasInPairs() {
            Buffer bias = in.bias();
            return shape.keys() % 2 == 0
                    && (bias == null || bias.address() % (2L * bias.dtype().bytes()) == 0);
        }

        boolean suitsCudnn() {
            return plainBf16() && (logSumExp == null || logSumExp.address() % 16 == 0);
        }

        /** Rows that a block works on. */
        private int tile() {
            return dtype() == DType.BF16 ? 64 : 32;
        }

        private long tiles(int rows) {
            return Math.ceilDiv(rows, tile());
        }

        private int padded() {
            return Math.toIntExact(tiles(shape.queries()) * tile());
        }

        long heads() {
            return shape.batch() * shape.heads();
        }

        long blocks(int rows) {
            return heads() * tiles(rows);
        }

        void launch(CudaVariants kernel, long blocks, @Nullable Buffer dbias, @Nullable Buffer stats, int splits) {
            arguments(kernel.begin(dtype()), dbias, stats, splits).launch(blocks, dtype() == DType.BF16 ? 128 : 64, 0);
        }

        CudaLaunch arguments(CudaLaunch launch, @Nullable Buffer dbias, @Nullable Buffer stats, int splits) {
            return arguments(launch, dbias, stats, splits, null, null);
        }

        CudaLaunch arguments(
                CudaLaunch launch,
                @Nullable Buffer dbias,
                @Nullable Buffer stats,
                int splits,
                @Nullable Buffer sums,
                @Nullable Buffer turns) {
            launch.buffers(in.q(), in.k(), in.v(), in.bias()).buffers(in.regions(), out, logSumExp, dout);
            if (gradients == null) {
                launch.zeros(3);
            } else {
                launch.buffers(gradients.q(), gradients.k(), gradients.v());
            }
            launch.buffers(dbias, stats).buffers(sums, turns);
            return strides(strides(strides(strides(launch, shape.q()), shape.k()), shape.v()), shape.out())
                    .i64(shape.batch())
                    .i32(shape.heads(), shape.queries(), shape.keys(), shape.headDim())
                    .i32(padded(), shape.biasBatch() == 1 ? 1 : 0)
                    .i32(CudaTypes.isBf16(in.bias()), CudaTypes.isBf16(dbias))
                    .i32(splits, aligned ? 1 : 0)
                    .f32(shape.scale())
                    .i32(Math.toIntExact(shape.regionBatch()), CudaGradients.headsPerGroup(shape));
        }

        private static CudaLaunch strides(CudaLaunch launch, Strides strides) {
            return launch.i64(strides.batch(), strides.head(), strides.row());
        }
    }
}
