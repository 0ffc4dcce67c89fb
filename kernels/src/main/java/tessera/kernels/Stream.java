package tessera.kernels;

/**
 * A queue of work on a device. Work of one stream runs in the order it was enqueued; different streams run side by side unless
 * {@link #await} orders them. On a CPU work is done when it is enqueued, so a stream there is always done.
 *
 * <p>A thread's kernels and allocations go to its current stream: the device's default stream, or the one that {@link
 * Device#on} names. A buffer used on several streams must be closed where its last use is ordered before. A buffer made on
 * a stream may outlive it.
 *
 * <p>Thread-safe, except that nobody may use a stream while it is closed. {@link #close()} waits for the work and then frees the
 * stream; what is asked of it afterwards is refused. On a CPU closing does nothing.
 */
public interface Stream extends AutoCloseable {
    Device device();

    /**
     * The driver's handle, for other libraries: of a GPU the {@code CUstream}, of a CPU 0.
     *
     * @throws IllegalStateException if the stream is closed
     */
    long handle();

    /** Whether a graph is being recorded: work enqueued here does not run now. */
    boolean recording();

    /** Waits until everything enqueued so far is done, and reports what failed. */
    void synchronize();

    /** Whether everything enqueued so far is done. */
    boolean isDone();

    /** Work enqueued from now on waits for the event. */
    void await(Event event);

    /** An event behind everything enqueued so far, without timing; the caller closes it. */
    Event record();

    /**
     * Enqueues a copy and returns at once. Neither buffer may be changed or closed, nor host memory read, before the
     * stream got there.
     *
     * @param from in this device's memory or on the host from {@link Device#allocatePinned}
     * @param to as {@code from}; of the same type and length
     * @throws IllegalArgumentException if types, lengths or places do not fit
     */
    void copy(Buffer from, Buffer to);

    /**
     * Waits for the work and frees the stream; a second call does nothing.
     *
     * @throws IllegalStateException for the default stream and for one that is being recorded
     */
    @Override
    void close();
}
