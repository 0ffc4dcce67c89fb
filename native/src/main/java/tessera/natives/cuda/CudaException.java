package tessera.natives.cuda;

/**
 * A call of a CUDA library failed.
 *
 * <p>The message has one line: the call, the code's name and number, the library's own text, and what to do next.
 */
public final class CudaException extends RuntimeException {
    /** System property that makes the backend wait after every launch, so that a failing kernel is named. */
    public static final String DEBUG_PROPERTY = "tessera.cuda.debug";

    private static final long serialVersionUID = 1;

    private final String call;
    private final int code;
    private final String codeName;
    private final String text;
    private final String advice;
    private final boolean outOfMemory;
    private final boolean deviceLost;

    private CudaException(
            String call,
            int code,
            String codeName,
            String text,
            String advice,
            boolean outOfMemory,
            boolean deviceLost) {
        super(call + " failed: " + codeName + " (" + code + ")" + (text.isEmpty() ? "" : ", " + text)
                + (advice.isEmpty() ? "" : "; " + advice));
        this.call = call;
        this.code = code;
        this.codeName = codeName;
        this.text = text;
        this.advice = advice;
        this.outOfMemory = outOfMemory;
        this.deviceLost = deviceLost;
    }

    /**
     * A failure of the driver.
     *
     * @param call the function, with the kernel's name or the bytes asked for where that helps the reader
     * @param code the {@code CUresult}
     * @param codeName what {@code cuGetErrorName} says
     * @param text what {@code cuGetErrorString} says
     */
    public static CudaException driver(String call, int code, String codeName, String text) {
        CudaStatus status = CudaStatus.of(code);
        boolean outOfMemory = status == CudaStatus.CUDA_ERROR_OUT_OF_MEMORY;
        return new CudaException(call, code, codeName, text, status.advice(), outOfMemory, status.deviceLost());
    }

    /**
     * A failure of cuBLAS, cuBLASLt, cuDNN, NVRTC or NCCL.
     *
     * @param advice what to do, or an empty text where nothing is known
     */
    static CudaException library(
            String call, int code, String codeName, String text, String advice, boolean outOfMemory) {
        return new CudaException(call, code, codeName, text, advice, outOfMemory, false);
    }

    /** The C function that failed. */
    public String call() {
        return call;
    }

    /** The status the function returned; which numbers there are depends on the library. */
    public int code() {
        return code;
    }

    /** The C name of the status, for example {@code CUDA_ERROR_OUT_OF_MEMORY}. */
    public String codeName() {
        return codeName;
    }

    /** The library's own words for the status; may be empty. */
    public String text() {
        return text;
    }

    /** What to do next; may be empty. */
    public String advice() {
        return advice;
    }

    /** Whether device memory ran out; freeing some and trying again can help. */
    public boolean outOfMemory() {
        return outOfMemory;
    }

    /** Whether the device's context cannot be used again in this process; the CPU still can. */
    public boolean deviceLost() {
        return deviceLost;
    }
}
