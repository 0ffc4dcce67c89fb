package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.train.HeldOut;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.tensor.Autograd;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** The second system from the command line: teachers of two architectures, and students of their class scores. */
class TrainTest {
    private static final List<String> SWIN =
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2");
    private static final List<String> VIDEOMAE =
            List.of("--arch=videomae", "--dim=16", "--depths=1", "--attention-heads=2");

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void train() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 4, "dark", "grey", "bright");
        Files.writeString(
                data.resolve("labels.csv"), "label,verb,noun\ndark,hide,wall\ngrey,hide,floor\nbright,show,wall\n");
        Shell.succeed(training("rgb", folder.resolve("rgb"), SWIN));
        Shell.succeed(training("pose", folder.resolve("pose"), VIDEOMAE));
    }

    private static Object[] training(String modality, Path out, List<String> model, String... more) {
        List<Object> words = new ArrayList<>(List.of("train", "--modality", modality, "--clips", data));
        words.addAll(List.of("--heads=verb,noun", "--hold-out=0.25"));
        return words(words, out, model, more);
    }

    private static Object[] distilling(Path out, List<String> model, String... more) {
        List<Object> words = new ArrayList<>(List.of("distill", "--clips", data, "--heads=verb,noun"));
        words.addAll(List.of("--teachers", "rgb=" + folder.resolve("rgb") + ",pose=" + folder.resolve("pose")));
        return words(words, out, model, more);
    }

    private static Object[] words(List<Object> words, Path out, List<String> model, String... more) {
        words.addAll(model);
        words.addAll(List.of("--batch=4", "--steps=3", "--threads=1", "--quiet", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    @Test
    void aTrainedModelHasItsHeads() {
        try (Student student = Student.load(folder.resolve("rgb").resolve("model.safetensors"), Device.cpu())) {
            assertEquals(
                    List.of("verb", "noun"),
                    student.heads().stream().map(Head::name).toList());
            assertEquals(
                    List.of("hide", "show"), student.labels().stream().sorted().toList());
        }
    }

    @Test
    void aStudentOfClassScoresSaysHowItWasTaught() throws IOException {
        Path out = folder.resolve("student");
        String printed = Shell.succeed(distilling(
                out,
                SWIN,
                "--beta=0.5",
                "--temperature=2",
                "--weighting=dataset",
                "--hold-out=0.25",
                "--features=pose=0.5"));
        Path file = out.resolve("student.safetensors");
        assertEquals(file + "\nalpha 1.0, beta 0.5, T 2.0, weighting dataset\n", printed);
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            String settings = String.valueOf(checkpoint.metadata().get("tessera.settings"));
            assertTrue(
                    settings.contains("\"alpha\":1.0,\"beta\":0.5,\"temperature\":2.0,\"weighting\":\"dataset\""),
                    settings);
            assertTrue(settings.contains("\"lr\":1.0E-4") && settings.contains("\"clipNorm\":5.0"), settings);
            assertTrue(settings.contains("\"teacherWeights\":{\"verb\":{\"rgb\":"), settings);
        }
        // The same command finds it finished.
        byte[] bytes = Files.readAllBytes(file);
        Shell.succeed(distilling(
                out,
                SWIN,
                "--beta=0.5",
                "--temperature=2",
                "--weighting=dataset",
                "--hold-out=0.25",
                "--features=pose=0.5"));
        assertArrayEquals(bytes, Files.readAllBytes(file));
        Shell.refuse(List.of("beta was 0.5, is 0.0", "temperature was 2.0, is 1.0"), distilling(out, SWIN));
    }

    @Test
    void aCacheAndAStartGiveTheSameAsWithout() throws IOException {
        Path start = folder.resolve("rgb").resolve("model.safetensors");
        String[] common = {"--view-count=2", "--weighting=per-sample", "--start=" + start, "--json"};
        String json = Shell.succeed(distilling(folder.resolve("plain"), SWIN, common));
        assertTrue(json.contains("\"alpha\":1.0,\"beta\":0.0,\"temperature\":1.0,\"weighting\":\"per-sample\""), json);
        List<String> cached = new ArrayList<>(List.of(common));
        cached.add("--cache=" + folder.resolve("cache"));
        Shell.succeed(distilling(folder.resolve("cached"), SWIN, cached.toArray(String[]::new)));
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("plain").resolve("student.safetensors")),
                Files.readAllBytes(folder.resolve("cached").resolve("student.safetensors")));
    }

    /** Of another number of clips others are held out; teachers may have been trained on those. */
    @Test
    void teachersAreNotWeighedByClipsThatTheyMayHaveSeen() throws IOException {
        Path more = OwnClips.write(folder.resolve("more"), 5, "dark", "grey", "bright");
        Files.copy(data.resolve("labels.csv"), more.resolve("labels.csv"));
        Object[] words = distilling(folder.resolve("others"), SWIN, "--weighting=dataset", "--hold-out=0.25");
        Object[] others = words.clone();
        Arrays.setAll(others, i -> others[i].equals(data) ? more : others[i]);
        Shell.refuse(List.of("the teacher rgb (", "left out other clips when it was trained"), others);
        Object[] held = Arrays.copyOf(others, others.length + 1);
        held[others.length] = "--held-out=" + data;
        Shell.succeed(held);
    }

    @Test
    void aMaskedStudentOfAnotherArchitecture() {
        Shell.succeed(distilling(folder.resolve("masked"), VIDEOMAE, "--mask-ratio=0.5", "--alpha=0.5"));
        assertTrue(Files.exists(folder.resolve("masked").resolve("student.safetensors")));
    }

    private static String settings(Path file) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            return String.valueOf(checkpoint.metadata().get("tessera.settings"));
        }
    }

    private static void holds(String settings, String part) {
        assertTrue(settings.contains(part), () -> "no " + part + " in " + settings);
    }

    /** Views are the published ones, and so is stochastic depth, which only Swin3D has. */
    @Test
    void viewsAndStochasticDepthAreAsPublishedUnlessOneSaysOtherwise() throws IOException {
        String published =
                "\"views\":{\"frames\":\"UNIFORM\",\"stride\":8,\"smallest\":1.15,\"largest\":1.43,\"mirror\":false,"
                        + "\"jitter\":0.25,\"hue\":0.1}";
        String swin = settings(folder.resolve("rgb").resolve("model.safetensors"));
        holds(swin, published);
        holds(swin, "\"dropPath\":0.2,");
        holds(settings(folder.resolve("pose").resolve("model.safetensors")), "\"dropPath\":0.0,");

        Path out = folder.resolve("views");
        String[] views = {"--frame-sampling=dense", "--frame-stride=2", "--scales=1,1.25", "--jitter=0.5", "--hue=0"};
        List<String> words = new ArrayList<>(List.of(views));
        words.addAll(List.of("--flip", "--frames=2", "--drop-path=0.1"));
        Shell.succeed(training("rgb", out, SWIN, words.toArray(String[]::new)));
        String other = settings(out.resolve("model.safetensors"));
        holds(
                other,
                "\"views\":{\"frames\":\"DENSE\",\"stride\":2,\"smallest\":1.0,\"largest\":1.25,\"mirror\":true,"
                        + "\"jitter\":0.5,\"hue\":0.0}");
        holds(other, "\"dropPath\":0.1,");

        Path student = folder.resolve("flipped");
        Shell.succeed(distilling(student, SWIN, "--flip"));
        holds(settings(student.resolve("student.safetensors")), published.replace("false", "true"));
        holds(settings(student.resolve("student.safetensors")), "\"dropPath\":0.2,");

        Path never = folder.resolve("never");
        Shell.refuse(List.of("--scales has 1 numbers"), training("rgb", never, SWIN, "--scales=1"));
        Shell.refuse(List.of("stride 0"), training("rgb", never, SWIN, "--frame-stride=0"));
        Shell.refuse(
                List.of("--target is for distilling features alone but --flip asks for class scores"),
                "distill",
                "--teachers=rgb=" + folder.resolve("rgb"),
                "--target=" + data,
                "--flip",
                "--out=" + never);
    }

    /** A model of sound starts as what gives the same as a public one of pictures, with the spectrogram in all three channels. */
    @Test
    void aModelOfSoundStartsFromPictures() throws IOException {
        Path sounds = folder.resolve("sounds");
        for (String label : List.of("low", "high")) {
            Path clip = Files.createDirectories(sounds.resolve("audio").resolve(label))
                    .resolve("clip.npy");
            Npy.write(clip, ArrayData.of("audio", new float[4 * 16 * 16], 4, 16, 16, 1));
        }
        Path start = folder.resolve("pictures.safetensors");
        double[] mean = {-28.1125, -28.1125, -28.1125};
        double[] std = {16.5627, 16.5627, 16.5627};
        SwinConfig config = new SwinConfig(
                new Patches(3, 2, 4, 1, mean, std),
                4,
                16,
                16,
                8,
                List.of(1, 1),
                List.of(1, 2),
                new TokenGrid(2, 2, 2),
                1e-5);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 3);
            try (SwinModel pictures = new SwinModel(params, config, 0)) {
                Map<String, Tensor> named = new LinkedHashMap<>();
                params.all().forEach((name, tensor) -> named.put("_orig_mod.backbone." + name, tensor));
                named.put("_orig_mod.classifiers.ACTION.weight", Tensor.ones(7, 16));
                named.put("_orig_mod.classifiers.ACTION.bias", Tensor.ones(7));
                Checkpoint.write(start, named, Map.of());

                Path out = folder.resolve("sound");
                List<Object> words = new ArrayList<>(List.of("train", "--modality=audio", "--clips", sounds));
                Shell.succeed(words(words, out, SWIN, "--start=" + start, "--lr=1e-30"));
                Tensor decibels = Tensor.normal(Device.cpu(), DType.F32, Shape.of(2, 4, 16, 16, 1), 1, 2, -28, 17);
                double[] expected =
                        Autograd.noGrad(() -> pictures.features(Tensor.concat(4, decibels, decibels, decibels), null)
                                .toDoubles());
                try (Student trained = Student.load(out.resolve("model.safetensors"), Device.cpu())) {
                    Tensor features = trained.features(decibels, Masking.none(), 1);
                    Close.relative(features.toDoubles(), expected, 1e-5, "features");
                }
            }
        }
        Shell.refuse(
                List.of(start + ": the file holds a model of clips of 3 channels but the model takes 21"),
                training(
                        "pose",
                        folder.resolve("never"),
                        List.of("--arch=swin3d", "--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2"),
                        "--start=" + start));
    }

    /** A model that starts from what has seen all of the clips has seen those that are held out. */
    @Test
    void whatIsHeldOutWasNotSeenBefore() throws IOException {
        Path all = folder.resolve("all");
        Shell.succeed(words(
                new ArrayList<>(List.of("train", "--modality=rgb", "--clips", data, "--heads=verb,noun")), all, SWIN));
        String start = "--start=" + all.resolve("model.safetensors");
        Shell.refuse(
                List.of("was trained on these clips without --hold-out 0.25"),
                training("rgb", folder.resolve("never"), SWIN, start));
        Shell.succeed(training(
                "rgb",
                folder.resolve("goes-on"),
                SWIN,
                "--start=" + folder.resolve("rgb").resolve("model.safetensors")));
    }

    /** Pictures are loaded with as many frames and as large as one says; arrays tell that themselves. */
    @Test
    void picturesAreLoadedAsOneSays() throws IOException {
        Path pictures = folder.resolve("pictures");
        for (String label : List.of("dark", "bright")) {
            for (int clip = 0; clip < 2; clip++) {
                Path frames = Files.createDirectories(
                        pictures.resolve("rgb").resolve(label).resolve("clip" + clip));
                for (int t = 0; t < 8; t++) {
                    BufferedImage image = new BufferedImage(40, 30, BufferedImage.TYPE_INT_RGB);
                    for (int i = 0; i < 40 * 30; i++) {
                        image.setRGB(i % 40, i / 40, (label.equals("dark") ? 0x101010 : 0x808080) + t * i);
                    }
                    ImageIO.write(
                            image,
                            "png",
                            frames.resolve("%05d.png".formatted(t)).toFile());
                }
            }
        }
        Path out = folder.resolve("of-pictures");
        List<Object> words = new ArrayList<>(List.of("train", "--modality=rgb", "--clips", pictures, "--frames=4"));
        Shell.refuse(List.of("holds 8 frames but clips have 16"), words(new ArrayList<>(words), out, SWIN));
        Shell.succeed(words(new ArrayList<>(words), out, SWIN, "--clip-frames=8", "--clip-size=24x32"));
        String printed = Shell.succeed(
                "evaluate",
                "--student=" + out.resolve("model.safetensors"),
                "--clips=" + pictures,
                "--clip-frames=8",
                "--clip-size=24x32",
                "--views=1x1,2x3",
                "--quiet");
        assertTrue(printed.contains("views 2x3") && !printed.contains("views differ"), printed);
        Shell.refuse(
                List.of("--clip-frames is 9 but the clips", "have 4 frames"),
                training("rgb", folder.resolve("never"), SWIN, "--clip-frames=9"));
        Shell.refuse(
                List.of("--clip-size is 24 x 32 but the clips"),
                training("rgb", folder.resolve("never"), SWIN, "--clip-size=24x32"));
        Shell.refuse(
                List.of("--clip-size is [24]; give height and width"),
                training("rgb", folder.resolve("never"), SWIN, "--clip-size=24"));
    }

    /** A student of two teachers of one modality, which have names of their own. */
    @Test
    void severalTeachersOfOneModality() throws IOException {
        Shell.succeed(training("rgb", folder.resolve("large"), SWIN, "--seed=7"));
        String teachers = "--teachers=small:rgb=" + folder.resolve("rgb") + ",large:rgb=" + folder.resolve("large");
        List<Object> words = new ArrayList<>(List.of("distill", "--clips", data, "--heads=verb,noun", teachers));
        words.addAll(List.of("--weighting=dataset", "--hold-out=0.25", "--features=large=0.5"));
        Path out = folder.resolve("of-two");
        Shell.succeed(words(words, out, SWIN));
        try (Checkpoint checkpoint = Checkpoint.read(out.resolve("student.safetensors"))) {
            String settings = String.valueOf(checkpoint.metadata().get("tessera.settings"));
            assertTrue(settings.matches(".*\"teacherWeights\":\\{\"verb\":\\{\"large\":[^}]*\"small\":.*"), settings);
            assertTrue(checkpoint.metadata().containsKey("tessera.teacher.large"));
            assertTrue(checkpoint.metadata().containsKey("tessera.teacher.small"));
        }
        Shell.refuse(
                List.of("--teachers names 'rgb' twice"),
                distilling(folder.resolve("never"), SWIN, "--teachers=rgb=" + folder.resolve("large")));
    }

    /** What flow is normalised with was not seen on clips that are held out. */
    @Test
    void flowIsMeasuredOnTheClipsThatAreTrainedOn() {
        Path out = folder.resolve("flow");
        Shell.succeed(training("flow", out, SWIN));
        ModalityFolders folders = ModalityFolders.open(data, Set.of(Modality.FLOW), null);
        Set<String> held = HeldOut.of(.25).names(folders.names());
        assertEquals(3, held.size());
        FlowStats rest = folders.flowStats(name -> !held.contains(name));
        assertNotEquals(folders.flowStats(), rest);
        try (Checkpoint checkpoint = Checkpoint.read(out.resolve("model.safetensors"))) {
            double[] mean =
                    SwinConfig.fromMetadata(checkpoint.metadata()).patches().mean();
            assertEquals(rest.mean(), List.of((float) mean[0], (float) mean[1]));
        }
    }

    @Test
    void wrongWordsAreRefused() {
        Path out = folder.resolve("never");
        Shell.refuse(List.of("mood"), training("rgb", out, SWIN, "--heads=mood"));
        Shell.refuse(List.of("--arch is stlt", "pass stlt for boxes"), training("rgb", out, List.of("--arch=stlt")));
        Shell.refuse(
                List.of("--attention-heads"),
                training("rgb", out, List.of("--arch=videomae", "--attention-heads=1,2")));
        Shell.refuse(List.of("--head-weights names 'mood'"), training("rgb", out, SWIN, "--head-weights=mood=1"));
        Shell.refuse(List.of("--start"), training("rgb", out, SWIN, "--start=" + folder.resolve("none")));
        Shell.refuse(List.of("share of 2.0"), distilling(out, SWIN, "--hold-out=2"));
        Shell.refuse(List.of("train needs labelled clips"), "train", "--modality=rgb", "--out", out);
        Shell.refuse(List.of("temperature"), distilling(out, SWIN, "--temperature=0"));
        Shell.refuse(List.of("that are held out but none are"), distilling(out, SWIN, "--weighting=dataset"));
        Shell.Outcome wrong = Shell.run(distilling(out, SWIN, "--weighting=best"));
        assertEquals(2, wrong.code());
        assertTrue(
                wrong.err()
                        .startsWith("tessera: error: --weighting is 'best'; pass one of uniform, dataset, per-sample"),
                wrong.err());
        Shell.refuse(
                List.of("clips are seen in another one in every epoch; pass --view-count 4"),
                distilling(out, SWIN, "--cache=" + folder.resolve("c")));
        Shell.refuse(
                List.of("--weights is for distilling features alone but --heads"),
                distilling(out, SWIN, "--weights=rgb=1"));
        assertFalse(Files.exists(out.resolve("student.safetensors")));
    }
}
