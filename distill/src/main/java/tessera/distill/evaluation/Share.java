package tessera.distill.evaluation;

/**
 * How many of some clips a model is right about.
 *
 * @param hits 0 to {@code clips}
 * @param clips 0 or more
 */
public record Share(int hits, int clips) {
    /** In [0, 1]; NaN of no clips. */
    public double value() {
        return (double) hits / clips;
    }

    /**
     * With its standard error over the clips, {@link Interval#overClips}.
     *
     * @throws IllegalArgumentException if there are no clips
     */
    public Interval interval() {
        return Interval.overClips(value(), clips);
    }
}
