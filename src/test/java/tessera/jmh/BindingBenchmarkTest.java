package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import tessera.ChildJava;

/** That the benchmark of bindings writes what it measures; how much that is, is for people. */
class BindingBenchmarkTest {
    /** Measures in this process, for an instant. */
    static final class Instant {
        private Instant() {}

        public static void main(String[] args) throws Exception {
            String line = "BindingBenchmark -f 0 -wi 0 -i 2 -r 10ms -p count=0";
            BindingBenchmark.measure(new CommandLineOptions(line.split(" ")), Path.of(args[0]));
        }
    }

    @Test
    void everyCallIsInTheResultsWithTheMachineItIsOf(@TempDir Path folder) throws Exception {
        assumeTrue(
                Pattern.compile(":")
                        .splitAsStream(System.getenv().getOrDefault("PATH", ""))
                        .anyMatch(place -> Files.isExecutable(Path.of(place, "cc"))),
                "no C compiler cc on this machine, which the benchmark needs");
        Path file = folder.resolve("binding.json");
        // Another JMH on the machine does not matter here.
        List<String> options = List.of("-Djmh.ignoreLock=true", "-Xmx256m");
        String said = ChildJava.run(folder, options, Map.of(), 120, Instant.class, file.toString());
        assertTrue(said.contains("5 results: " + file), said);
        String json = Files.readString(file);
        for (String name : List.of("date", "commit", "processor", "features", "java", "JMH")) {
            assertTrue(json.lines().findFirst().orElseThrow().contains("\"" + name + "\":\""), json);
        }
        for (String call : List.of("ffm", "critical", "criticalHeap", "jni", "java")) {
            assertEquals(
                    1,
                    json.lines()
                            .filter(line -> line.startsWith(
                                    "{\"call\":\"" + call + "\",\"count\":0,\"unit\":\"ns/op\",\"p20\":"))
                            .count(),
                    json);
        }
    }
}
