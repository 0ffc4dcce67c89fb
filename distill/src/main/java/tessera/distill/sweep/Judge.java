package tessera.distill.sweep;

/** Says what the answers of a way to look are worth. */
public interface Judge {
    /** What {@link Quality#value} is, in a few words. */
    String measure();

    /**
     * Judges; the batch of the setup makes no difference.
     *
     * @throws IllegalArgumentException if the student cannot look in this way
     */
    Quality judge(Setup setup);
}
