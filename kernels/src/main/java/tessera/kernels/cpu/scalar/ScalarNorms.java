package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Norms;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** Layer normalisation and softmax, row by row in double. Results do not depend on the number of threads. */
public class ScalarNorms implements Norms {
    private static final int COLUMNS = 64;

    protected final Workers workers;

    public ScalarNorms(Workers workers) {
        this.workers = workers;
    }

    private static long grain(long cols) {
        return Math.max(1, 16384 / Math.max(1, cols));
    }

    @Override
    public void layerNorm(
            RowShape shape, Buffer x, NormParameters parameters, Buffer y, @Nullable NormStatistics statistics) {
        long cols = shape.cols();
        double eps = parameters.eps();
        int n = Math.toIntExact(cols);
        double[] g = new double[n];
        double[] b = new double[n];
        Elements.load(parameters.gamma(), 0, n, g, 0);
        Elements.load(parameters.beta(), 0, n, b, 0);
        workers.parallelFor(shape.rows(), grain(cols), (worker, from, to) -> {
            double[] v = new double[n];
            for (long row = from; row < to; row++) {
                Elements.load(x, row * cols, n, v, 0);
                double mu = n == 0 ? 0 : Blocks.total(v) / n;
                double variance = 0;
                for (int j = 0; j < n; j++) {
                    v[j] -= mu;
                    variance += v[j] * v[j];
                }
                double r = 1 / Math.sqrt((n == 0 ? 0 : variance / n) + eps);
                for (int j = 0; j < n; j++) {
                    v[j] = v[j] * r * g[j] + b[j];
                }
                Elements.store(v, 0, n, y, row * cols);
                if (statistics != null) {
                    Elements.set(statistics.mean(), row, mu);
                    Elements.set(statistics.rstd(), row, r);
                }
            }
        });
    }

    @Override
    public void layerNormBackward(
            RowShape shape, Buffer x, Buffer gamma, NormStatistics statistics, Buffer dy, NormGradients gradients) {
        if (gradients.dx() != null) {
            inputGradient(shape, x, gamma, statistics, dy, gradients.addend(), gradients.dx());
        }
        if (gradients.dgamma() != null || gradients.dbeta() != null) {
            parameterGradients(shape, x, statistics, dy, gradients.dgamma(), gradients.dbeta());
        }
    }

    private void inputGradient(
            RowShape shape,
            Buffer x,
            Buffer gamma,
            NormStatistics statistics,
            Buffer dy,
            @Nullable Buffer addend,
            Buffer dx) {
        long cols = shape.cols();
        int n = Math.toIntExact(cols);
        double[] weight = new double[n];
        Elements.load(gamma, 0, n, weight, 0);
        workers.parallelFor(shape.rows(), grain(cols), (worker, from, to) -> {
            double[] normalised = new double[n];
            double[] g = new double[n];
            double[] added = new double[n];
            for (long row = from; row < to; row++) {
                double mu = Elements.get(statistics.mean(), row);
                double r = Elements.get(statistics.rstd(), row);
                Elements.load(x, row * cols, n, normalised, 0);
                Elements.load(dy, row * cols, n, g, 0);
                double sum = 0;
                double dot = 0;
                for (int j = 0; j < n; j++) {
                    normalised[j] = (normalised[j] - mu) * r;
                    g[j] *= weight[j];
                    sum += g[j];
                    dot += g[j] * normalised[j];
                }
                if (addend != null) {
                    Elements.load(addend, row * cols, n, added, 0);
                }
                for (int j = 0; j < n; j++) {
                    g[j] = added[j] + r * (g[j] - sum / n - normalised[j] * (dot / n));
                }
                Elements.store(g, 0, n, dx, row * cols);
            }
        });
    }

    private void parameterGradients(
            RowShape shape,
            Buffer x,
            NormStatistics statistics,
            Buffer dy,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta) {
        long cols = shape.cols();
        workers.parallelFor(Blocks.ceilDiv(cols, COLUMNS), 1, (worker, from, to) -> {
            double[] v = new double[COLUMNS];
            double[] g = new double[COLUMNS];
            for (long block = from; block < to; block++) {
                long col = block * COLUMNS;
                int n = (int) Math.min(COLUMNS, cols - col);
                double[] weight = new double[n];
                double[] bias = new double[n];
                for (long row = 0; row < shape.rows(); row++) {
                    double mu = Elements.get(statistics.mean(), row);
                    double r = Elements.get(statistics.rstd(), row);
                    Elements.load(x, row * cols + col, n, v, 0);
                    Elements.load(dy, row * cols + col, n, g, 0);
                    for (int j = 0; j < n; j++) {
                        weight[j] += g[j] * (v[j] - mu) * r;
                        bias[j] += g[j];
                    }
                }
                if (dgamma != null) {
                    Elements.store(weight, 0, n, dgamma, col);
                }
                if (dbeta != null) {
                    Elements.store(bias, 0, n, dbeta, col);
                }
            }
        });
    }

    @Override
    public void softmax(RowShape shape, Buffer x, boolean log, Buffer y) {
        long cols = shape.cols();
        int n = Math.toIntExact(cols);
        workers.parallelFor(shape.rows(), grain(cols), (worker, from, to) -> {
            double[] v = new double[n];
            for (long row = from; row < to; row++) {
                Elements.load(x, row * cols, n, v, 0);
                logSoftmax(v);
                if (!log) {
                    exp(v);
                }
                Elements.store(v, 0, n, y, row * cols);
            }
        });
    }

    /** Replaces scores by the logarithms of their softmax. */
    static void logSoftmax(double[] v) {
        double max = max(v);
        double shift = Math.log(sumExp(v, max));
        for (int j = 0; j < v.length; j++) {
            v[j] = v[j] - max - shift;
        }
    }

    static double max(double[] scores) {
        double max = Double.NEGATIVE_INFINITY;
        for (double score : scores) {
            max = Math.max(max, score);
        }
        return max;
    }

    /** Sum of {@code exp(score - max)}. */
    static double sumExp(double[] scores, double max) {
        double sum = 0;
        for (double score : scores) {
            sum += Math.exp(score - max);
        }
        return sum;
    }

    private static void exp(double[] v) {
        for (int j = 0; j < v.length; j++) {
            v[j] = Math.exp(v[j]);
        }
    }

    @Override
    public void softmaxBackward(RowShape shape, Buffer y, Buffer dy, boolean log, Buffer dx) {
        long cols = shape.cols();
        int n = Math.toIntExact(cols);
        workers.parallelFor(shape.rows(), grain(cols), (worker, from, to) -> {
            double[] p = new double[n];
            double[] g = new double[n];
            for (long row = from; row < to; row++) {
                Elements.load(y, row * cols, n, p, 0);
                Elements.load(dy, row * cols, n, g, 0);
                if (log) {
                    double sum = Blocks.total(g);
                    for (int j = 0; j < n; j++) {
                        g[j] -= Math.exp(p[j]) * sum;
                    }
                } else {
                    double dot = 0;
                    for (int j = 0; j < n; j++) {
                        dot += p[j] * g[j];
                    }
                    for (int j = 0; j < n; j++) {
                        g[j] = p[j] * (g[j] - dot);
                    }
                }
                Elements.store(g, 0, n, dx, row * cols);
            }
        });
    }
}
