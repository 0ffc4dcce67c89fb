package tessera.kernels;

/**
 * A mark in a stream's work, to wait for or to measure time between. On a CPU it is reached at once, and closing it does nothing. Thread-safe, except that nobody
 * may use an event while its maker closes it; what is asked of it afterwards is refused.
 */
public interface Event extends AutoCloseable {
    /**
     * The driver's handle, for other libraries: of a GPU the {@code CUevent}, of a CPU 0.
     *
     * @throws IllegalStateException if the event is closed
     */
    long handle();

    /** Puts the event behind everything enqueued on the stream so far. */
    void record(Stream stream);

    /** Waits for the event, and reports what failed before it. */
    void synchronize();

    /** Whether the event has been reached. */
    boolean isDone();

    /** Milliseconds from this event to a later one; both are of {@link Device#newTimer} and have been reached. */
    double millisecondsTo(Event later);

    @Override
    void close();
}
