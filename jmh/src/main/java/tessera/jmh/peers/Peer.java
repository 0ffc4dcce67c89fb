package tessera.jmh.peers;

import java.util.List;
import java.util.Map;

/** A library that is measured. Not thread-safe. */
public interface Peer extends AutoCloseable {
    /**
     * How a library carries something out.
     *
     * @param mode the library's word for it, empty where there is one way only
     * @param precision what it computes in
     */
    record Way(String mode, Precision precision) {}

    /** What it is called in results. */
    String name();

    /** What it is made of, by name. */
    Map<String, String> versions();

    /** The ways that are worth measuring, none where it cannot carry this out. */
    List<Way> ways(Work work);

    /**
     * Makes a task ready.
     *
     * @throws AbsentException if it cannot be had here, with the reason
     */
    Contender open(Task task, Way way);

    @Override
    void close();

    /** Makes a peer that lies in a jar of its own; found with {@link java.util.ServiceLoader}. */
    interface Factory {
        /** What the peer is called. */
        String name();

        /** Loads it; may throw whatever the library does where it cannot be loaded. */
        Peer load(int threads);

        /**
         * Loads it.
         *
         * @throws AbsentException if it cannot be loaded here
         */
        default Peer open(int threads) {
            try {
                return load(threads);
            } catch (RuntimeException | LinkageError e) {
                throw new AbsentException(
                        "its native library does not load here: " + (e.getCause() == null ? e : e.getCause()));
            }
        }
    }

    /** A peer, or one way of it, is not to be had; the message says why, for the results. */
    class AbsentException extends RuntimeException {
        private static final long serialVersionUID = 1;

        public AbsentException(String message) {
            super(message);
        }
    }
}
