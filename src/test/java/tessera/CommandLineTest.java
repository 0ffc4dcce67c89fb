package tessera;

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
import org.junit.jupiter.params.provider.ValueSource;
import tessera.distill.cli.Main;

/** Exit codes, streams and error lines of the command line. */
class CommandLineTest {

    private static final Path GOLDEN = Path.of("resources", "golden", "fewshot-logistic.safetensors");

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    private int tessera(String... words) {
        return Main.run(List.of(words), new PrintWriter(out), new PrintWriter(err));
    }

    @Test
    void helpAndVersionSucceed() {
        assertEquals(0, tessera("--help"));
        assertTrue(out.toString().contains("inspect"), out.toString());
        assertEquals(0, tessera("--version"));
        assertEquals("", err.toString());
    }

    @Test
    void withoutACommandTheHelpIsShown() {
        assertEquals(0, tessera());
        assertEquals("", err.toString());
        String shown = out.toString();
        out.getBuffer().setLength(0);
        assertEquals(0, tessera("--help"));
        assertEquals(out.toString(), shown);
        for (String command : List.of("bench", "bundle")) {
            assertTrue(shown.contains("\n  " + command + " "), shown);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"no-such-command", "inspect", "inspect a b", "doctor --no-such-option"})
    void badUsageIsCodeTwoWithTheErrorFirst(String line) {
        assertEquals(2, tessera(line.split(" ")));
        assertTrue(err.toString().startsWith("tessera: error: "), err.toString());
        assertEquals(1, err.toString().lines().count(), err.toString());
        assertEquals("", out.toString());
    }

    @Test
    void badInputIsCodeTwoWithOneLine(@TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("text.safetensors"), "this is no array");
        assertEquals(2, tessera("inspect", file.toString()));
        assertTrue(err.toString().startsWith("tessera: error: " + file), err.toString());
        assertEquals(1, err.toString().lines().count(), err.toString());
        assertEquals("", out.toString());
    }

    @Test
    void stackTraceComesOnlyWhenAskedFor() {
        assertEquals(2, tessera("inspect", "/no/such/file", "--stacktrace"));
        assertTrue(err.toString().contains("\tat tessera."), err.toString());
    }

    @Test
    void inspectListsArraysAndMetadata() {
        assertEquals(0, tessera("inspect", GOLDEN.toString()), err.toString());
        assertTrue(out.toString().contains("safetensors, "), out.toString());
        assertTrue(out.toString().lines().anyMatch(line -> line.matches("  \\S+: f64\\[\\d.*]")), out.toString());
    }

    @Test
    void jsonIsOneObjectOnOneLine() {
        assertEquals(0, tessera("inspect", "--json", GOLDEN.toString()), err.toString());
        assertEquals(1, out.toString().lines().count());
        assertTrue(
                out.toString().startsWith("{\"path\":\"" + GOLDEN + "\",\"format\":\"safetensors\","), out.toString());
    }

    /** Java has read such a name already, and put this letter where it found none. */
    @Test
    void aNameThatIsNoTextIsToldAsSuch() {
        assertEquals(2, tessera("inspect", "caf\uFFFD.npy"));
        assertTrue(
                err.toString().contains("is 'caf\uFFFD.npy'; the name has bytes that are no UTF-8; rename it"),
                err.toString());
    }

    @Test
    void doctorReportsTheMachine() {
        assertEquals(0, tessera("doctor"), err.toString());
        for (String row : List.of(
                "jdk",
                "processor",
                "threads",
                "vector api",
                "cpu kernels",
                "machine code",
                "cuda",
                "ffmpeg",
                "cache")) {
            assertTrue(out.toString().lines().anyMatch(line -> line.startsWith(row + " ")), row + " in:\n" + out);
        }
    }

    @Test
    void doctorTellsWhereCudaWasLookedForAndWhyTheCpuIsUsed() {
        assertEquals(0, tessera("doctor"), err.toString());
        String report = out.toString();
        String driver = row(report, "CUDA driver");
        String device = row(report, "cuda");
        if (driver.startsWith("not used: ")) {
            String reason = driver.substring("not used: ".length());
            assertTrue(device.startsWith("device cuda:0 is not available: ") && device.contains(reason), device);
            assertTrue(device.endsWith("; the CPU is used"), device);
            assertTrue(report.contains("\nWhere CUDA driver was looked for:\n  TESSERA_CUDA_DIR: "), report);
            assertTrue(report.contains("\n  the dynamic linker: libcuda.so.1: "), report);
        } else {
            assertTrue(driver.endsWith("libcuda.so.1") || driver.contains("libcuda.so."), driver);
        }
        for (String library : List.of("cuBLASLt", "cuBLAS", "NVRTC", "cuDNN")) {
            assertTrue(row(report, library).matches("/.*|not used: .*"), report);
        }

        out.getBuffer().setLength(0);
        assertEquals(0, tessera("doctor", "--json"), err.toString());
        assertEquals(1, out.toString().lines().count(), out.toString());
        assertTrue(out.toString().contains("\"places tried\":{"), out.toString());
    }

    private static String row(String report, String name) {
        return report.lines()
                .filter(line -> line.startsWith(name + " "))
                .findFirst()
                .orElseThrow(() -> new AssertionError(name + " in:\n" + report))
                .substring(name.length())
                .strip();
    }
}
