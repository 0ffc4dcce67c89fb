package tessera.distill.sweep;

import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.Interval;

/**
 * What answers are worth.
 *
 * @param value accuracy or agreement, in [0, 1], with its interval
 * @param calibrationError expected calibration error, in [0, 1], or null where there are no probabilities to judge
 * @param cosine mean cosine of the clips' features and those of the unmasked student in f32, or null where labels judge
 */
public record Quality(
        Interval value,
        @Nullable Double calibrationError,
        @Nullable Double cosine) {}
