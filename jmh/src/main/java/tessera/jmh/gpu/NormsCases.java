package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;

/** Norms and softmax. */
final class NormsCases extends FamilyCases {
    NormsCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        norm(visible, d);
        norm(tokens, sizes.config().decoderDim());
        long columns = visible;
        long rows = (long) heads * visible;
        moves(
                "norms.softmax",
                "softmax",
                batched(heads, visible, visible),
                (b, s) -> b * 2 * rows * columns * s,
                (b, s) -> b * rows * columns * 5,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * rows * columns);
                    Buffer y = in.output(b * rows * columns);
                    RowShape shape = new RowShape(b * rows, columns);
                    return () -> kernels.norms().softmax(shape, x, false, y);
                });
        moves(
                "norms.softmaxBackward",
                "softmax backward",
                batched(heads, visible, visible),
                (b, s) -> b * 3 * rows * columns * s,
                (b, s) -> b * rows * columns * 4,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * rows * columns);
                    Buffer dy = in.normal(b * rows * columns);
                    Buffer y = in.output(b * rows * columns);
                    Buffer dx = in.output(b * rows * columns);
                    RowShape shape = new RowShape(b * rows, columns);
                    kernels.norms().softmax(shape, x, false, y);
                    return () -> kernels.norms().softmaxBackward(shape, y, dy, false, dx);
                });
    }

    private void norm(int n, int width) {
        double elements = (double) n * width;
        moves(
                "norms.layerNorm",
                "layer norm",
                batched(n, width),
                (b, s) -> b * 2 * elements * s,
                (b, s) -> b * elements * 8,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * n * width);
                    Buffer gamma = in.master(width);
                    Buffer beta = in.master(width);
                    Buffer y = in.output(b * n * width);
                    NormParameters parameters = new NormParameters(gamma, beta, 1e-6);
                    NormStatistics statistics = new NormStatistics(in.masterOutput(b * n), in.masterOutput(b * n));
                    RowShape shape = new RowShape(b * n, width);
                    return () -> kernels.norms().layerNorm(shape, x, parameters, y, statistics);
                });
        normBackward("layer norm backward", n, width, false);
        normBackward("layer norm backward onto the residual's gradient", n, width, true);
    }

    private void normBackward(String name, int n, int width, boolean residual) {
        double elements = (double) n * width;
        moves(
                "norms.layerNormBackward",
                name,
                batched(n, width),
                (b, s) -> b * (residual ? 4 : 3) * elements * s,
                (b, s) -> b * elements * 14,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * n * width);
                    Buffer gamma = in.master(width);
                    Buffer beta = in.master(width);
                    Buffer dy = in.normal(b * n * width);
                    Buffer addend = residual ? in.normal(b * n * width) : null;
                    Buffer y = in.output(b * n * width);
                    NormStatistics statistics = new NormStatistics(in.masterOutput(b * n), in.masterOutput(b * n));
                    Buffer dx = in.output(b * n * width);
                    Buffer dgamma = in.masterOutput(width);
                    Buffer dbeta = in.masterOutput(width);
                    NormGradients gradients = new NormGradients(addend, dx, dgamma, dbeta);
                    RowShape shape = new RowShape(b * n, width);
                    kernels.norms().layerNorm(shape, x, new NormParameters(gamma, beta, 1e-6), y, statistics);
                    return () -> kernels.norms().layerNormBackward(shape, x, gamma, statistics, dy, gradients);
                });
    }
}
