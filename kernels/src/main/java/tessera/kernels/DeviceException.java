package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * A device, its driver or a library of it failed, or its memory ran out. The message is one line: the call that failed, the
 * driver's words, and what to do.
 */
public final class DeviceException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What kind of failure it is. */
    public enum Reason {
        /** A call failed; the device goes on working. */
        FAILED,
        /** The device's memory, or the host's that it may use, is exhausted. */
        OUT_OF_MEMORY,
        /** The device cannot be used any more in this process. */
        DEVICE_LOST
    }

    private final Reason reason;

    public DeviceException(Reason reason, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.reason = reason;
    }

    /** Whether memory ran out: close buffers, use a smaller batch, and try again. */
    public boolean outOfMemory() {
        return reason == Reason.OUT_OF_MEMORY;
    }

    /** Whether the device is lost for this process: start again, from the last checkpoint where there is one. */
    public boolean deviceLost() {
        return reason == Reason.DEVICE_LOST;
    }
}
