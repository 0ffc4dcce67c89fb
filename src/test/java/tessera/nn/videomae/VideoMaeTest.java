package tessera.nn.videomae;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Philox;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.DropPath;
import tessera.nn.Init;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.tensor.Autograd;
import tessera.tensor.CostMeter;
import tessera.tensor.Losses;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Sizes, costs and identities of VideoMAE that are known in advance. */
class VideoMaeTest {
    private static final Patches RGB =
            new Patches(3, 2, 16, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});
    private static final Patches FLOW = Patches.plain(2, 2, 16);
    private static final Patches POSE = Patches.plain(21, 2, 4);

    /** 2 slots of 4 x 4 tokens, width 24. */
    private static final VideoMaeConfig TOY =
            new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 16, 16, 24, 2, 3, 16, 1, 2, 1e-6, 1e-6, true, false);

    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    private static Params fresh() {
        return Params.random(Device.cpu(), DType.F32, 5);
    }

    private static Tensor clips(long batch, VideoMaeConfig config) {
        Shape shape = Shape.of(
                batch,
                config.frames(),
                config.height(),
                config.width(),
                config.patches().channels());
        return Tensor.normal(Device.cpu(), DType.F32, shape, 11, 0, 0, 1);
    }

    private static TokenMask tubes(long batch, VideoMaeConfig config, double ratio, long stream) {
        return TokenMask.tubes(Device.cpu(), batch, config.slots(), config.plane(), ratio, 3, stream);
    }

    private static long count(Map<String, Tensor> parameters, String... prefixes) {
        return parameters.entrySet().stream()
                .filter(e -> Arrays.stream(prefixes).anyMatch(e.getKey()::startsWith))
                .mapToLong(e -> e.getValue().shape().count())
                .sum();
    }

    // ------------------------------------------------------------------------------------------------------- sizes

    @Test
    void smallModelsHaveThePublishedSizes() {
        long[][] expected = {
            {21_879_936, 2_075_520, 24_108_684},
            {21_683_328, 1_976_704, 23_813_260},
            {21_548_160, 1_908_768, 23_610_156}
        };
        List<Patches> modalities = List.of(RGB, FLOW, POSE);
        for (int m = 0; m < modalities.size(); m++) {
            try (Scope each = Scope.open()) {
                Params params = fresh();
                new VideoMaePretraining(params, VideoMaeConfig.of("small", modalities.get(m)), 204);
                Map<String, Tensor> all = params.all();
                assertEquals(expected[m][0], count(all, "encoder."));
                assertEquals(expected[m][1], count(all, "decoder."));
                assertEquals(expected[m][2], count(all, ""));
                assertEquals(1_774_080, count(all, "encoder.blocks.0."));
                assertEquals(444_672, count(all, "decoder.blocks.3."));
                if (m == 0) {
                    assertEquals(24_029_376, count(all, "encoder.", "encoder_to_decoder.", "mask_token", "decoder."));
                }
            }
        }
    }

    @Test
    void threeProjectorsHaveThePublishedSize() {
        Params params = fresh();
        for (String modality : List.of("rgb", "flow", "pose")) {
            new Projector(params.at("mlp_to_" + modality), 384);
        }
        assertEquals(887_040, count(params.all(), ""));
    }

    @Test
    void theClassifierOfThreeTasksHasThePublishedSize() {
        Params params = fresh();
        new VideoMaeClassifier(params, VideoMaeConfig.of("small", RGB), 0);
        Map<String, Integer> heads = Map.of("head_action", 204, "head_verb", 33, "head_noun", 66);
        heads.forEach((name, classes) -> Linear.fanIn(params.at(name), 384, classes));
        assertEquals(21_997_359, count(params.all(), ""));
    }

    @ParameterizedTest
    @CsvSource({"0, 1568, 0", ".5, 784, 784", ".75, 392, 1176", ".9, 160, 1408"})
    void masksHaveExactCounts(double ratio, int visible, int masked) {
        VideoMaeConfig config = VideoMaeConfig.of("small", RGB);
        for (boolean tube : new boolean[] {true, false}) {
            TokenMask mask = tube
                    ? tubes(3, config, ratio, 0)
                    : TokenMask.perSlot(Device.cpu(), 3, config.slots(), config.plane(), ratio, 3, 0);
            assertEquals(visible, mask.visibleCount());
            assertEquals(masked, mask.maskedCount());
            int[] seen = mask.visible().toInts();
            int[] hidden = mask.masked().toInts();
            for (int b = 0; b < 3; b++) {
                boolean[] known = new boolean[1568];
                for (int[] list : List.of(
                        Arrays.copyOfRange(seen, b * visible, (b + 1) * visible),
                        Arrays.copyOfRange(hidden, b * masked, (b + 1) * masked))) {
                    for (int i = 0; i < list.length; i++) {
                        assertTrue(i == 0 || list[i] > list[i - 1], "ascending");
                        known[list[i]] = true;
                    }
                }
                for (boolean k : known) {
                    assertTrue(k, "every token is either visible or masked");
                }
                for (int i = 0; tube && i < visible; i++) {
                    int perSlot = visible / 8;
                    assertEquals(seen[b * visible + i % perSlot] + 196 * (i / perSlot), seen[b * visible + i]);
                }
            }
        }
    }

    @Test
    void pairsOfAnEnsembleSeeDifferentCells() {
        for (double ratio : new double[] {.5, .75, .4}) {
            int[][] seen = new int[4][];
            for (int member = 0; member < 4; member++) {
                TokenMask mask = TokenMask.ofEnsemble(Device.cpu(), 3, 2, 20, ratio, 5, member);
                seen[member] = mask.visible().toInts();
                assertEquals(2L * (20 - TokenMask.maskedCells(20, ratio)), mask.visibleCount());
                assertEquals(40, mask.visibleCount() + mask.maskedCount());
            }
            assertArrayEquals(
                    TokenMask.tubes(Device.cpu(), 3, 2, 20, ratio, 5, 2)
                            .visible()
                            .toInts(),
                    seen[2],
                    "even members");
            assertEquals(ratio >= .5, disjoint(seen[0], seen[1]) && disjoint(seen[2], seen[3]), "ratio " + ratio);
        }
    }

    /** Whether two lists of visible tokens of three samples have none in common. */
    private static boolean disjoint(int[] a, int[] b) {
        int each = a.length / 3;
        for (int i = 0; i < a.length; i++) {
            for (int j = i / each * each; j < (i / each + 1) * each; j++) {
                if (a[i] == b[j]) {
                    return false;
                }
            }
        }
        return true;
    }

    @Test
    void positionsAreSinesOfTheTokenIndex() {
        Tensor table = SinePositions.table(Device.cpu(), DType.F64, 1568, 384);
        double[] values = table.toDoubles();
        for (int j = 0; j < 384; j++) {
            assertEquals(j % 2, values[j], "row 0");
        }
        Close.within(values[384], Math.sin(1), 1e-15, "row 1, column 0");
        Close.within(values[385], Math.cos(1), 1e-15, "row 1, column 1");
        Close.within(values[384], .841471, 1e-6, "sin 1");
        Close.within(values[385], .540302, 1e-6, "cos 1");
        double angle = 1567 / Math.pow(10000, 382 / 384.0);
        Close.within(values[1567 * 384 + 382], Math.sin(angle), 1e-15, "last sine");
        Close.within(values[1567 * 384 + 383], Math.cos(angle), 1e-15, "last cosine");
    }

    /** In a model of two blocks the first stays whole; a sample that loses both branches of the second is that of one block. */
    @Test
    void dropPathLeavesOutBranchesByTheirWords() {
        VideoMaeConfig shallow =
                new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 16, 16, 24, 1, 3, 16, 1, 2, 1e-6, 1e-6, true, false);
        VideoMaeEncoder encoder = new VideoMaeEncoder(fresh().at("encoder"), TOY);
        int batch = 12;
        Tensor video = clips(batch, TOY);
        DropPath drop = new DropPath(.6, 5, 9);
        float[] whole = encoder.forward(video, null).toFloats();
        float[] first = new VideoMaeEncoder(fresh().at("encoder"), shallow)
                .forward(video, null)
                .toFloats();
        float[] actual = encoder.forward(video, null, drop).toFloats();
        int length = actual.length / batch;
        int[] kinds = new int[3];
        for (int b = 0; b < batch; b++) {
            int kept = 0;
            for (long branch = 2; branch < 4; branch++) {
                int[] words = new int[4];
                Philox.words(5, 9 + (branch << 48), b / 4, words);
                kept += Philox.uniform(words[b % 4]) >= .6f ? 1 : 0;
            }
            kinds[kept]++;
            float[] mine = Arrays.copyOfRange(actual, b * length, (b + 1) * length);
            if (kept == 0) {
                Close.relative(mine, Arrays.copyOfRange(first, b * length, (b + 1) * length), 1e-6, "sample " + b);
            } else {
                float[] one = Arrays.copyOfRange(first, b * length, (b + 1) * length);
                float[] two = Arrays.copyOfRange(whole, b * length, (b + 1) * length);
                assertFalse(Arrays.equals(mine, one) || Arrays.equals(mine, two), "sample " + b);
            }
        }
        assertTrue(kinds[0] > 0 && kinds[1] > 0, Arrays.toString(kinds));
        float[] inferred =
                Autograd.noGrad(() -> encoder.forward(video, null, drop)).toFloats();
        Close.relative(inferred, whole, 1e-6, "without recording");
        assertThrows(IllegalArgumentException.class, () -> new DropPath(1, 0, 0));
    }

    // ------------------------------------------------------------------------------------------------------- costs

    /** Multiply-adds of ViT-S on one clip of 16 frames; only visible patches are embedded. */
    @ParameterizedTest
    @CsvSource({
        "0, 33.294, 22.659, 56.878",
        ".5, 16.647, 5.665, 22.774",
        ".75, 8.324, 1.416, 9.971",
        ".9, 3.397, .236, 3.728"
    })
    void costsAreTheKnownOnes(double ratio, double linear, double attention, double total) {
        // The cost is that of the shapes: two blocks of the twelve tell the rest.
        VideoMaeConfig small = VideoMaeConfig.of("small", RGB);
        VideoMaeConfig two = new VideoMaeConfig(RGB, 16, 224, 224, 384, 2, 6, 192, 1, 3, 1e-6, 1e-6, true, false);
        VideoMaeEncoder encoder = new VideoMaeEncoder(fresh().at("encoder"), two);
        Tensor visible = ratio == 0 ? null : tubes(1, small, ratio, 0).visible();
        try (CostMeter meter = CostMeter.open()) {
            Autograd.noGrad(() -> encoder.forward(clips(1, two), visible));
            long tokens = visible == null ? 1568 : visible.size(1);
            double embedding = tokens * 1536.0 * 384;
            double linearMacs = (meter.of("linear").flops() / 2.0 - embedding) * 6;
            double attentionMacs = meter.of("attention").flops() / 2.0 * 6;
            Close.within(linearMacs / 1e9, linear, 6e-4, "linear");
            Close.within(attentionMacs / 1e9, attention, 6e-4, "attention");
            Close.within((linearMacs + attentionMacs + embedding) / 1e9, total, 1.1e-3, "total");
        }
    }

    // -------------------------------------------------------------------------------------------------- identities

    @Test
    void gatheringFirstEqualsEmbeddingFirst() {
        VideoMaeEncoder encoder = new VideoMaeEncoder(fresh().at("encoder"), TOY);
        Tensor video = clips(2, TOY);
        Tensor visible = tubes(2, TOY, .75, 0).visible();
        Tensor expected = encoder.embed(video, null).gatherRows(visible);
        Close.relative(encoder.embed(video, visible).toFloats(), expected.toFloats(), 1e-6, "embedding");
    }

    @Test
    void identicalMasksEqualOne() {
        VideoMaeClassifier model = new VideoMaeClassifier(fresh(), TOY, 0);
        Tensor once = model.encoder().embed(clips(2, TOY), tubes(2, TOY, .75, 0).visible());
        float[] expected = model.feature(model.encoder().encode(once)).toFloats();
        for (int p : new int[] {2, 4}) {
            Tensor[] passes = new Tensor[p];
            Arrays.fill(passes, once);
            Tensor features = model.feature(model.encoder().encode(Tensor.concat(0, passes))); // [P * 2, 24]
            float[] mean = features.reshape(p, 2, 24).mean(0).toFloats();
            Close.relative(mean, expected, 1e-6, "mean of " + p + " passes");
        }
    }

    @Test
    void maskingNothingEqualsNoMask() {
        VideoMaeClassifier model = new VideoMaeClassifier(fresh(), TOY, 0);
        Tensor video = clips(2, TOY);
        Tensor all = tubes(2, TOY, 0, 0).visible();
        assertArrayEquals(
                model.features(video, null).toFloats(),
                model.features(video, all).toFloats());
    }

    @Test
    void theOrderOfVisibleTokensDoesNotMatter() {
        VideoMaeClassifier model = new VideoMaeClassifier(fresh(), TOY, 0);
        Tensor video = clips(1, TOY);
        int[] visible = tubes(1, TOY, .5, 0).visible().toInts();
        int[] reversed = new int[visible.length];
        for (int i = 0; i < visible.length; i++) {
            reversed[i] = visible[visible.length - 1 - i];
        }
        float[] expected =
                model.features(video, Tensor.of(visible, 1, visible.length)).toFloats();
        float[] actual =
                model.features(video, Tensor.of(reversed, 1, visible.length)).toFloats();
        Close.relative(actual, expected, 1e-5, "feature");
    }

    @Test
    void freshFeaturesAreNormalised() {
        VideoMaeClassifier model = new VideoMaeClassifier(fresh(), TOY, 0);
        float[] feature = model.features(clips(1, TOY), null).toFloats();
        double mean = 0;
        double square = 0;
        for (float f : feature) {
            mean += f / feature.length;
            square += f * f / feature.length;
        }
        Close.within(mean, 0, 1e-5, "mean");
        Close.within(square, 1, 1e-3, "mean square");
    }

    @Test
    void knownLosses() {
        Tensor video = Tensor.normal(Device.cpu(), DType.F64, Shape.of(1, 2, 32, 32, 3), 1, 0, 0, 1);
        Tensor indices = Tensor.of(new int[] {0, 1, 3}, 1, 3);
        Tensor zero = Tensor.full(Device.cpu(), DType.F64, Shape.of(1, 3, 1536), 0);
        Patches patches = Patches.plain(3, 2, 16);
        Close.within(
                patches.reconstructionLoss(zero, video, indices, 1e-6, true).item(), 511 / 512.0, 1e-5, "zero");
        Tensor target = patches.reconstructionTarget(video, indices, 1e-6, true);
        Close.within(
                patches.reconstructionLoss(target, video, indices, 1e-6, true).item(), 0, 1e-20, "target");
        Tensor constant = Tensor.full(Device.cpu(), DType.F64, Shape.of(1, 2, 32, 32, 3), .7);
        Close.within(
                patches.reconstructionLoss(zero, constant, indices, 1e-6, true).item(), 0, 1e-12, "constant patches");
        Tensor logits = Tensor.zeros(4, 204);
        Close.within(Losses.crossEntropy(logits, Tensor.of(new int[4])).item(), Math.log(204), 1e-6, "zero logits");
    }

    @Test
    void theDecoderPredictsEveryMaskedPatch() {
        VideoMaePretraining model = new VideoMaePretraining(fresh(), TOY, 7);
        TokenMask mask = tubes(2, TOY, .75, 0);
        Tensor features = model.encode(clips(2, TOY), mask, DropPath.NONE);
        assertEquals(Shape.of(2, 8, 24), features.shape());
        assertEquals(Shape.of(2, 24, 96), model.reconstruct(features, mask).shape());
        assertEquals(Shape.of(2, 7), model.classify(features, .5, 1, 2).shape());
        VideoMaePretraining plain = new VideoMaePretraining(fresh(), TOY, 0);
        assertThrows(IllegalStateException.class, () -> plain.classify(features, 0, 0, 0));
    }

    @Test
    void packedWeightsGiveTheSameFeatures() {
        VideoMaeClassifier model = new VideoMaeClassifier(fresh(), TOY, 0);
        Tensor video = clips(2, TOY);
        float[] expected = model.features(video, null).toFloats();
        model.pack();
        Close.relative(Autograd.noGrad(() -> model.features(video, null)).toFloats(), expected, 1e-5, "features");
        model.close();
    }

    // ------------------------------------------------------------------------------------------------- checkpoints

    @Test
    void parametersDependOnSeedAndNameOnly() {
        Params one = fresh();
        new VideoMaeClassifier(one, TOY, 3);
        Params other = fresh();
        new VideoMaePretraining(other, TOY, 3);
        String name = "encoder.blocks.1.mlp.fc1.weight";
        assertArrayEquals(
                requireNonNull(one.all().get(name)).toFloats(),
                requireNonNull(other.all().get(name)).toFloats());
        float[] values = one.all().get(name).toFloats();
        double bound = Math.sqrt(6.0 / (24 + 96));
        double square = 0;
        for (float v : values) {
            assertTrue(Math.abs(v) <= bound, "within Xavier's bound");
            square += v * (double) v / values.length;
        }
        Close.within(square, bound * bound / 3, .1 * bound * bound, "variance");
    }

    @Test
    void unfittingCheckpointsAreListed() {
        Params source = fresh();
        new VideoMaeClassifier(source, TOY, 3);
        Map<String, Tensor> checkpoint = new HashMap<>(source.all());
        checkpoint.remove("fc_norm.bias");
        checkpoint.put("encoder.norm.weight", Tensor.ones(25));
        checkpoint.put("head_verb.weight", Tensor.ones(2));
        Params params = Params.from(Device.cpu(), DType.F32, checkpoint);
        new VideoMaeClassifier(params, TOY, 3);
        String message = assertThrows(CheckpointException.class, params::finish).getMessage();
        assertEquals(
                "the checkpoint does not fit the model: 1 missing (fc_norm.bias [24]); 1 misshapen"
                        + " (encoder.norm.weight is [25], needs [24]); 1 unexpected (head_verb.weight); use a checkpoint"
                        + " of this architecture or change the model's configuration",
                message);
        assertTrue(params.all().values().stream().allMatch(Tensor::isClosed));
        assertThrows(IllegalStateException.class, () -> {
            Params twice = fresh();
            twice.get("weight", Init.constant(0), 1);
            twice.get("weight", Init.constant(0), 1);
        });
    }

    @Test
    void checkpointsComeBack(@TempDir Path folder) {
        Params params = fresh();
        new VideoMaeClassifier(params, TOY, 3);
        Path file = folder.resolve("model.safetensors");
        Checkpoint.write(file, params.all(), TOY.toMetadata());
        try (Checkpoint read = Checkpoint.read(file)) {
            VideoMaeConfig config = VideoMaeConfig.fromMetadata(read.metadata());
            assertEquals(TOY.toMetadata(), config.toMetadata());
            Params loaded = Params.from(Device.cpu(), DType.F32, read.tensors());
            new VideoMaeClassifier(loaded, config, 3);
            loaded.finish();
            params.all()
                    .forEach((name, tensor) -> assertArrayEquals(
                            tensor.toFloats(),
                            requireNonNull(loaded.all().get(name)).toFloats(),
                            name));
        }
        Map<String, String> broken = new HashMap<>(TOY.toMetadata());
        broken.put("tessera.depth", "many");
        assertThrows(CheckpointException.class, () -> VideoMaeConfig.fromMetadata(broken));
        broken.remove("tessera.depth");
        assertThrows(CheckpointException.class, () -> VideoMaeConfig.fromMetadata(broken));
    }

    @Test
    void publicNamesAreUnderstood() {
        Tensor x = Tensor.ones(1);
        Map<String, Tensor> wrapped = Map.of("_forward_module.model.encoder.patch_embed.proj.weight", x);
        assertEquals(
                List.of("encoder.patch_embed.proj.weight"),
                names(VideoMaeNames.translate(wrapped).keySet()));
        Map<String, Tensor> tuned = new LinkedHashMap<>();
        tuned.put("patch_embed.proj.weight", x);
        tuned.put("fc_norm.bias", x);
        assertEquals(
                List.of("encoder.patch_embed.proj.weight", "fc_norm.bias"),
                names(VideoMaeNames.translate(tuned).keySet()));
        Map<String, Tensor> partial = Map.of("videomae.encoder.layer.0.attention.attention.query.weight", x);
        assertThrows(CheckpointException.class, () -> VideoMaeNames.translate(partial));
    }

    /** Every weight of the small model under the four public namings, behind every mix of what is put around models. */
    @ParameterizedTest
    @ValueSource(
            strings = {"", "module.", "_orig_mod.", "model.", "module._orig_mod.model.", "model.module.", "teacher.net."
            })
    void everyPrefixStandsBeforeEveryNaming(String prefix) {
        List<String> original = new ArrayList<>(List.of("patch_embed.proj.weight", "patch_embed.proj.bias"));
        for (String rest : List.of(
                "attn.qkv.weight", "attn.q_bias", "attn.v_bias", "attn.proj.weight", "norm1.bias", "mlp.fc2.weight")) {
            original.add("blocks.1." + rest);
        }
        original.add("norm.weight");
        List<String> expected =
                original.stream().map(name -> "encoder." + name).sorted().toList();
        List<String> huggingFace = new ArrayList<>(List.of(
                "embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias"));
        for (String rest : List.of(
                "attention.attention.query.weight",
                "attention.attention.key.weight",
                "attention.attention.value.weight",
                "attention.output.dense.weight",
                "layernorm_before.bias",
                "output.dense.weight")) {
            huggingFace.add("encoder.layer.1." + rest);
        }
        huggingFace.add("layernorm.weight");
        String attention = "encoder.layer.1.attention.attention.";
        List<String> older = List.of(attention + "q_bias", attention + "v_bias");
        List<String> newer = List.of(attention + "query.bias", attention + "value.bias");
        try (Scope scope = Scope.open()) {
            for (String inner : List.of("", "encoder.")) {
                assertEquals(expected, translated(prefix + inner, original, List.of()));
            }
            for (String inner : List.of("", "videomae.")) {
                assertEquals(expected, translated(prefix + inner, huggingFace, older));
                assertEquals(expected, translated(prefix + inner, huggingFace, newer));
            }
        }
    }

    private static List<String> translated(String prefix, List<String> names, List<String> more) {
        Map<String, Tensor> checkpoint = new LinkedHashMap<>();
        Stream.concat(names.stream(), more.stream()).forEach(name -> checkpoint.put(prefix + name, Tensor.ones(1)));
        checkpoint.put("train_metric.total", Tensor.ones(1));
        Set<String> translated =
                new TreeSet<>(VideoMaeNames.translate(checkpoint).keySet());
        assertTrue(translated.remove("train_metric.total"), translated::toString);
        return List.copyOf(translated);
    }

    @Test
    void prefixesWithinANameAndHalfOfTheNamesAreTakenToo() {
        Tensor x = Tensor.ones(1);
        Map<String, Tensor> mixed = new LinkedHashMap<>();
        mixed.put("module.encoder._orig_mod.patch_embed.proj.weight", x);
        mixed.put("encoder.blocks.0._orig_mod.norm1.weight", x);
        mixed.put("model.head.weight", x);
        assertEquals(
                List.of("encoder.blocks.0.norm1.weight", "encoder.patch_embed.proj.weight", "head.weight"),
                names(VideoMaeNames.translate(mixed).keySet()));
        Map<String, Tensor> pretrained = new LinkedHashMap<>();
        pretrained.put("model.videomae.embeddings.patch_embeddings.projection.weight", x);
        pretrained.put("model.decoder.decoder_layers.0.layernorm_after.bias", x);
        assertEquals(
                List.of("decoder.blocks.0.norm2.bias", "encoder.patch_embed.proj.weight"),
                names(VideoMaeNames.translate(pretrained).keySet()));
    }

    @Test
    void severalModelsInOneFileAreTold() {
        Tensor x = Tensor.ones(1);
        Map<String, Tensor> two = Map.of("student.patch_embed.proj.weight", x, "flow.patch_embed.proj.weight", x);
        String message = requireNonNull(assertThrows(CheckpointException.class, () -> VideoMaeNames.translate(two))
                .getMessage());
        assertTrue(message.contains("holds 2 models, under flow. and student."), message);
        Map<String, Tensor> twice = Map.of("module.norm.weight", x, "norm.weight", x);
        assertThrows(CheckpointException.class, () -> VideoMaeNames.translate(twice));
    }

    private static List<String> names(Collection<String> keys) {
        return keys.stream().sorted().toList();
    }
}
