package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Patches;

/**
 * Patches cut from videos on a GPU, and what is reconstructed of them.
 *
 * <p>Indices lie in device memory, so they are not checked before the launch: one that is out of range makes its patch and
 * the loss NaN, and its gradient is left out.
 */
final class CudaPatches implements Patches {
    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    private static final int VECTOR_BYTES = 16;
    /** Capacity of the kernels' parameter struct. */
    private static final int MAX_CHANNELS = 32;
    /** The most bytes that a warp stages in shared memory. */
    private static final int MAX_STAGED = 48 * 1024 / WARPS;

    /** Blocks of a gather that run at once on a multiprocessor, as in patches.cu. */
    private static final int GATHER_BLOCKS = 4;

    private static final long MAX_LOSS_BLOCKS = 8192;
    /** The most pixels of a patch and channel that stay in registers, as in patches.cu. */
    private static final int CHANNEL_PIXELS = 512;

    /** How a gather reads, as in patches.cu. */
    private static final int PIXELS = 0;

    private static final int LINES = 1;
    private static final int CHANNEL_LAST = 2;

    private final CudaDevice device;
    private final CudaTokens tokens;
    private final CudaLosses losses;
    private final CudaVariants scatter;
    private final Reader gather;
    private final Reader target;
    private final Reader loss;

    CudaPatches(CudaDevice device, CudaTokens tokens, CudaLosses losses) {
        CudaModule module = new CudaModule(device, "patches");
        this.device = device;
        this.tokens = tokens;
        this.losses = losses;
        this.scatter = module.variants("scatter_patches");
        this.gather = new Reader(module, "gather_patches");
        this.target = new Reader(module, "reconstruction_target");
        this.loss = new Reader(module, "reconstruction_loss");
    }

    /** A kernel for u8 videos and one for f32 videos. */
    private record Reader(String op, CudaVariants bytes, CudaVariants floats) {
        Reader(CudaModule module, String op) {
            this(op, module.variants(op + "_u8"), module.variants(op + "_f32"));
        }

        CudaLaunch begin(Buffer video, DType dtype) {
            return switch (video.dtype()) {
                case U8 -> bytes.begin(dtype);
                case F32 -> floats.begin(dtype);
                default ->
                    throw new IllegalArgumentException(op + " on " + video.device()
                            + " reads u8 or f32 videos but was given " + video.dtype() + "; convert the video");
            };
        }
    }

