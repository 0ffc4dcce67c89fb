package tessera.distill.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import tessera.kernels.Device;

/**
 * Where figures were measured.
 *
 * @param processor its model
 * @param threads that a kernel may use
 * @param jdk the Java version
 * @param system the operating system
 */
public record Machine(String processor, int threads, String jdk, String system) {
    /** The machine that this process runs on. */
    public static Machine here() {
        return new Machine(
                processorModel(),
                Device.cpu().threads(),
                Runtime.version().toString(),
                System.getProperty("os.name") + " " + System.getProperty("os.arch"));
    }

    private static String processorModel() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse("unnamed");
        } catch (IOException e) {
            return "unknown";
        }
    }
}
