package tessera.jmh.peers;

/** One library, ready to carry out one {@link Work} in one way. Not thread-safe; closing frees what it holds. */
public abstract class Contender implements AutoCloseable {
    /**
     * What the first call computes, in row-major order: called once, before anything is timed. Of training, the losses of {@link
     * Task#STEPS} steps from the given weights.
     */
    public abstract float[] output();

    /** Carries it out once, to the end. */
    protected abstract void call();

    /** Mean seconds of some calls in a row. */
    public double seconds(int calls) {
        long start = System.nanoTime();
        for (int i = 0; i < calls; i++) {
            call();
        }
        return (System.nanoTime() - start) / 1e9 / calls;
    }

    @Override
    public abstract void close();
}
