package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.jmh.gpu.GpuBenchmark;

/** The benchmark of a GPU at tiny shapes: that all it measures runs and is right, not how fast. */
class GpuBenchmarkTest {
    private final StringWriter text = new StringWriter();

    private int run(String... options) {
        return GpuBenchmark.run(List.of(options), new PrintWriter(text, true));
    }

    @Test
    @Tag(FakeCuda.TAG)
    void everythingRunsOnADevice(@TempDir Path folder) throws Exception {
        everythingRuns("cuda:0", folder);
    }

    @Test
    void everythingRunsOnTheCpu(@TempDir Path folder) throws Exception {
        everythingRuns("cpu", folder);
    }

    private void everythingRuns(String device, Path folder) throws Exception {
        Path file = folder.resolve("deep/results.json");
        int code =
                run("--tiny", "--device", device, "--out", file.toString(), "--python", "none", "--budget", "100000");
        assertEquals(0, code, text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("\"complete\":true"), json);
        assertTrue(json.contains("\"kernel\":\"distillation loss of 3 with gradient\""), json);
        assertTrue(json.contains("\"what\":\"train\""), json);
        assertFalse(json.contains("failed\":\""), json);
        try (var files = Files.list(file.getParent())) {
            assertEquals(1, files.count(), "temporary files");
        }
    }

    @Test
    void whatThereIsNoTimeForIsLeftOut(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("results.json");
        int code = run("--tiny", "--device", "cpu", "--out", file.toString(), "--python", "none", "--budget", "0");
        assertEquals(0, code, text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("\"kernels_cut_short\":true"), json);
        assertTrue(json.contains("\"models_cut_short\":true"), json);
        assertTrue(json.contains("\"copy_gb_per_s\":"), json);
    }

    @Test
    void aPeerThatIsNotThereIsNoError(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("results.json");
        int code = run(
                "--tiny",
                "--device",
                "cpu",
                "--only",
                "models",
                "--out",
                file.toString(),
                "--python",
                folder.resolve("nothing").toString(),
                "--budget",
                "20");
        assertEquals(0, code, text::toString);
        assertTrue(Files.readString(file).contains("\"peer\":\"not measured: "), text::toString);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--fast 1", "--budget", "--budget soon", "--only some", "--device tpu", "--device cuda:99"})
    void badOptionsAreRefusedInOneLine(String options) {
        assertEquals(2, run(options.split(" ")));
        assertTrue(text.toString().startsWith("error: "), text::toString);
        assertEquals(1, text.toString().lines().count(), text::toString);
    }
}
