package tessera.distill.fewshot;

import java.util.Arrays;

/**
 * The objective of {@link AttentiveFit} over {@code [W row by row, b, r]}: {@code C / P * sum CE(softmax(W g + b), y) + 1/2 ||W||^2 +
 * penalty / 2 * ||r||^2} over P views of each example, with {@code g = (f - mean) / scale} of {@code f = sum_i a_i t_i}, {@code a =
 * softmax(t . (r / spread))}.
 *
 * @param rows tokens of every view, {@code [examples][n * D]}
 * @param labels of every view
 * @param mean of the features, {@code [D]}
 * @param scale by which they are divided
 * @param spread by which tokens are divided where they meet the query
 * @param c C / P
 */
record AttentiveLoss(
        double[][] rows,
        int[] labels,
        int classes,
        double[] mean,
        double[] scale,
        double[] spread,
        double c,
        double penalty)
        implements Lbfgs.Objective {
    /** Numbers that are fitted. */
    int size() {
        return classes * (mean.length + 1) + mean.length;
    }

    @Override
    public double evaluate(double[] x, double[] gradient) {
        int width = mean.length;
        int intercepts = classes * width;
        int query = intercepts + classes;
        Arrays.fill(gradient, 0);
        double penalties = 0;
        for (int j = 0; j < intercepts; j++) {
            penalties += .5 * x[j] * x[j];
            gradient[j] = x[j];
        }
        double[] by = new double[width];
        for (int j = 0; j < width; j++) {
            double r = x[query + j];
            penalties += .5 * penalty * r * r;
            gradient[query + j] = penalty * r;
            by[j] = r / spread[j];
        }
        double crossEntropy = 0;
        double[] p = new double[classes];
        double[] moved = new double[width]; // by how much each value of a scaled query would change the loss
        for (int i = 0; i < rows.length; i++) {
            double[] weights = new double[rows[i].length / width];
            double[] pooled = AttentiveClassifier.pooled(rows[i], by, weights);
            double[] feature = new double[width];
            for (int j = 0; j < width; j++) {
                feature[j] = (pooled[j] - mean[j]) / scale[j];
            }
            for (int k = 0; k < classes; k++) {
                p[k] = x[intercepts + k] + LinearClassifier.dot(x, k * width, feature);
            }
            double logit = p[labels[i]];
            crossEntropy += LinearClassifier.softmax(p) - logit;
            p[labels[i]] -= 1;
            double[] back = new double[width]; // the gradient of the pooled tokens
            for (int k = 0; k < classes; k++) {
                double g = c * p[k];
                gradient[intercepts + k] += g;
                for (int j = 0; j < width; j++) {
                    gradient[k * width + j] += g * feature[j];
                    back[j] += g * x[k * width + j] / scale[j];
                }
            }
            // Through the softmax: da_i = back . t_i, dz_i = a_i (da_i - sum_j a_j da_j), and that sum is back . f.
            double common = Lbfgs.dot(back, pooled);
            for (int t = 0; t < weights.length; t++) {
                double score = weights[t] * (AttentiveClassifier.dot(rows[i], t * width, back) - common);
                AttentiveClassifier.addScaled(moved, score, rows[i], t * width);
            }
        }
        for (int j = 0; j < width; j++) {
            gradient[query + j] += moved[j] / spread[j];
        }
        return c * crossEntropy + penalties;
    }
}
