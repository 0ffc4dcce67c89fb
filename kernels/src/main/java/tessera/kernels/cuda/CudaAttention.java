package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.DType;

/** Scaled dot-product attention on a GPU; the kernels and their layouts are described in {@code attention.cu}. */
final class CudaAttention implements Attention {
    private static final int LARGEST_HEAD_DIM = 80;
    private static final int THREADS = 256;
    private static final int THREADS_PER_STAT = 8;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 4;

    private final CudaDevice device;
    private final HeadDim[] headDims = new HeadDim[LARGEST_HEAD_DIM / 16];
    private final CudaVariants stats;
    private final CudnnAttention cudnn;

    CudaAttention(CudaDevice device) {
        this.device = device;
        for (int i = 0; i < headDims.length; i++) {
            headDims[i] = new HeadDim(device, (i + 1) * 16);
        }
        this.stats = variants(device, "attention_stats");
        this.cudnn = new CudnnAttention(device);
    }

    private static CudaVariants variants(CudaDevice device, String name) {
        return new CudaVariants(device, "attention", name);
    }

    @Override
    public void attention(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        DType dtype = in.q().dtype();
        requireType(dtype, in.k(), in.v(), out);
        requireType(DType.F32, logSumExp);
        HeadDim kernels = kernels(shape, dtype);
        Call call = new Call(shape, in, out, logSumExp, null, null, aligned(shape, in, out));
        if (call.suitsCudnn() && cudnn.forward(shape, in, out, logSumExp)) {
            return;
        }
        call.launch(
                (call.biased() ? kernels.biasedForward : kernels.forward).of(dtype), call.queryBlocks(), null, null, 1);
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
        requireType(dtype, in.k(), in.v(), out, dout, gradients.q(), gradients.k(), gradients.v());
        requireType(DType.F32, logSumExp);
        HeadDim kernels = kernels(shape, dtype);
        boolean aligned = aligned(shape, in, out) && aligned(shape, gradients, dout);
        Call call = new Call(shape, in, out, logSumExp, dout, gradients, aligned);
        Buffer dbias = gradients.bias();
        if (call.suitsCudnn() && dbias == null && cudnn.backward(shape, in, out, logSumExp, dout, gradients)) {
            return;
        }
        long padded = call.heads() * call.padded();
        try (Buffer scratch = device.allocate(DType.F32, Math.max(1, 2 * padded))) {
            call.arguments(stats.of(dtype), null, scratch, 1)
                    .launch(Math.ceilDiv(padded * THREADS_PER_STAT, THREADS), THREADS, 0);
            CudaVariants keys = call.biased() ? kernels.biasedKeys : kernels.keys;
            call.launch(keys.of(dtype), call.keyBlocks(), null, scratch, 1);
            CudaVariants queries = call.biased() ? kernels.biasedQueries : kernels.queries;
            call.launch(queries.of(dtype), call.queryBlocks(), null, scratch, 1);
            if (dbias != null) {
                biasGradient(call, kernels.bias.of(dtype), dbias, scratch);
            }
        }
    }

    /** Blocks share the samples of a common bias where its tiles alone are too few to fill the device. */
    private void biasGradient(Call call, CudaFunction kernel, Buffer dbias, Buffer scratch) {
        AttentionShape shape = call.shape;
        long tiles = shape.heads() * call.tiles(shape.queries()) * call.tiles(shape.keys());
        if (tiles == 0) {
            return;
        }
        if (shape.biasBatch() != 1) {
            call.launch(kernel, tiles * shape.batch(), dbias, scratch, Math.toIntExact(shape.batch()));
            return;
        }
        long most = (long) BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors();
        int splits = (int) Math.min(shape.batch(), Math.ceilDiv(most, tiles));
        if (splits == 1) {
            call.launch(kernel, tiles, dbias, scratch, 1);
            return;
        }
        long count = (long) shape.heads() * shape.queries() * shape.keys();
        try (Buffer partials = device.allocate(DType.F32, Math.max(1, splits * count))) {
            call.launch(kernel, tiles * splits, partials, scratch, splits);
            device.module("attention")
                    .function("attention_bias_total")
                    .begin()
                    .buffer(partials)
                    .buffer(dbias)
                    .i64(count)
                    .i32(splits)
                    .i32(isBf16(dbias))
                    .launch(Math.min(Math.ceilDiv(count, THREADS), 4 * most), THREADS, 0);
        }
    }

