package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.jmh.peers.PeerBenchmark;

/** The benchmark beside peers at tiny shapes: that all it measures runs, not how fast; and what it refuses. */
class PeerBenchmarkTest {
    private final StringWriter text = new StringWriter();

    private int run(String... options) {
        return PeerBenchmark.run(List.of(options), "none", new PrintWriter(text, true));
    }

    @Test
    void everythingRunsAndAbsentPeersAreTold(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("deep").resolve("r.json");
        int code = run(
                "--tiny",
                "--rounds",
                "2",
                "--revision",
                "abc",
                "--python",
                folder.resolve("no-python").toString(),
                "--out",
                file.toString());
        assertEquals(0, code, text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("\"commit\":\"abc\""), json);
        for (String group : List.of("kernels", "layers", "inference", "ensembles", "training")) {
            assertTrue(json.contains("{\"group\":\"" + group + "\""), group);
        }
        assertTrue(text.toString().contains("absent: PyTorch: "), text::toString);
        assertTrue(text.toString().contains("no-python"), text::toString);
        assertTrue(text.toString().contains("TESSERA_PEER_PYTHON"), text::toString);
        assertTrue(Files.readString(folder.resolve("deep").resolve("r.html")).contains("inference: time"));

        text.getBuffer().setLength(0);
        assertEquals(0, run("--tables", file.toString()));
        assertTrue(text.toString().contains("\n| forward B 4, rho .9 | "), text::toString);
        Files.delete(folder.resolve("deep").resolve("r.html"));
        assertEquals(0, run("--page", file.toString()));
        assertTrue(Files.exists(folder.resolve("deep").resolve("r.html")));
    }

    @Test
    void oneGroupIsMeasuredAlone(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("r.json");
        assertEquals(
                0,
                run(
                        "--tiny",
                        "--quick",
                        "--rounds",
                        "1",
                        "--threads",
                        "1",
                        "--only",
                        "layers",
                        "--out",
                        file.toString()));
        assertTrue(text.toString().contains("1 results, 0 wrong"), text::toString);
        assertTrue(Files.readString(file).contains("\"threads\":\"1\""));
    }

    @Test
    void helpNamesTheOptions() {
        assertEquals(0, run("--help"));
        assertTrue(text.toString().startsWith("Usage: tessera bench --peers"), text::toString);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--rounds 0 | --rounds is '0'; pass a number from 1 to 1000",
                "--threads many | --threads is 'many'",
                "--only kernels,toys | --only names 'toys'; pass some of kernels,layers",
                "--out results.txt | --out is 'results.txt'; pass a file that ends in .json",
                "--rounds | option --rounds is unknown or has no value",
                "--fast 3 | unknown option --fast",
                "--tables none.json | cannot read none.json",
            })
    void badOptionsAreRefused(String options, String problem) {
        assertEquals(2, run(options.split(" ")));
        assertTrue(text.toString().startsWith("error: ") && text.toString().contains(problem), text::toString);
    }
}
