package tessera.kernels;

import java.util.Map;
import java.util.TreeMap;
import tessera.natives.NativeFinding;
import tessera.natives.NativeLibraries;

/** Which native libraries this process found and which it does without, for people who ask why. */
public final class NativeReport {
    private NativeReport() {}

    /** From a library's name to where it was found, or to why it is not used and what to do. Thread-safe. */
    public static Map<String, String> findings() {
        Map<String, String> findings = new TreeMap<>();
        for (NativeFinding finding : NativeLibraries.report()) {
            findings.put(finding.library(), (finding.usable() ? "" : "not used: ") + finding.detail());
        }
        return findings;
    }
}
