package tessera.kernels;

/**
 * Work recorded once by {@link Device#record} and launched many times at the price of one launch.
 *
 * <p>The graph uses the addresses it saw: buffers made before the recording must outlive it, and change their contents, not
 * their place, between launches. Buffers made during the recording live in memory of the graph's own, which every launch uses
 * again and {@link #close()} frees; those that are still open then are freed when they are closed. A buffer made before and
 * closed during the recording is freed as outside of one.
 *
 * <p>Launches of one graph run one after another, on whichever streams. Thread-safe. The maker closes it; a launch after that is
 * refused, and so is one while its thread records another graph: graphs do not nest.
 */
public interface Graph extends AutoCloseable {
    /**
     * Enqueues the whole graph on the thread's current stream.
     *
     * @throws IllegalStateException if the graph is closed, or while the thread records another
     */
    void launch(Variables values);

    /** How many launches, copies and fills were recorded. */
    long nodes();

    Device device();

    /** Waits for the launches and frees the graph and its memory; a second call does nothing. */
    @Override
    void close();

    /**
     * What differs from launch to launch.
     *
     * @param seed added to the seed of every mask, dropout and random number that was recorded
     * @param stream added to their stream
     * @param lr learning rate of a recorded optimiser step, in place of the recorded one
     * @param step number of that step, 1 for the first
     */
    record Variables(long seed, long stream, double lr, long step) {
        /** The recorded seeds, for a graph without an optimiser. */
        public static final Variables NONE = ofSeed(0);

        /** For a graph without an optimiser. */
        public static Variables ofSeed(long seed) {
            return new Variables(seed, 0, 0, 1);
        }
    }
}
