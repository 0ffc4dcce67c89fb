package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static tessera.distill.cli.Shell.refuse;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Npz;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** Every command from end to end on tiny clips. */
class CommandsTest {

    @TempDir
    private static Path folder;

    private static Path data;
    private static Path student;
    /** Of a ramp that grows brighter. */
    private static Path video;

    /** Pretrains a model of each modality and distils them, as a user does. */
    @BeforeAll
    static void train() throws Exception {
        video = Path.of(CommandsTest.class.getResource("/video/ramp.mp4").toURI());
        data = OwnClips.write(folder.resolve("data"), 6, "dark", "grey", "bright");
        for (String modality : List.of("rgb", "flow", "pose")) {
            pretrain(modality, folder.resolve(modality), 3);
        }
        String line = succeed(
                "distill",
                "--teachers",
                "rgb=" + folder.resolve("rgb") + ",flow=" + folder.resolve("flow") + ",pose="
                        + folder.resolve("pose").resolve("model.safetensors"),
                "--weights=flow=0.5",
                "--target=" + data,
                "--batch=4",
                "--steps=3",
                "--mask-ratio=0.5",
                "--threads=2",
                "--quiet",
                "--out=" + folder.resolve("distilled"));
        student = folder.resolve("distilled").resolve("student.safetensors");
        assertEquals(student.toString(), line.strip());
    }

    private static String pretrain(String modality, Path out, int steps, Object... more) {
        return succeed(pretraining(modality, out, steps, more));
    }

    private static Object[] pretraining(String modality, Path out, int steps, Object... more) {
        return OwnClips.pretraining(modality, data, out, steps, more);
    }

    /** A folder with the video once for each label. */
    private static Path videos(String name, String... labels) throws IOException {
        Path videos = Files.createDirectories(folder.resolve(name));
        for (String label : labels) {
            Files.copy(video, videos.resolve(label + ".mp4"));
        }
        return videos;
    }

    @Test
    void aFinishedStageIsNotTrainedAgain() throws IOException {
        Path model = folder.resolve("rgb").resolve("model.safetensors");
        byte[] before = Files.readAllBytes(model);
        long steps = Files.readAllLines(folder.resolve("rgb").resolve("metrics.jsonl"))
                .size();
        // As of a run that was killed when all was done but this.
        Path lock = Files.createFile(folder.resolve("rgb").resolve(".tessera-run.lock"));
        Path mark = Files.createFile(folder.resolve("rgb").resolve(".tessera-run-1-1"));
        String json = pretrain("rgb", folder.resolve("rgb"), 3, "--json");
        assertFalse(Files.exists(lock) || Files.exists(mark), "what a killed run left");
        assertTrue(json.contains("\"steps\":3"), json);
        assertArrayEquals(before, Files.readAllBytes(model));
        assertEquals(3, steps);
        assertFalse(Files.exists(folder.resolve("rgb").resolve("checkpoint.safetensors")));
    }

    @Test
    void clippedTrainingLogsTheNormAndIsNotResumedUnclipped() throws IOException {
        Path out = folder.resolve("clipped");
        pretrain("pose", out, 2, "--clip-norm=0.01", "--drop-path=0.2");
        for (String line : Files.readAllLines(out.resolve("metrics.jsonl"))) {
            assertTrue(line.contains("\"gradient_norm\":"), line);
        }
        byte[] model = Files.readAllBytes(out.resolve("model.safetensors"));
        assertFalse(
                Arrays.equals(model, Files.readAllBytes(folder.resolve("pose").resolve("model.safetensors"))));
        Shell.refuse(
                List.of("was trained with other settings (clipNorm was 0.01, is 0.0); use another folder"),
                pretraining("pose", out, 2, "--drop-path=0.2"));
        assertArrayEquals(model, Files.readAllBytes(out.resolve("model.safetensors")));
    }

