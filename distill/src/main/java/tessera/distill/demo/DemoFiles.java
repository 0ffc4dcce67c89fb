package tessera.distill.demo;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import tessera.distill.train.Settings;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.FolderLock;
import tessera.tensor.io.WriteFailure;

/** Files of a demo of either system: whose a folder is, and how they get into it. */
public final class DemoFiles {
    /** The setting that tells the system; MM-CDFSL's demo has none. */
    private static final String SYSTEM = "system";

    private DemoFiles() {}

    /**
     * Holds a demo's folder, which is made where it is missing.
     *
     * @throws IllegalArgumentException if it is a file, or another run holds it
     */
    public static FolderLock hold(Path out) {
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw new IllegalArgumentException("demo: " + out + " is a file; name a folder for models and results");
        }
        return FolderLock.hold(out);
    }

    /**
     * Makes a folder a demo's, by a file with its settings.
     *
     * @param plan name of that file
     * @param settings of the demo
     * @param defaults what stands for settings that an older demo's file does not have
     * @throws IllegalArgumentException if it holds a demo of another system or with other settings
     */
    public static void claim(Path out, String plan, Settings settings, Settings defaults) {
        Path file = out.resolve(plan);
        try {
            if (Files.exists(file)) {
                requireSame(out, Settings.read(file), settings, defaults);
            }
        } catch (IOException e) {
            throw WriteFailure.of(out, e);
        }
        write(file, settings.json() + "\n");
    }

    private static void requireSame(Path out, Settings before, Settings settings, Settings defaults) {
        Object system = settings.values().get(SYSTEM);
        if (system != null && !system.equals(before.values().get(SYSTEM))) {
            throw new IllegalArgumentException("demo: " + out + " holds a demo of another system than " + system
                    + "; use another folder, or delete this one to start again");
        }
        List<String> differences = before.differences(settings, defaults);
        if (!differences.isEmpty()) {
            throw new IllegalArgumentException("demo: " + out + " holds a demo with other settings ("
                    + String.join("; ", differences) + "); use another folder, or delete this one to start again");
        }
    }

    /** Writes a file to a temporary name, then moves it. */
    public static void write(Path file, String text) {
        AtomicFile.write(file, stream -> stream.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    /** A folder, made where it is not there. */
    public static Path create(Path folder) {
        try {
            return Files.createDirectories(folder);
        } catch (IOException e) {
            throw WriteFailure.of(folder, e);
        }
    }
}
