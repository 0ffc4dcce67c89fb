package tessera.nn.inference;

import org.jspecify.annotations.Nullable;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * How near two students are to each other on some clips.
 *
 * @param clips how many were compared
 * @param meanCosine mean of the cosines of the features of a clip under a mask
 * @param leastCosine the least of them
 * @param sameLabel clips to which the main heads give the same label, or null if a student has none
 */
public record Agreement(
        int clips,
        double meanCosine,
        double leastCosine,
        @Nullable Integer sameLabel) {
    /**
     * Compares two students of one architecture.
     *
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
                count += (int) batch.size(0);
            }
        }
        if (count == 0) {
            throw new IllegalArgumentException("agreement: there are no clips; pass one or more");
        }
        return new Agreement(count, sum / compared, least, heads ? same : null);
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
