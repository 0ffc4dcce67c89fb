package tessera.tensor;

import java.util.Arrays;
import java.util.Objects;
import tessera.kernels.DType;

/**
 * Compares the gradient of an operation with central finite differences in f64.
 *
 * <p>The output is reduced by a random cotangent, because a plain sum hides wrong gradients (that of a softmax's sum is
 * 0 whatever its backward does). Then the inputs are given a second use, whose gradients the operation's must add to: see
 * {@link Op.Context#gradientSoFar}. The function must be smooth at the inputs: keep them away from kinks.
 */
public final class GradientCheck {
    private static final double STEP = 1e-6;
    private static final double TOLERANCE = 1e-6;
    private static final int POSITIONS = 256;
    private static final long SEED = 20240929;

    private GradientCheck() {}

    /**
     * Checks an operation at some inputs, which stay as they are.
     *
     * @param op a differentiable operation
     * @param inputs those that require a gradient are checked, or, if none does, all that are f64
     * @throws IllegalArgumentException if there is no gradient to check
     * @throws IllegalStateException naming the input, the position, the gradient and the finite difference, if they differ
     */
    public static void check(Op op, Tensor... inputs) {
        if (op instanceof Op.Constant constant) {
            throw new IllegalArgumentException(
                    op.name() + ": there is no gradient to check: " + constant.whyNoGradient());
        }
        boolean named = Arrays.stream(inputs).anyMatch(Tensor::requiresGrad);
        boolean[] checked = new boolean[inputs.length];
        boolean any = false;
        for (int i = 0; i < inputs.length; i++) {
            checked[i] = inputs[i].dtype() == DType.F64 && (!named || inputs[i].requiresGrad());
            any |= checked[i];
        }
        Op.check(
                any, op.name(), () -> "no input is f64, which finite differences need; convert one with to(DType.F64)");
        try (Scope scope = Scope.open()) {
            Tensor[] leaves = new Tensor[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                leaves[i] = inputs[i].detach().requiresGrad(checked[i]);
            }
            Tensor output = Op.apply(op, leaves);
            Tensor cotangent = Tensor.normal(output.device(), output.dtype(), output.shape(), SEED, 0, 0, 1);
            output.backward(cotangent);
            double[] weights = cotangent.toDoubles();
            double[][] gradients = new double[inputs.length][];
            for (int i = 0; i < inputs.length; i++) {
                if (checked[i]) {
                    Tensor gradient = leaves[i].grad();
                    if (gradient == null) {
                        throw new IllegalStateException(op.name() + ": no gradient reached input " + i);
                    }
                    gradients[i] = gradient.toDoubles();
                    compare(op, leaves, i, gradients[i], weights);
                    leaves[i].zeroGrad();
                }
            }
            checkBesideOthers(op, leaves, gradients, cotangent);
        }
    }

    /** The inputs are results here, and used again after the operation: backward, those uses come first. */
    private static void checkBesideOthers(Op op, Tensor[] leaves, double[][] gradients, Tensor cotangent) {
        Tensor[] inputs = leaves.clone();
        for (int i = 0; i < inputs.length; i++) {
            inputs[i] = gradients[i] == null ? leaves[i] : leaves[i].mul(1);
        }
        Tensor total = Op.apply(op, inputs).mul(cotangent).sum().to(DType.F64);
        Tensor[] others = new Tensor[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            if (gradients[i] != null) {
                others[i] = Tensor.normal(inputs[i].device(), DType.F64, inputs[i].shape(), SEED, 1 + i, 0, 1);
                total = total.add(inputs[i].mul(others[i]).sum());
            }
        }
        total.backward();
        for (int i = 0; i < inputs.length; i++) {
            if (gradients[i] == null) {
                continue;
            }
            double[] sum = Objects.requireNonNull(leaves[i].grad()).toDoubles();
            double[] other = others[i].toDoubles();
            double scale = scale(gradients[i]);
            for (int at = 0; at < sum.length; at++) {
                double expected = gradients[i][at] + other[at];
                if (!(Math.abs(sum[at] - expected) <= TOLERANCE * scale)) {
                    throw new IllegalStateException(
                            at(op, leaves, i, at, ", where other uses have given it one already") + sum[at]
                                    + " but the sum is " + expected
                                    + "; return gradientSoFar plus the operation's own part where backward takes it");
                }
            }
        }
    }

    private static void compare(Op op, Tensor[] leaves, int input, double[] analytic, double[] weights) {
        double[] values = leaves[input].toDoubles();
        double scale = scale(analytic);
        int stride = Math.max(1, (values.length + POSITIONS - 1) / POSITIONS);
        for (int at = 0; at < values.length; at += stride) {
            double step = STEP * Math.max(1, Math.abs(values[at]));
            double numeric = (shifted(op, leaves, input, values, at, step, weights)
                            - shifted(op, leaves, input, values, at, -step, weights))
                    / (2 * step);
            if (!(Math.abs(analytic[at] - numeric) <= TOLERANCE * scale)) {
                throw new IllegalStateException(at(op, leaves, input, at, "") + analytic[at]
                        + " but finite differences give " + numeric + "; correct the backward pass");
            }
        }
    }

    private static double scale(double[] gradient) {
        double scale = 1;
        for (double value : gradient) {
            scale = Math.max(scale, Math.abs(value));
        }
        return scale;
    }

    private static String at(Op op, Tensor[] leaves, int input, int at, String where) {
        Tensor leaf = leaves[input];
        return op.name() + ": the gradient of input " + input + ", " + leaf.describe() + where + ", at "
                + Arrays.toString(index(leaf.shape(), at)) + " is ";
    }

    /** The weighted sum of the output where one element of one input is moved. */
    private static double shifted(
            Op op, Tensor[] leaves, int input, double[] values, int at, double step, double[] weights) {
        double[] moved = values.clone();
        moved[at] += step;
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor[] inputs = leaves.clone();
                inputs[input] = Tensor.of(moved).reshape(leaves[input].shape().toArray());
                double[] output = Op.apply(op, inputs).toDoubles();
                double sum = 0;
                for (int i = 0; i < output.length; i++) {
                    sum += output[i] * weights[i];
                }
                return sum;
            }
        });
    }

    private static long[] index(Shape shape, int at) {
        long[] index = new long[shape.rank()];
        long rest = at;
        for (int i = shape.rank() - 1; i >= 0; i--) {
            index[i] = rest % shape.size(i);
            rest /= shape.size(i);
        }
        return index;
    }
}
