package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.evaluation.Gflops;
import tessera.distill.report.Json;
import tessera.kernels.Device;
import tessera.nn.TokenReduction;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** Commands that compute fewer tokens than the masks leave visible. */
class ReductionCommandsTest {
    private static final int CLIP = 4 * 32 * 32 * 3;

    @TempDir
    private static Path folder;

    private static Path student;
    /** Two clips: one that stands still, one of which nothing repeats. */
    private static byte[] pixels;

    private static Path clips;

    @BeforeAll
    static void make() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        pixels = new byte[2 * CLIP];
        new Random(3).nextBytes(pixels);
        System.arraycopy(pixels, 0, pixels, CLIP / 2, CLIP / 2);
        clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", pixels, 2, 4, 32, 32, 3));
    }

    private static Object[] features(Path out, Object... more) {
        List<Object> words = new ArrayList<>(List.of("features", "--student", student, "--clips", clips, "--quiet"));
        words.addAll(List.of("--mask-ratio=0", "--ensemble=1", "--device=cpu", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static float[] read(Path file) throws IOException {
        try (SafetensorsFile features = Safetensors.open(file)) {
            return features.floats("features");
        }
    }

    @Test
    void featuresOfMergedTokensAreTheLibrarys() throws IOException {
        Path out = folder.resolve("merged.safetensors");
        Object reduced =
                Json.object(succeed(features(out, "--merge=4", "--json"))).get("reduced");
        try (Scope scope = Scope.open();
                Student loaded = Student.load(student, Device.cpu())) {
            Masking masking = Masking.none().withReduction(TokenReduction.merging(4));
            assertArrayEquals(
                    loaded.features(Tensor.of(pixels, 2, 4, 32, 32, 3), masking, 1)
                            .toFloats(),
                    read(out));
            Close.within(number(reduced, "gflops"), Gflops.of(loaded, masking).all(), 1e-9, "GFLOPs");
            Close.within(
                    number(reduced, "gflopsOfAllTokens"),
                    Gflops.of(loaded, Masking.none()).all(),
                    1e-9,
                    "GFLOPs of all tokens");
        }
        assertTrue(number(reduced, "tokens") > .8 && number(reduced, "tokens") < 1);
    }

    /** Of the clip that stands still one slot of two is computed, of the other both. */
    @Test
    void runLengthsTellWhatWasComputed() {
        String text = succeed(features(folder.resolve("runs.safetensors"), "--run-length=0"));
        assertTrue(
                text.matches("(?s).*: f32\\[1, 2, 64\\]\\R  run length 0\\.0: 75\\.0 % of the tokens computed, "
                        + "[\\d.]+ GFLOPs a clip instead of [\\d.]+\\R"),
                text);
        assertEquals(
                null,
                Json.object(succeed(features(folder.resolve("plain.safetensors"), "--json")))
                        .get("reduced"));
    }

    @Test
    void videosAreRecognisedSo() throws Exception {
        Path video = Path.of(CommandsTest.class.getResource("/video/ramp.mp4").toURI());
        Path videos = Files.createDirectories(folder.resolve("videos"));
        Files.copy(video, videos.resolve("one.mp4"));
        Files.copy(video, videos.resolve("two.mp4"));
        Path head = folder.resolve("head.safetensors");
        String learned =
                succeed("learn", "--student", student, "--clips", videos, "--quiet", "--merge=2", "--out", head);
        assertTrue(learned.contains("  pooling mean, "), learned);
        assertTrue(learned.contains("  merging 2: "), learned);
        String told = succeed(
                "predict",
                "--student",
                student,
                "--head",
                head,
                "--video",
                video,
                "--run-length=300",
                "--token-sizes=mean",
                "--mask-ratio=0.5",
                "--ensemble=1");
        // With a threshold that no difference reaches, each clip is its first slot.
        assertTrue(told.contains("  run length 300.0, sizes mean: 50.0 % of the tokens computed, "), told);
    }

    @Test
    void studentsAreJudgedSo() throws IOException {
        Path data = folder.resolve("data");
        for (String label : List.of("open", "cut", "pour")) {
            for (int i = 0; i < 3; i++) {
                byte[] clip = new byte[CLIP];
                new Random(label.hashCode() + i).nextBytes(clip);
                if (i == 0) {
                    System.arraycopy(clip, 0, clip, CLIP / 2, CLIP / 2);
                }
                Path of = Files.createDirectories(data.resolve("rgb").resolve(label));
                Npy.write(of.resolve(i + ".npy"), ArrayData.of("rgb", clip, 4, 32, 32, 3));
            }
        }
        Object[] evaluate = {
            "evaluate", "--student", student, "--clips", data, "--mask-ratio=0", "--ensemble=1", "--quiet", "--merge=2"
        };
        String merged = succeed(evaluate);
        assertTrue(merged.contains(": 9 clips, mask ratio 0.0, ensemble 1, merging 2\n"), merged);
        double whole = number(
                Json.object(succeed(features(folder.resolve("any.safetensors"), "--merge=1", "--json")))
                        .get("reduced"),
                "gflopsOfAllTokens");
        evaluate[8] = "--run-length=0";
        Object[] words = Arrays.copyOf(evaluate, 10);
        words[9] = "--json";
        Map<String, @Nullable Object> answer = Json.object(succeed(words));
        assertEquals("run length 0.0", answer.get("reduction"));
        Object looked = ((List<?>) requireNonNull(answer.get("looked"))).getFirst();
        double gflops = number(looked, "gflops");
        // A third of the clips has half of the tokens, whose attention costs a quarter.
        assertTrue(gflops > .7 * whole && gflops < .85 * whole, gflops + " of " + whole);
        String few = succeed(
                "fewshot",
                "--student",
                student,
                "--clips",
                data,
                "--ways=2",
                "--shots=1",
                "--queries=2",
                "--episodes=3",
                "--mask-ratio=0",
                "--ensemble=1",
                "--run-length=0",
                "--quiet");
        assertTrue(few.contains("\n  run length 0.0: 83.3 % of the tokens computed, "), few);
    }

    @Test
    void whatCannotBeReducedIsRefused() {
        Path out = folder.resolve("refused.safetensors");
        Shell.refuse(List.of("token merging takes away -1 tokens a block"), features(out, "--merge=-1"));
        Shell.refuse(List.of("the run length's threshold is -1.0"), features(out, "--run-length=-1"));
        Shell.refuse(List.of("at once; pass one of them"), features(out, "--run-length=1", "--merge=1"));
        Shell.refuse(
                List.of("--token-sizes is for tokens that stand for several"), features(out, "--token-sizes=mean"));
        Shell.refuse(
                List.of("merging 1 forgets where tokens lie, which the pooling grid:2 asks for; pool by mean"),
                features(out, "--merge=1", "--pooling=grid:2"));
        assertTrue(Files.notExists(out));
    }
}
