package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * The optimiser on a GPU: the addresses of up to {@value #TENSORS} tensors ride in the parameters of one launch, so that a step
 * copies nothing to the device and allocates nothing there.
 */
final class CudaOptimiser {
    /** Capacity of the kernel's parameter struct. */
    private static final int TENSORS = 72;

    /** Elements of one block. */
    private static final int CHUNK = 4096;

    private static final int THREADS = 256;

    private final CudaDevice device;
    private final CudaVariants adamW;

    CudaOptimiser(CudaDevice device) {
        this.device = device;
        this.adamW = new CudaVariants(device, "optimiser", "adamw");
    }

    void adamW(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            @Nullable Buffer @Nullable [] shadows,
            double[] decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step) {
        Tensors tensors = new Tensors(parameters, gradients, firstMoments, secondMoments, shadows, decay);
        for (int i = 0; i < parameters.length; i++) {
            tensors.check(device, i);
        }
        Step settings = new Step(lr, beta1, beta2, eps, step);
        if (device.currentStream().capturing()) {
            device.currentStream().recordBetas(new Betas(beta1, beta2));
        }
        launchAll(tensors, DType.F32, settings);
        launchAll(tensors, DType.BF16, settings);
    }

    /** Updates the tensors whose gradients are of one type. Large ones come first, so that nearly all work is in one launch. */
    private void launchAll(Tensors tensors, DType gradient, Step settings) {
        int[] chosen = new int[TENSORS];
        int count = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < tensors.parameters.length; i++) {
                long length = tensors.parameters[i].length();
                boolean large = length > CHUNK;
                if (tensors.gradients[i].dtype() == gradient && length > 0 && large == (pass == 0)) {
                    chosen[count++] = i;
                    if (count == TENSORS) {
                        launch(tensors, gradient, settings, chosen, count);
                        count = 0;
                    }
                }
            }
        }
        if (count > 0) {
            launch(tensors, gradient, settings, chosen, count);
        }
    }

    private void launch(Tensors tensors, DType gradient, Step settings, int[] chosen, int count) {
        CudaLaunch launch = adamW.of(gradient)
                .begin()
                .pointer(device.currentStream().variables())
                .i32(count);
        settings.write(launch);
        long blocks = 0;
        for (int entry = 0; entry < TENSORS; entry++) {
            if (entry < count) {
                tensors.write(launch, chosen[entry], Math.toIntExact(blocks));
                blocks += Blocks.ceilDiv(tensors.parameters[chosen[entry]].length(), CHUNK);
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

    private record Tensors(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            @Nullable Buffer @Nullable [] shadows,
            double[] decay) {
        private @Nullable Buffer shadow(int i) {
            return shadows == null ? null : shadows[i];
        }

        void check(CudaDevice device, int i) {
            Buffer shadow = shadow(i);
            boolean masters = parameters[i].dtype() == DType.F32
                    && firstMoments[i].dtype() == DType.F32
                    && secondMoments[i].dtype() == DType.F32;
            boolean gradient = gradients[i].dtype() == DType.F32 || gradients[i].dtype() == DType.BF16;
            if (!masters || !gradient || (shadow != null && shadow.dtype() != DType.BF16)) {
                throw new IllegalArgumentException("adamw on " + device + ": tensor " + i + " has a parameter of "
                        + parameters[i].dtype() + ", moments of " + firstMoments[i].dtype() + " and "
                        + secondMoments[i].dtype() + ", a gradient of " + gradients[i].dtype()
                        + (shadow == null ? "" : " and a shadow of " + shadow.dtype())
                        + "; keep parameters and moments in f32, gradients in f32 or bf16, shadows in bf16");
            }
        }

        void write(CudaLaunch launch, int i, int firstBlock) {
            launch.buffer(parameters[i])
                    .buffer(gradients[i])
                    .buffer(firstMoments[i])
                    .buffer(secondMoments[i])
                    .buffer(shadow(i))
                    .i64(parameters[i].length())
                    .i32(firstBlock)
                    .f32((float) decay[i]);
        }
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

    private record Step(double lr, double beta1, double beta2, double eps, long step) {
        void write(CudaLaunch launch) {
            launch.f32((float) beta1)
                    .f32((float) (1 - beta1))
                    .f32((float) beta2)
                    .f32((float) (1 - beta2))
                    .f32((float) lr)
                    .f32(correction1(beta1, step))
                    .f32(correction2(beta2, step))
                    .f32((float) eps)
                    .f32(0);
        }
    }
}
