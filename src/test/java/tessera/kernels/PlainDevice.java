package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Computes in bf16 as plainly as that can be done: every primitive in double, its results rounded to the type of their
 * buffers and nothing in between, but a product before its activation. How far off the kernels of a GPU may be is measured by it.
 */
public final class PlainDevice extends CpuDevice {
    /** Bound on the squared error of f32 over the squared norm of the f64 reference. */
    private static final double SQUARED_ERROR = 1e-9;

    /** Usual relative error of a value that is rounded to bf16, so that a few lucky values ask for no more. */
    private static final double BF16_ROUNDING = 0x1p-9 / Math.sqrt(3);

    private final Kernels kernels = new PlainKernels();

    public PlainDevice() {
        super(1);
    }

    @Override
    public boolean computes(DType dtype) {
        return dtype == DType.F32 || dtype == DType.BF16;
    }

    @Override
    public Kernels kernels() {
        return kernels;
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

    private static final class PlainKernels extends ScalarKernels {
        PlainKernels() {
            super(new Workers(1));
        }

        @Override
        public void matmul(
                MatmulShape shape,
                Buffer a,
                Buffer b,
                @Nullable Buffer bias,
                @Nullable Buffer addend,
                Activation activation,
                Buffer c) {
            super.matmul(shape, a, b, bias, addend, Activation.NONE, c);
            if (activation == Activation.GELU) {
                for (long row = 0; row < shape.m(); row++) {
                    Buffer part = c.slice(row * shape.ldc(), shape.n());
                    unary(UnaryOp.GELU, part, part);
                }
            }
        }
    }
}
