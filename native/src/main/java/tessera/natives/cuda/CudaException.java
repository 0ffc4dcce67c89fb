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
        return new CudaException(call, code, codeName, text, driverAdvice(code), code == 2, isLost(code));
    }

    /**
     * A failure of cuBLAS, cuBLASLt, cuDNN or NVRTC.
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

    /** After these the driver refuses every further call of this process on the context. */
    private static boolean isLost(int code) {
        return switch (code) {
            case 4, 46, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999 -> true;
            default -> false;
        };
    }

    private static String driverAdvice(int code) {
        return switch (code) {
            case 2 ->
                "use a smaller batch, close tensors and sessions no longer needed, or see with nvidia-smi who else"
                        + " holds memory";
            case 3 -> "the driver was not initialised; run nvidia-smi to see whether it works at all";
            case 34 -> "this is the toolkit's stub; leave lib64/stubs out of the library path and install the driver";
            case 36, 222 -> "the driver is too old for this; update the NVIDIA driver";
            case 46 -> "another process holds the device exclusively, or it fell off the bus; see nvidia-smi";
            case 100 ->
                "no device is visible; check nvidia-smi, the variable CUDA_VISIBLE_DEVICES and, in a container,"
                        + " that it was started with the GPU";
            case 101 -> "there is no device of this number; nvidia-smi -L lists them";
            case 200, 209, 218 ->
                "the kernels do not fit this device or driver; let them be compiled here by putting NVRTC where"
                        + " tessera doctor finds it";
            case 214, 220 -> "the hardware reports an error; see nvidia-smi -q and the system's log, then restart";
            case 221 -> "the driver's compiler (libnvidia-ptxjitcompiler) is missing; reinstall the driver";
            case 500 -> "the name is unknown to the module; kernels and library come from different builds";
            case 701 -> "the launch asks for more registers, threads or shared memory than the device has";
            case 702 -> "the kernel ran longer than the display allows; use a device that drives no screen";
            case 700, 710, 714, 715, 716, 717, 718, 719, 721 ->
                "the error may come from an earlier launch: run again with CUDA_LAUNCH_BLOCKING=1 in the environment"
                        + " or -D" + DEBUG_PROPERTY
                        + "=true, or under compute-sanitizer, to find the kernel; the device"
                        + " stays unusable until this process ends";
            case 4, 201, 709 -> "the context is gone; start the process again";
            case 800 -> "the system forbids it; check the rights on /dev/nvidia* and the container's settings";
            case 801 -> "this device or driver lacks the feature; update the driver or use another device";
            case 802 -> "the system is not ready; check that nvidia-fabricmanager or nvidia-persistenced runs";
            case 803, 804 -> "driver and kernel module do not match; restart the machine or reinstall the driver";
            case 900, 901, 902, 903, 904, 905, 906, 907, 908 ->
                "this cannot be captured in a graph; run it once before, or switch graphs off";
            case 999 -> "the driver gives no reason; see the system's log (dmesg) and restart the process";
            default -> "";
        };
    }
}