    /** So large a loss that its gradients' squares overflow, though it is finite itself: weights that it spoilt are not kept. */
    @Test
    void aNormThatIsNotFiniteEndsTheRun() throws IOException {
        Path out = folder.resolve("overflow");
        Shell.Outcome outcome = Shell.run(pretraining("rgb", out, 3, "--lambda=1e30", "--clip-norm=1"));
        assertEquals(1, outcome.code(), outcome.err());
        assertTrue(
                outcome.err().contains("the norm of the gradients of step 0 is Infinity; the last checkpoint"),
                outcome.err());
        try (var files = Files.list(out)) {
            assertEquals(
                    List.of("metrics.jsonl"),
                    files.map(f -> f.getFileName().toString()).toList());
        }
    }

    @Test
    void aStageIsNotResumedOnOtherClips() throws IOException {
        Path other = OwnClips.write(folder.resolve("other"), 5, "dark", "grey", "bright");
        Path out = folder.resolve("deep").resolve("rgb");
        pretrain("rgb", out, 1);
        byte[] before = Files.readAllBytes(out.resolve("model.safetensors"));
        Shell.refuse(
                List.of(out.resolve("model.safetensors") + " was trained with other settings (source was 18 clips"),
                OwnClips.pretraining("rgb", other, out, 1));
        assertArrayEquals(before, Files.readAllBytes(out.resolve("model.safetensors")));
    }

    /** MM-CDFSL hands on the encoder alone: the norm of the feature starts afresh, and the epsilon is another one. */
    @Test
    void theSecondStageTakesTheEncoderAlone() {
        Path plain = folder.resolve("plain.safetensors");
        Path model = folder.resolve("rgb").resolve("model.safetensors");
        long before = Device.cpu().memory().live();
        Distillation.saveUndistilled(model, plain);
        assertTrue(Device.cpu().memory().live() <= before, "nothing stays in memory");
        try (SafetensorsFile from = Safetensors.open(model);
                SafetensorsFile to = Safetensors.open(plain);
                SafetensorsFile distilled = Safetensors.open(student)) {
            float[] ones = new float[16];
            Arrays.fill(ones, 1);
            assertFalse(Arrays.equals(ones, from.floats("fc_norm.weight")), "the first stage trains it");
            assertArrayEquals(ones, to.floats("fc_norm.weight"));
            assertArrayEquals(new float[16], to.floats("fc_norm.bias"));
            assertArrayEquals(from.floats("encoder.norm.weight"), to.floats("encoder.norm.weight"));
            assertEquals("1.0E-6", from.metadata().get("tessera.layerNormEps"));
            for (SafetensorsFile second : List.of(to, distilled)) {
                assertEquals("1.0E-5", second.metadata().get("tessera.layerNormEps"));
                assertEquals("1.0E-5", second.metadata().get("tessera.outputNormEps"));
                assertTrue(second.names().stream()
                        .allMatch(name -> name.startsWith("encoder.") || name.startsWith("fc_norm.")));
            }
        }
    }

    @Test
    void picturesMayBeVideos() throws Exception {
        Path clips = folder.resolve("videos");
        for (String label : List.of("one", "two")) {
            Path rgb = Files.createDirectories(clips.resolve("rgb").resolve(label));
            Path flow = Files.createDirectories(clips.resolve("flow").resolve(label));
            Files.copy(video, rgb.resolve("a.mp4"));
            Npy.write(flow.resolve("a.npy"), ArrayData.of("flow", new float[4 * 16 * 16 * 2], 4, 16, 16, 2));
        }
        ModalityFolders both = ModalityFolders.open(clips, Set.of(Modality.RGB, Modality.FLOW), null);
        assertEquals(new Geometry(4, 16, 16), both.geometry(), "the array of flow says how large clips are");
        try (ClipSet set = both.load(done -> {});
                Scope scope = Scope.open()) {
            int[] pixels = set.batch(Modality.RGB, new int[] {1}).toInts();
            int frame = 16 * 16 * 3;
            assertEquals(4 * frame, pixels.length);
            for (int t = 1; t < 4; t++) {
                assertTrue(pixels[t * frame] > pixels[(t - 1) * frame], "frames of the ramp grow brighter");
            }
        }
        assertEquals(
                Geometry.FULL,
                ModalityFolders.open(clips, Set.of(Modality.RGB), null).geometry(),
                "videos alone have no size");
    }

