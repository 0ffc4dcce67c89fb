package tessera;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.distill.cli.Main;
import tessera.nn.inference.Head;

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
    void doctorTellsWhichProgramReadsVideos() {
        assertEquals(0, tessera("doctor"), err.toString());
        String told = row(out.toString(), "ffmpeg");
        Path program = Path.of(told.replaceFirst(" \\(carried by .*\\)$", ""));
        assertTrue(program.isAbsolute() && Files.isExecutable(program), told);
        // Unpacked into a folder that is named by a checksum of what it holds.
        Path folder = requireNonNull(requireNonNull(program.getParent()).getFileName());
        boolean unpacked = folder.toString().matches("ffmpeg-[0-9a-f]{24}");
        assertEquals(unpacked, told.endsWith(" (carried by the jar of org.bytedeco:ffmpeg)"), told);
    }

    /** Whatever a file holds, it neither breaks lines nor drives the terminal. */
    @Test
    void inspectPrintsNamesAndMetadataInOneLineEach(@TempDir Path folder) throws Exception {
        String header = "{\"__metadata__\":{\"a\\nkey\":\"first\\nsecond\\u001b[31mred\"},"
                + "\"x\\r\\n\\u0007y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + 8).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(text.length).put(text);
        Path file = Files.write(folder.resolve("lines.safetensors"), bytes.array());
        assertEquals(0, tessera("inspect", file.toString()), err.toString());
        List<String> lines = out.toString().lines().toList();
        assertEquals(
                List.of("  # a\\nkey = first\\nsecond\\u001b[31mred", "  x\\r\\n\\u0007y: f32[2]"),
                lines.subList(1, lines.size()));
        assertNothingDrivesTheTerminal();
    }

    @Test
    void inspectPrintsTheLabelsOfAHeadInOneLine(@TempDir Path folder) {
        Path file = folder.resolve("head.safetensors");
        Head.of(new double[2][3], new double[2], List.of("two\nlines", "\u001b[31mred"))
                .save(file);
        assertEquals(0, tessera("inspect", file.toString()), err.toString());
        List<String> labels =
                out.toString().lines().filter(line -> line.contains("labels")).toList();
        assertEquals(List.of("  # tessera.head.labels = [\"two\\nlines\",\"\\u001B[31mred\"]"), labels);
        assertNothingDrivesTheTerminal();
    }

    private void assertNothingDrivesTheTerminal() {
        String shown = String.join("", out.toString().lines().toList());
        assertTrue(shown.chars().noneMatch(Character::isISOControl), out.toString());
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
