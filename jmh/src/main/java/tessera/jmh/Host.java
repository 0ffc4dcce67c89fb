package tessera.jmh;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.distill.demo.Machine;

/** Where results come from. */
public final class Host {
    private static final List<String> TOLD = List.of("avx", "fma", "f16c", "amx", "asimd", "sve", "i8mm", "bf16");

    private Host() {}

    /** Where, when and of which sources results are, by name. */
    public static Map<String, String> about(String date, String revision, int threads) {
        Machine machine = Machine.here();
        Map<String, String> about = new LinkedHashMap<>();
        about.put("date", date);
        about.put("commit", revision);
        about.put("processor", machine.processor());
        about.put("features", features());
        about.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
        about.put("threads", Integer.toString(threads));
        about.put("java", machine.jdk());
        about.put("system", machine.system());
        return about;
    }

    /** Whether the processor adds up products of bytes in 32 bits at once; false where the system does not tell. */
    public static boolean hasVnni() {
        return features().contains("vnni");
    }

    /** What the processor has for numbers, as the system names it. */
    private static String features() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return features(lines);
        } catch (IOException e) {
            return "unknown";
        }
    }

    /** The same from the lines of {@code /proc/cpuinfo}. */
    public static String features(Stream<String> lines) {
        return lines.filter(line -> line.matches("(flags|Features)\\s*:.*"))
                .findFirst()
                .map(line -> Stream.of(
                                line.substring(line.indexOf(':') + 1).strip().split(" +"))
                        .filter(flag -> TOLD.stream().anyMatch(flag::contains))
                        .sorted()
                        .collect(Collectors.joining(" ")))
                .orElse("unknown");
    }

    /** The commit of the sources in the current folder. */
    public static String revision() {
        try {
            Process git = new ProcessBuilder("git", "describe", "--always", "--dirty")
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            if (!git.waitFor(10, TimeUnit.SECONDS)) {
                git.destroyForcibly();
                return "unknown";
            }
            String text = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return text.isEmpty() ? "unknown" : text;
        } catch (IOException e) {
            return "unknown";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "unknown";
        }
    }

    /** A word for file names. */
    public static String word(String processor) {
        return processor
                .toLowerCase(Locale.ROOT)
                .replaceAll("\\((r|tm)\\)", "")
                .replaceAll("[^a-z0-9]+", "-")
                .replaceAll("^-|-$", "");
    }
}