    @Test
    void brokenClipsAreRefusedOrLeftOut() throws IOException {
        Path clips = OwnClips.write(folder.resolve("broken"), 2, "dark", "grey");
        Files.writeString(clips.resolve("flow/grey/clip1.npy"), "no array");
        Path out = folder.resolve("whole");
        Object[] words = pretraining("flow", out, 1, "--flow-bound=8");
        Arrays.setAll(words, i -> words[i].equals(data) ? clips : words[i]);
        refuse(List.of(clips.resolve("flow/grey/clip1.npy").toString(), "(1 of 4 clips is broken)"), words);
        words[words.length - 1] = "--skip-broken";
        succeed(words);
        try (SafetensorsFile model = Safetensors.open(out.resolve("model.safetensors"))) {
            assertTrue(String.valueOf(model.metadata().get("tessera.source")).startsWith("3 clips"));
        }
    }

    @Test
    void pretrainingStartsFromAnotherModel() {
        Path start = folder.resolve("rgb").resolve("model.safetensors");
        pretrain("flow", folder.resolve("from-rgb"), 1, "--start", start, "--no-target-reconstruction", "--lambda=0");
        assertTrue(Files.exists(folder.resolve("from-rgb").resolve("model.safetensors")));
    }

    @Test
    void fewShotAccuracyHasAnInterval() {
        Object[] words = {
            "fewshot",
            "--student",
            student,
            "--clips",
            data,
            "--ways=3",
            "--shots=2",
            "--queries=4",
            "--episodes=20",
            "--mask-ratio=0.5",
            "--quiet",
            "--threads=1"
        };
        String text = succeed(words);
        assertTrue(text.matches("3-way 2-shot accuracy \\d+\\.\\d\\d ± \\d+\\.\\d\\d % over 20 episodes .*\\R"), text);
        Object[] json = Arrays.copyOf(words, words.length + 1);
        json[words.length] = "--json";
        String object = succeed(json);
        assertTrue(object.startsWith("{\"accuracy\":") && object.contains("\"interval95\":"), object);
        Matcher error = Pattern.compile("\"calibrationError\":([0-9.E-]+)").matcher(object);
        assertTrue(error.find() && Double.parseDouble(error.group(1)) <= 1, object);
        String percent =
                String.format(Locale.ROOT, "calibration error %.2f %%", 100 * Double.parseDouble(error.group(1)));
        assertTrue(text.contains(percent), text + " lacks " + percent);
    }

    @Test
    void featuresAreThoseOfTheLibraryInEveryFormat() {
        byte[] pixels = new byte[3 * 4 * 16 * 16 * 3];
        new Random(5).nextBytes(pixels);
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", pixels, 3, 4, 16, 16, 3));
        float[] expected;
        try (Student loaded = Student.load(student, Device.cpu(1));
                Scope scope = Scope.open()) {
            Tensor input = Tensor.empty(loaded.device(), DType.U8, Shape.of(3, 4, 16, 16, 3));
            MemorySegment.copy(MemorySegment.ofArray(pixels), 0, input.segment(), 0, pixels.length);
            expected = loaded.features(input, Masking.of(.5, 2), 7).toFloats();
        }
        for (String name : List.of("f.npy", "f.npz", "f.safetensors")) {
            Path out = folder.resolve(name);
            String line = succeed(
                    "features",
                    "--student",
                    student,
                    "--clips",
                    clips,
                    "--mask-ratio=0.5",
                    "--ensemble=2",
                    "--seed=7",
                    "--device=cpu",
                    "--threads=1",
                    "--quiet",
                    "--out",
                    out);
            assertTrue(line.contains("f32[2, 3, 16]"), line);
        }
        try (Arena arena = Arena.ofConfined();
                SafetensorsFile file = Safetensors.open(folder.resolve("f.safetensors"))) {
            assertArrayEquals(expected, Npy.read(folder.resolve("f.npy"), arena).floats());
            assertArrayEquals(expected, file.floats("features"));
        }
    }

