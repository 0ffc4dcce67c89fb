package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import tessera.ChildJava;

/** A command line in a Java of its own, for what depends on the process: its cache, its options, its luck. */
final class OwnJava {
    private final Path temp;
    private final List<String> before = new ArrayList<>();
    private final List<String> options = new ArrayList<>(List.of("--enable-native-access=ALL-UNNAMED"));
    private final Map<String, String> environment = new HashMap<>();
    private String heap = "512m";

    /** @param temp where what it prints lies */
    OwnJava(Path temp) {
        this.temp = temp;
    }

    /** Words that stand before Java's, of a program that starts it. */
    OwnJava startedBy(List<String> words) {
        before.addAll(words);
        return this;
    }

    /** Java's options, in the place of the one that allows native access. */
    OwnJava withOptions(String... words) {
        options.clear();
        options.addAll(List.of(words));
        return this;
    }

    OwnJava withHeap(String most) {
        heap = most;
        return this;
    }

    OwnJava with(String variable, String value) {
        environment.put(variable, value);
        return this;
    }

    /** What a command line is doing. */
    record Running(Process process, Path out, Path err) {
        Shell.Outcome end() throws IOException, InterruptedException {
            boolean ended = process.waitFor(180, TimeUnit.SECONDS);
            process.destroyForcibly();
            String said = Files.readString(err);
            assertTrue(ended, () -> "it does not end: " + said);
            // Told by Java of a module that the kernels need.
            String heard = said.replace("WARNING: Using incubator modules: jdk.incubator.vector\n", "");
            return new Shell.Outcome(process.exitValue(), Files.readString(out), heard);
        }
    }

    Running start(Object... words) throws IOException {
        List<String> command = new ArrayList<>(before);
        command.add(ChildJava.JAVA);
        command.addAll(options);
        command.addAll(List.of("--add-modules=jdk.incubator.vector", "-Xmx" + heap, "-XX:TieredStopAtLevel=1"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
        for (Object word : words) {
            command.add(word.toString());
        }
        Path out = temp.resolve(UUID.randomUUID() + ".out");
        Path err = temp.resolve(UUID.randomUUID() + ".err");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
        builder.environment().putAll(environment);
        return new Running(builder.start(), out, err);
    }

    Shell.Outcome run(Object... words) throws IOException, InterruptedException {
        return start(words).end();
    }
}
