package tessera.distill.train;

import java.util.Locale;
import tessera.nn.Schedule;

/**
 * The learning rate of each step: a linear warm-up, then a decay.
 *
 * @param shape of the decay
 * @param highest after the warm-up
 * @param lowest at the end of the period
 * @param warmupStart in the first step
 * @param warmupSteps steps of the warm-up
 * @param period steps from the highest to the lowest rate
 */
public record LearningRate(
        Shape shape, double highest, double lowest, double warmupStart, long warmupSteps, long period) {

    /** How the rate falls. */
    public enum Shape {
        /** Half a cosine. */
        COSINE,
        /** A straight line to 0; the lowest rate and that of the first step do not count. */
        LINEAR;

        /** In lower case, as settings are written. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * The standard decay: from a thousandth over a tenth of the steps to the highest rate, then a cosine over as many steps as the
     * run has, towards a hundredth.
     */
    public static LearningRate over(long steps, double highest) {
        return new LearningRate(Shape.COSINE, highest, highest / 100, highest / 1000, steps / 10, steps);
    }

    /** The second system's decay: from 0 over a tenth of the steps to the highest rate, then in a straight line to 0 at the end. */
    public static LearningRate linear(long steps, double highest) {
        return new LearningRate(Shape.LINEAR, highest, 0, 0, steps / 10, steps - steps / 10);
    }

    Schedule schedule() {
        return shape == Shape.COSINE
                ? Schedule.cosine(highest, lowest, warmupStart, warmupSteps, period)
                : Schedule.linear(highest, warmupSteps, warmupSteps + period);
    }
}
