package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.FakeCuda;

/**
 * What the command line tells of a GPU that fails, in a process of its own each: one line that says what to do, 2 where the
 * request cannot be met and 1 where the work broke off; and that work is not lost.
 */
@Tag(FakeCuda.TAG)
class CudaFailuresTest {
    private static final int LOST = 46;

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void prepare() throws IOException {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        data = OwnClips.write(folder.resolve("data"), 4, "dark", "bright");
    }

    @Test
    void aDriverThatIsTooOldIsRefused() throws Exception {
        Process process =
                start(List.of(), Map.of("TESSERA_FAKE_DRIVER_VERSION", "11080"), pretraining("old", "--quiet"));
        refuses(process, 2, "device cuda:0 is not available: the driver knows CUDA 11.8", "update the NVIDIA driver");
    }

    @Test
    void aDeviceThatIsNotThereIsRefused() throws Exception {
        Process process = start(List.of(), Map.of("TESSERA_FAKE_DEVICES", "0"), pretraining("none", "--quiet"));
        refuses(process, 2, "device cuda:0 is not available: ", "CUDA_VISIBLE_DEVICES");
    }

    @Test
    void aMissingCudnnIsToldByDoctorAndDoneWithout() throws Exception {
        List<String> wanted = List.of("-Dtessera.cuda.attention=cudnn");
        Process doctor = start(wanted, Map.of(), List.of("doctor"));
        String report = new String(doctor.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, doctor.waitFor(), report);
        assertTrue(report.lines().anyMatch(line -> line.matches("cuDNN +not used: .* no libcudnn.so.9; .*")), report);
        assertTrue(report.contains("\nWhere cuDNN was looked for:\n"), report);
        assertTrue(report.lines().anyMatch(line -> line.matches("cuda kernels +(all from|[a-z_, ]+ from) .*")), report);
        Process process = start(wanted, Map.of(), pretraining("own", "--quiet"));
        List<String> told = lines(process);
        assertEquals(0, process.waitFor(), () -> String.join("\n", told));
        assertEquals(List.of(), told);
    }

    @Test
    void tooLittleMemoryIsTold() throws Exception {
        Process process = start(List.of(), Map.of("TESSERA_FAKE_MEMORY", "65536"), pretraining("small", "--quiet"));
        refuses(
                process,
                1,
                "out of memory: cuda:0: cannot allocate ",
                " of 65536 bytes of the device are free",
                "use a smaller batch");
    }

    /** Whatever breaks a run off, its last checkpoint stays as it is, and the run goes on from there to the same bits. */
    @Test
    void runsThatBreakOffResumeBitForBit() throws Exception {
        Process whole = start(List.of(), Map.of(), pretraining("whole", "--quiet"));
        List<String> told = lines(whole);
        assertEquals(0, whole.waitFor(), () -> String.join("\n", told));

        Process stopped = start(List.of(), Map.of(Progress.SECONDS, "0"), pretraining("cut"));
        Shell.awaitSteps(stopped);
        stopped.toHandle().destroy();
        lines(stopped);
        stopped.waitFor();
        byte[] checkpoint = result("cut", "checkpoint.safetensors");

        refuses(
                broken("cuGraphLaunch", 3, LOST),
                1,
                "cuGraphLaunch failed: CUDA_ERROR_DEVICE_UNAVAILABLE (46)",
                "fell off the bus; see nvidia-smi");
        assertArrayEquals(checkpoint, result("cut", "checkpoint.safetensors"));
        refuses(
                broken("cuLaunchKernel", 60, FakeCuda.LAUNCH_FAILED),
                1,
                "cuLaunchKernel of ",
                "CUDA_ERROR_LAUNCH_FAILED (719)",
                "-Dtessera.cuda.debug=true");
        assertArrayEquals(checkpoint, result("cut", "checkpoint.safetensors"));
        // The memory of the recorded step, after one that was taken.
        refuses(
                broken("cuMemAlloc", 0, FakeCuda.OUT_OF_MEMORY),
                1,
                "out of memory: cuda:0: cannot allocate ",
                "use a smaller batch");
        assertArrayEquals(checkpoint, result("cut", "checkpoint.safetensors"));
        assertFalse(Files.exists(folder.resolve("cut").resolve("model.safetensors")));

        Process resumed = start(List.of(), Map.of(), pretraining("cut", "--quiet"));
        List<String> end = lines(resumed);
        assertEquals(0, resumed.waitFor(), () -> String.join("\n", end));
        assertArrayEquals(result("whole", "model.safetensors"), result("cut", "model.safetensors"));
        assertArrayEquals(result("whole", "metrics.jsonl"), result("cut", "metrics.jsonl"));
        try (var files = Files.list(folder.resolve("cut"))) {
            assertEquals(2, files.count(), "nothing else is left");
        }
    }

    private static List<String> pretraining(String out, String... more) {
        List<String> words =
                new ArrayList<>(List.of(("pretrain --modality rgb --dim 16 --depth 1 --heads 2 --grid 2 --batch 2"
                                + " --mask-ratio 0.5 --device cuda:0 --steps 40 --source " + data + " --target " + data
                                + " --out " + folder.resolve(out))
                        .split(" ")));
        words.addAll(Arrays.asList(more));
        return words;
    }

    private static Process broken(String function, int nth, int status) throws IOException {
        List<String> words = new ArrayList<>(List.of(function, Integer.toString(nth), Integer.toString(status)));
        words.addAll(pretraining("cut", "--quiet"));
        return start("tessera.distill.cli.FaultyCommand", List.of(), Map.of(), words);
    }

    private static Process start(List<String> options, Map<String, String> environment, List<String> words)
            throws IOException {
        return start("tessera.distill.cli.Main", options, environment, words);
    }

    private static Process start(String main, List<String> options, Map<String, String> environment, List<String> words)
            throws IOException {
        List<String> all = new ArrayList<>(List.of(
                "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                "-Dtessera.cuda.cache=" + folder.resolve("cache")));
        all.addAll(options);
        List<String> command = ChildJava.command(all, main);
        command.addAll(words);
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().putAll(environment);
        return builder.start();
    }

    /** All that it writes to standard error but for the fake's own explanations and Java's word on the Vector API. */
    private static List<String> lines(Process process) {
        return process.errorReader()
                .lines()
                .filter(Predicate.not(line -> line.startsWith("fake ") || line.startsWith("WARNING: Using incubator")))
                .toList();
    }

    private static void refuses(Process process, int code, String... parts) throws Exception {
        List<String> told = lines(process);
        String all = String.join("\n", told);
        assertEquals(code, process.waitFor(), all);
        assertEquals(1, told.size(), all);
        assertTrue(all.startsWith("tessera: error: "), all);
        for (String part : parts) {
            assertTrue(all.contains(part), () -> "no '" + part + "' in: " + all);
        }
        assertEquals("", new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
    }

    private static byte[] result(String run, String name) throws IOException {
        return Files.readAllBytes(folder.resolve(run).resolve(name));
    }
}