    /** Numbers that f32 holds give the same features from f32, f64, and an archive. */
    @Test
    void featuresOfDoublesAndArchivesAreThoseOfFloats() throws IOException {
        Random random = new Random(9);
        float[] floats = new float[9 * 4 * 16 * 16 * 3];
        double[] doubles = new double[floats.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = 255 * random.nextFloat();
            doubles[i] = floats[i];
        }
        ArrayData single = ArrayData.of("clips", floats, 9, 4, 16, 16, 3);
        Path f32 = folder.resolve("single.npy");
        Npy.write(f32, single);
        Path f64 = folder.resolve("double.npy");
        Npy.write(f64, ArrayData.of("clips", doubles, 9, 4, 16, 16, 3));
        Path archive = folder.resolve("archive.npz");
        Npz.write(archive, List.of(ArrayData.of("labels", new int[9], 9), single));
        List<byte[]> features = new ArrayList<>();
        for (Path clips : List.of(f32, f64, archive)) {
            Path out = folder.resolve("features-of-" + clips.getFileName() + ".npy");
            succeed("features", "--student", student, "--clips", clips, "--threads=1", "--quiet", "--out", out);
            features.add(Files.readAllBytes(out));
        }
        assertArrayEquals(features.get(0), features.get(1));
        assertArrayEquals(features.get(0), features.get(2));
    }

    @Test
    void aVideoShorterThanAClipIsToldAsOne() throws Exception {
        Path head = folder.resolve("short.safetensors");
        try (Scope scope = Scope.open()) {
            Head.of(new double[2][16], new double[2], List.of("one", "two")).save(head);
        }
        Shell.Outcome outcome =
                Shell.run("predict", "--student", student, "--head", head, "--video", video, "--clip-seconds=5");
        assertEquals(0, outcome.code(), outcome.err());
        assertEquals(
                "tessera: " + video
                        + ": the part that is looked at is shorter than a clip of 5.0 s (3 of its 4 frames);"
                        + " the last frame is repeated (--clip-seconds makes clips shorter)",
                outcome.err().strip());
        assertTrue(outcome.out().contains("  clip 1: "), outcome.out());
    }

    /** A file of Tessera's own says what it is; options that say the same are no contradiction. */
    @Test
    void whatACheckpointSaysOfItselfMayBeGiven() throws IOException {
        Path flow = folder.resolve("flow").resolve("model.safetensors");
        Path plain = folder.resolve("flow-plain.safetensors");
        Path given = folder.resolve("flow-given.safetensors");
        succeed("import", "--checkpoint", flow, "--out", plain);
        succeed(
                "import",
                "--checkpoint",
                flow,
                "--modality=flow",
                "--size=small",
                "--dim=16",
                "--depth=1",
                "--heads=2",
                "--frames=4",
                "--pixels=16",
                "--out",
                given);
        assertArrayEquals(Files.readAllBytes(plain), Files.readAllBytes(given));
    }

