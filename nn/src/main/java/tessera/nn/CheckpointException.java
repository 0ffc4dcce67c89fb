package tessera.nn;

import tessera.tensor.io.Printable;

/**
 * A checkpoint does not fit the model; the message lists every key that is missing, unexpected or misshapen, on one line whatever the
 * file calls them.
 */
public final class CheckpointException extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    public CheckpointException(String message) {
        super(Printable.line(message));
    }
}
