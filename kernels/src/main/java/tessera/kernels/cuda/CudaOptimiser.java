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

    /** Elements of one block. */
    private static final int CHUNK = 4096;

    private static final int THREADS = 256;
    private static final int TOTAL_THREADS = 1024;
    private static final String MODULE = "optimiser";

    private final CudaDevice device;
    private final CudaVariants adamW;

    CudaOptimiser(CudaDevice device) {
        this.device = device;
        this.adamW = new CudaVariants(device, MODULE, "adamw");
    }

    @Override
    public void globalNorm(Buffer[] gradients, Buffer norm) {
        requireNorm("global_norm", norm);
        long blocks = 0;
        for (int i = 0; i < gradients.length; i++) {
            DType dtype = gradients[i].dtype();
            if (dtype != DType.F32 && dtype != DType.BF16) {
                throw new IllegalArgumentException("global_norm on " + device + ": gradient " + i + " is " + dtype
                        + "; keep gradients in f32 or bf16, or compute on the cpu");
            }
            blocks += Math.ceilDiv(gradients[i].length(), CHUNK);
        }
        try (Buffer partials = device.allocate(DType.F32, Math.max(1, blocks))) {
            long done = 0;
            for (int from = 0; from < gradients.length; from += NORM_TENSORS) {
                done += launchPartials(gradients, from, partials.address() + done * Float.BYTES);
            }
            device.module(MODULE)
                    .function("global_norm")
                    .begin()
                    .buffer(partials)
                    .buffer(norm)
                    .i64(blocks)
                    .launch(1, TOTAL_THREADS, 0);
        }
    }

    /** Writes one partial sum for each block of up to {@value #NORM_TENSORS} tensors; returns how many. */
    private long launchPartials(Buffer[] gradients, int from, long partials) {
        int count = Math.min(NORM_TENSORS, gradients.length - from);
        CudaLaunch launch = device.module(MODULE)
                .function("global_norm_partials")
                .begin()
                .pointer(partials)
                .i32(count)
                .i32(0);
        long blocks = 0;
        for (int entry = 0; entry < NORM_TENSORS; entry++) {
            if (entry < count) {
                Buffer gradient = gradients[from + entry];
                launch.buffer(gradient)
                        .i64(gradient.length())
                        .i32(Math.toIntExact(blocks))
                        .i32(gradient.dtype() == DType.BF16 ? 1 : 0);
                blocks += Math.ceilDiv(gradient.length(), CHUNK);
            } else {
                launch.pointer(0).i64(0).i32(0).i32(0);
            }
        }
        launch.launch(blocks, THREADS, 0);
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
        CudaLaunch launch = adamW.of(gradient)
                .begin()
                .pointer(device.currentStream().variables())
                .buffer(clip == null ? null : clip.norm())
                .i32(count);
        write(launch, step);
        long blocks = 0;
        for (int entry = 0; entry < TENSORS; entry++) {
            if (entry < count) {
                write(launch, tensors, chosen[entry], Math.toIntExact(blocks));
                blocks += Math.ceilDiv(tensors.parameters()[chosen[entry]].length(), CHUNK);
            } else {
                launch.pointer(0)
                        .pointer(0)
                        .pointer(0)
                        .pointer(0)
                        .pointer(0)
                        .i64(0)
                        .i32(0)
                        .f32(0);
            }
        }
        launch.launch(blocks, THREADS, 0);
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

    private static void write(CudaLaunch launch, AdamWTensors tensors, int i, int firstBlock) {
        launch.buffer(tensors.parameters()[i])
                .buffer(tensors.gradients()[i])
                .buffer(tensors.firstMoments()[i])
                .buffer(tensors.secondMoments()[i])
                .buffer(shadow(tensors, i))
                .i64(tensors.parameters()[i].length())
                .i32(firstBlock)
                .f32((float) tensors.decay()[i]);
    }

    /** What the corrections of a step follow from, beside its number. */
    record Betas(double beta1, double beta2) {
        /** Of a graph without an optimiser. */
        static final Betas NONE = new Betas(0, 0);
    }

    static float correction1(double beta1, long step) {
        return (float) (1 / (1 - Math.pow(beta1, step)));
    }

    static float correction2(double beta2, long step) {
        return (float) (1 / Math.sqrt(1 - Math.pow(beta2, step)));
    }

    private static void write(CudaLaunch launch, AdamWStep step) {
        Clip clip = step.clip();
        launch.f32((float) step.beta1())
                .f32((float) (1 - step.beta1()))
                .f32((float) step.beta2())
                .f32((float) (1 - step.beta2()))
                .f32((float) step.lr())
                .f32(correction1(step.beta1(), step.step()))
                .f32(correction2(step.beta2(), step.step()))
                .f32((float) step.eps())
                .f32(clip == null ? 0 : (float) clip.largest());
    }
}
