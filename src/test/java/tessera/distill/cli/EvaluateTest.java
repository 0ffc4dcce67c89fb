package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Split;
import tessera.distill.data.Views;
import tessera.distill.egosim.ActionClass;
import tessera.distill.egosim.EgoSim;
import tessera.distill.evaluation.Evaluation;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.HeadLogits;
import tessera.distill.evaluation.MultiView;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.report.Json;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.Settings;
import tessera.distill.train.StopSignal;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** The command that judges a student's heads. */
class EvaluateTest {
    private static final List<String> LABELS = List.of("bright", "dark", "grey");
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            16,
            1,
            2,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    @TempDir
    private static Path folder;

    private static Path data;
    private static Path student;
    private static Path head;

    /** A student of random weights, and a head fitted on clips like those that are judged. */
    @BeforeAll
    static void make() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 5, "dark", "grey", "bright");
        student = folder.resolve("student.safetensors");
        head = folder.resolve("head.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(student, params.all(), CONFIG, Map.of());
        }
        try (Student loaded = Student.load(student, Device.cpu());
                ClipSet set = load(data);
                Scope scope = Scope.open()) {
            int[] all = new int[set.size()];
            Arrays.setAll(all, i -> i);
            float[] features = loaded.features(set.batch(Modality.RGB, all), Masking.none(), 1)
                    .toFloats();
            double[][] rows = new double[all.length][16];
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < 16; j++) {
                    rows[i][j] = features[16 * i + j];
                }
            }
            LinearClassifier fitted = new LogisticRegression()
                    .fit(rows, set.labels(), set.classes().size())
                    .classifier();
            Head.of(fitted.coefficients(), fitted.intercepts(), set.classes()).save(head);
        }
    }

    private static ClipSet load(Path clips) {
        return ModalityFolders.open(clips, Set.of(Modality.RGB), null).load(done -> {});
    }

    private static Object[] words(Object... more) {
        List<Object> words = new ArrayList<>(List.of("evaluate", "--student", student, "--clips", data, "--quiet"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Map<?, ?> members(Map<?, ?> object, String name) {
        return (Map<?, ?>) requireNonNull(object.get(name), name);
    }

    private static Map<?, ?> only(Map<String, @Nullable Object> answer) {
        List<?> looked = (List<?>) requireNonNull(answer.get("looked"));
        assertEquals(1, looked.size());
        return (Map<?, ?>) looked.getFirst();
    }

    @Test
    void figuresAreThoseOfTheLibrary() {
        Map<String, @Nullable Object> answer =
                Json.object(Shell.succeed(words("--head", head, "--mask-ratio=0.5", "--ensemble=2", "--json")));
        assertEquals(15L, answer.get("clips"));
        Map<?, ?> way = only(answer);
        assertEquals("1x1", way.get("views"));
        Map<?, ?> action = members(members(way, "heads"), "action");
        try (Student loaded = Student.load(student, Device.cpu());
                Student judged = loaded.withHead(Head.load(head));
                ClipSet set = load(data)) {
            assertEquals(LABELS, set.classes());
            Masking masking = Masking.of(.5, 2);
            List<HeadLogits> logits = MultiView.logits(
                    judged, masking, 1, 1, set.size(), (view, chosen) -> set.batch(Modality.RGB, chosen), done -> {});
            Evaluation.OfHead expected = Evaluation.of(
                            logits, Map.of("action", set.labels()), Map.of(), Evaluation.Tail.NONE)
                    .heads()
                    .getFirst();
            Close.within(number(action, "top1"), expected.top1().value(), 1e-12, "top-1");
            Close.within(number(action, "top5"), 1, 0, "top-5 of three classes");
            Close.within(
                    number(action, "calibrationError"),
                    expected.reliability().expectedCalibrationError(),
                    1e-6,
                    "calibration error");
            Gflops gflops = Gflops.of(judged, masking);
            Close.within(number(way, "gflops"), gflops.all(), 1e-12, "GFLOPs");
            Close.within(number(way, "gflopsWithoutAttention"), gflops.withoutAttention(), 1e-12, "GFLOPs");
        }
        assertTrue(action.containsKey("temperature") && action.get("temperature") == null, "none was asked for");
        Close.within(
                number(action, "top1StandardError"),
                Math.sqrt(number(action, "top1") * (1 - number(action, "top1")) / 15),
                1e-12,
                "standard error");
    }

    /** Clips with twice the student's frames and larger pictures: ways of looking are in order, however they were asked for. */
    @Test
    void severalWaysOfLookingMakeACurve() throws IOException {
        Path longer = folder.resolve("longer");
        for (int i = 0; i < 6; i++) {
            byte[] pixels = new byte[8 * 20 * 20 * 3];
            new Random(i).nextBytes(pixels);
            Path label = Files.createDirectories(longer.resolve("rgb").resolve(LABELS.get(i % 3)));
            Npy.write(label.resolve("clip" + i + ".npy"), ArrayData.of("rgb", pixels, 8, 20, 20, 3));
        }
        Path page = folder.resolve("curves.html");
        String json = Shell.succeed(
                "evaluate",
                "--student",
                student,
                "--head",
                head,
                "--clips",
                longer,
                "--mask-ratio=0",
                "--ensemble=1",
                "--views=2x3,1x1,2x1",
                "--report",
                page,
                "--quiet",
                "--json");
        List<?> looked = (List<?>) requireNonNull(Json.object(json).get("looked"));
        List<Map<?, ?>> ways = new ArrayList<>();
        looked.forEach(way -> ways.add((Map<?, ?>) way));
        assertEquals(
                List.of("1x1", "2x1", "2x3"),
                ways.stream().map(way -> way.get("views")).toList());
        for (int i = 0; i < 3; i++) {
            double views = List.of(1, 2, 6).get(i);
            Close.within(number(ways.get(i), "viewsOfAClip"), views, 0, "views");
            // Crops of squares are the same.
            Close.within(number(ways.get(i), "differentViews"), Math.min(2, views), 0, "different views");
            Close.within(number(ways.get(i), "gflops"), views * number(ways.getFirst(), "gflops"), 1e-12, "GFLOPs");
        }
        assertEquals(4, Files.readString(page).split("<svg ", -1).length - 1, "a diagram and three curves");
        Shell.refuse(
                List.of("cannot be seen as 4 frames", "load clips with at least as many frames"),
                "evaluate",
                "--student",
                student,
                "--head",
                head,
                "--clips",
                short3(),
                "--quiet");
    }

    @Test
    void brokenClipsAreRefusedOrLeftOutAndTold() throws IOException {
        Path clips = OwnClips.write(folder.resolve("broken"), 2, "dark", "grey", "bright");
        Path broken = clips.resolve("rgb").resolve("grey").resolve("clip1.npy");
        Files.writeString(broken, "no array");
        Object[] words = {"evaluate", "--student", student, "--head", head, "--clips", clips, "--quiet"};
        Shell.refuse(List.of(broken.toString(), "1 of 6 clips is broken"), words);
        List<Object> skipping = new ArrayList<>(List.of(words));
        skipping.add("--skip-broken");
        String text = Shell.succeed(skipping.toArray());
        assertTrue(text.startsWith(student + ": 5 clips, "), text);
        assertTrue(text.contains("\n1 broken clips left out: grey/clip1\n"), text);
        skipping.add("--json");
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(skipping.toArray()));
        assertEquals(5L, answer.get("clips"));
        assertEquals(List.of("grey/clip1"), answer.get("leftOut"));
    }

    /** A student that was trained on every frame in a row is judged so. */
    @Test
    void framesAreChosenAsInTraining() throws IOException {
        Path longer = folder.resolve("moments");
        for (int i = 0; i < 6; i++) {
            byte[] pixels = new byte[16 * 16 * 16 * 3];
            new Random(i).nextBytes(pixels);
            Path label = Files.createDirectories(longer.resolve("rgb").resolve(LABELS.get(i % 3)));
            Npy.write(label.resolve("clip" + i + ".npy"), ArrayData.of("rgb", pixels, 16, 16, 16, 3));
        }
        Views dense = Views.PUBLISHED.withFrames(Views.Frames.DENSE, 2);
        Path trained = folder.resolve("dense.safetensors");
        String settings = Settings.NONE.with("views", dense).json();
        try (Checkpoint plain = Checkpoint.read(student)) {
            Map<String, String> metadata = new HashMap<>(plain.metadata());
            metadata.put("tessera.settings", settings);
            Checkpoint.write(trained, plain.tensors(), metadata);
        }
        assertEquals(Views.PUBLISHED, Recipe.viewsOf(student), "nothing is said");
        assertEquals(dense, Recipe.viewsOf(trained));
        Map<?, ?> action = members(
                members(
                        only(Json.object(Shell.succeed(
                                "evaluate",
                                "--student",
                                trained,
                                "--head",
                                head,
                                "--clips",
                                longer,
                                "--mask-ratio=0",
                                "--ensemble=1",
                                "--quiet",
                                "--json"))),
                        "heads"),
                "action");
        try (Student loaded = Student.load(trained, Device.cpu());
                Student judged = loaded.withHead(Head.load(head));
                ClipSet set = load(longer)) {
            double[] errors = new double[2];
            for (int i = 0; i < 2; i++) {
                Views views = i == 0 ? dense : Views.PUBLISHED;
                List<HeadLogits> logits = MultiView.logits(
                        judged,
                        Masking.none(),
                        0,
                        set,
                        Modality.RGB,
                        views.test(set.geometry(), set.geometry().withFrames(4), 1, 1),
                        new RunContext(event -> {}, new StopSignal()));
                errors[i] = Evaluation.of(logits, Map.of("action", set.labels()), Map.of(), Evaluation.Tail.NONE)
                        .heads()
                        .getFirst()
                        .reliability()
                        .expectedCalibrationError();
            }
            Close.within(number(action, "calibrationError"), errors[0], 1e-9, "every second frame of the middle");
            assertTrue(Math.abs(errors[0] - errors[1]) > 1e-4, "other frames give other figures");
        }
        try (Checkpoint plain = Checkpoint.read(student)) {
            Map<String, String> metadata = new HashMap<>(plain.metadata());
            metadata.put("tessera.settings", "{\"views\":{\"frames\":\"ALL\"}}");
            Checkpoint.write(trained, plain.tensors(), metadata);
        }
        Shell.refuse(
                List.of(trained + ": its settings cannot be read", "{frames=ALL} does not say how clips are looked at"),
                "evaluate",
                "--student",
                trained,
                "--head",
                head,
                "--clips",
                longer,
                "--quiet");
    }

    private static Path short3() throws IOException {
        Path clips =
                Files.createDirectories(folder.resolve("short").resolve("rgb").resolve("dark"));
        Npy.write(clips.resolve("clip.npy"), ArrayData.of("rgb", new byte[3 * 16 * 16 * 3], 3, 16, 16, 3));
        return folder.resolve("short");
    }

    @Test
    void theBenchmarkIsJudgedByItsClasses() throws IOException {
        List<ActionClass> all = EgoSim.classes(Split.SOURCE_TRAIN);
        Path actions = equalScores("action", all.stream().map(ActionClass::name).toList());
        String text = Shell.succeed(
                "evaluate",
                "--student",
                student,
                "--head",
                actions,
                "--egosim",
                "--per-class=1",
                "--domain=source",
                "--frames=8",
                "--views=2x1",
                "--quiet");
        // All scores are equal, so the first class is said: one of thirty, with a confidence of a thirtieth.
        assertTrue(text.contains("top-1 3.33 ± 3.28 %, top-5 16.67 ± 6.80 %, calibration error 0.00 %"), text);
        List<String> verbs =
                all.stream().map(c -> c.verb().word()).distinct().sorted().toList();
        List<String> nouns =
                all.stream().map(c -> c.noun().word()).distinct().sorted().toList();
        Path tail = Files.writeString(folder.resolve("tail.csv"), "verb\n" + verbs.getFirst() + "\n");
        String json = Shell.succeed(
                "evaluate",
                "--student",
                student,
                "--head",
                equalScores("verb", verbs) + "," + equalScores("noun", nouns),
                "--egosim",
                "--per-class=1",
                "--held-per-class=1",
                "--domain=source",
                "--tail-verbs",
                tail,
                "--quiet",
                "--json");
        Map<?, ?> action = members(only(Json.object(json)), "action");
        long firstVerb = all.stream()
                .filter(c -> c.verb().word().equals(verbs.getFirst()))
                .count();
        long both = all.stream()
                .filter(c -> c.verb().word().equals(verbs.getFirst())
                        && c.noun().word().equals(nouns.getFirst()))
                .count();
        Close.within(number(action, "top1"), both / 30.0, 1e-12, "verb and noun both right");
        Close.within(number(members(action, "tail"), "verbs"), 1, 0, "the first verb is always said");
        Close.within(
                number(members(action, "tail"), "either"), (double) both / firstVerb, 1e-12, "actions of that verb");
        Map<?, ?> verb = members(members(only(Json.object(json)), "heads"), "verb");
        Close.within(number(verb, "top1"), firstVerb / 30.0, 1e-12, "verbs");
        assertTrue(number(verb, "temperature") > 0);
        Shell.refuse(List.of("--held-per-class only with --egosim"), words("--head", head, "--held-per-class=2"));
    }

    /**
     * The rare classes are counted in the clips that were trained on. Judged are 5 clips each of dark (open cup), grey (cut cup) and
     * bright (cut leek); the heads always say cut and leek, which are the first of their scores.
     */
    @Test
    void rareClassesAreCountedInTheTrainingClips() throws IOException {
        String table = "label,verb,noun\ndark,open,cup\ngrey,cut,cup\nbright,cut,leek\n";
        Path judged = OwnClips.write(folder.resolve("judged"), 5, "dark", "grey", "bright");
        Files.writeString(judged.resolve("labels.csv"), table);
        // 2 dark, 7 grey and 1 bright: of 10 clips 2 open and 8 cut, 9 hold a cup and 1 a leek.
        Path trained = OwnClips.write(folder.resolve("trained"), 7, "dark", "grey", "bright");
        Files.writeString(trained.resolve("labels.csv"), table);
        for (String modality : List.of("rgb", "flow", "pose")) {
            for (int i = 2; i < 7; i++) {
                Files.delete(trained.resolve(modality + "/dark/clip" + i + ".npy"));
            }
            for (int i = 1; i < 7; i++) {
                Files.delete(trained.resolve(modality + "/bright/clip" + i + ".npy"));
            }
        }
        Path verbs = equalScores("verb", List.of("cut", "open"));
        Path nouns = equalScores("noun", List.of("leek", "cup"));
        List<Object> words = new ArrayList<>(List.of("evaluate", "--student", student, "--clips", judged, "--quiet"));
        words.addAll(List.of("--head", verbs + "," + nouns, "--training-clips", trained));
        String text = Shell.succeed(words.toArray());
        // Rare are open (dark: said cut) and leek (bright: said leek). None is both; of the ten that are either, bright
        // is right.
        assertTrue(
                text.contains("  tail     verbs 0.00 ± 0.00 % of 5, nouns 100.00 ± 0.00 % of 5, either 50.00 ± 15.81 %"
                        + " of 10\n"),
                text);
        words.add("--json");
        Map<?, ?> action = members(only(Json.object(Shell.succeed(words.toArray()))), "action");
        assertEquals(Map.of("verbs", 0.0, "nouns", 1.0, "either", .5), members(action, "tail"));
        Close.within(number(action, "top1"), 1 / 3.0, 1e-12, "all actions");
        words.addAll(List.of("--tail-verbs", folder.resolve("tail")));
        Shell.refuse(List.of("pass either the clips or the lists"), words.toArray());
        Shell.refuse(
                List.of("--training-clips " + trained, "no head 'verb' is judged"),
                words("--head", head, "--training-clips", trained));
        Shell.refuse(
                List.of("no labels for the head 'verb'"),
                "evaluate",
                "--student",
                student,
                "--clips",
                judged,
                "--quiet",
                "--head",
                verbs + "," + nouns,
                "--training-clips",
                data);
    }

    /** A head that gives every class the same score. */
    private static Path equalScores(String name, List<String> classes) {
        Path file = folder.resolve("equal-" + name + ".safetensors");
        Head.of(new double[classes.size()][16], new double[classes.size()], classes)
                .named(name)
                .save(file);
        return file;
    }

    @Test
    void heldOutClipsGiveATemperature() throws IOException {
        Path other = OwnClips.write(folder.resolve("held"), 3, "grey", "bright", "dark");
        Path page = folder.resolve("page.html");
        String text = Shell.succeed(
                words("--head", head, "--holdout", other, "--mask-ratio=0", "--ensemble=1", "--report", page));
        assertTrue(text.startsWith(student + ": 15 clips, mask ratio 0.0, ensemble 1\n"), text);
        assertTrue(text.contains("\nviews 1x1: 0.00"), text);
        assertTrue(
                text.lines()
                        .anyMatch(line -> line.matches("  action +top-1 [0-9.]+ ± [0-9.]+ %, top-5 100.00 ± 0.00 %,"
                                + " calibration error [0-9.]+ % \\([0-9.]+ % at temperature [0-9.]+\\)")),
                text);
        String html = Files.readString(page);
        assertEquals(2, html.split("<svg ", -1).length - 1, "the head's diagram, and that at its temperature");
        assertTrue(html.contains("at temperature "), html);
        assertFalse(html.contains("NaN"), html);
    }

    @Test
    void aTemperatureIsNotFittedOnWhatIsJudged() throws IOException {
        Path copy = OwnClips.write(folder.resolve("copy"), 5, "dark", "grey", "bright");
        Shell.refuse(List.of("--holdout " + data, "clips to judge on"), words("--head", head, "--holdout", data));
        Shell.refuse(List.of("--holdout " + copy, "the very clips"), words("--head", head, "--holdout", copy));
    }

    @Test
    void badInputIsRefused() throws IOException {
        Shell.refuse(List.of(student + " has no heads", "tessera train", "tessera learn"), words());
        Shell.refuse(List.of("has no head 'verb'", "[action]"), words("--head", head, "--heads=verb"));
        Shell.refuse(
                List.of("--tail-verbs", "no head 'verb' is judged"),
                words("--head", head, "--tail-verbs", folder.resolve("tail")));
        Shell.refuse(List.of("mask ratio 1.0"), words("--head", head, "--mask-ratio=1"));
        Shell.refuse(
                List.of("--report", "is no folder"),
                words("--head", head, "--report", folder.resolve("none").resolve("page.html")));
        Shell.refuse(List.of("pass either --clips DIR, or --egosim"), "evaluate", "--student", student, "--head", head);
        Path foreign = OwnClips.write(folder.resolve("foreign"), 1, "dark", "green");
        String shown = Shell.shown(() -> Shell.refuse(
                List.of("head 'action' knows no 'green'", "[bright, dark, grey]"),
                "evaluate",
                "--student",
                student,
                "--head",
                head,
                "--clips",
                foreign));
        assertFalse(shown.contains("evaluate"), () -> "looked at clips first: " + shown);
        for (String views : List.of("2x2", "0x1", "x", "3", "1x1x1")) {
            Shell.Outcome outcome = Shell.run(words("--head", head, "--views", views));
            assertEquals(2, outcome.code(), outcome.err());
            assertTrue(outcome.err().contains("pass moments and crops as 1x1 or 2x3"), outcome.err());
        }
    }
}
