package tessera.natives.onednn;

/** A oneDNN call failed; the message names the call and the status. */
public final class OneDnnException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int status;

    OneDnnException(String call, int status) {
        super(call + " failed: " + text(status) + " (status " + status + ")");
        this.status = status;
    }

    /** The status code of the call ({@code dnnl_status_t}). */
    public int status() {
        return status;
    }

    private static String text(int status) {
        return switch (status) {
            case 1 -> "out of memory";
            case 2 -> "invalid arguments";
            case 3 -> "not implemented on this processor";
            case 4 -> "no further implementation";
            case 5 -> "error at run time";
            case 6 -> "not required";
            case 7 -> "invalid graph";
            case 8 -> "invalid graph operation";
            case 9 -> "invalid shape";
            case 10 -> "invalid data type";
            default -> "unknown status";
        };
    }
}
