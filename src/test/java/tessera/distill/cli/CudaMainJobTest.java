package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.FakeCuda;
import tessera.natives.NativeLibraries;
import tessera.tensor.TestDevices;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** The main job on a GPU by the command line, from the first stage to recognised videos, beside the same on the CPU. */
@Tag(FakeCuda.TAG)
class CudaMainJobTest {
    private static final List<String> MODALITIES = List.of("rgb", "flow", "pose");
    private static final Pattern NUMBER = Pattern.compile(":(-?\\d[-+.0-9eE]*)");

    @TempDir
    private static Path folder;

    private static Path data;
    private static Path cpu;
    private static Path gpu;

    @BeforeAll
    static void prepare() throws IOException {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        data = OwnClips.write(folder.resolve("data"), 6, "dark", "grey", "bright");
        cpu = train("cpu", "--device=cpu", "--threads=1");
        gpu = train("gpu", "--device=cuda:0");
    }

    private static Path pretrain(String modality, String place, Object... more) {
        Path out = folder.resolve(place + "-" + modality);
        run(
                more,
                "pretrain",
                "--modality",
                modality,
                "--source",
                data,
                "--target",
                data,
                "--dim=32",
                "--depth=2",
                "--heads=2",
                "--grid=2",
                "--batch=2",
                "--mask-ratio=0.5",
                "--steps=5",
                "--quiet",
                "--out",
                out);
        return out;
    }

    private static String run(Object[] more, Object... words) {
        Object[] all = Arrays.copyOf(words, words.length + more.length);
        System.arraycopy(more, 0, all, words.length, more.length);
        return succeed(all);
    }

    private static Path train(String place, Object... more) {
        List<String> teachers = new ArrayList<>();
        for (String modality : MODALITIES) {
            teachers.add(modality + "=" + pretrain(modality, place, more));
        }
        Path out = folder.resolve(place + "-student");
        run(
                more,
                "distill",
                "--teachers",
                String.join(",", teachers),
                "--target=" + data,
                "--batch=4",
                "--steps=5",
                "--mask-ratio=0.5",
                "--quiet",
                "--out",
                out);
        return out;
    }

    private static double[] losses(Path run) throws IOException {
        return metrics(run, "loss");
    }

    private static double[] metrics(Path run, String name) throws IOException {
        Pattern value = Pattern.compile("\"" + name + "\":([-+.0-9eE]+)");
        return Files.readAllLines(run.resolve("metrics.jsonl")).stream()
                .map(value::matcher)
                .filter(Matcher::find)
                .mapToDouble(m -> Double.parseDouble(m.group(1)))
                .toArray();
    }

    private static float[] features(Path student, String name, Object... more) throws IOException {
        byte[] pixels = new byte[3 * 4 * 16 * 16 * 3];
        new Random(5).nextBytes(pixels);
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", pixels, 3, 4, 16, 16, 3));
        Path out = folder.resolve(name + ".npy");
        run(
                more,
                "features",
                "--student",
                student.resolve("student.safetensors"),
                "--clips",
                clips,
                "--mask-ratio=0.5",
                "--ensemble=2",
                "--seed=7",
                "--quiet",
                "--out",
                out);
        try (Arena arena = Arena.ofConfined()) {
            return Npy.read(out, arena).floats();
        }
    }

    /** Labelled videos, of which there are two in the resources. */
    private static Path videos() throws Exception {
        Path videos = folder.resolve("videos");
        for (String name : List.of("ramp", "turned")) {
            Files.createDirectories(videos);
            Path copy = videos.resolve(name + ".mp4");
            if (!Files.exists(copy)) {
                try (InputStream video = CudaMainJobTest.class.getResourceAsStream("/video/" + name + ".mp4")) {
                    Files.copy(video, copy);
                }
            }
        }
        return videos;
    }

    private static double[] numbers(String json, String after) {
        return NUMBER.matcher(json.substring(json.indexOf(after)))
                .results()
                .mapToDouble(m -> Double.parseDouble(m.group(1)))
                .toArray();
    }

    private static double fewShotAccuracy(Object... more) {
        String json = run(
                more,
                "fewshot",
                "--student",
                gpu.resolve("student.safetensors"),
                "--clips",
                data,
                "--ways=3",
                "--shots=2",
                "--queries=3",
                "--episodes=5",
                "--mask-ratio=0.5",
                "--json",
                "--quiet");
        return numbers(json, "\"accuracy\"")[0];
    }

