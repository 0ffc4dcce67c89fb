package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.swin.SwinNames;
import tessera.nn.videomae.SinePositions;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Fine-tuned models under names that others' programs give them: the same students, byte for byte, or what is left is told. */
class ImportNamesTest {
    private static final int WIDTH = 128;
    private static final int TOKENS = 4 * 4 * 4;

    @TempDir
    private Path folder;

    private final Scope scope = Scope.open();

    @AfterEach
    void close() {
        scope.close();
    }

    /** Under the names of the original code. */
    private static Map<String, Tensor> videoMae() {
        VideoMaeConfig config =
                new VideoMaeConfig(Patches.plain(3, 2, 8), 8, 32, 32, WIDTH, 2, 2, 64, 1, 1, 1e-6, 1e-6, false, false);
        Params params = Params.random(Device.cpu(), DType.F32, 3);
        new VideoMaeClassifier(params, config, 5).close();
        return renamed(params.all(), name -> name.replaceFirst("^encoder\\.", ""));
    }

    /** Under those of torchvision. */
    private Map<String, Tensor> swin() {
        SwinConfig config = new SwinConfig(
                Patches.plain(3, 2, 4), 8, 32, 32, 24, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
        Params params = Params.random(Device.cpu(), DType.F32, 4);
        new SwinModel(params, config, 5).close();
        Path file = folder.resolve("torchvision.safetensors");
        SwinNames.writeForTorchvision(file, params.all(), config);
        return Checkpoint.read(file).tensors();
    }

    private static Map<String, Tensor> renamed(Map<String, Tensor> weights, UnaryOperator<String> rule) {
        Map<String, Tensor> named = new LinkedHashMap<>();
        weights.forEach((name, tensor) -> named.put(rule.apply(name), tensor));
        return named;
    }

    private Object[] words(Map<String, Tensor> weights, String... more) {
        Path file = folder.resolve("model.safetensors");
        Checkpoint.write(file, weights, Map.of("format", "pt"));
        List<Object> words =
                new ArrayList<>(List.of("import", "--checkpoint", file, "--frames=8", "--pixels=32", "--out", out()));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private Path out() {
        return folder.resolve("student.safetensors");
    }

    private byte[] imported(Map<String, Tensor> weights, String... more) throws IOException {
        String told = Shell.succeed(words(weights, more));
        assertTrue(told.contains("head action: 5 classes"), told);
        assertFalse(told.contains("left, as"), told);
        return Files.readAllBytes(out());
    }

    private static String openMmlab(String name) {
        return name.startsWith("head.")
                ? name.replace("head.", "cls_head.fc_cls.")
                : "backbone."
                        + name.replace("patch_embed.proj.", "patch_embed.projection.")
                                .replace("mlp.fc1.", "mlp.layers.0.0.")
                                .replace("mlp.fc2.", "mlp.layers.1.");
    }

    /** Whose table of sines is a buffer, which is in the file too. */
    @Test
    void openMmlabsVideoMaeIsTheOriginalCodes() throws IOException {
        byte[] expected = imported(videoMae());
        Map<String, Tensor> named = renamed(videoMae(), ImportNamesTest::openMmlab);
        assertTrue(named.containsKey("backbone.blocks.1.mlp.layers.0.0.weight"));
        Tensor sines = SinePositions.table(Device.cpu(), DType.F32, TOKENS, WIDTH);
        named.put("backbone.pos_embed", sines.reshape(1, TOKENS, WIDTH));
        assertArrayEquals(expected, imported(named));

        named.put("backbone.pos_embed", sines.add(.1).reshape(1, TOKENS, WIDTH));
        Shell.refuse(List.of("it has learned positions (pos_embed", "models here have sines"), words(named));

        Map<String, Tensor> two = new LinkedHashMap<>(renamed(named, name -> "first." + name));
        two.putAll(renamed(named, name -> "second." + name));
        Shell.refuse(List.of("it holds 2 models", "first (a model of 3 channels, width 128), second ("), words(two));
    }

    @ParameterizedTest
    @ValueSource(strings = {"net.", "module.video_encoder.", "model.backbone.model."})
    void itDoesNotMatterWhatHoldsTheModel(String prefix) throws IOException {
        for (Map<String, Tensor> weights : List.of(videoMae(), swin())) {
            assertArrayEquals(imported(weights), imported(renamed(weights, name -> prefix + name)), prefix);
        }
    }

    @Test
    void aLinearLayerBehindADropoutIsAHead() throws IOException {
        for (Map<String, Tensor> weights : List.of(videoMae(), swin())) {
            byte[] expected = imported(weights);
            assertArrayEquals(expected, imported(renamed(weights, name -> name.replaceFirst("^head\\.", "head.1."))));
        }
    }

    @Test
    void whatAStudentHasNoPlaceForIsTold() {
        for (Map<String, Tensor> weights : List.of(videoMae(), swin())) {
            Map<String, Tensor> named = renamed(weights, name -> name.replaceFirst("^head\\.", "head.0."));
            named.put("head.3.weight", Tensor.ones(4, 5));
            named.put("head.3.bias", Tensor.ones(4));
            named.put("mask_token", Tensor.ones(1, 1, 64));
            named.put("queue", Tensor.ones(8));
            String told = Shell.succeed(words(named));
            String left = "note: left, as a student has no place for it: ";
            assertTrue(told.contains(left) && told.contains(" and 1 more"), told);
            assertTrue(told.contains("head.0.weight") && !told.contains("mask_token"), told);
            try (Student student = Student.load(out(), Device.cpu())) {
                assertEquals(List.of(), student.heads());
            }
        }
    }

    /** Of which one would be taken without a word. */
    @Test
    void twoWeightsOfOneNameAreRefused() {
        for (Map<String, Tensor> weights : List.of(videoMae(), swin())) {
            String name = weights.containsKey("fc_norm.weight") ? "fc_norm.weight" : "norm.weight";
            weights.put(
                    "module." + name,
                    Tensor.zeros(requireNonNull(weights.get(name)).size(0)));
            Shell.refuse(List.of("holds the weight " + name + " twice, under different prefixes"), words(weights));
        }
    }

    /** VideoMAE V2's ViT-g, whose width is a multiple of 64 and whose heads have 88 values. */
    @Test
    void theGiantsSixteenHeadsAreTaken() {
        VideoMaeConfig config = new VideoMaeConfig(
                Patches.plain(3, 2, 14), 2, 224, 224, 1408, 1, 16, 704, 1, 8, 1e-6, 1e-6, false, false, true, 16);
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, config, 5).close();
        Path file = folder.resolve("giant.safetensors");
        Checkpoint.write(file, params.all(), Map.of());
        Shell.succeed("import", "--checkpoint", file, "--frames=2", "--out", out());
        try (Student student = Student.load(out(), Device.cpu())) {
            VideoMaeConfig read = (VideoMaeConfig) student.config();
            assertEquals(16, read.heads());
            assertEquals(224, read.width());
            assertEquals(16, read.mlpDim());
        }
    }

    private static Map<String, Tensor> twice(Map<String, Tensor> weights) {
        Map<String, Tensor> doubled = new LinkedHashMap<>(weights);
        doubled.replaceAll((name, tensor) -> tensor.dtype() == DType.F32 ? tensor.mul(2) : tensor);
        return doubled;
    }

    /** The moving average of a model's weights, which some programs keep beside it. */
    @ParameterizedTest
    @ValueSource(strings = {"ema", "model_ema", "module"})
    void aModelAndItsAverageAreBothNamed(String name) throws IOException {
        for (Map<String, Tensor> weights : List.of(videoMae(), swin())) {
            byte[] plain = imported(weights);
            byte[] average = imported(twice(weights));
            assertFalse(Arrays.equals(plain, average));
            Map<String, Tensor> both = new LinkedHashMap<>(weights);
            both.putAll(renamed(twice(weights), each -> name + "." + each));
            int width = weights.containsKey("fc_norm.weight") ? WIDTH : 24;
            String what = " (a model of 3 channels, width " + width + ")";
            Shell.refuse(
                    List.of("it holds 2 models; pass --prefix with one of them: ", " ." + what, " " + name + what),
                    words(both));
            assertArrayEquals(plain, imported(both, "--prefix=."));
            assertArrayEquals(average, imported(both, "--prefix=" + name));
        }
    }

    @Test
    void aDotIsForAModelWithoutAName() {
        Map<String, Tensor> named = renamed(videoMae(), name -> "net." + name);
        Shell.refuse(
                List.of("--prefix is . but no model is without a name; inside are net (a model of 3"),
                words(named, "--prefix=."));
        Shell.refuse(List.of("--prefix is empty but no model"), words(named, "--prefix="));
    }

    @ParameterizedTest
    @CsvSource({
        "vision_encoder.transformer.resblocks.0.attn.in_proj_weight, a CLIP of videos",
        "vivit.embeddings.cls_token, a ViViT or TimeSformer",
        "model.time_embed, a ViViT or TimeSformer",
        "blocks.0.ls1.gamma, whose blocks are scaled (InternVideo2",
        "module.encoder.blocks.1.gamma_1, whose blocks are scaled",
        "pos_embed_spatial, learned positions of space and time",
        "module.backbone.blocks.0.attn.qkv.bias, 'queries, keys and values'",
        "backbone.layers.0.mixer.A_log, a state space model",
        "register_tokens, changes what its blocks see",
        "embeddings.position_embeddings, changes what its blocks see",
        "norm_pre.weight, changes what its blocks see",
    })
    void otherModelsAreRefusedByName(String weight, String what) {
        Map<String, Tensor> weights = videoMae();
        weights.put(weight, Tensor.ones(WIDTH));
        Shell.refuse(List.of(weight, what, "models here are VideoMAE (also V2, MVD and UMT)"), words(weights));
        assertFalse(Files.exists(out()));
    }

    /** A ViT of pictures, and a Swin with positions. */
    @Test
    void aModelOfSinglePicturesIsRefused() {
        Map<String, Tensor> weights = videoMae();
        weights.put("patch_embed.proj.weight", Tensor.ones(WIDTH, 3, 8, 8));
        Shell.refuse(
                List.of("there is no patch embedding", "but f32[128, 3, 8, 8], that of a model of single pictures"),
                words(weights));
        Map<String, Tensor> swin = swin();
        swin.put("absolute_pos_embed", Tensor.ones(1, 64, 24));
        Shell.refuse(List.of("it has absolute_pos_embed, which changes"), words(swin));
    }

    /** Unmasked Teacher: a VideoMAE whose patches have one frame, of 8 frames, with as many positions. */
    @Test
    void patchesOfOneFrameAreUmts() throws IOException {
        VideoMaeConfig config =
                new VideoMaeConfig(Patches.plain(3, 1, 8), 8, 32, 32, WIDTH, 2, 2, 64, 1, 1, 1e-6, 1e-6, false, false);
        Params params = Params.random(Device.cpu(), DType.F32, 6);
        new VideoMaeClassifier(params, config, 5).close();
        Path file = folder.resolve("umt.safetensors");
        Checkpoint.write(file, renamed(params.all(), name -> name.replaceFirst("^encoder\\.", "")), Map.of());
        Shell.succeed("import", "--checkpoint", file, "--pixels=32", "--out", out());
        try (Student student = Student.load(out(), Device.cpu())) {
            assertEquals(8, student.config().input().frames());
            assertEquals(1, ((VideoMaeConfig) student.config()).patches().tubelet());
        }
    }
}