    @Override
    public void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        int mode = mode(geometry, video, out);
        long rows = geometry.batch() * count;
        CudaLaunch launch = gather.begin(video, out.dtype()).buffers(video, indices, null, out);
        arguments("gather_patches", launch, geometry, rows, count, mode, 0, false)
                .launch(
                        gatherBlocks(rows, mode, video),
                        THREADS,
                        mode == CHANNEL_LAST ? WARPS * stagedBytes(geometry, video) : 0);
    }

    /** Where a warp reads ahead, as many blocks as run at once walk over the patches. */
    private long gatherBlocks(long rows, int mode, Buffer video) {
        long blocks = Math.ceilDiv(rows, WARPS);
        return mode == CHANNEL_LAST && video.dtype() == DType.U8
                ? Math.min(blocks, (long) GATHER_BLOCKS * device.multiprocessors())
                : blocks;
    }

    /** Of a warp in shared memory: one patch, in u8 a second that is under way. */
    private static int stagedBytes(PatchGeometry g, Buffer video) {
        return g.patchLength() * (video.dtype() == DType.U8 ? 2 : video.dtype().bytes());
    }

    private static void requireWhole(String op, PatchGeometry g) {
        if (g.padded()) {
            throw new IllegalArgumentException(op + ": videos of " + g.frames() + " x " + g.height() + " x "
                    + g.width() + " were given but only whole patches of " + g.tubelet() + " x " + g.patch() + " x "
                    + g.patch() + " can be reconstructed; use sizes that are multiples of the patch");
        }
    }

    /** The fastest way of reading that strides and alignment allow. */
    private static int mode(PatchGeometry g, Buffer video, Buffer out) {
        if (out.address() % VECTOR_BYTES != 0 || g.padded()) {
            return PIXELS;
        }
        int element = video.dtype().bytes();
        int values = VECTOR_BYTES / out.dtype().bytes();
        if (g.strideX() == 1 && g.patch() % values == 0) {
            // A wide read covers the pixels of one wide write, in one or two accesses.
            int bytes = Math.min(VECTOR_BYTES, values * element);
            long strides = g.strideB() | g.strideT() | g.strideY() | g.strideC();
            return (video.address() | strides * element) % bytes == 0 ? LINES : PIXELS;
        }
        long line = (long) g.patch() * g.channels();
        long strides = (g.strideB() | g.strideT() | g.strideY() | line) * element;
        boolean channelLast = g.strideC() == 1
                && g.strideX() == g.channels()
                && (strides | video.address()) % VECTOR_BYTES == 0
                && g.patch() % values == 0
                && stagedBytes(g, video) <= MAX_STAGED;
        return channelLast ? CHANNEL_LAST : PIXELS;
    }

    /** Writes what all kernels take of the geometry. */
    private static CudaLaunch geometry(CudaLaunch launch, PatchGeometry g, long rows, long count) {
        return launch.i64(rows, count)
                .i64(g.strideB(), g.strideT())
                .i64(g.strideY(), g.strideX(), g.strideC())
                .i32(g.patches(), g.plane())
                .i32(g.across(), g.channels(), g.tubelet(), g.patch());
    }

    /** Writes what follows the buffers in the arguments of all kernels but the loss. */
    private static CudaLaunch arguments(
            String op,
            CudaLaunch launch,
            PatchGeometry g,
            long rows,
            long count,
            int mode,
            double eps,
            boolean normalise) {
        if (g.channels() > MAX_CHANNELS) {
            throw new IllegalArgumentException(
                    op + ": " + g.channels() + " channels were given but a GPU takes at most " + MAX_CHANNELS
                            + "; split the channels or use the cpu");
        }
        geometry(launch, g, rows, count)
                .i32(g.frames(), g.height())
                .i32(g.width(), mode)
                .f32(eps, g.scale())
                .i32(normalise ? 1 : 0, g.padded() ? 1 : 0);
        for (int c = 0; c < MAX_CHANNELS; c++) {
            launch.f32(c < g.channels() ? g.scale() / g.std()[c] : 0);
        }
        for (int c = 0; c < MAX_CHANNELS; c++) {
            launch.f32(c < g.channels() ? -g.mean()[c] / g.std()[c] : 0);
        }
        return launch;
    }

    @Override
    public void scatterPatches(
            PatchGeometry geometry, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo) {
        if (dvideo.dtype() != DType.F32) {
            throw new IllegalArgumentException(
                    "scatter_patches on " + device + " adds to f32 videos but was given " + dvideo.dtype());
        }
        long patches = geometry.patches();
        long rows = geometry.batch() * patches;
        try (Buffer source = indices == null ? null : tokens.invert(indices, geometry.batch(), patches, count)) {
            CudaLaunch launch = scatter.begin(dout.dtype()).buffers(dvideo, indices, source, dout);
            boolean wide = addsWide(geometry, dvideo, dout);
            int shared = wide ? WARPS * geometry.patchLength() * dout.dtype().bytes() : 0;
            arguments("scatter_patches", launch, geometry, rows, count, wide ? CHANNEL_LAST : PIXELS, 0, false)
                    .launch(Math.ceilDiv(rows, WARPS), THREADS, shared);
        }
    }

    /** Whether gradients can be added to the lines of the video 16 bytes at a time. */
    private static boolean addsWide(PatchGeometry g, Buffer dvideo, Buffer dout) {
        long line = (long) g.patch() * g.channels();
        long strides = (g.strideB() | g.strideT() | g.strideY() | line) * Float.BYTES;
        long length = (long) g.patchLength() * dout.dtype().bytes();
        return (g.channels() == 1 || g.channels() == 3)
                && g.strideC() == 1
                && g.strideX() == g.channels()
                && !g.padded()
                && g.tubelet() * g.patch() * g.patch() <= CHANNEL_PIXELS
                && (strides | length | dvideo.address() | dout.address()) % VECTOR_BYTES == 0
                && WARPS * length <= 48 * 1024;
    }

    @Override
    public void reconstructionTarget(PatchTarget which, Buffer video, Buffer indices, Buffer result) {
        PatchGeometry g = which.geometry();
        requireWhole("reconstruction_target", g);
        long count = which.count();
        long rows = g.batch() * count;
        CudaLaunch launch = target.begin(video, result.dtype()).buffers(video, indices, null, result);
        arguments("reconstruction_target", launch, g, rows, count, PIXELS, which.eps(), which.normalise())
                .launch(Math.ceilDiv(rows, WARPS), THREADS, 0);
    }

    @Override
    public void reconstructionLoss(
            PatchTarget which,
            Buffer video,
            Buffer indices,
            Buffer prediction,
            Buffer result,
            @Nullable Buffer dprediction) {
        CudaTypes.same("reconstruction_loss", prediction, dprediction);
        CudaTypes.require("reconstruction_loss", DType.F32, result);
        PatchGeometry g = which.geometry();
        requireWhole("reconstruction_loss", g);
        int length = g.patchLength();
        long rows = g.batch() * which.count();
        double scale = 1.0 / Math.max(1, rows * length);
        long blocks = Math.min(Math.ceilDiv(rows, WARPS), MAX_LOSS_BLOCKS);
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, blocks))) {
            CudaLaunch launch = loss.begin(video, prediction.dtype())
                    .buffers(video, indices, prediction, dprediction)
                    .buffer(terms);
            geometry(launch, g, rows, which.count())
                    .f32(g.scale(), which.eps())
                    .f32(2 * scale)
                    .i32(which.normalise() ? 1 : 0)
                    .launch(blocks, THREADS, Math.multiplyExact(length, Float.BYTES));
            losses.sum(terms, blocks, scale, result);
        }
    }
}