    /** Learns a head from the videos and recognises one of them by it; returns the probabilities of all its clips. */
    private static double[] learnAndPredict(String name, Object... more) throws Exception {
        Path videos = videos();
        Path head = folder.resolve(name + "-head.safetensors");
        Path student = gpu.resolve("student.safetensors");
        run(more, "learn", "--student", student, "--clips", videos, "--clip-seconds=1", "--quiet", "--out", head);
        Path video = videos.resolve("ramp.mp4");
        String json = run(
                more, "predict", "--student", student, "--head", head, "--video", video, "--clip-seconds=1", "--json");
        assertTrue(json.contains("\"label\":\"ramp\""), json);
        return numbers(json, "\"probabilities\"");
    }

    @Test
    void everyStageLearnsWhatItLearnsOnTheCpu() throws IOException {
        for (String modality : MODALITIES) {
            double[] expected = losses(folder.resolve("cpu-" + modality));
            assertEquals(5, expected.length);
            Close.relative(losses(folder.resolve("gpu-" + modality)), expected, 1e-4, modality);
        }
        Close.relative(losses(gpu), losses(cpu), 1e-3, "distillation");
        Close.relative(
                features(gpu, "on-gpu", "--device=cuda:0"), features(gpu, "on-cpu", "--device=cpu"), 1e-4, "features");
        Close.relative(features(gpu, "gpu", "--device=cpu"), features(cpu, "cpu", "--device=cpu"), 1e-2, "student");
    }

    /** The norm and the branches that are left out are those of the CPU, also in the steps that are replayed. */
    @Test
    void clippedTrainingWithStochasticDepthLearnsWhatItLearnsOnTheCpu() throws IOException {
        Object[] options = {"--clip-norm=0.5", "--drop-path=0.4", "--threads=1", "--device=cpu"};
        Path cpu = pretrain("flow", "clipped-cpu", options);
        options[3] = "--device=cuda:0";
        Path gpu = pretrain("flow", "clipped-gpu", options);
        Close.relative(metrics(gpu, "loss"), metrics(cpu, "loss"), 1e-4, "losses");
        double[] norms = metrics(cpu, "gradient_norm");
        assertEquals(5, norms.length);
        assertTrue(Arrays.stream(norms).max().orElseThrow() > .5, Arrays.toString(norms));
        Close.relative(metrics(gpu, "gradient_norm"), norms, 1e-3, "norms");
    }

    @Test
    void everyStageInBf16StaysNearF32() throws IOException {
        Path narrow = train("narrow", "--device=cuda:0", "--precision=bf16");
        for (String modality : MODALITIES) {
            double[] expected = losses(folder.resolve("gpu-" + modality));
            Close.relative(losses(folder.resolve("narrow-" + modality)), expected, 3e-2, modality);
        }
        Close.relative(losses(narrow), losses(gpu), 3e-2, "distillation");
    }

    @Test
    void aStudentRecognisesWhatItRecognisesOnTheCpu() throws Exception {
        Object[] half = {"--device=cuda:0", "--precision=bf16"};
        double accuracy = fewShotAccuracy("--device=cpu", "--threads=1");
        Close.within(fewShotAccuracy("--device=cuda:0"), accuracy, 1e-9, "accuracy");
        Close.within(fewShotAccuracy(half), accuracy, .1, "accuracy in bf16");
        String carrier = "/org/bytedeco/ffmpeg/" + NativeLibraries.platform() + "/ffmpeg";
        assumeTrue(CudaMainJobTest.class.getResource(carrier) != null, "no FFmpeg is carried here to read videos");
        double[] probabilities = learnAndPredict("cpu", "--device=cpu", "--threads=1");
        assertTrue(probabilities.length >= 4 * 2, "at least four clips: " + Arrays.toString(probabilities));
        Close.relative(learnAndPredict("gpu", "--device=cuda:0"), probabilities, 1e-3, "probabilities");
        Close.relative(learnAndPredict("narrow", half), probabilities, 5e-2, "probabilities in bf16");
    }

    @Test
    void twoRunsGiveTheSameBits() throws IOException {
        Path first = pretrain("pose", "first", "--device=cuda:0");
        byte[] expected = Files.readAllBytes(first.resolve("model.safetensors"));
        Path again = pretrain("pose", "again", "--device=cuda:0");
        assertArrayEquals(expected, Files.readAllBytes(again.resolve("model.safetensors")));
    }
}
