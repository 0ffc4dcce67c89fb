package tessera.kernels;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tessera.natives.NativeFinding;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.CudaLibrary;
import tessera.natives.cuda.Cudnn;
import tessera.natives.cuda.Nccl;
import tessera.natives.cuda.Nvrtc;
import tessera.natives.onednn.OneDnn;

/** Which native libraries this process found and which it does without, for people who ask why. */
public final class NativeReport {
    private NativeReport() {}

    /**
     * From a library's name to where it was found, or to why it is not used and what to do. Opens the CUDA libraries that
     * are there. Thread-safe.
     */
    public static Map<String, String> findings() {
        Map<String, String> findings = new LinkedHashMap<>();
        Stream.concat(
                        Stream.of(OneDnn.finding()),
                        CudaLibraries.report().stream().map(CudaLibrary::finding))
                .forEach(finding -> findings.put(finding.library(), text(finding)));
        if (OneDnn.finding().usable() && !OneDnn.instructions().isEmpty()) {
            findings.merge(
                    OneDnn.finding().library(), ", with instructions up to " + OneDnn.instructions(), String::concat);
        }
        if (CudaLibraries.nccl().usable()) {
            int version = Nccl.version();
            findings.merge(
                    CudaLibraries.nccl().finding().library(),
                    ", version " + version / 10000 + "." + version / 100 % 100 + "." + version % 100,
                    String::concat);
        }
        return findings;
    }

    /** From the name of each CUDA library that is not used to every place looked at, with what was there. Thread-safe. */
    public static Map<String, List<String>> placesTried() {
        Map<String, List<String>> places = new LinkedHashMap<>();
        for (CudaLibrary library : CudaLibraries.report()) {
            if (!library.usable()) {
                places.put(library.finding().library(), library.tried());
            }
        }
        return places;
    }

    /** From the name of each CUDA library in use to the version that it says it is, as its own number. Thread-safe. */
    public static Map<String, Long> versions() {
        Map<String, Long> versions = new LinkedHashMap<>();
        if (CudaLibraries.driver().usable()) {
            versions.put("CUDA of the driver", (long) CudaDriver.driverVersion());
        }
        if (CudaLibraries.cublasLt().usable()) {
            versions.put("cuBLASLt", CublasLt.version());
        }
        if (CudaLibraries.nvrtc().usable()) {
            versions.put("NVRTC", (long) Nvrtc.version());
        }
        if (CudaLibraries.cudnn().usable()) {
            versions.put("cuDNN", Cudnn.version());
        }
        if (CudaLibraries.nccl().usable()) {
            versions.put("NCCL", (long) Nccl.version());
        }
        return versions;
    }

    /** Whether the jar carries the kernels' machine code, and for which GPUs. Thread-safe. */
    public static String machineCode() {
        return Device.provider("cuda").machineCode();
    }

    /** By what the kernels of the processor run in this process. Thread-safe. */
    public static String cpuKernels() {
        return Device.provider("cpu").machineCode();
    }

    private static String text(NativeFinding finding) {
        return (finding.usable() ? "" : "not used: ") + finding.detail();
    }
}
