package tessera.jmh.peers;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.distill.demo.Machine;

/** Where results come from. */
final class Host {
    private static final List<String> TOLD = List.of("avx", "fma", "f16c", "amx", "asimd", "sve", "i8mm", "bf16");

    private Host() {}

    /** Tells the results where, when and of which sources they are. */
    static void describe(PeerResults results, String date, String revision, int threads) {
        Machine machine = Machine.here();
        results.about("date", date);
        results.about("commit", revision);
        results.about("processor", machine.processor());
        results.about("features", features());
        results.about("cores", Runtime.getRuntime().availableProcessors());
        results.about("threads", threads);
        results.about("java", machine.jdk());
        results.about("system", machine.system());
    }

    /** What the processor has for numbers, as the system names it. */
    private static String features() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return features(lines);
        } catch (IOException e) {
            return "unknown";
        }
    }

    static String features(Stream<String> lines) {
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
    static String revision() {
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
    static String word(String processor) {
        return processor
                .toLowerCase(Locale.ROOT)
                .replaceAll("\\((r|tm)\\)", "")
                .replaceAll("[^a-z0-9]+", "-")
                .replaceAll("^-|-$", "");
    }
}
