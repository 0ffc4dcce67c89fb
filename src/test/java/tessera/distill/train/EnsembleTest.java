package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Json;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Losses;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A student of three teachers of other modalities and widths. */
class EnsembleTest {
    private static final VideoMaeConfig CONFIG = Lessons.config(Modality.RGB, 16);
    private static final Ensemble STAGE = Ensemble.defaults()
            .withLoss(1, .5, 2)
            .withHeldOut(HeldOut.of(.3))
            .withViewCount(2)
            .withRecipe(Lessons.recipe());
    private static final Map<String, Double> FEATURES = Map.of("flow", .5, "pose", 1.0);

    private static final String TITLE = "distill rgb from rgb, flow, pose";

    @TempDir
    private static Path shared;

    @TempDir
    private Path folder;

    private static ClipSet clips;
    private static List<TeacherFile> teachers;

    @BeforeAll
    static void teach() {
        clips = Lessons.clips(3);
        teachers = Lessons.teachers(clips, shared);
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private static Ensemble.Lesson lesson() {
        return new Ensemble.Lesson(teachers, clips);
    }

    private Path run(String name, Ensemble stage, Ensemble.Lesson lesson) {
        return stage.run(CONFIG, lesson, folder.resolve(name), Lessons.context());
    }

    private List<Map<Metric, Double>> losses(String name) throws IOException {
        return MetricsLog.read(folder.resolve(name).resolve("metrics.jsonl")).stream()
                .map(MetricsLog.Line::values)
                .toList();
    }

    private static byte[][] teacherFiles() throws IOException {
        byte[][] files = new byte[teachers.size()][];
        for (int t = 0; t < files.length; t++) {
            files[t] = Files.readAllBytes(teachers.get(t).file());
        }
        return files;
    }

    @Test
    void logitsAndFeaturesTeachAStudentAndTeachersStayAsTheyAre() throws IOException {
        byte[][] before = teacherFiles();
        Ensemble stage =
                STAGE.withFeatures(FEATURES).withRecipe(Lessons.recipe().over(40, 1e-2));
        Path file = run("both", stage, lesson());
        assertArrayEquals(before, teacherFiles());
        List<Map<Metric, Double>> losses = losses("both");
        assertEquals(
                List.of("distillation_action", "features", "loss", "gradient_norm", "lr"),
                losses.getFirst().keySet().stream().map(Metric::id).toList());
        assertTrue(
                requireNonNull(losses.getLast().get(Metric.LOSS))
                        < requireNonNull(losses.getFirst().get(Metric.LOSS)),
                losses::toString);
        try (Student student = Student.load(file, Device.cpu());
                Checkpoint checkpoint = Checkpoint.read(file)) {
            assertEquals(clips.classes(), student.labels());
            assertFalse(checkpoint.tensors().keySet().stream().anyMatch(name -> name.startsWith("projectors.")));
            String settings = checkpoint.metadata().get("tessera.settings");
            assertTrue(String.valueOf(settings).contains("\"alpha\":1.0,\"beta\":0.5,\"temperature\":2.0"), settings);
        }
    }

    /** The first step's loss is that of the formula, computed from the files themselves. */
    @Test
    void theLossIsThePapers() throws IOException {
        Ensemble stage = STAGE.withHeads(Map.of("action", .25))
                .withRecipe(Lessons.recipe().withAugment(false));
        run("formula", stage, lesson());
        try (Scope scope = Scope.open()) {
            OpenModel student = OpenModel.trained(
                    CONFIG,
                    Supervised.labels(clips, List.of("action")),
                    null,
                    stage.recipe().seed(),
                    Lessons.context());
            ClipViews batches = new ClipViews(
                    clips,
                    clips.geometry(),
                    stage.heldOut().rest(clips),
                    Modality.ALL,
                    List.of("action"),
                    stage.recipe(),
                    1);
            Batch batch = batches.at(Device.cpu(), 0);
            List<Tensor> logits = new ArrayList<>();
            for (TeacherFile teacher : teachers) {
                try (Network network =
                        OpenModel.frozen(teacher.file(), Lessons.context()).network()) {
                    logits.add(network.forward(batch.clips(teacher.sees()), null, Noise.NONE)
                            .logits("action"));
                }
            }
            Tensor loss = Losses.distillation(
                    student.network()
                            .forward(batch.clips(Modality.RGB), null, Noise.NONE)
                            .logits("action"),
                    logits,
                    Tensor.of(new float[] {1 / 3f, 1 / 3f, 1 / 3f}),
                    batch.labels("action"),
                    2,
                    1,
                    .5 * .25);
            Close.relative(
                    new double[] {requireNonNull(losses("formula").getFirst().get(Metric.LOSS))},
                    new double[] {loss.item()},
                    1e-6,
                    "alpha T^2 KL + beta w CE");
        }
    }

    @Test
    void runsResumeBitForBitWithEveryWeighting() throws IOException {
        List<byte[]> results = new ArrayList<>();
        for (TeacherWeights.Kind kind : TeacherWeights.Kind.values()) {
            Ensemble stage = STAGE.withWeighting(new TeacherWeights(kind, .5)).withFeatures(FEATURES);
            byte[] whole = Files.readAllBytes(run("whole-" + kind, stage, lesson()));
            Path cut = folder.resolve("cut-" + kind);
            Lessons.cut(() -> stage.run(CONFIG, lesson(), cut, Lessons.stoppedAfterTwoSteps()));
            assertTrue(Files.exists(cut.resolve("checkpoint.safetensors")));
            assertArrayEquals(whole, Files.readAllBytes(run("cut-" + kind, stage, lesson())), kind.toString());
            assertArrayEquals(
                    Files.readAllBytes(folder.resolve("whole-" + kind).resolve("metrics.jsonl")),
                    Files.readAllBytes(cut.resolve("metrics.jsonl")));
            results.forEach(other -> assertFalse(Arrays.equals(other, whole), "weightings differ"));
            results.add(whole);
        }
    }

    /** They are computed once, kept in the folder, and a resumed run takes them from there. */
    @Test
    void dataSetWeightsAreComputedOnceFromHeldOutTrainingClips() throws IOException {
        Ensemble stage = STAGE.withWeighting(TeacherWeights.dataSet());
        Path run = folder.resolve("weighted");
        List<String> tasks = new ArrayList<>();
        StopSignal stop = new StopSignal();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Started started) {
                tasks.add(started.task().title());
                if (started.task().unit() == Task.Unit.STEPS) {
                    stop.request();
                }
            }
        };
        Lessons.cut(() -> stage.run(CONFIG, lesson(), run, new RunContext(watching, stop)));
        assertEquals(List.of("weigh teachers", TITLE), tasks);
        Path file = run.resolve("teacher-weights.json");
        byte[] kept = Files.readAllBytes(file);
        Map<?, ?> all = Json.object(Files.readString(file));
        Map<?, ?> losses = (Map<?, ?>) requireNonNull(((Map<?, ?>) requireNonNull(all.get("losses"))).get("action"));
        Map<?, ?> weights = (Map<?, ?>) requireNonNull(((Map<?, ?>) requireNonNull(all.get("weights"))).get("action"));
        assertEquals(List.of("rgb", "flow", "pose"), List.copyOf(weights.keySet()));
        int[] held = stage.heldOut().held(clips);
        double sum = 0;
        for (TeacherFile teacher : teachers) {
            double loss = (double) requireNonNull(losses.get(teacher.name()));
            Close.relative(new double[] {loss}, new double[] {crossEntropy(teacher, held)}, 1e-6, teacher.name());
            sum += Math.exp(-loss);
        }
        for (TeacherFile teacher : teachers) {
            double loss = (double) requireNonNull(losses.get(teacher.name()));
            double weight = (double) requireNonNull(weights.get(teacher.name()));
            Close.relative(new double[] {weight}, new double[] {Math.exp(-loss) / sum}, 1e-12, teacher.name());
        }
        // A digit of a weight: they do not add up to 1, so they are computed again.
        String weight = String.valueOf(weights.get("flow"));
        Files.writeString(file, Files.readString(file).replace(weight, "0.9999"));
        Path finished = stage.run(CONFIG, lesson(), run, new RunContext(watching, new StopSignal()));
        assertEquals(List.of("weigh teachers", TITLE, "weigh teachers", TITLE), tasks);
        assertArrayEquals(kept, Files.readAllBytes(file));
        try (Checkpoint checkpoint = Checkpoint.read(finished)) {
            assertTrue(String.valueOf(checkpoint.metadata().get("tessera.settings"))
                    .contains("\"teacherWeights\":{\"action\":{\"rgb\":" + weights.get("rgb")));
        }
        Files.writeString(file, "{\"damaged"); // the finished run's weights come out the same
        assertEquals(finished, stage.run(CONFIG, lesson(), run, Lessons.context()));
        assertArrayEquals(kept, Files.readAllBytes(file));
    }

    /** Stopped after any batch, it goes on with the next one, to the same bits. */
    @Test
    void weighingTeachersStopsBetweenBatchesAndGoesOn() throws IOException {
        Ensemble stage = STAGE.withWeighting(TeacherWeights.dataSet())
                .withRecipe(STAGE.recipe().withBatch(2));
        Path whole = folder.resolve("whole");
        stage.stage(CONFIG, lesson(), whole, Lessons.context());
        Path run = folder.resolve("cut");
        int held = stage.heldOut().held(clips).length;
        int batches = 3 * Math.ceilDiv(held, 2);
        assertTrue(held % 2 == 1 || held > 2, "several batches");
        StopSignal stop = new StopSignal();
        stop.request();
        List<Long> first = new ArrayList<>();
        RunContext context = new RunContext(
                event -> {
                    if (event instanceof ProgressEvent.Started started) {
                        first.add(started.task().first());
                    }
                },
                stop);
        for (int batch = 1; batch < batches; batch++) {
            Exception stopped =
                    assertThrows(StopSignal.Stopped.class, () -> stage.stage(CONFIG, lesson(), run, context));
            assertTrue(String.valueOf(stopped.getMessage()).contains("run the same command to go on"));
        }
        stage.stage(CONFIG, lesson(), run, context);
        assertEquals(batches, first.size());
        assertEquals(batches, first.stream().distinct().count(), "no batch was looked at twice");
        assertArrayEquals(
                Files.readAllBytes(whole.resolve("teacher-weights.json")),
                Files.readAllBytes(run.resolve("teacher-weights.json")));
    }

    private static double crossEntropy(TeacherFile teacher, int[] held) {
        try (Scope scope = Scope.open();
                Network network =
                        OpenModel.frozen(teacher.file(), Lessons.context()).network()) {
            Tensor logits = network.forward(clips.batch(teacher.sees(), held), null, Noise.NONE)
                    .logits("action");
            int[] labels = Arrays.stream(held).map(clips::label).toArray();
            return Losses.crossEntropy(logits, Tensor.of(labels)).item();
        }
    }

    /** Other training clips may judge the teachers; then the student sees every clip of its own. */
    @Test
    void heldOutClipsMayBeASetOfTheirOwn() throws IOException {
        Ensemble stage = STAGE.withHeldOut(HeldOut.NONE).withWeighting(TeacherWeights.dataSet());
        try (ClipSet other = Lessons.clips(2, 4)) {
            run("own", stage, lesson().withHeldOut(other));
            assertTrue(Files.readString(folder.resolve("own").resolve("teacher-weights.json"))
                    .contains(other.checksum()));
        }
        Exception refused = assertThrows(IllegalArgumentException.class, () -> run("none", stage, lesson()));
        assertTrue(String.valueOf(refused.getMessage()).contains("none are held out"), refused.getMessage());
    }

    /** With a cache the same losses and weights come out, bit for bit, and no teacher looks twice. */
    @Test
    void aCacheChangesNothing() throws IOException {
        Ensemble stage = STAGE.withFeatures(FEATURES).withWeighting(TeacherWeights.perSample());
        byte[] plain = Files.readAllBytes(run("plain", stage, lesson()));
        Path cache = folder.resolve("cache");
        Ensemble.Lesson cached = lesson().withCache(cache);
        assertArrayEquals(plain, Files.readAllBytes(run("first", stage, cached)));
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("plain").resolve("metrics.jsonl")),
                Files.readAllBytes(folder.resolve("first").resolve("metrics.jsonl")));
        Map<String, byte[]> files = files(cache);
        assertEquals(3, files.size());
        List<String> tasks = new ArrayList<>();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Started started) {
                tasks.add(started.task().title());
            }
        };
        Path again = stage.run(CONFIG, cached, folder.resolve("again"), new RunContext(watching, new StopSignal()));
        assertArrayEquals(plain, Files.readAllBytes(again));
        assertEquals(List.of(TITLE), tasks, "every answer was there");
        // A damaged entry is found and made anew.
        Path flow = cache.resolve(files.keySet().stream()
                .filter(name -> name.startsWith("flow-"))
                .findFirst()
                .orElseThrow());
        byte[] good = Files.readAllBytes(flow);
        byte[] bad = good.clone();
        bad[good.length - 3] ^= 1;
        Files.write(flow, bad);
        Path repaired =
                stage.run(CONFIG, cached, folder.resolve("repaired"), new RunContext(watching, new StopSignal()));
        assertEquals(List.of(TITLE, "cache flow", TITLE), tasks);
        assertArrayEquals(plain, Files.readAllBytes(repaired));
        assertArrayEquals(good, Files.readAllBytes(flow));
    }

    /** However a cache is damaged: the file is named, what is damaged is made anew, and the student is the same. */
    @Test
    void damageIsNamedAndMadeAnew() throws IOException {
        byte[] plain = Files.readAllBytes(run("plain", STAGE, lesson()));
        Path cache = folder.resolve("cache");
        run("first", STAGE, lesson().withCache(cache));
        Path pose = cache.resolve(files(cache).keySet().stream()
                .filter(name -> name.startsWith("pose-"))
                .findFirst()
                .orElseThrow());
        byte[] good = Files.readAllBytes(pose);
        // Entries: a check of 4 bytes, the feature and the scores of every action.
        int entry = 4 + 4 * (24 + clips.classes().size());
        assertEquals(0, (good.length - 48) % entry);
        // Places of the entries: those of clips that are held out stay empty, and the last one ends the file.
        int[] places = IntStream.range(0, (good.length - 48) / entry)
                .map(i -> 48 + i * entry)
                .filter(at -> IntStream.range(at, at + entry).anyMatch(i -> good[i] != 0))
                .toArray();
        byte[] flipped = good.clone();
        for (int at : new int[] {places[1] + 9, places[3], places[3] + entry - 1}) {
            flipped[at] ^= (byte) 0xFF;
        }
        byte[] unchecked = good.clone();
        Arrays.fill(unchecked, places[0], places[0] + 4, (byte) 0);
        byte[] empty = good.clone(); // as if it had never been written
        Arrays.fill(empty, places[2], places[2] + entry, (byte) 0);
        byte[] other = good.clone();
        other[8] ^= 1;
        String entries = pose + " was damaged; entries made anew: ";
        String all = pose + " was damaged where it says what it is; all of it is made anew";
        int last = (good.length - 48) / entry - 1;
        List<Damage> damages = List.of(
                new Damage(flipped, entries + "2, the first is entry " + (places[1] - 48) / entry),
                new Damage(unchecked, entries + "1, the first is entry " + (places[0] - 48) / entry),
                new Damage(Arrays.copyOf(good, good.length - 5), entries + "1, the first is entry " + last),
                new Damage(empty, ""),
                new Damage(other, all),
                new Damage(Arrays.copyOf(good, 20), all),
                new Damage(new byte[0], all));
        for (Damage damage : damages) {
            Files.write(pose, damage.file());
            List<String> told = new ArrayList<>();
            ProgressListener watching = event -> {
                if (event instanceof ProgressEvent.Noted noted) {
                    told.add(noted.task().title() + ": " + noted.text());
                }
            };
            Path again = folder.resolve("damaged" + damages.indexOf(damage));
            Path student =
                    STAGE.run(CONFIG, lesson().withCache(cache), again, new RunContext(watching, new StopSignal()));
            assertEquals(damage.told().isEmpty() ? List.of() : List.of("cache pose: " + damage.told()), told);
            assertArrayEquals(good, Files.readAllBytes(pose), damage.told());
            assertArrayEquals(plain, Files.readAllBytes(student), damage.told());
        }
    }

    /** A cache as it is found, and what is told of it. */
    private record Damage(byte[] file, String told) {}

    /** How many clips are looked at together may change the last bits of answers, so these are kept apart. */
    @Test
    void aCacheIsOfBatchesOfOneSize() throws IOException {
        Path cache = folder.resolve("cache");
        Ensemble other = STAGE.withRecipe(STAGE.recipe().withBatch(1));
        run("four", STAGE, lesson().withCache(cache));
        assertEquals(3, files(cache).size());
        byte[] plain = Files.readAllBytes(run("plain", other, lesson()));
        assertArrayEquals(plain, Files.readAllBytes(run("one", other, lesson().withCache(cache))));
        assertEquals(6, files(cache).size());
    }

    /** A run that ends while the cache is filled goes on where it was. */
    @Test
    void aCacheIsFilledInSeveralRuns() throws IOException {
        Path cache = folder.resolve("cache");
        Ensemble.Lesson cached = lesson().withCache(cache);
        StopSignal stop = new StopSignal();
        stop.request();
        Path run = folder.resolve("cut");
        List<Task> fillings = new ArrayList<>();
        for (int attempt = 0; attempt < 2; attempt++) {
            Lessons.cut(() -> STAGE.run(
                    CONFIG,
                    cached,
                    run,
                    new RunContext(
                            event -> {
                                if (event instanceof ProgressEvent.Started started) {
                                    fillings.add(started.task());
                                }
                            },
                            stop)));
        }
        assertEquals(
                List.of("cache rgb", "cache rgb"),
                fillings.stream().map(Task::title).toList());
        assertEquals(List.of(0L, 4L), fillings.stream().map(Task::first).toList(), "a batch was kept");
        assertFalse(Files.exists(run.resolve("checkpoint.safetensors")));
        assertArrayEquals(
                Files.readAllBytes(run("plain", STAGE, lesson())), Files.readAllBytes(run("cut", STAGE, cached)));
    }

    private static Map<String, byte[]> files(Path folder) throws IOException {
        Map<String, byte[]> files = new LinkedHashMap<>();
        try (var list = Files.list(folder)) {
            for (Path file : list.sorted().toList()) {
                files.put(String.valueOf(file.getFileName()), Files.readAllBytes(file));
            }
        }
        return files;
    }

    /** A student without tokens learns features of a VideoMAE beside verbs and nouns; and a Swin3D teaches a VideoMAE. */
    @Test
    void architecturesMixAndHeadsAreSeveral() throws IOException {
        SwinConfig swin = new SwinConfig(
                new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
                4,
                16,
                16,
                8,
                List.of(1, 1),
                List.of(1, 2),
                new TokenGrid(2, 2, 2),
                1e-5);
        String[] heads = {"verb", "noun"};
        Path pose = Supervised.defaults(Modality.POSE)
                .withHeads(heads)
                .withRecipe(Lessons.recipe())
                .run(Lessons.config(Modality.POSE, 24), clips, null, folder.resolve("pose"), Lessons.context());
        Ensemble stage = STAGE.withHeads(heads).withFeatures(Map.of("pose", .5));
        Ensemble.Lesson lesson = new Ensemble.Lesson(List.of(TeacherFile.of(Modality.POSE, pose)), clips);
        Path ofSwin = stage.run(swin, lesson, folder.resolve("swin"), Lessons.context());
        assertEquals(
                List.of("distillation_verb", "distillation_noun", "features", "loss", "gradient_norm", "lr"),
                losses("swin").getFirst().keySet().stream().map(Metric::id).toList());
        Path cut = folder.resolve("cut");
        Lessons.cut(() -> stage.run(swin, lesson, cut, Lessons.stoppedAfterTwoSteps()));
        assertArrayEquals(
                Files.readAllBytes(ofSwin), Files.readAllBytes(stage.run(swin, lesson, cut, Lessons.context())));
        try (Student student = Student.load(ofSwin, Device.cpu())) {
            assertEquals(
                    List.of("verb", "noun"),
                    student.heads().stream().map(head -> head.name()).toList());
            assertEquals(clips.head("noun").classes(), student.heads().getLast().labels());
        }
        Ensemble.Lesson back = new Ensemble.Lesson(
                List.of(TeacherFile.of(Modality.RGB, ofSwin), TeacherFile.of(Modality.POSE, pose)), clips);
        Ensemble masked = STAGE.withHeads(heads)
                .withFeatures(Map.of("rgb", 1.0))
                .withRecipe(Lessons.recipe().withMaskRatio(.5));
        Path student = masked.run(CONFIG, back, folder.resolve("back"), Lessons.context());
        assertTrue(Files.exists(student));
        Path plain = folder.resolve("plain");
        Distillation.saveUndistilled(ofSwin, plain);
        try (Student features = Student.load(plain, Device.cpu());
                Student before = Student.load(ofSwin, Device.cpu())) {
            assertEquals(before.checksum(), features.checksum());
        }
    }

    /** With masks, as MM-CDFSL trains; teachers of the same grid see what the student sees. */
    @Test
    void tokensCanBeMaskedAndFeaturesCanTeachAlone() throws IOException {
        Ensemble stage = STAGE.withHeads()
                .withLoss(0, 0, 1)
                .withFeatures(FEATURES)
                .withRecipe(Lessons.recipe().withMaskRatio(.5));
        Path file = run("masked", stage, lesson());
        assertEquals(
                List.of("features", "loss", "gradient_norm", "lr"),
                losses("masked").getFirst().keySet().stream().map(Metric::id).toList());
        try (Student student = Student.load(file, Device.cpu())) {
            assertEquals(List.of(), student.heads());
        }
        Path whole = run("whole", stage.withRecipe(Lessons.recipe()), lesson());
        assertNotEquals(-1, Files.mismatch(file, whole));
    }

    @Test
    void theRefusalNamesTheSetting() {
        Path file = run("other", STAGE, lesson());
        refused(STAGE.withLoss(.5, .5, 2), file, "alpha was 1.0, is 0.5");
        refused(STAGE.withLoss(1, .5, 4), file, "temperature was 2.0, is 4.0");
        refused(STAGE.withWeighting(TeacherWeights.perSample()), file, "weighting was uniform, is per-sample");
        refused(STAGE.withFeatures(Map.of("pose", 1.0)), file, "features.pose was none, is 1.0");
        refused(STAGE.withViewCount(3), file, "viewCount was 2, is 3");
    }

    private void refused(Ensemble stage, Path file, String difference) {
        Exception refused = assertThrows(CheckpointException.class, () -> run("other", stage, lesson()));
        assertEquals(
                file + " was trained with other settings (" + difference
                        + "); use another folder, or delete this one to start again",
                refused.getMessage());
    }

    @Test
    void aLossThatIsNotFiniteStopsTheRunAndKeepsItsCheckpoint() throws IOException {
        Ensemble spoilt = STAGE.withRecipe(Lessons.recipe().over(Lessons.STEPS, 1e30));
        Path run = folder.resolve("spoilt");
        StopSignal stop = new StopSignal();
        stop.request();
        Lessons.cut(() -> spoilt.run(CONFIG, lesson(), run, new RunContext(ProgressListener.NONE, stop)));
        byte[] checkpoint = Files.readAllBytes(run.resolve("checkpoint.safetensors"));
        byte[][] before = teacherFiles();
        Exception ended = assertThrows(IllegalStateException.class, () -> run("spoilt", spoilt, lesson()));
        assertTrue(String.valueOf(ended.getMessage()).contains("the last checkpoint in " + run + " is kept"));
        assertArrayEquals(checkpoint, Files.readAllBytes(run.resolve("checkpoint.safetensors")));
        assertFalse(Files.exists(run.resolve("student.safetensors")));
        assertArrayEquals(before, teacherFiles());
    }

    @Test
    void whatDoesNotFitIsRefused() {
        Ensemble weighed = STAGE.withWeighting(TeacherWeights.dataSet());
        refuse(weighed.withHeldOut(HeldOut.of(.5)), lesson(), "so it has seen clips by which it would be weighed");
        refuse(weighed, lesson().withHeldOut(lesson().clips()), "the held-out clips are the training clips themselves");
        refuse(STAGE.withRecipe(Lessons.recipe().withMaskRatio(.5)), lesson().withCache(folder), "mask ratio is 0.5");
        refuse(STAGE.withViewCount(0), lesson().withCache(folder), "give each clip some views");
        refuse(STAGE.withFeatures(Map.of("audio", 1.0)), lesson(), "there is none of that name");
        TeacherFile flow = teachers.get(1);
        TeacherFile wrong = new TeacherFile("wrong", Modality.RGB, flow.file());
        refuse(
                STAGE,
                new Ensemble.Lesson(List.of(wrong), clips),
                "the teacher wrong (" + flow.file() + ") takes clips");
        try (ClipSet others = Lessons.clips(1)) {
            Path headless = folder.resolve("headless.safetensors");
            Distillation.saveUndistilled(flow.file(), headless);
            refuse(
                    STAGE,
                    new Ensemble.Lesson(List.of(TeacherFile.of(Modality.FLOW, headless)), others),
                    "has no head 'action'");
        }
        assertThrows(IllegalArgumentException.class, () -> new Ensemble.Lesson(List.of(flow, flow), clips));
        assertThrows(IllegalArgumentException.class, () -> new Ensemble.Lesson(List.of(), clips));
        assertThrows(IllegalArgumentException.class, () -> STAGE.withLoss(-1, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> STAGE.withLoss(1, 0, 0));
        refuse(STAGE.withLoss(0, 0, 1), lesson(), "teaches nothing");
        refuse(STAGE.withHeads(), lesson(), "teaches nothing");
        assertThrows(IllegalArgumentException.class, () -> new TeacherWeights(TeacherWeights.Kind.DATASET, 0));
    }

    private void refuse(Ensemble stage, Ensemble.Lesson lesson, String part) {
        Exception refused = assertThrows(IllegalArgumentException.class, () -> run("never", stage, lesson));
        assertTrue(String.valueOf(refused.getMessage()).contains(part), refused.getMessage());
    }
}
