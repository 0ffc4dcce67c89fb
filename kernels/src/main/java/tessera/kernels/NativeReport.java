package tessera.kernels;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.natives.NativeFinding;
import tessera.natives.NativeLibraries;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.CudaLibrary;

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
                        NativeLibraries.report().stream(),
                        CudaLibraries.report().stream().map(CudaLibrary::finding))
                .forEach(finding -> findings.put(finding.library(), text(finding)));
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

    /** Whether the jar carries the kernels' machine code, and for which GPUs. Thread-safe. */
    public static String machineCode() {
        List<Integer> capabilities = CudaImages.packaged();
        return capabilities.isEmpty()
                ? "not in the jar; NVRTC compiles the packaged sources when a GPU is first used"
                : "in the jar, for compute capability "
                        + capabilities.stream()
                                .map(capability -> capability / 10 + "." + capability % 10)
                                .collect(Collectors.joining(", "));
    }

    private static String text(NativeFinding finding) {
        return (finding.usable() ? "" : "not used: ") + finding.detail();
    }
}