    /** The kernels of the smallest head dim that holds this one; f32 has fewer. */
    private HeadDim kernels(AttentionShape shape, DType dtype) {
        int headDim = shape.headDim();
        if (headDim > LARGEST_HEAD_DIM) {
            throw new IllegalArgumentException("attention on " + device + " was given a head dim of " + headDim
                    + " but computes at most " + LARGEST_HEAD_DIM + "; use more heads or the cpu");
        }
        int wanted = Math.max(0, (headDim - 1) / 16);
        return headDims[dtype == DType.BF16 || wanted == 4 ? wanted : wanted | 1];
    }

    private static int isBf16(@Nullable Buffer buffer) {
        return buffer != null && buffer.dtype() == DType.BF16 ? 1 : 0;
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

    private static void requireType(DType dtype, @Nullable Buffer... buffers) {
        for (Buffer buffer : buffers) {
            if (buffer != null && buffer.dtype() != dtype) {
                throw new IllegalArgumentException("attention on " + buffer.device() + " was given " + buffer.dtype()
                        + " where " + dtype + " is needed; convert it");
            }
        }
    }

    /** The kernels for one padded head dim. */
    private static final class HeadDim {
        private final CudaVariants forward;
        private final CudaVariants keys;
        private final CudaVariants queries;
        private final CudaVariants biasedForward;
        private final CudaVariants biasedKeys;
        private final CudaVariants biasedQueries;
        private final CudaVariants bias;

        HeadDim(CudaDevice device, int dim) {
            this.forward = variants(device, "attention_" + dim);
            this.keys = variants(device, "attention_keys_" + dim);
            this.queries = variants(device, "attention_queries_" + dim);
            this.biasedForward = variants(device, "attention_biased_" + dim);
            this.biasedKeys = variants(device, "attention_keys_biased_" + dim);
            this.biasedQueries = variants(device, "attention_queries_biased_" + dim);
            this.bias = variants(device, "attention_bias_" + dim);
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

        /** The kernels without a bias take the largest product for the largest score. */
        boolean biased() {
            return in.bias() != null || !(shape.scale() > 0);
        }

        boolean suitsCudnn() {
            return dtype() == DType.BF16 && !biased() && aligned && heads() * shape.queries() * shape.keys() > 0;
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

        long queryBlocks() {
            return heads() * tiles(shape.queries());
        }

        long keyBlocks() {
            return heads() * tiles(shape.keys());
        }

        void launch(CudaFunction kernel, long blocks, @Nullable Buffer dbias, @Nullable Buffer stats, int splits) {
            arguments(kernel, dbias, stats, splits).launch(blocks, dtype() == DType.BF16 ? 128 : 64, 0);
        }

        CudaLaunch arguments(CudaFunction kernel, @Nullable Buffer dbias, @Nullable Buffer stats, int splits) {
            CudaLaunch launch = kernel.begin()
                    .buffer(in.q())
                    .buffer(in.k())
                    .buffer(in.v())
                    .buffer(in.bias())
                    .buffer(out)
                    .buffer(logSumExp)
                    .buffer(dout)
                    .buffer(gradients == null ? null : gradients.q())
                    .buffer(gradients == null ? null : gradients.k())
                    .buffer(gradients == null ? null : gradients.v())
                    .buffer(dbias)
                    .buffer(stats);
            return strides(strides(strides(strides(launch, shape.q()), shape.k()), shape.v()), shape.out())
                    .i64(shape.batch())
                    .i32(shape.heads())
                    .i32(shape.queries())
                    .i32(shape.keys())
                    .i32(shape.headDim())
                    .i32(padded())
                    .i32(shape.biasBatch() == 1 ? 1 : 0)
                    .i32(isBf16(in.bias()))
                    .i32(isBf16(dbias))
                    .i32(splits)
                    .i32(aligned ? 1 : 0)
                    .f32((float) shape.scale())
                    .i32(0);
        }

        private static CudaLaunch strides(CudaLaunch launch, Strides strides) {
            return launch.i64(strides.batch()).i64(strides.head()).i64(strides.row());
        }
    }
}
