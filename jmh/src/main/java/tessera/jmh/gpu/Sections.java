package tessera.jmh.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;

/** The parts of a run, each with how long it took and under which conditions; and the processes that parts start. */
final class Sections {
    private final Results results;
    private final PrintWriter out;
    private final @Nullable Conditions conditions;
    private final long begin = System.nanoTime();
    private int failures;

    Sections(Results results, PrintWriter out, @Nullable Conditions conditions) {
        this.results = results;
        this.out = out;
        this.conditions = conditions;
    }

    /** Runs a part; one that throws is reported and the next goes on. */
    void run(String name, Runnable part) {
        long start = System.nanoTime();
        out.printf(Locale.ROOT, "%n[%.0f s] %s%n", (start - begin) / 1e9, name);
        if (conditions != null) {
            conditions.take();
        }
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("section", name);
        try {
            part.run();
        } catch (RuntimeException e) {
            failures++;
            entry.put("failed", String.valueOf(e));
            out.println(name + " failed: " + e);
            e.printStackTrace(out);
        }
        entry.put("seconds", (System.nanoTime() - start) / 1e9);
        if (conditions != null) {
            entry.putAll(conditions.take());
        }
        results.add("sections", entry);
        out.flush();
    }

    /** How many parts failed. */
    int failures() {
        return failures;
    }

    /**
     * Runs a process that does one step, and ends it at the deadline.
     *
     * @param lines gets each line that it prints
     * @return its exit code, -1 where it was ended
     */
    static int run(List<String> command, Deadline deadline, Consumer<String> lines) {
        try {
            Process process = new ProcessBuilder(command)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            process.getOutputStream().close();
            boolean[] late = new boolean[1];
            Thread killer = Thread.ofPlatform().daemon().start(() -> {
                try {
                    late[0] = !process.waitFor((long) (deadline.left() * 1e3) + 1, TimeUnit.MILLISECONDS);
                } catch (InterruptedException e) {
                    return; // it has ended
                }
                if (late[0]) {
                    process.descendants().forEach(ProcessHandle::destroyForcibly);
                    process.destroyForcibly();
                }
            });
            try (var reader = process.inputReader(StandardCharsets.UTF_8)) {
                reader.lines().forEach(lines);
            } catch (IOException | UncheckedIOException e) {
                // It was ended.
            }
            int code = process.waitFor();
            killer.interrupt();
            return late[0] ? -1 : code;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return -1;
        }
    }

    /** Begins the command of a process that does one step, with the properties of this one and some of its own. */
    static List<String> child(String step, Device device, Map<String, String> properties, List<String> more) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "--add-modules=jdk.incubator.vector"));
        for (String property : System.getProperties().stringPropertyNames()) {
            if (property.startsWith("tessera.") && !properties.containsKey(property)) {
                command.add("-D" + property + "=" + System.getProperty(property));
            }
        }
        properties.forEach((name, value) -> command.add("-D" + name + "=" + value));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), GpuBenchmark.class.getName()));
        command.addAll(List.of("--only", step, "--device", device.toString()));
        command.addAll(more);
        return command;
    }
}