    @Test
    void aPublicCheckpointBecomesAStudent() {
        Path model = folder.resolve("rgb").resolve("model.safetensors");
        Path out = folder.resolve("imported.safetensors");
        succeed(
                "import",
                "--checkpoint",
                model,
                "--dim=16",
                "--depth=1",
                "--heads=2",
                "--frames=4",
                "--pixels=16",
                "--out",
                out);
        try (SafetensorsFile from = Safetensors.open(model);
                SafetensorsFile to = Safetensors.open(out)) {
            assertEquals("16", to.metadata().get("tessera.height"));
            for (String name : to.names()) {
                assertArrayEquals(from.floats(name), to.floats(name), name);
            }
        }
        assertTrue(succeed(
                        "fewshot",
                        "--student",
                        out,
                        "--clips",
                        data,
                        "--ways=2",
                        "--shots=1",
                        "--queries=2",
                        "--episodes=3",
                        "--quiet")
                .startsWith("2-way 1-shot accuracy "));
    }

    @Test
    void aLearnedHeadRefusesAnotherStudent() throws Exception {
        Path videos = videos("learned", "one", "two");
        Path head = folder.resolve("learned.safetensors");
        succeed("learn", "--student", student, "--clips", videos, "--quiet", "--out", head);
        Object[] predict = {"predict", "--student", student, "--head", head, "--video", video};
        assertTrue(succeed(predict).startsWith(video + ": "));
        Path other = folder.resolve("other.safetensors");
        Distillation.saveUndistilled(folder.resolve("rgb").resolve("model.safetensors"), other);
        predict[2] = other;
        Shell.refuse(List.of(other + ": head 'action' was learned with student ", "but this is student "), predict);
    }

