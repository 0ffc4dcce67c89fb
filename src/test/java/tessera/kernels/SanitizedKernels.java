package tessera.kernels;

import java.util.List;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Norms.RowShape;
import tessera.tensor.SampleRun;

/**
 * Runs a sample of the parity suite and the samples of every operation on the first CUDA device, in a process that sanitizers
 * watch; compares nothing.
 */
public final class SanitizedKernels extends KernelParity {
    private final Device device;
    private int calls;

    SanitizedKernels(Device device) {
        this.device = device;
    }

    /** Runs all and says so. */
    public static void main(String[] args) {
        SanitizedKernels sample = new SanitizedKernels(Device.cuda(0));
        sample.sample();
        System.out.println("sanitized: " + sample.calls + " calls");
    }

    @SuppressWarnings("JUnitMethodInvoked") // the suite is run here by hand, where JUnit is not, under a sanitizer
    void sample() {
        unary(UnaryOp.GELU);
        binary(BinaryOp.DIV);
        arithmetic();
        stridedCopies();
        sums();
        for (int cols : new int[] {1, 7, 16, 131, 384, 769, 1285}) {
            layerNorm(cols);
        }
        softmax(false);
        softmax(true);
        for (int n : new int[] {1, 5, 17, 70}) {
            checkAttention(2, 2, n, n, 16, 0);
            checkAttention(1, 2, n, n + 3, 64, 1);
            checkAttention(1, 2, n, n, 7, 0);
            checkAttention(1, 1, n, n, 80, 0);
            checkAttention(3, 1, n, n, 48, 1);
            checkAttention(2, 1, n, n + 1, 64, 0);
            checkAttention(1, 1, n, n + 1, 24, 0);
            checkAttention(6, 2, n, n, 32, 1, 3);
            checkAttention(2, 1, n, n, 16, 0, 2);
        }
        longRows();
        transpositions();
        random();
        masks();
        checkPatches(geometry(16, 3, true, 1 / 255.0), true);
        checkPatches(geometry(4, 21, true, 1), false);
        checkPatches(geometry(1, 2, false, 1), false);
        patchTargetsAndGradients();
        tokens();
        sharedRows();
        decoderGradients();
        losses();
        distillation();
        adamW();
        globalNorm();
        dropPath();
        batchedProducts();
        linearLayers();
        linearBackward(16);
        check("product", 0, (kernels, memory) -> {
            Buffer a = memory.normal(17 * 9);
            Buffer c = memory.output(17 * 17);
            MatmulShape shape = MatmulShape.of(false, true, 17, 17, 9);
            kernels.matmul()
                    .matmul(shape, a, a, new Epilogue(memory.normal(17), memory.normal(17 * 17), Activation.GELU), c);
        });
        calls += SampleRun.all(device);
    }

    private void longRows() {
        int cols = 2100;
        check("long rows", 0, (kernels, memory) -> {
            Buffer x = memory.normal(3L * cols);
            Buffer y = memory.output(3L * cols);
            kernels.norms().softmax(new RowShape(3, cols), x, false, y);
            kernels.norms().softmaxBackward(new RowShape(3, cols), y, x, false, memory.output(3L * cols));
            Buffer labels = memory.indices(3, cols);
            kernels.losses()
                    .crossEntropy(
                            new RowShape(3, cols), x, labels, 0.1, memory.singleOutput(1), memory.output(3L * cols));
            Buffer[] teachers = {x};
            kernels.losses()
                    .distillationLoss(
                            new RowShape(3, cols),
                            y,
                            new Ensemble(teachers, memory.single(1), false, 2, 1, 1),
                            labels,
                            memory.singleOutput(1),
                            x);
        });
    }

    private void transpositions() {
        long[] strides = {1, 70};
        long[] transposed = {66, 1};
        long[] shape = {70, 66};
        check("transposition", 0, (kernels, memory) -> {
            kernels.elementwise()
                    .copyStrided(
                            new Strided(memory.normal(4620), 0, strides),
                            new Strided(memory.output(4620), 0, transposed),
                            shape);
            try (Buffer x = device.allocate(DType.U8, 4620);
                    Buffer y = device.allocate(DType.U8, 4620)) {
                kernels.elementwise().copyStrided(new Strided(x, 0, strides), new Strided(y, 0, transposed), shape);
            }
        });
    }

    @Override
    protected void check(String what, double tolerance, Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (int offset = 0; offset < 2; offset++) {
                run(device.kernels(), device, type, type == DType.BF16, offset, call);
                calls++;
            }
        }
    }
}
