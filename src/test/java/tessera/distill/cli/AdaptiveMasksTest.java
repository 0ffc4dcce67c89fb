package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.report.Json;
import tessera.nn.inference.Head;
import tessera.nn.inference.Stopping;

/** The commands whose masks are added one at a time. */
class AdaptiveMasksTest {
    @TempDir
    private static Path folder;

    private static Path data;
    private static Path student;

    @BeforeAll
    static void make() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 8, "open", "cut", "pour");
        student = TinyStudent.write(folder.resolve("student.safetensors"), 16);
    }

    private static Object[] words(String command, Object... more) {
        List<Object> words =
                new ArrayList<>(List.of(command, "--student", student, "--mask-ratio=0.75", "--threads=1"));
        if (!command.equals("predict")) {
            words.add("--quiet");
        }
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Object[] fewshot(Object... more) {
        List<Object> words = new ArrayList<>(
                List.of("--clips", data, "--ways=3", "--shots=3", "--queries=4", "--episodes=12", "--ensemble=4"));
        words.addAll(List.of(more));
        return words("fewshot", words.toArray());
    }

    private static double accuracy(Object row) {
        return number(requireNonNull(((Map<?, ?>) row).get("accuracy")), "mean");
    }

    private static List<?> ensembles(Map<String, @Nullable Object> answer) {
        return (List<?>) requireNonNull(answer.get("ensembles"));
    }

    @Test
    void episodesWithAThresholdNobodyReachesAreThoseOfAllMasks() {
        double all = number(Json.object(Shell.succeed(fewshot("--json"))), "accuracy");
        for (String threshold : List.of("0", "1")) {
            Map<String, @Nullable Object> answer =
                    Json.object(Shell.succeed(fewshot("--json", "--adaptive", threshold)));
            Close.within(number(answer, "accuracy"), all, 0, "accuracy of all masks");
            List<?> rows = ensembles(answer);
            assertEquals(6, rows.size(), "1 to 4 masks, and adaptive ones of both kinds of confidence");
            Close.within(accuracy(rows.get(3)), all, 0, "accuracy of the fixed row");
            for (Object row : rows.subList(4, 6)) {
                Object fixed = rows.get(threshold.equals("0") ? 0 : 3);
                Close.within(accuracy(row), accuracy(fixed), 0, "accuracy at " + threshold);
                Close.within(number(row, "passes"), number(fixed, "passes"), 0, "passes at " + threshold);
                assertTrue(number(row, "milliseconds") > 0, "a time");
            }
        }
    }

    @Test
    void theThresholdOfEpisodesComesFromTheirSupport() {
        String text = Shell.succeed(fewshot("--adaptive", "--adaptive-by=margin"));
        List<String> lines = text.lines().toList();
        assertEquals(7, lines.size(), text);
        assertTrue(lines.get(1).matches("  1 mask +1\\.00 masks, accuracy .* ± .* %, calibration error .*"), text);
        assertTrue(lines.get(5).matches("  adaptive, (margin \\S+|never sure) .*masks, accuracy.*"), text);
        assertTrue(lines.get(6).contains(" at temperature "), text);
    }

    @Test
    void headsAreJudgedWithAdaptiveMasks() throws IOException {
        Path report = folder.resolve("report.html");
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(
                words("evaluate", "--clips", data, "--ensemble=3", "--adaptive=0.6", "--json", "--report", report)));
        Map<?, ?> heads = (Map<?, ?>) requireNonNull(answer.get("ensembles"));
        List<?> rows = (List<?>) requireNonNull(heads.get("action"));
        assertEquals(4, rows.size());
        double passes = number(rows.getLast(), "passes");
        assertTrue(passes >= 1 && passes <= 3, "passes " + passes);
        assertTrue(Files.readString(report).contains("Adaptive masks"), "a chart in the report");
        Path held = OwnClips.write(folder.resolve("held"), 9, "open", "cut", "pour");
        String text =
                Shell.succeed(words("evaluate", "--clips", data, "--holdout", held, "--ensemble=3", "--adaptive"));
        assertTrue(text.contains("masks of action, probabilities averaged:"), text);
        assertEquals(
                2, text.lines().filter(line -> line.startsWith("  adaptive, ")).count(), text);
    }

    @Test
    void learnedHeadsCarryTheirThresholdToPredict() throws Exception {
        Path videos = Files.createDirectories(folder.resolve("videos"));
        Path video =
                Path.of(AdaptiveMasksTest.class.getResource("/video/ramp.mp4").toURI());
        Files.copy(video, videos.resolve("open.mp4"));
        Files.copy(video, videos.resolve("cut.mp4"));
        Path ruled = folder.resolve("ruled.safetensors");
        Path plain = folder.resolve("plain.safetensors");
        Object[] learn = {"--clips", videos, "--ensemble=3", "--clip-seconds=0.2", "--stride-seconds=0.2"};
        List<Object> adaptive = new ArrayList<>(List.of(learn));
        adaptive.addAll(List.of("--to=0.5", "--evaluate", "--adaptive=0.9", "--out", ruled));
        String told = Shell.succeed(words("learn", adaptive.toArray()));
        assertTrue(told.contains("  adaptive: confidence 0.900 at temperature "), told);
        assertTrue(told.contains(" masks a clip)"), told);
        Stopping rule = Head.load(ruled).stopping().orElseThrow();
        Close.within(rule.threshold(), .9, 0, "threshold");
        List<Object> without = new ArrayList<>(List.of(learn));
        without.addAll(List.of("--out", plain));
        Shell.succeed(words("learn", without.toArray()));
        assertTrue(Head.load(plain).stopping().isEmpty());

        Object[] predict = {"--video", video, "--ensemble=3", "--clip-seconds=0.2", "--stride-seconds=0.2"};
        List<Object> own = new ArrayList<>(List.of(predict));
        own.addAll(List.of("--head", ruled, "--adaptive"));
        String text = Shell.succeed(words("predict", own.toArray()));
        assertTrue(text.lines().findFirst().orElse("").matches(".* %, [123]\\.\\d\\d masks a clip"), text);
        assertTrue(text.lines().skip(1).allMatch(line -> line.matches("  clip .* %, (1 mask|[23] masks)")), text);
        own.set(6, plain);
        Shell.refuse(List.of("head 'action' was learned without a threshold"), words("predict", own.toArray()));
    }

    @Test
    void whatHasNothingToAddIsRefused() {
        Object[] none =
                words("fewshot", "--clips", data, "--ways=3", "--shots=3", "--queries=4", "--adaptive", "--ensemble=1");
        Shell.refuse(List.of("--adaptive adds masks one at a time, but there is only one; pass for example"), none);
        for (String wrong : List.of("often", "-1", "1.5", "nan")) {
            String expected = "--adaptive is '" + wrong + "'; pass a number between 0 and 1";
            Shell.refuse(List.of(expected), fewshot("--adaptive=" + wrong));
        }
        Shell.refuse(
                List.of("--adaptive-tolerance is 2.0; pass a share"), fewshot("--adaptive", "--adaptive-tolerance=2"));
        Object[] one = words("fewshot", "--clips", data, "--ways=3", "--shots=1", "--queries=4", "--adaptive");
        Shell.refuse(List.of("--shots is 1; pass 2 or more, or a threshold"), one);
        Shell.refuse(
                List.of("--adaptive is judged on one view of each clip"),
                words("evaluate", "--clips", data, "--adaptive=.9", "--views=2x1"));
    }
}
