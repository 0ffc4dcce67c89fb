package tessera.jmh;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.distill.report.Json;
import tessera.jmh.gpu.GpuBenchmark;
import tessera.tensor.TestDevices;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;

/** The benchmark of a GPU at tiny shapes: that all it measures runs and is right, not how fast. */
class GpuBenchmarkTest {
    private final StringWriter text = new StringWriter();

    private int run(String... options) {
        return GpuBenchmark.run(List.of(options), new PrintWriter(text, true));
    }

    @Test
    @Tag(FakeCuda.TAG)
    void everythingRunsOnADevice(@TempDir Path folder) throws Exception {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        Map<String, @Nullable Object> results = everythingRuns("cuda:0", folder, 2);
        assertTrue(
                entries(results, "models").stream().allMatch(e -> number(e, "launches") > 5 || is(e, "what", "train")));
        List<Map<String, @Nullable Object>> attention = entries(results, "attention");
        assertEquals(14, attention.size());
        assertTrue(attention.stream().allMatch(e -> is(e, "own_right", true) && is(e, "own_repeats", true)));
        assertEquals(
                12, requireNonNull((List<?>) results.get("attention_providers")).size());
        Pattern line =
                Pattern.compile("\\S+ \\d+ (biased-)?(forward|backward) (\\d+) \\3 (8|16|80) (own|tall|wgmma|cudnn)");
        List<String> table = Files.readAllLines(folder.resolve("deep/attention.providers")).stream()
                .filter(text -> !text.startsWith("#"))
                .toList();
        assertEquals(12, table.size());
        assertTrue(table.stream().allMatch(line.asMatchPredicate()), table.toString());
    }

    @Test
    void everythingRunsOnTheCpu(@TempDir Path folder) throws Exception {
        everythingRuns("cpu", folder, 1);
    }

