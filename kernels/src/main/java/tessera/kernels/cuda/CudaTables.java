package tessera.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Tables of what was measured on a device: lines of words, {@code #} begins a remark. Each is a file of the jar, for devices that
 * were measured before, and one of the same name in the folder of compiled kernels, for this one, whose lines come later and count
 * more.
 */
final class CudaTables {
    private static final System.Logger LOG = System.getLogger("tessera");

    private CudaTables() {}

    /** The lines of a table, those of the jar first; none where there is no such table. */
    static List<String> lines(String name) {
        List<String> lines = new ArrayList<>();
        try (InputStream stream = CudaTables.class.getResourceAsStream(name)) {
            if (stream != null) {
                add(new String(stream.readAllBytes(), StandardCharsets.UTF_8), lines);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + name + " in the jar of tessera.kernels", e);
        }
        lines.addAll(own(name));
        return lines;
    }

    /** The lines of this device's own file alone. */
    static List<String> own(String name) {
        List<String> lines = new ArrayList<>();
        Path kept = CudaCode.kept(name);
        if (kept != null && Files.exists(kept)) {
            try {
                add(Files.readString(kept), lines);
            } catch (IOException e) {
                LOG.log(
                        Level.INFO,
                        "what was measured before is not used: cannot read " + kept + ": " + e.getMessage());
            }
        }
        return lines;
    }

    private static void add(String table, List<String> lines) {
        table.lines()
                .map(String::strip)
                .filter(line -> !line.isEmpty() && !line.startsWith("#"))
                .forEach(lines::add);
    }

    /** Replaces this device's own file of a table. */
    static void write(String name, List<String> lines) {
        Path kept = CudaCode.kept(name);
        if (kept != null) {
            CudaCode.write(kept, (String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }
}