    /** Features, learn and predict agree on how tokens are pooled, which the head remembers. */
    @Test
    void headsAreLearnedOnOtherPoolings() throws Exception {
        Path videos = videos("pooled", "open", "cut");
        Path motion = folder.resolve("motion.safetensors");
        Path chosen = folder.resolve("chosen.safetensors");
        Object[] learn = {"learn", "--student", student, "--clips", videos, "--quiet", "--name=motion", "--out", motion
        };
        Object[] words = Arrays.copyOf(learn, learn.length + 3);
        words[learn.length] = "--pooling=motion:2@0";
        words[learn.length + 1] = "--fit=plain";
        words[learn.length + 2] = "--json";
        Map<String, @Nullable Object> answer = Json.object(succeed(words));
        assertEquals("motion:2@0", answer.get("pooling"));
        assertEquals(1.0, answer.get("c"));
        assertEquals("motion:2@0", Head.load(motion).pooling().toString());
        words[learn.length - 1] = chosen;
        words[learn.length - 3] = "--name=chosen";
        words[learn.length] = "--pooling=auto";
        words[learn.length + 1] = "--fit=tuned";
        answer = Json.object(succeed(words));
        assertEquals(answer.get("pooling"), Head.load(chosen).pooling().toString());
        String told = succeed("predict", "--student", student, "--head", motion + "," + chosen, "--video", video);
        for (String line : told.lines().toList()) {
            assertTrue(line.matches(".*: motion: (cut|open) .* %; chosen: (cut|open) .* %"), line);
        }
        Path clips = folder.resolve("pooled.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[2 * 4 * 16 * 16 * 3], 2, 4, 16, 16, 3));
        Path features = folder.resolve("pooled-features.npy");
        succeed(
                "features",
                "--student",
                student,
                "--clips",
                clips,
                "--pooling=motion:2@0",
                "--quiet",
                "--out",
                features);
        assertArrayEquals(
                new long[] {2, 2, 64},
                FileSummary.of(features).arrays().getFirst().shape());
    }

    @Test
    void fewShotTakesSupportAndQueriesFromDifferentGroups() throws Exception {
        StringBuilder table = new StringBuilder("name,group\n");
        for (int i = 0; i < 6; i++) {
            table.append("clip")
                    .append(i)
                    .append(',')
                    .append(i < 3 ? "one" : "other")
                    .append('\n');
        }
        Path groups = Files.writeString(folder.resolve("groups.csv"), table);
        Object[] words = {
            "fewshot",
            "--student",
            student,
            "--clips",
            data,
            "--ways=3",
            "--shots=3",
            "--queries=3",
            "--episodes=8",
            "--groups",
            groups,
            "--pooling=auto",
            "--fit=tuned",
            "--quiet",
            "--json"
        };
        Map<String, @Nullable Object> answer = Json.object(succeed(words));
        assertEquals("auto", answer.get("pooling"));
        assertEquals(answer, Json.object(succeed(words)), "the same episodes and choices each time");
        words[7] = "--queries=4";
        words[6] = "--shots=2";
        Shell.refuse(List.of("label bright has 6 clips in 2 groups ([3, 3]) but an episode takes 2"), words);
    }

    @Test
    void severalHeadsAnswerByTheirNames() throws Exception {
        Path videos = videos("several", "open", "cut");
        Path verb = folder.resolve("verb.safetensors");
        Path action = folder.resolve("action.safetensors");
        succeed("learn", "--student", student, "--clips", videos, "--quiet", "--name=verb", "--out", verb);
        succeed("learn", "--student", student, "--clips", videos, "--quiet", "--out", action);
        Object[] predict = {"predict", "--student", student, "--head", verb + "," + action, "--video", video};
        for (String line : succeed(predict).lines().toList()) {
            assertTrue(line.matches(".*: verb: (cut|open) .* %; action: (cut|open) .* %"), line);
        }
        Object[] asJson = Arrays.copyOf(predict, predict.length + 1);
        asJson[predict.length] = "--json";
        Map<String, @Nullable Object> answer = Json.object(succeed(asJson));
        Map<?, ?> heads = (Map<?, ?>) requireNonNull(answer.get("heads"));
        assertEquals(List.of("verb", "action"), List.copyOf(heads.keySet()));
        Map<?, ?> main = (Map<?, ?>) requireNonNull(heads.get("verb"));
        for (String part : List.of("label", "probabilities", "clips")) {
            assertEquals(main.get(part), answer.get(part), "the first head is the main one");
        }
        Shell.refuse(
                List.of("two heads are called 'action'"),
                "predict",
                "--student",
                student,
                "--head",
                action + "," + action,
                "--video",
                video);
        Shell.refuse(
                List.of(student + " has no head of its own", "tessera learn"),
                "predict",
                "--student",
                student,
                "--video",
                video);
    }

    /** Its own metadata say what it is, so no sizes are asked for. */
    @Test
    void aPretrainedModelIsToldAsOneAndBecomesAStudent() {
        Path model = folder.resolve("rgb").resolve("model.safetensors");
        Shell.refuse(
                List.of(model + ": this is a pretraining model with a decoder, not a student", "tessera import"),
                "fewshot",
                "--student",
                model,
                "--clips",
                data);
        Path out = folder.resolve("encoder.safetensors");
        succeed("import", "--checkpoint", model, "--out", out);
        try (Student made = Student.load(out, Device.cpu())) {
            assertEquals(16, made.config().featureWidth());
            assertEquals(4, made.config().input().frames());
        }
    }

    @Test
    void aLossThatIsNoNumberEndsTheRun() {
        Path out = folder.resolve("diverged");
        Shell.Outcome outcome = Shell.run(pretraining("rgb", out, 5, "--lr=1e30"));
        assertEquals(1, outcome.code(), outcome.err());
        assertTrue(
                outcome.err()
                        .matches("tessera: error: .*the loss of step \\d is (NaN|Infinity); the last checkpoint in "
                                + Pattern.quote(out.toString()) + " is kept; lower the learning rate and start"
                                + " again.*\\R"),
                outcome.err());
        assertFalse(Files.exists(out.resolve("model.safetensors")));
    }

    @Test
    void whatIsFrozenStaysAsItIs() throws IOException {
        List<String> teachers = new ArrayList<>();
        List<Path> frozen = new ArrayList<>(List.of(student));
        for (String modality : List.of("rgb", "flow", "pose")) {
            Path model = folder.resolve(modality).resolve("model.safetensors");
            teachers.add(modality + "=" + model);
            frozen.add(model);
        }
        List<byte[]> before = new ArrayList<>();
        for (Path file : frozen) {
            before.add(Files.readAllBytes(file));
        }
        succeed(
                "distill",
                "--teachers",
                String.join(",", teachers),
                "--target",
                data,
                "--batch=4",
                "--steps=3",
                "--lr=0.1",
                "--mask-ratio=0.5",
                "--quiet",
                "--out",
                folder.resolve("again"));
        succeed(
                "fewshot",
                "--student",
                student,
                "--clips",
                data,
                "--ways=2",
                "--shots=1",
                "--episodes=2",
                "--queries=2",
                "--quiet");
        for (int i = 0; i < frozen.size(); i++) {
            assertArrayEquals(
                    before.get(i),
                    Files.readAllBytes(frozen.get(i)),
                    frozen.get(i).toString());
        }
    }

    /** On a machine without one, a GPU that is asked for is refused with the reason, by every command that has the option. */
    @Test
    void withoutAGpuEveryCommandThatAsksForOneSaysWhy() throws Exception {
        String reason = "";
        try {
            Device.cuda(0);
        } catch (IllegalArgumentException e) {
            reason = String.valueOf(e.getMessage());
        }
        assumeFalse(reason.isEmpty(), "this machine has a GPU");
        assertTrue(reason.startsWith("device cuda:0 is not available: "), reason);
        Path videos = videos("few", "one", "two");
        Path head = folder.resolve("few.safetensors");
        succeed("learn", "--student", student, "--clips", videos, "--quiet", "--out", head);
        Path clips = folder.resolve("two.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[2 * 4 * 16 * 16 * 3], 2, 4, 16, 16, 3));
        Path teacher = folder.resolve("rgb");
        Map<String, List<Object>> lines = Map.ofEntries(
                Map.entry("demo", List.of()),
                Map.entry("pretrain", List.of("--modality=rgb", "--source", data, "--target", data)),
                Map.entry("train", List.of("--modality=rgb", "--clips", data)),
                Map.entry("distill", List.of("--teachers", "rgb=" + teacher, "--target", data)),
                Map.entry("fewshot", List.of("--student", student, "--clips", data)),
                Map.entry("evaluate", List.of("--student", student, "--clips", data)),
                Map.entry("sweep", List.of("--student", student, "--clips", data)),
                Map.entry("adapt", List.of("--clips", videos)),
                Map.entry("learn", List.of("--student", student, "--clips", videos)),
                Map.entry("predict", List.of("--student", student, "--head", head, "--video", video)),
                Map.entry("features", List.of("--student", student, "--clips", clips)));
        Set<String> asking = new TreeSet<>();
        for (Class<?> command : Main.COMMANDS.values()) {
            CommandLine.Model.CommandSpec spec = new CommandLine(command).getCommandSpec();
            if (spec.findOption("--device") == null) {
                continue;
            }
            asking.add(spec.name());
            Path out = folder.resolve(spec.name().equals("features") ? "none.npy" : "none");
            List<Object> words = new ArrayList<>(List.of(spec.name(), "--device=cuda:0"));
            words.addAll(lines.getOrDefault(spec.name(), List.of()));
            if (spec.findOption("--quiet") != null) {
                words.add("--quiet");
            }
            if (spec.findOption("--out") != null) {
                words.addAll(List.of("--out", out));
            }
            Shell.refuse(List.of(reason), words.toArray());
            assertFalse(Files.exists(out), spec.name() + " wrote something");
        }
        assertEquals(new TreeSet<>(lines.keySet()), asking);
    }

    @Test
    void commandsHaveTheNamesOfTheirAnnotations() {
        List<String> annotated = Main.COMMANDS.values().stream()
                .map(command -> command.getAnnotation(CommandLine.Command.class).name())
                .toList();
        assertEquals(annotated, List.copyOf(Main.COMMANDS.keySet()));
    }
}
