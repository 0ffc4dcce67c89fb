package tessera.distill.fewshot;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The nearest class mean by the Euclidean distance ("Prototypical networks for few-shot learning", Snell et al., NeurIPS 2017): {@code
 * p(k) ~ exp(-|x - c_k|^2 / s)}, where c_k is the mean of all views of the examples of class k.
 *
 * <p>The paper trains features so that s = 1 suits them. Of features that were trained otherwise the scale means nothing, so s is the
 * mean squared distance of the class means from the mean of these. It changes no answer of a single view, only how sure it is.
 *
 * <p>Nothing is fitted; as |x|^2 is the same for all classes, the classifier is linear.
 */
public record NearestMean() implements FewShotHead {
    private static final String NAME = "nearest_mean";

    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        return CrossValidation.learned((kept, of) -> fit(kept, of, classes), views, labels, classes, groups);
    }

    /** The classifier of {@link #learn}. */
    public LinearClassifier fit(double[][][] views, int[] labels, int classes) {
        double[][] means = means(views, labels, classes);
        int width = means[0].length;
        double[] middle = new double[width];
        for (double[] mean : means) {
            Lbfgs.addScaled(middle, 1.0 / classes, mean);
        }
        double spread = 0;
        for (double[] mean : means) {
            Lbfgs.addScaled(mean, -1, middle);
            spread += Lbfgs.dot(mean, mean) / classes;
        }
        double scale = spread > 0 ? spread : 1;
        // -|x - c|^2 = 2 x.d - 2 m.d - |d|^2 + terms of x and m alone, with c = m + d
        double[] intercepts = new double[classes];
        for (int k = 0; k < classes; k++) {
            double[] mean = means[k];
            intercepts[k] = -(2 * Lbfgs.dot(middle, mean) + Lbfgs.dot(mean, mean)) / scale;
            Arrays.setAll(mean, j -> 2 * mean[j] / scale);
        }
        return new LinearClassifier(means, intercepts);
    }

    /** Means of all views of the examples of each class. */
    private static double[][] means(double[][][] views, int[] labels, int classes) {
        Features.requireViews(NAME, views);
        int[] counts = new int[classes];
        double[][] means = new double[classes][];
        for (double[][] view : views) {
            Features.requireExamples(NAME, view, labels, classes);
            for (int i = 0; i < labels.length; i++) {
                int label = labels[i];
                counts[label]++;
                means[label] = means[label] == null ? view[i].clone() : sum(means[label], view[i]);
            }
        }
        for (int k = 0; k < classes; k++) {
            for (int j = 0; j < means[k].length; j++) {
                means[k][j] /= counts[k];
            }
        }
        return means;
    }

    private static double[] sum(double[] to, double[] row) {
        Lbfgs.addScaled(to, 1, row);
        return to;
    }
}
