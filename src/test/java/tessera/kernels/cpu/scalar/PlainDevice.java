package tessera.kernels.cpu.scalar;

import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.device.CpuDevice;
import tessera.kernels.cpu.device.CpuKernels;

/** The plain Java kernels, which all others are compared with, and a device that computes in bf16 with them. */
public final class PlainDevice {
    /** Bound on the squared error of f32 over the squared norm of the f64 reference. */
    private static final double SQUARED_ERROR = 1e-9;

    /** Usual relative error of a value that is rounded to bf16, so that a few lucky values ask for no more. */
    private static final double BF16_ROUNDING = 0x1p-9 / Math.sqrt(3);

    private PlainDevice() {}

    /** Every primitive in plain Java, products too. */
    public static Kernels reference(Workers workers) {
        Elementwise elementwise = new ScalarElementwise(workers);
        return CpuKernels.scalar(workers, elementwise, new ScalarMatmul(workers, elementwise));
    }

    /**
     * Computes in bf16 as plainly as that can be done: every primitive in double, its results rounded to the type of their
     * buffers and nothing in between, but a product before its activation. How far off the kernels of a GPU may be is measured
     * by it.
     */
    public static Device create() {
        return create(UnaryOperator.identity());
    }

    /** A CPU whose processor has no instructions for bf16 or bytes. */
    public static Device withoutBf16() {
        Workers workers = new Workers(1);
        return new CpuDevice(
                workers,
                new HostMemory(),
                reference(workers),
                Set.of(DType.F32, DType.F64),
                Optional.empty(),
                Optional.empty());
    }

    /** The same with kernels that someone watches. */
    public static Device create(UnaryOperator<Kernels> watched) {
        Workers workers = new Workers(1);
        Elementwise elementwise = new ScalarElementwise(workers);
        Matmul products = new RoundedMatmul(workers, elementwise);
        Kernels kernels = CpuKernels.scalar(workers, elementwise, products);
        return new CpuDevice(
                workers,
                new HostMemory(),
                watched.apply(kernels),
                Set.of(DType.F32, DType.BF16),
                Optional.empty(),
                Optional.empty());
    }

    /**
     * The relative error that a result may have: that of f32, and beside bf16 data up to twice that of the plain computation.
     *
     * @param type of the result
     * @param plain the result here, from the same data
     * @param exact the result in f64
     */
    public static double bound(DType type, double[] plain, double[] exact) {
        double floor = type == DType.BF16 ? 2 * BF16_ROUNDING : Math.sqrt(SQUARED_ERROR);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < exact.length; i++) {
            difference += (plain[i] - exact[i]) * (plain[i] - exact[i]);
            norm += exact[i] * exact[i];
        }
        return norm == 0 ? floor : Math.max(floor, 2 * Math.sqrt(difference / norm));
    }

    private static final class RoundedMatmul extends ScalarMatmul {
        private final Elementwise elementwise;

        RoundedMatmul(Workers workers, Elementwise elementwise) {
            super(workers, elementwise);
            this.elementwise = elementwise;
        }

        @Override
        public void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
            super.matmul(shape, a, b, new Epilogue(epilogue.bias(), epilogue.addend(), Activation.NONE), c);
            if (epilogue.activation() == Activation.GELU) {
                for (long row = 0; row < shape.m(); row++) {
                    Buffer part = c.slice(row * shape.ldc(), shape.n());
                    elementwise.unary(UnaryOp.GELU, part, part);
                }
            }
        }
    }
}
