package tessera.nn;

/** Learning rate as a function of the step, counted from 0. */
@FunctionalInterface
public interface Schedule {
    /** The learning rate of a step. */
    double at(long step);

    /** One rate for every step. */
    static Schedule constant(double lr) {
        return step -> lr;
    }

    /**
     * Linear warm-up, then a cosine whose period is {@code period} steps counted from the end of the warm-up (Loshchilov
     * and Hutter, "SGDR", 2017). With a period equal to all steps, as MM-CDFSL trains, the run ends before the minimum.
     *
     * @param lr rate after warm-up
     * @param min rate at the end of the period
     * @param warmupStart rate of step 0
     * @param warmupSteps steps of warm-up
     * @param period steps from the maximum to the minimum
     */
    static Schedule cosine(double lr, double min, double warmupStart, long warmupSteps, long period) {
        return step -> {
            if (step < warmupSteps) {
                return warmupStart + step * (lr - warmupStart) / warmupSteps;
            }
            double phase = Math.min(1, (step - warmupSteps) / (double) Math.max(1, period));
            return min + .5 * (lr - min) * (1 + Math.cos(Math.PI * phase));
        };
    }

    /** Linear warm-up from 0 and linear decay to 0 at {@code steps}. */
    static Schedule linear(double lr, long warmupSteps, long steps) {
        return step -> step < warmupSteps
                ? lr * step / warmupSteps
                : lr * Math.max(0, steps - step) / Math.max(1, steps - warmupSteps);
    }
}
