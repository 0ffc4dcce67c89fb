package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;

/** Operations that cut videos into patches. */
final class PatchesOps {
    private PatchesOps() {}

    private static Buffer pixels(Tensor video) {
        Buffer whole = video.wholeBuffer();
        return whole.slice(video.offset(), whole.length() - video.offset());
    }

    private static void check(String name, Patches patches, Tensor video, @Nullable Tensor indices, boolean mayPad) {
        Op.check(
                video.rank() == 5
                        && (video.dtype() == DType.U8 || video.dtype() == DType.F32 || video.dtype() == DType.F64),
                name,
                () -> "the video is " + video.describe() + "; pass u8 or f32 [batch, frames, height, width, channels]");
        Op.check(
                mayPad
                        || (video.size(1) % patches.tubelet() == 0
                                && video.size(2) % patches.patch() == 0
                                && video.size(3) % patches.patch() == 0),
                name,
                () -> "the video " + video.describe() + " is no whole number of patches of " + patches.tubelet()
                        + " frames x " + patches.patch() + " x " + patches.patch()
                        + " pixels; resize or cut it to multiples");
        Op.check(
                video.size(4) == patches.channels(),
                name,
                () -> "the video " + video.describe() + " has " + video.size(4) + " channels but the model takes "
                        + patches.channels());
        if (indices != null) {
            Op.check(
                    indices.dtype() == DType.I32 && indices.rank() == 2 && indices.size(0) == video.size(0),
                    name,
                    () -> "indices are " + indices.describe() + "; pass i32[" + video.size(0) + ", count]");
        }
    }

    /** What a video's patches are computed in where nothing else is asked for. */
    private static DType outputType(Tensor video) {
        return video.dtype() == DType.F64 ? DType.F64 : DType.F32;
    }

    private static void checkOutput(String name, Tensor video, DType out) {
        Op.check(
                out == outputType(video) || (out == DType.BF16 && video.device().computes(out)),
                name,
                () -> "patches of " + video.describe() + " cannot be computed in " + out + "; ask for "
                        + outputType(video) + " (bf16 is computed on a GPU only)");
    }

    /**
     * Inputs the video and, unless all patches are taken, the indices.
     *
     * @param as type of the result, or null for the one that goes with the video
     */
    record GatherPatches(Patches patches, @Nullable DType as) implements Op.Differentiable {
        GatherPatches(Patches patches) {
            this(patches, null);
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor video = in[0];
            Tensor indices = in.length == 2 ? in[1].contiguous() : null;
            check(name(), patches, video, indices, patches.pads());
            DType out = as == null ? outputType(video) : as;
            checkOutput(name(), video, out);
            PatchGeometry g = patches.geometry(video.shape(), video.strides());
            long count = indices == null ? g.patches() : indices.size(1);
            Tensor y = Tensor.empty(video.device(), out, Shape.of(video.size(0), count, g.patchLength()));
            video.kernels().patches().gatherPatches(g, pixels(video), Op.bufferOrNull(indices), count, y.buffer());
            if (indices != null) {
                context.save(indices);
            }
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            Shape shape = context.inputShape(0);
            Tensor gradient = dy.to(Op.wide(dy.dtype())).contiguous();
            Tensor dx = Tensor.full(dy.device(), gradient.dtype(), shape, 0);
            Tensor indices = context.savedCount() == 1 ? context.saved(0) : null;
            dy.kernels()
                    .patches()
                    .scatterPatches(
                            patches.geometry(shape, dx.strides()),
                            gradient.buffer(),
                            Op.bufferOrNull(indices),
                            dy.size(1),
                            dx.buffer());
            d[0] = dx;
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long read = output.shape().count() * in[0].dtype().bytes();
            return new Cost(2 * output.shape().count(), read + output.byteSize());
        }
    }

    /** Inputs the video and the indices. */
    record ReconstructionTarget(Patches patches, double eps, boolean normalise) implements Op.Constant {
        @Override
        public String whyNoGradient() {
            return "the target of a reconstruction is data";
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor video = in[0];
            Tensor indices = in[1].contiguous();
            check(name(), patches, video, indices, false);
            PatchGeometry g = patches.geometry(video.shape(), video.strides());
            Tensor y = Tensor.empty(
                    video.device(), outputType(video), Shape.of(video.size(0), indices.size(1), g.patchLength()));
            video.kernels()
                    .patches()
                    .reconstructionTarget(
                            new PatchTarget(g, indices.size(1), eps, normalise),
                            pixels(video),
                            indices.buffer(),
                            y.buffer());
            return y;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(
                    5 * output.shape().count(),
                    output.shape().count() * in[0].dtype().bytes() + output.byteSize());
        }
    }

    /** Inputs prediction {@code [B, count, patchLength]}, video and indices. */
    record ReconstructionLoss(Patches patches, double eps, boolean normalise) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor prediction = in[0].contiguous();
            Tensor video = in[1];
            Tensor indices = in[2].contiguous();
            check(name(), patches, video, indices, false);
            PatchGeometry g = patches.geometry(video.shape(), video.strides());
            Shape target = Shape.of(video.size(0), indices.size(1), g.patchLength());
            Op.check(
                    prediction.shape().equals(target) && Op.wide(prediction.dtype()) == outputType(video),
                    name(),
                    () -> "the prediction is " + in[0].describe() + " but the target is " + outputType(video) + target
                            + "; predict one patch vector per masked token");
            checkOutput(name(), video, prediction.dtype());
            Tensor loss = Tensor.empty(prediction.device(), Op.wide(prediction.dtype()), Shape.of());
            Tensor gradient = context.needsGradient(0)
                    ? Tensor.empty(prediction.device(), prediction.dtype(), prediction.shape())
                    : null;
            video.kernels()
                    .patches()
                    .reconstructionLoss(
                            new PatchTarget(g, indices.size(1), eps, normalise),
                            pixels(video),
                            indices.buffer(),
                            prediction.buffer(),
                            loss.buffer(),
                            Op.bufferOrNull(gradient));
            if (gradient != null) {
                context.save(gradient);
            }
            return loss;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new @Nullable Tensor[] {ElementwiseOps.scaled(context.saved(0), dy), null, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long pixels = in[0].shape().count() * in[1].dtype().bytes();
            return new Cost(8 * in[0].shape().count(), pixels + 2 * in[0].byteSize());
        }
    }
}
