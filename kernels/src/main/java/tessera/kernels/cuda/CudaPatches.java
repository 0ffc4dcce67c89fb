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
    private static final String MODULE = "patches";
    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    private static final int VECTOR_BYTES = 16;
    /** Capacity of the kernels' parameter struct. */
    private static final int MAX_CHANNELS = 32;
    /** The longest patch that is staged in shared memory, one per warp. */
    private static final int MAX_STAGED = 48 * 1024 / WARPS;

    private static final long MAX_LOSS_BLOCKS = 8192;

    /** How a gather reads, as in patches.cu. */
    private static final int PIXELS = 0;

    private static final int LINES = 1;
    private static final int CHANNEL_LAST = 2;

    private final CudaDevice device;
    private final CudaTokens tokens;
    private final CudaLosses losses;
    private final CudaVariants gatherBytes;
    private final CudaVariants gatherFloats;
    private final CudaVariants scatter;
    private final CudaVariants bytesTarget;
    private final CudaVariants floatsTarget;
    private final CudaVariants bytesLoss;
    private final CudaVariants floatsLoss;

    CudaPatches(CudaDevice device, CudaTokens tokens, CudaLosses losses) {
        this.device = device;
        this.tokens = tokens;
        this.losses = losses;
        this.gatherBytes = new CudaVariants(device, MODULE, "gather_patches_u8");
        this.gatherFloats = new CudaVariants(device, MODULE, "gather_patches_f32");
        this.scatter = new CudaVariants(device, MODULE, "scatter_patches");
        this.bytesTarget = new CudaVariants(device, MODULE, "reconstruction_target_u8");
        this.floatsTarget = new CudaVariants(device, MODULE, "reconstruction_target_f32");
        this.bytesLoss = new CudaVariants(device, MODULE, "reconstruction_loss_u8");
        this.floatsLoss = new CudaVariants(device, MODULE, "reconstruction_loss_f32");
    }

    private CudaVariants reading(String op, Buffer video, CudaVariants bytes, CudaVariants floats) {
        return switch (video.dtype()) {
            case U8 -> bytes;
            case F32 -> floats;
            default ->
                throw new IllegalArgumentException(op + " on " + device + " reads u8 or f32 videos but was given "
                        + video.dtype() + "; convert the video");
        };
    }

    @Override
    public void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        int mode = mode(geometry, video, out);
        long rows = geometry.batch() * count;
        CudaLaunch launch = reading("gather_patches", video, gatherBytes, gatherFloats)
                .of(out.dtype())
                .begin();
        arguments("gather_patches", launch, geometry, video, indices, null, out, rows, count, mode, 0, false)
                .launch(Math.ceilDiv(rows, WARPS), THREADS, mode == CHANNEL_LAST ? WARPS * geometry.patchLength() : 0);
    }

    /** The fastest way of reading that strides and alignment allow. */
    private static int mode(PatchGeometry g, Buffer video, Buffer out) {
        if (out.address() % VECTOR_BYTES != 0) {
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
        int line = g.patch() * g.channels();
        long strides = g.strideB() | g.strideT() | g.strideY() | video.address() | line;
        boolean channelLast = element == 1
                && g.strideC() == 1
                && g.strideX() == g.channels()
                && strides % VECTOR_BYTES == 0
                && g.patch() % values == 0
                && g.patchLength() <= MAX_STAGED;
        return channelLast ? CHANNEL_LAST : PIXELS;
    }

    private static CudaLaunch arguments(
            String op,
            CudaLaunch launch,
            PatchGeometry g,
            Buffer video,
            @Nullable Buffer indices,
            @Nullable Buffer source,
            Buffer values,
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
        launch.buffer(video)
                .buffer(indices)
                .buffer(source)
                .buffer(values)
                .i64(rows)
                .i64(count)
                .i64(g.strideB())
                .i64(g.strideT())
                .i64(g.strideY())
                .i64(g.strideX())
                .i64(g.strideC())
                .i32(g.patches())
                .i32(g.plane())
                .i32(g.width() / g.patch())
                .i32(g.channels())
                .i32(g.tubelet())
                .i32(g.patch())
                .i32(mode)
                .f32((float) eps)
                .f32((float) g.scale())
                .i32(normalise ? 1 : 0);
        for (int c = 0; c < MAX_CHANNELS; c++) {
            launch.f32(c < g.channels() ? (float) (g.scale() / g.std()[c]) : 0);
        }
        for (int c = 0; c < MAX_CHANNELS; c++) {
            launch.f32(c < g.channels() ? (float) (-g.mean()[c] / g.std()[c]) : 0);
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
        if (indices == null) {
            scatter(geometry, dout, null, null, count, dvideo);
            return;
        }
        try (Buffer source = tokens.invert(indices, geometry.batch(), geometry.patches(), count)) {
            scatter(geometry, dout, indices, source, count, dvideo);
        }
    }

    private void scatter(
            PatchGeometry geometry,
            Buffer dout,
            @Nullable Buffer indices,
            @Nullable Buffer source,
            long count,
            Buffer dvideo) {
        long rows = geometry.batch() * geometry.patches();
        CudaLaunch launch = scatter.of(dout.dtype()).begin();
        arguments("scatter_patches", launch, geometry, dvideo, indices, source, dout, rows, count, PIXELS, 0, false)
                .launch(Math.ceilDiv(rows, WARPS), THREADS, 0);
    }

    @Override
    public void reconstructionTarget(PatchTarget which, Buffer video, Buffer indices, Buffer target) {
        PatchGeometry geometry = which.geometry();
        long rows = geometry.batch() * which.count();
        CudaLaunch launch = reading("reconstruction_target", video, bytesTarget, floatsTarget)
                .of(target.dtype())
                .begin();
        arguments(
                        "reconstruction_target",
                        launch,
                        geometry,
                        video,
                        indices,
                        null,
                        target,
                        rows,
                        which.count(),
                        PIXELS,
                        which.eps(),
                        which.normalise())
                .launch(Math.ceilDiv(rows * geometry.channels(), WARPS), THREADS, 0);
    }

    @Override
    public void reconstructionLoss(
            PatchTarget which,
            Buffer video,
            Buffer indices,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction) {
        PatchGeometry geometry = which.geometry();
        int length = geometry.patchLength();
        long rows = geometry.batch() * which.count();
        double scale = 1.0 / Math.max(1, rows * length);
        long blocks = Math.min(rows, MAX_LOSS_BLOCKS);
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, blocks))) {
            reading("reconstruction_loss", video, bytesLoss, floatsLoss)
                    .of(prediction.dtype())
                    .begin()
                    .buffer(video)
                    .buffer(indices)
                    .buffer(prediction)
                    .buffer(CudaLosses.sameType("reconstruction_loss", prediction, dprediction))
                    .buffer(terms)
                    .i64(rows)
                    .i64(which.count())
                    .i64(geometry.strideB())
                    .i64(geometry.strideT())
                    .i64(geometry.strideY())
                    .i64(geometry.strideX())
                    .i64(geometry.strideC())
                    .i32(geometry.patches())
                    .i32(geometry.plane())
                    .i32(geometry.width() / geometry.patch())
                    .i32(geometry.channels())
                    .i32(geometry.tubelet())
                    .i32(geometry.patch())
                    .f32((float) geometry.scale())
                    .f32((float) which.eps())
                    .f32((float) (2 * scale))
                    .i32(which.normalise() ? 1 : 0)
                    .launch(
                            blocks,
                            32 * Math.clamp(geometry.channels(), 1, THREADS / 32),
                            Math.multiplyExact(length, Float.BYTES));
            losses.sum(terms, blocks, scale, loss);
        }
    }
}
