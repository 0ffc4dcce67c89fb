package tessera.natives.cuda;

/** The driver's status codes that something here depends on, by their C names. */
@CName("cuda.h")
public enum CudaStatus {
    CUDA_SUCCESS(0, false, ""),
    CUDA_ERROR_INVALID_VALUE(1, false, CudaCalls.FAULT),
    CUDA_ERROR_OUT_OF_MEMORY(
            2,
            false,
            "use a smaller batch, close tensors and sessions no longer needed, or see with nvidia-smi who else holds"
                    + " memory"),
    CUDA_ERROR_NOT_INITIALIZED(3, false, "run nvidia-smi to see whether the driver works at all"),
    CUDA_ERROR_DEINITIALIZED(4, true, "the driver is shutting down with the process"),
    CUDA_ERROR_STUB_LIBRARY(
            34,
            false,
            "this is the toolkit's stub; leave lib64/stubs out of the library path and install the NVIDIA driver"),
    CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER(36, false, "the driver is too old for this; update the NVIDIA driver"),
    CUDA_ERROR_DEVICE_UNAVAILABLE(
            46, true, "another process holds the device exclusively, or it fell off the bus; see nvidia-smi"),
    CUDA_ERROR_NO_DEVICE(
            100,
            false,
            "check nvidia-smi, the variable CUDA_VISIBLE_DEVICES and, in a container, that it was started with the GPU"),
    CUDA_ERROR_INVALID_DEVICE(101, false, "there is no device of this number; nvidia-smi -L lists them"),
    CUDA_ERROR_INVALID_IMAGE(200, false, Texts.IMAGE),
    CUDA_ERROR_INVALID_CONTEXT(201, true, Texts.CONTEXT),
    CUDA_ERROR_NO_BINARY_FOR_GPU(209, false, Texts.IMAGE),
    CUDA_ERROR_ECC_UNCORRECTABLE(214, true, Texts.HARDWARE),
    CUDA_ERROR_INVALID_PTX(218, false, Texts.IMAGE),
    CUDA_ERROR_NVLINK_UNCORRECTABLE(220, true, Texts.HARDWARE),
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND(
            221, false, "the driver's compiler (libnvidia-ptxjitcompiler) is missing; reinstall the NVIDIA driver"),
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION(222, false, "the driver is too old for this; update the NVIDIA driver"),
    CUDA_ERROR_NOT_FOUND(500, false, "the name is unknown there; kernels and library come from different builds"),
    CUDA_ERROR_NOT_READY(600, false, ""),
    CUDA_ERROR_ILLEGAL_ADDRESS(700, true, Texts.CULPRIT),
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES(
            701, false, "the launch asks for more registers, threads or shared memory than the device has"),
    CUDA_ERROR_LAUNCH_TIMEOUT(
            702, true, "the kernel ran longer than a screen allows; use a device that drives no screen"),
    CUDA_ERROR_CONTEXT_IS_DESTROYED(709, true, Texts.CONTEXT),
    CUDA_ERROR_ASSERT(710, true, Texts.CULPRIT),
    CUDA_ERROR_HARDWARE_STACK_ERROR(714, true, Texts.CULPRIT),
    CUDA_ERROR_ILLEGAL_INSTRUCTION(715, true, Texts.CULPRIT),
    CUDA_ERROR_MISALIGNED_ADDRESS(716, true, Texts.CULPRIT),
    CUDA_ERROR_INVALID_ADDRESS_SPACE(717, true, Texts.CULPRIT),
    CUDA_ERROR_INVALID_PC(718, true, Texts.CULPRIT),
    CUDA_ERROR_LAUNCH_FAILED(719, true, Texts.CULPRIT),
    CUDA_ERROR_NOT_PERMITTED(800, false, "check the rights on /dev/nvidia* and the container's settings"),
    CUDA_ERROR_NOT_SUPPORTED(
            801, false, "this device or driver lacks the feature; update the driver or use another device"),
    CUDA_ERROR_SYSTEM_NOT_READY(802, false, "check that nvidia-fabricmanager or nvidia-persistenced runs"),
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH(803, false, Texts.MISMATCH),
    CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE(804, false, Texts.MISMATCH),
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED(900, false, Texts.CAPTURE),
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED(901, false, Texts.CAPTURE),
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT(906, false, Texts.CAPTURE),
    CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE(910, false, "the graph changed its form; instantiate it anew"),
    CUDA_ERROR_UNKNOWN(999, true, "see the system's log (dmesg), then start the process again");

    private static final class Texts {
        static final String IMAGE = "the kernels do not fit this device or driver; they can be compiled here when NVRTC"
                + " is installed where tessera doctor finds it";
        static final String CONTEXT = "start the process again";
        static final String HARDWARE = "the hardware reports an error; see nvidia-smi -q and the system's log";
        static final String CULPRIT = "it may come from an earlier launch: to find the kernel, run again with -D"
                + CudaException.DEBUG_PROPERTY + "=true, with CUDA_LAUNCH_BLOCKING=1 in the environment, or under"
                + " compute-sanitizer; the device stays unusable until this process ends, the CPU does not";
        static final String MISMATCH = "driver and kernel module differ; restart the machine or reinstall the driver";
        static final String CAPTURE = "this cannot be captured in a graph; run it once before the capture";
    }

    private final int code;
    private final boolean deviceLost;
    private final String advice;

    CudaStatus(int code, boolean deviceLost, String advice) {
        this.code = code;
        this.deviceLost = deviceLost;
        this.advice = advice;
    }

    /** The number in C. */
    public int code() {
        return code;
    }

    /** Whether the driver refuses every later call of this process on the device. */
    boolean deviceLost() {
        return deviceLost;
    }

    /** What to do next; may be empty. */
    String advice() {
        return advice;
    }

    /** The status of a number; an unlisted number is advised as a wrong argument and leaves the device usable. */
    static CudaStatus of(int code) {
        for (CudaStatus status : values()) {
            if (status.code == code) {
                return status;
            }
        }
        return CUDA_ERROR_INVALID_VALUE;
    }
}
