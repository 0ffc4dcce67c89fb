package tessera.distill.train;

import java.util.Locale;

/**
 * How the teachers of an {@link Ensemble} are weighted.
 *
 * @param kind of weights
 * @param temperature of the softmin over their losses; means nothing for {@link Kind#UNIFORM}
 */
public record TeacherWeights(Kind kind, double temperature) {
    /** Every teacher the same. */
    public static final TeacherWeights UNIFORM = new TeacherWeights(Kind.UNIFORM, 1);

    /** Kinds of weights. */
    public enum Kind {
        /** Every teacher the same. */
        UNIFORM,
        /** By their losses on held-out training clips, computed once for each head before the first step. */
        DATASET,
        /** By their losses on each clip. */
        PER_SAMPLE;

        /** In lower case with hyphens, as settings and options are written. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    public TeacherWeights {
        if (!(temperature > 0) || Double.isInfinite(temperature)) {
            throw new IllegalArgumentException(
                    "teachers are weighted at a temperature of " + temperature + "; pass a positive number such as 1");
        }
    }

    /** By held-out training clips, at the paper's temperature of 1. */
    public static TeacherWeights dataSet() {
        return new TeacherWeights(Kind.DATASET, 1);
    }

    /** By each clip, at the paper's temperature of 1. */
    public static TeacherWeights perSample() {
        return new TeacherWeights(Kind.PER_SAMPLE, 1);
    }
}
