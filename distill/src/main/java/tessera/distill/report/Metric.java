package tessera.distill.report;

/**
 * A number that a run logs.
 *
 * @param id its name in {@code metrics.jsonl}
 */
public record Metric(String id) {
    /** What training minimises. */
    public static final Metric LOSS = new Metric("loss");

    /** The L2 norm of all gradients before they are clipped. */
    public static final Metric GRADIENT_NORM = new Metric("gradient_norm");

    /** The learning rate of the step. */
    public static final Metric LEARNING_RATE = new Metric("lr");

    /** In words. */
    @Override
    public String toString() {
        return id.replace('_', ' ');
    }
}
