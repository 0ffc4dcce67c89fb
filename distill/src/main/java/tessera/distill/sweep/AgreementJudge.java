package tessera.distill.sweep;

import java.util.Arrays;
import java.util.stream.IntStream;
import tessera.distill.evaluation.Interval;
import tessera.distill.evaluation.Share;

/**
 * Agreement with the unmasked student in f32, which needs no labels: the share of clips to which the main heads give the same label,
 * with its standard error, or without a head the mean cosine of the features with its standard error.
 */
public final class AgreementJudge implements Judge {
    private final SweepClips clips;
    private final long seed;
    private final Answers reference;

    /**
     * Looks at the clips as they are compared with.
     *
     * @param seed determines the masks
     */
    public AgreementJudge(Setup reference, SweepClips clips, long seed) {
        this.clips = clips;
        this.seed = seed;
        this.reference = Answers.of(reference, clips, seed);
    }

    private boolean hasHead() {
        return reference.probabilities().length > 0;
    }

    @Override
    public String measure() {
        return hasHead() ? "clips with the same label" : "cosine of features";
    }

    @Override
    public Quality judge(Setup setup) {
        Answers answers = Answers.of(setup, clips, seed);
        double[] cosines = IntStream.range(0, clips.count())
                .mapToDouble(i -> cosine(answers.features()[i], reference.features()[i]))
                .toArray();
        double cosine = Arrays.stream(cosines).average().orElse(Double.NaN);
        if (hasHead()) {
            int same = (int) IntStream.range(0, clips.count())
                    .filter(i ->
                            best(answers.probabilities()[i]) == best(reference.probabilities()[i]))
                    .count();
            return new Quality(new Share(same, clips.count()).interval(), null, cosine);
        }
        double squares =
                Arrays.stream(cosines).map(c -> (c - cosine) * (c - cosine)).sum();
        return new Quality(new Interval(cosine, Math.sqrt(squares) / cosines.length), null, cosine);
    }

    private static double cosine(double[] a, double[] b) {
        double dot = 0;
        double aa = 0;
        double bb = 0;
        for (int i = 0; i < a.length; i++) {
            dot += a[i] * b[i];
            aa += a[i] * a[i];
            bb += b[i] * b[i];
        }
        return dot / Math.sqrt(aa * bb);
    }

    private static int best(double[] p) {
        return IntStream.range(0, p.length).reduce(0, (best, i) -> p[i] > p[best] ? i : best);
    }
}
