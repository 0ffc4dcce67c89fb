package tessera.nn.inference;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * How near one student is to another on some clips, which are best others than those that either was made with.
 *
 * @param clips how many were compared
 * @param meanCosine mean of the cosines of the features of a clip under a mask
 * @param leastCosine the least of them
 * @param sameLabel clips to which the main heads give the same label, or null if a student has none
 * @param sameNearest clips for which both students name the same other clip as the nearest: that whose feature by the first student has the
 *     largest cosine with the clip's own feature by the one or the other student, features being means over the masks; null if there are
 *     fewer than three clips, of which each has but one other
 */
public record Agreement(
        int clips,
        double meanCosine,
        double leastCosine,
        @Nullable Integer sameLabel,
        @Nullable Integer sameNearest) {
    private static final int FEWEST_FOR_NEAREST = 3;

    /**
     * Compares two students of one architecture. A feature of each clip by each student is kept until the end.
     *
     * @param one the student that the other is compared with
     * @param clips batches u8 or f32 {@code [B, T, H, W, C]}, together one clip or more, asked for one by one
     * @param masking through which both look, and seed its masks
     * @throws IllegalArgumentException if there are no clips or the features have different widths
     */
    public static Agreement of(Student one, Student other, Iterable<Tensor> clips, Masking masking, long seed) {
        int width = one.featureWidth();
        if (other.featureWidth() != width) {
            throw new IllegalArgumentException("agreement: features of " + width + " and " + other.featureWidth()
                    + " values; pass students of one width");
        }
        boolean heads = !one.heads().isEmpty() && !other.heads().isEmpty();
        int count = 0;
        int same = 0;
        int compared = 0;
        double sum = 0;
        double least = 1;
        List<float[]> ones = new ArrayList<>();
        List<float[]> others = new ArrayList<>();
        for (Tensor batch : clips) {
            try (Scope scope = Scope.open()) {
                float[] a = one.features(batch, masking, seed).toFloats();
                float[] b = other.features(batch, masking, seed).toFloats();
                for (int at = 0; at < a.length; at += width) {
                    double cosine = cosine(a, b, at, width);
                    sum += cosine;
                    least = cosine >= least ? least : cosine;
                    compared++;
                }
                if (heads) {
                    same += sameLabels(one.predict(batch, masking, seed), other.predict(batch, masking, seed));
                }
                int size = (int) batch.size(0);
                addMeans(a, size, width, ones);
                addMeans(b, size, width, others);
                count += size;
            }
        }
        if (count == 0) {
            throw new IllegalArgumentException("agreement: there are no clips; pass one or more");
        }
        return new Agreement(
                count,
                sum / compared,
                least,
                heads ? same : null,
                count < FEWEST_FOR_NEAREST ? null : sameNearest(ones, others));
    }

    /** The means over the masks of features {@code [ensemble, clips, width]}. */
    private static void addMeans(float[] features, int clips, int width, List<float[]> means) {
        int masks = features.length / (clips * width);
        for (int clip = 0; clip < clips; clip++) {
            float[] mean = new float[width];
            for (int mask = 0; mask < masks; mask++) {
                for (int i = 0; i < width; i++) {
                    mean[i] += features[(mask * clips + clip) * width + i] / masks;
                }
            }
            means.add(mean);
        }
    }

    private static int sameNearest(List<float[]> ones, List<float[]> others) {
        int same = 0;
        for (int clip = 0; clip < ones.size(); clip++) {
            same += nearest(ones.get(clip), ones, clip) == nearest(others.get(clip), ones, clip) ? 1 : 0;
        }
        return same;
    }

    /** The first of those clips, but not {@code self}, whose feature has the largest cosine with this one. */
    private static int nearest(float[] feature, List<float[]> gallery, int self) {
        int nearest = -1;
        double largest = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < gallery.size(); i++) {
            double cosine = i == self ? Double.NEGATIVE_INFINITY : cosine(feature, gallery.get(i), 0, feature.length);
            if (cosine > largest) {
                largest = cosine;
                nearest = i;
            }
        }
        return nearest;
    }

    private static double cosine(float[] a, float[] b, int from, int width) {
        double dot = 0;
        double aa = 0;
        double bb = 0;
        for (int i = from; i < from + width; i++) {
            dot += (double) a[i] * b[i];
            aa += (double) a[i] * a[i];
            bb += (double) b[i] * b[i];
        }
        return dot / Math.sqrt(aa * bb);
    }

    private static int sameLabels(Tensor one, Tensor other) {
        float[] a = one.toFloats();
        float[] b = other.toFloats();
        int classes = (int) one.size(1);
        int same = 0;
        for (int at = 0; at < a.length; at += classes) {
            same += best(a, at, classes) == best(b, at, classes) ? 1 : 0;
        }
        return same;
    }

    private static int best(float[] p, int from, int classes) {
        int best = 0;
        for (int i = 1; i < classes; i++) {
            best = p[from + i] > p[from + best] ? i : best;
        }
        return best;
    }
}
