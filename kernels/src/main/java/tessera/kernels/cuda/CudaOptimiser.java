package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Optimiser;

/**
 * The optimiser on a GPU: the addresses of up to {@value #TENSORS} tensors ({@value #NORM_TENSORS} for the norm) ride in the
 * parameters of one launch, so that a step copies nothing to the device.
 */
final class CudaOptimiser implements Optimiser {
    /** Capacity of the kernel's parameter struct. */
    private static final int TENSORS = 72;

    /** The same of the norm's kernel, which needs less of each tensor. */
    private static final int NORM_TENSORS = 160;

    /** What each takes of the struct, in numbers of 8 bytes. */
    private static final int ENTRY = 7;

    private static final int NORM_ENTRY = 3;

    /** Elements of one block. */
    private static final int CHUNK = 4096;

    private static final int THREADS = 256;
    private static final int TOTAL_THREADS = 1024;

    private final CudaDevice device;
    private final CudaFunction norm;
    private final CudaFunction partials;
    private final CudaVariants adamW;

    CudaOptimiser(CudaDevice device) {
        this.device = device;
        CudaModule module = new CudaModule(device, "optimiser");
        this.norm = module.function("global_norm");
        this.partials = module.function("global_norm_partials");
        this.adamW = module.variants("adamw");
    }

    @Override
    public void globalNorm(Buffer[] gradients, Buffer result) {
        requireNorm("global_norm", result);
        long blocks = 0;
        for (int i = 0; i < gradients.length; i++) {
            DType dtype = gradients[i].dtype();
            if (dtype != DType.F32 && dtype != DType.BF16) {
                throw new IllegalArgumentException("global_norm on " + device + ": gradient " + i + " is " + dtype
                        + "; keep gradients in f32 or bf16, or compute on the cpu");
            }
            blocks += Math.ceilDiv(gradients[i].length(), CHUNK);
        }
        try (Buffer sums = device.allocate(DType.F32, Math.max(1, blocks))) {
            long done = 0;
            for (int from = 0; from < gradients.length; from += NORM_TENSORS) {
                done += launchPartials(gradients, from, sums.address() + done * Float.BYTES);
            }
            norm.begin().buffers(sums, result).i64(blocks).launch(1, TOTAL_THREADS, 0);
        }
    }

    /** Writes one partial sum for each block of up to {@value #NORM_TENSORS} tensors; returns how many. */
    private long launchPartials(Buffer[] gradients, int from, long sums) {
        int count = Math.min(NORM_TENSORS, gradients.length - from);
        CudaLaunch launch = partials.begin().address(sums).i32(count, 0);
        long blocks = 0;
        for (int i = from; i < from + count; i++) {
            long length = gradients[i].length();
            launch.buffer(gradients[i]).i64(length).i32(Math.toIntExact(blocks), CudaTypes.isBf16(gradients[i]));
            blocks += Math.ceilDiv(length, CHUNK);
        }
        launch.zeros(NORM_ENTRY * (NORM_TENSORS - count)).launch(blocks, THREADS, 0);
        return blocks;
    }

    private void requireNorm(String op, Buffer norm) {
        if (norm.dtype() != DType.F32 || norm.length() != 1) {
            throw new IllegalArgumentException(
                    op + " on " + device + " was given " + norm + " for the norm; pass one element of f32");
        }
    }

    @Override
    public void adamW(AdamWTensors tensors, AdamWStep step) {
        Clip clip = step.clip();
        if (clip != null) {
            requireNorm("adamw", clip.norm());
        }
        for (int i = 0; i < tensors.parameters().length; i++) {
            check(tensors, i);
        }
        if (device.currentStream().recording()) {
            device.currentStream().recordBetas(new Betas(step.beta1(), step.beta2()));
        }
        launchAll(tensors, DType.F32, step);
        launchAll(tensors, DType.BF16, step);
    }

    /** Updates the tensors whose gradients are of one type. Large ones come first, so that nearly all work is in one launch. */
    private void launchAll(AdamWTensors tensors, DType gradient, AdamWStep step) {
        int[] chosen = new int[TENSORS];
        int count = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < tensors.parameters().length; i++) {
                long length = tensors.parameters()[i].length();
                boolean large = length > CHUNK;
                if (tensors.gradients()[i].dtype() == gradient && length > 0 && large == (pass == 0)) {
                    chosen[count++] = i;
                    if (count == TENSORS) {
                        launch(tensors, gradient, step, chosen, count);
                        count = 0;
                    }
                }
            }
        }
        if (count > 0) {
            launch(tensors, gradient, step, chosen, count);
        }
    }

    private void launch(AdamWTensors tensors, DType gradient, AdamWStep step, int[] chosen, int count) {
        Clip clip = step.clip();
        CudaLaunch launch = adamW.begin(gradient)
                .address(device.currentStream().variables())
                .buffer(clip == null ? null : clip.norm())
                .i32(count)
                .f32(step.beta1(), 1 - step.beta1())
                .f32(step.beta2(), 1 - step.beta2())
                .f32(step.lr())
                .f32(correction1(step.beta1(), step.step()), correction2(step.beta2(), step.step()))
                .f32(step.eps(), clip == null ? 0 : clip.largest());
        long blocks = 0;
        for (int entry = 0; entry < count; entry++) {
            int i = chosen[entry];
            long length = tensors.parameters()[i].length();
            launch.buffers(tensors.parameters()[i], tensors.gradients()[i])
                    .buffers(tensors.firstMoments()[i], tensors.secondMoments()[i], shadow(tensors, i))
                    .i64(length)
                    .i32(Math.toIntExact(blocks))
                    .f32(tensors.decay()[i]);
            blocks += Math.ceilDiv(length, CHUNK);
        }
        launch.zeros(ENTRY * (TENSORS - count)).launch(blocks, THREADS, 0);
    }

    private static @Nullable Buffer shadow(AdamWTensors tensors, int i) {
        @Nullable Buffer[] shadows = tensors.shadows();
        return shadows == null ? null : shadows[i];
    }

    private void check(AdamWTensors tensors, int i) {
        DType parameter = tensors.parameters()[i].dtype();
        DType gradient = tensors.gradients()[i].dtype();
        DType first = tensors.firstMoments()[i].dtype();
        DType second = tensors.secondMoments()[i].dtype();
        Buffer shadow = shadow(tensors, i);
        boolean masters = parameter == DType.F32 && first == DType.F32 && second == DType.F32;
        boolean known = gradient == DType.F32 || gradient == DType.BF16;
        if (!masters || !known || (shadow != null && shadow.dtype() != DType.BF16)) {
            throw new IllegalArgumentException(
                    "adamw on " + device + ": tensor " + i + " has a parameter of " + parameter
                            + ", moments of " + first + " and " + second + ", a gradient of " + gradient
                            + (shadow == null ? "" : " and a shadow of " + shadow.dtype())
                            + "; keep parameters and moments in f32, gradients in f32 or bf16, shadows in bf16");
        }
    }

    /** What the corrections of a step follow from, beside its number. */
    record Betas(double beta1, double beta2) {
        /** Of a graph without an optimiser. */
        static final Betas NONE = new Betas(0, 0);
    }

    static float correction1(double beta1, long step) {
        return (float) (1 / (1 - Math.pow(beta1, (double) step)));
    }

    static float correction2(double beta2, long step) {
        return (float) (1 / Math.sqrt(1 - Math.pow(beta2, (double) step)));
    }
}
