package tessera.jmh.gpu;

import tessera.jmh.gpu.KernelCase.Cost;
import tessera.jmh.gpu.KernelCase.Setup;
import tessera.kernels.Buffer;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;

/** Losses with their gradients. */
final class LossesCases extends FamilyCases {
    LossesCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        crossEntropy(sizes.batch(), sizes.classes());
        crossEntropy(sizes.largeRows(), sizes.largeCols());
        squaredError(sizes.batch() * visible, d);
        features(sizes.batch(), d);
        features(sizes.batch() * visible, d);
        distillation(sizes.batch(), sizes.classes(), 3);
        distillation(sizes.largeRows(), sizes.largeCols(), 3);
    }

    private void loss(String primitive, String name, String shape, int rows, Cost bytes, Cost flops, Setup setup) {
        add(new KernelCase(primitive, name, shape, rows, Math.min(rows, 16), true, bytes, flops, true, false, setup));
    }

    private void crossEntropy(int rows, int classes) {
        loss(
                "losses.crossEntropy",
                "cross-entropy with gradient",
                rows + " x " + classes,
                rows,
                (r, s) -> 2 * r * classes * s,
                (r, s) -> r * classes * 8,
                (kernels, in, r) -> {
                    Buffer logits = in.normal(r * classes);
                    Buffer labels = in.labels(r, classes);
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(r * classes);
                    RowShape shape = new RowShape(r, classes);
                    return () -> kernels.losses().crossEntropy(shape, logits, labels, .1, loss, gradient);
                });
    }

    private void squaredError(int rows, int width) {
        loss(
                "losses.meanSquaredError",
                "mean squared error with gradient",
                rows + " x " + width,
                rows,
                (r, s) -> 3 * r * width * s,
                (r, s) -> 4 * r * width,
                (kernels, in, r) -> {
                    Buffer a = in.normal(r * width);
                    Buffer b = in.normal(r * width);
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(r * width);
                    return () -> kernels.losses().meanSquaredError(a, b, loss, gradient);
                });
    }

    private void features(int rows, int width) {
        int modalities = 3;
        loss(
                "losses.featureLoss",
                "feature loss of 3 with gradient",
                modalities + " x " + rows + " x " + width,
                rows,
                (r, s) -> 3 * modalities * r * width * s,
                (r, s) -> 4 * modalities * r * width,
                (kernels, in, r) -> {
                    Buffer[] projected = new Buffer[modalities];
                    Buffer[] targets = new Buffer[modalities];
                    Buffer[] gradients = new Buffer[modalities];
                    for (int m = 0; m < modalities; m++) {
                        projected[m] = in.normal(r * width);
                        targets[m] = in.normal(r * width);
                        gradients[m] = in.output(r * width);
                    }
                    Buffer losses = in.masterOutput(modalities);
                    Buffer loss = in.masterOutput(1);
                    double[] weights = {1, .5, 2};
                    return () -> kernels.losses().featureLoss(projected, targets, weights, losses, loss, gradients);
                });
    }

    private void distillation(int rows, int classes, int teachers) {
        loss(
                "losses.distillationLoss",
                "distillation loss of 3 with gradient",
                teachers + " x " + rows + " x " + classes,
                rows,
                (r, s) -> (teachers + 2) * r * classes * s,
                (r, s) -> (2 * teachers + 20) * r * classes,
                (kernels, in, r) -> {
                    Buffer student = in.normal(r * classes);
                    Buffer[] logits = new Buffer[teachers];
                    for (int t = 0; t < teachers; t++) {
                        logits[t] = in.normal(r * classes);
                    }
                    Buffer weights = in.positive(r * teachers);
                    Buffer labels = in.labels(r, classes);
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(r * classes);
                    Ensemble ensemble = new Ensemble(logits, weights, true, 2, 1, .5);
                    RowShape shape = new RowShape(r, classes);
                    return () -> kernels.losses().distillationLoss(shape, student, ensemble, labels, loss, gradient);
                });
    }
}
