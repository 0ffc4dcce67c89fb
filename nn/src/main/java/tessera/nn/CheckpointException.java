package tessera.nn;

/** A checkpoint does not fit the model; the message lists every key that is missing, unexpected or misshapen. */
public final class CheckpointException extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    public CheckpointException(String message) {
        super(message);
    }
}