    /** Returns the results; {@code types} is the number of types that are measured. */
    private Map<String, @Nullable Object> everythingRuns(String device, Path folder, int types) throws Exception {
        Path file = folder.resolve("deep/results.json");
        int code = run(
                "--tiny",
                "--device",
                device,
                "--out",
                file.toString(),
                "--python",
                "none",
                "--budget",
                "100000",
                "--revision",
                "abc");
        assertEquals(0, code, text::toString);
        Map<String, @Nullable Object> results = Json.object(Files.readString(file));
        assertEquals(true, results.get("complete"));
        assertEquals("abc", results.get("revision"));
        List<Map<String, @Nullable Object>> kernels = entries(results, "kernels");
        assertTrue(kernels.size() > 40 * types, kernels::toString);
        assertTrue(kernels.stream().allMatch(e -> is(e, "right", true) && number(e, "us") > 0), kernels::toString);
        List<Map<String, @Nullable Object>> models = entries(results, "models");
        assertEquals(types * (2 * 4 * 2 + 3), models.size());
        assertTrue(models.stream().allMatch(e -> number(e, "us") > 0 && !e.containsKey("failed")), models::toString);
        assertEquals(
                "not measured", goal(results, "masked inference at batch 1").get("verdict"));
        assertTrue(text.toString().contains("\ngoal (on an H100 or H200)"), text::toString);
        List<String> left = new ArrayList<>(List.of("goals.md", "results.json"));
        if (types > 1) {
            left.add("attention.providers");
        }
        try (var files = Files.list(file.getParent())) {
            List<String> names = files.map(path -> path.getFileName().toString())
                    // There where compiled kernels are kept.
                    .filter(name -> !name.equals("products.table"))
                    .sorted()
                    .toList();
            assertEquals(left.stream().sorted().toList(), names);
        }
        return results;
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, @Nullable Object>> entries(Map<String, @Nullable Object> results, String list) {
        return requireNonNull((List<Map<String, @Nullable Object>>) results.get(list));
    }

    private static Map<String, @Nullable Object> goal(Map<String, @Nullable Object> results, String start) {
        return entries(results, "goals").stream()
                .filter(goal -> String.valueOf(goal.get("goal")).startsWith(start))
                .findFirst()
                .orElseThrow();
    }

    private static boolean is(Map<String, ? extends @Nullable Object> entry, String name, Object value) {
        return value.equals(entry.get(name));
    }

    private static double number(Map<String, ? extends @Nullable Object> entry, String name) {
        return entry.get(name) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /** A program in place of Python. */
    private static Path peer(Path folder, String answers) throws IOException {
        Path script = Files.writeString(folder.resolve("python"), "#!/bin/sh\n" + answers);
        assertTrue(script.toFile().setExecutable(true));
        return script;
    }

    private Map<String, @Nullable Object> withPeer(Path folder, String device, String answers, String budget)
            throws Exception {
        Path file = folder.resolve("results.json");
        int code = run(
                "--tiny",
                "--device",
                device,
                "--only",
                "models",
                "--out",
                file.toString(),
                "--python",
                peer(folder, answers).toString(),
                "--budget",
                budget);
        assertEquals(0, code, text::toString);
        return Json.object(Files.readString(file));
    }

    @Test
    @Tag(FakeCuda.TAG)
    void goalsAreSetBesideWhatThePeerSays(@TempDir Path folder) throws Exception {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        String answers = """
                echo "# torch of the test"
                echo ready
                while read -r verb what type mode batch rho p; do
                    case $verb-$what-$mode in
                        prepare-forward-cast-default*) echo "failed to compile" ;;
                        prepare-*) echo "prepared 1.0" ;;
                        check-*) echo "checked" ;;
                        time-train-*) echo "us 1e12" ;;
                        time-forward-cast) echo "us 0.001" ;;
                        time-forward-cast-overhead) exit 1 ;;
                        *) echo "us 1e6" ;;
                    esac
                done
                """;
        Map<String, @Nullable Object> results = withPeer(folder, "cuda:0", answers, "100000");
        Map<String, @Nullable Object> step = goal(results, "training step");
        assertEquals("met", step.get("verdict"));
        assertTrue(number(step, "value") > 1000, step::toString);
        // The faster of PyTorch's two forms counts.
        assertEquals("missed", goal(results, "masked inference at batch 1").get("verdict"));
        Map<String, @Nullable Object> compiled = goal(results, "masked inference at the large batch: PyTorch compiled");
        assertTrue(String.valueOf(compiled.get("detail")).endsWith("beside cast autotune"), compiled::toString);
        assertEquals("met", compiled.get("verdict"), "its other ways to compile failed");
        String notes = String.valueOf(results.get("peer_notes"));
        assertTrue(notes.contains("torch of the test") && notes.contains("failed to compile"), notes);
        Map<String, @Nullable Object> first = entries(results, "models").getFirst();
        assertEquals(
                Set.of("autocast", "cast", "cast call", "cast graph", "cast graph cudnn", "cast autotune"),
                requireNonNull((Map<?, ?>) first.get("pytorch_us")).keySet());
        assertEquals(
                2, requireNonNull((List<?>) first.get("us_before_and_after")).size());
    }

    @Test
    void aPeerThatEndsIsNotStartedAgain(@TempDir Path folder) throws Exception {
        String answers =
                "echo started >>" + folder + "/starts\necho ready\nread -r first\necho prepared 1.0\nread -r second\n";
        Map<String, @Nullable Object> results = withPeer(folder, "cpu", answers, "100000");
        // Without a compiler, two batches of inference and training.
        assertEquals(4, Files.readAllLines(folder.resolve("starts")).size());
        assertTrue(String.valueOf(results.get("peer")).startsWith("not measured: "), results::toString);
        assertEquals(true, results.get("complete"));
    }

    /** A model of the same shape and weights gives the same; another one is found out. */
    @Test
    @Tag(FakeCuda.TAG)
    void whatThePeerComputesIsCompared(@TempDir Path folder) throws Exception {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        String answers = """
                echo ready
                while read -r verb what type mode batch rho p file; do
                    case $verb in
                        prepare) echo "prepared 1.0" ;;
                        check) cp "$(dirname "$0")/given" "$file"; echo "checked" ;;
                        *) echo "us 1e6" ;;
                    esac
                done
                """;
        float[] values = new float[20];
        Arrays.fill(values, .9f);
        int[] visible = IntStream.range(0, 2 * 8).map(i -> i % 8).toArray();
        Safetensors.write(
                folder.resolve("given"),
                List.of(ArrayData.of("value", values, 20), ArrayData.of("visible", visible, 2, 8)),
                Map.of());
        Map<String, @Nullable Object> first =
                entries(withPeer(folder, "cuda:0", answers, "100000"), "models").getFirst();
        Map<?, ?> errors = requireNonNull((Map<?, ?>) first.get("pytorch_error"));
        assertTrue((Double) requireNonNull(errors.get("cast")) > 1, errors::toString);
        assertTrue(requireNonNull((Map<?, ?>) first.get("pytorch_wrong_us")).containsKey("cast"), first::toString);
        assertEquals(
                Set.of("cast call"),
                requireNonNull((Map<?, ?>) first.get("pytorch_us")).keySet());
    }

    @Test
    void aPeerThatHangsIsEndedInTime(@TempDir Path folder) throws Exception {
        Map<String, @Nullable Object> results = withPeer(folder, "cpu", "echo ready\nexec sleep 1000\n", "2");
        assertTrue(String.valueOf(results.get("peer_notes")).contains("not prepared in time"), results::toString);
        assertEquals(true, results.get("complete"));
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
