package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Losses;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** Losses with their gradients in the same pass. Sums run over rows or fixed blocks in ascending order. */
public class ScalarLosses implements Losses {
    protected final Workers workers;
    private final Blocks blocks;

    public ScalarLosses(Workers workers) {
        this.workers = workers;
        this.blocks = new Blocks(workers);
    }

    @Override
    public void crossEntropy(
            RowShape shape, Buffer logits, Buffer labels, double smoothing, Buffer loss, @Nullable Buffer dlogits) {
        long rows = shape.rows();
        long cols = shape.cols();
        checkLabels("cross_entropy", labels, shape);
        int n = Math.toIntExact(cols);
        double[] terms = new double[Math.toIntExact(rows)];
        workers.parallelFor(rows, 8, (worker, from, to) -> {
            double[] v = new double[n];
            for (long row = from; row < to; row++) {
                int label = Elements.getInt(labels, row);
                Elements.load(logits, row * cols, n, v, 0);
                ScalarNorms.logSoftmax(v);
                double term = -(1 - smoothing) * v[label];
                if (smoothing != 0) {
                    term -= smoothing / n * Blocks.total(v);
                }
                terms[(int) row] = term;
                if (dlogits != null) {
                    for (int j = 0; j < n; j++) {
                        v[j] = (Math.exp(v[j]) - smoothing / n) / rows;
                    }
                    v[label] -= (1 - smoothing) / rows;
                    Elements.store(v, 0, n, dlogits, row * cols);
                }
            }
        });
        Elements.set(loss, 0, Blocks.total(terms) / Math.max(1, rows));
    }

    /** Refuses a label that is no class. */
    protected static void checkLabels(String op, Buffer labels, RowShape shape) {
        long cols = shape.cols();
        for (long row = 0; row < shape.rows(); row++) {
            int label = Elements.getInt(labels, row);
            if (label < 0 || label >= cols) {
                throw new IllegalArgumentException(op + ": label " + label + " of row " + row + " is outside [0, "
                        + cols + "), but there are " + cols + " classes; pass labels from 0 to " + (cols - 1));
            }
        }
    }

    /** Refuses a label that is no class, and a cross-entropy without labels. */
    protected static void checkDistillation(@Nullable Buffer labels, double beta, RowShape shape) {
        if (labels != null) {
            checkLabels("distillation_loss", labels, shape);
        } else if (beta != 0) {
            throw new IllegalArgumentException(
                    "distillation_loss: beta is " + beta + " but there are no labels; pass labels or beta 0");
        }
    }

    /** Mean of the squared differences; {@code da = factor * 2 (a - b) / count} where not null. */
    protected double meanSquare(Buffer a, Buffer b, double factor, @Nullable Buffer da) {
        long count = a.length();
        double scale = 2 * factor / Math.max(1, count);
        double sum = blocks.sum(count, (from, n, difference, other) -> {
            Elements.load(a, from, n, difference, 0);
            Elements.load(b, from, n, other, 0);
            double squares = 0;
            for (int i = 0; i < n; i++) {
                double d = difference[i] - other[i];
                squares += d * d;
                difference[i] = d * scale;
            }
            if (da != null) {
                Elements.store(difference, 0, n, da, from);
            }
            return squares;
        });
        return sum / Math.max(1, count);
    }

    @Override
    public void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        Elements.set(loss, 0, meanSquare(a, b, 1, da));
    }

    @Override
    public void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        double total = 0;
        for (int m = 0; m < projected.length; m++) {
            double term = meanSquare(projected[m], targets[m], weights[m], dprojected == null ? null : dprojected[m]);
            Elements.set(losses, m, term);
            total += weights[m] * term;
        }
        Elements.set(loss, 0, total);
    }

    @Override
    public void distillationLoss(
            RowShape shape,
            Buffer student,
            Ensemble ensemble,
            @Nullable Buffer labels,
            Buffer loss,
            @Nullable Buffer dstudent) {
        long rows = shape.rows();
        long cols = shape.cols();
        double temperature = ensemble.temperature();
        double alpha = ensemble.alpha();
        double beta = ensemble.beta();
        checkDistillation(labels, beta, shape);
        int n = Math.toIntExact(cols);
        double[] terms = new double[Math.toIntExact(rows)];
        workers.parallelFor(rows, 8, (worker, from, to) -> {
            double[] logits = new double[n];
            double[] teachers = new double[n];
            double[] soft = new double[n];
            double[] gradient = new double[n];
            for (long row = from; row < to; row++) {
                ensembleLogits(ensemble, row, teachers, logits);
                Elements.load(student, row * cols, n, logits, 0);
                for (int j = 0; j < n; j++) {
                    teachers[j] /= temperature;
                    soft[j] = logits[j] / temperature;
                }
                ScalarNorms.logSoftmax(teachers);
                ScalarNorms.logSoftmax(soft);
                double divergence = 0;
                for (int j = 0; j < n; j++) {
                    double p = Math.exp(teachers[j]);
                    if (p > 0 || Double.isNaN(p)) {
                        divergence += p * (teachers[j] - soft[j]);
                    }
                    gradient[j] = alpha * temperature * (Math.exp(soft[j]) - p) / rows;
                }
                double term = alpha * temperature * temperature * divergence;
                if (labels != null && beta != 0) {
                    int label = Elements.getInt(labels, row);
                    ScalarNorms.logSoftmax(logits);
                    term -= beta * logits[label];
                    for (int j = 0; j < n; j++) {
                        gradient[j] += beta * Math.exp(logits[j]) / rows;
                    }
                    gradient[label] -= beta / rows;
                }
                terms[(int) row] = term;
                if (dstudent != null) {
                    Elements.store(gradient, 0, n, dstudent, row * cols);
                }
            }
        });
        Elements.set(loss, 0, Blocks.total(terms) / Math.max(1, rows));
    }

    private static void ensembleLogits(Ensemble ensemble, long row, double[] sum, double[] scratch) {
        int n = sum.length;
        Buffer[] teachers = ensemble.teachers();
        long firstWeight = ensemble.perSample() ? row * teachers.length : 0;
        Arrays.fill(sum, 0);
        for (int t = 0; t < teachers.length; t++) {
            double w = Elements.get(ensemble.weights(), firstWeight + t);
            Elements.load(teachers[t], row * n, n, scratch, 0);
            for (int j = 0; j < n; j++) {
                sum[j] += w * scratch[j];
            }
        }
    }
}
