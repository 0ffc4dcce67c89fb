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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** {@code tessera import} of fine-tuned models as they are published: with their head, its labels and what a config.json says. */
class ImportPublishedTest {
    private static final Golden CLASSIFIER = Golden.open("hf-videomae-classify");
    private static final String TEN = IntStream.range(0, 10)
            .mapToObj(i -> "\"" + (9 - i) + "\": \"class \\u00e9" + (9 - i) + "\"")
            .collect(Collectors.joining(", "));

    @TempDir
    private Path folder;

    private Path file = Path.of("");
    private Path out = Path.of("");

    @BeforeEach
    void places() {
        file = folder.resolve("model.safetensors");
        out = folder.resolve("student.safetensors");
    }

    private static String config(String... changes) {
        String text = requireNonNull(CLASSIFIER.metadata().get("config"));
        text = text.replaceAll("\"id2label\": \\{[^}]*\\}", Matcher.quoteReplacement("\"id2label\": {" + TEN + "}"));
        for (int i = 0; i < changes.length; i += 2) {
            assertTrue(text.contains(changes[i]), changes[i]);
            text = text.replace(changes[i], changes[i + 1]);
        }
        return text;
    }

    private static Map<String, Tensor> huggingFace() {
        return GoldenTensors.below(CLASSIFIER, "param.", DType.F32);
    }

    private void write(Map<String, Tensor> weights) {
        Checkpoint.write(file, weights, Map.of("format", "pt"));
    }

    /** What the processor saw before normalising, 0 to 255. */
    private static Tensor pixels(Golden golden) {
        Tensor video = GoldenTensors.tensor(golden, "input.pixel_values_BTCHW", DType.F32);
        Tensor mean = Tensor.of(new float[] {.485f, .456f, .406f}, 3, 1, 1);
        Tensor std = Tensor.of(new float[] {.229f, .224f, .225f}, 3, 1, 1);
        return video.mul(std).add(mean).mul(255).permute(0, 1, 3, 4, 2).contiguous();
    }

    /** transformers' own class scores, to which sizes, epsilons, pooling, head and labels must all be right. */
    @Test
    void aFineTunedModelNamesItsClassesAsTransformersDoes() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Files.writeString(folder.resolve("config.json"), config());
            Shell.succeed("import", "--checkpoint", file, "--out", out);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals("class \u00e90", student.labels().getFirst());
                assertEquals("class \u00e99", student.labels().getLast());
                VideoMaeConfig read = (VideoMaeConfig) student.config();
                assertEquals(8, read.frames());
                assertEquals(32, read.width());
                assertEquals(4, read.heads());
                assertEquals(1e-6, read.layerNormEps());
                assertEquals(1e-5, read.outputNormEps());
                assertFalse(read.encoderNorm());
                Tensor scores = student.logits(pixels(CLASSIFIER), Masking.none(), 1);
                Close.relative(scores.toDoubles(), CLASSIFIER.doubles("out.logits"), 1e-5, "scores");
                Tensor masked = student.predict(pixels(CLASSIFIER), Masking.of(.5, 2), 1);
                Close.within(masked.sum(1).toDoubles()[1], 1, 1e-5, "a masked answer");
            }
        }
    }

    @Test
    void labelsAreLinesOfAFileOrNumbers() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Path config = Files.writeString(
                    Files.createDirectory(folder.resolve("elsewhere")).resolve("some.json"), config());
            Path lines = Files.writeString(
                    folder.resolve("labels.txt"), "\uFEFFa\r\nb, c\n\"d\"\ne\nf\ng\ng\nh\ni\n\u00fc \n\n");
            Shell.succeed("import", "--checkpoint", file, "--config", config, "--labels", lines, "--out", out);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(
                        List.of("a", "b, c", "\"d\"", "e", "f", "g", "g (6)", "h", "i", "\u00fc"), student.labels());
            }
            Files.writeString(config, config("\"id2label\"", "\"none\"", "\"label2id\"", "\"neither\""));
            String told = Shell.succeed("import", "--checkpoint", file, "--config", config, "--out", out);
            assertTrue(told.contains("--labels"), told);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(List.of("0", "1", "2"), student.labels().subList(0, 3));
            }
            Files.writeString(lines, "a\nb\n");
            Shell.refuse(
                    List.of(lines.toString(), "2 classes", "has 10"), words("--config", config, "--labels", lines));
            Files.writeString(lines, "a\n\nb\n");
            Shell.refuse(List.of(lines.toString(), "line 2 is empty"), words("--config", config, "--labels", lines));
            Files.writeString(config, config("\"3\": ", "\"13\": "));
            Shell.refuse(List.of(config.toString(), "none of them is 3"), words("--config", config));
        }
    }

    /** A folder, which may be of shards, has its config.json in it. */
    @Test
    void aFolderBringsItsConfig() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Files.writeString(folder.resolve("config.json"), "\uFEFF" + config());
            Shell.succeed(words());
            byte[] expected = Files.readAllBytes(out);
            Files.delete(out);
            Shell.succeed("import", "--checkpoint", folder, "--out", out);
            assertArrayEquals(expected, Files.readAllBytes(out));
        }
    }

    /** Of any text, also none. */
    @Test
    void labelsOfAConfigAreTakenAsTheyAre() throws IOException {
        String numbered = "\"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Files.writeString(
                    folder.resolve("config.json"),
                    config().replaceAll(
                                    "\"id2label\": \\{[^}]*\\}",
                                    Matcher.quoteReplacement("\"id2label\": [\"a\\ud800\", null, \" \", " + numbered)));
            Shell.succeed(words());
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(List.of("a\ud800", "1", "2", "3"), student.labels().subList(0, 4));
            }
            String json = Shell.succeed("inspect", out, "--json");
            assertTrue(json.contains("a\\\\ud800"), json); // an escape within the text of the entry
            Files.writeString(
                    folder.resolve("config.json"),
                    config().replaceAll(
                                    "\"id2label\": \\{[^}]*\\}",
                                    Matcher.quoteReplacement("\"id2label\": [\"a\", \"a (2)\", \"a\", " + numbered)));
            Shell.succeed(words());
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(List.of("a", "a (2)", "a (12)"), student.labels().subList(0, 3));
            }
            Files.writeString(
                    folder.resolve("config.json"),
                    config().replaceAll(
                                    "\"id2label\": \\{[^}]*\\}",
                                    Matcher.quoteReplacement(
                                            "\"id2label\": [{\"name\": \"a\"}, \"b\", \"c\", " + numbered)));
            Shell.refuse(List.of("config.json: it says of class 0 {name=a}, which is no name"), words());
        }
    }

    private void refusedWith(String name, UnaryOperator<Tensor> change, String... parts) {
        Map<String, Tensor> weights = new LinkedHashMap<>(huggingFace());
        assertTrue(weights.containsKey(name), name);
        weights.compute(name, (key, weight) -> change.apply(requireNonNull(weight)));
        write(weights);
        List<String> expected = new ArrayList<>(List.of(file.toString()));
        expected.addAll(List.of(parts));
        Shell.refuse(expected, words());
        assertFalse(Files.exists(out));
    }

    @Test
    void weightsThatCannotBeAreNamed() throws IOException {
        String query = "videomae.encoder.layer.1.attention.attention.query.weight";
        String needed = "all three must be floats [width, width]";
        try (Scope scope = Scope.open()) {
            Files.writeString(folder.resolve("config.json"), config());
            refusedWith(query, weight -> weight.mul(Float.NaN), "encoder.blocks.1.attn.qkv.weight holds NaN");
            refusedWith("classifier.bias", weight -> weight.add(Float.POSITIVE_INFINITY), "bias holds Infinity");
            refusedWith(query, weight -> Tensor.of(new int[64 * 64]).reshape(64, 64), "query i32[64, 64]", needed);
            refusedWith(query, weight -> weight.reshape(64 * 64), "query f32[4096], key f32[64, 64]", needed);
            Map<String, Tensor> weights = new LinkedHashMap<>(huggingFace());
            weights.remove(query);
            write(weights);
            Shell.refuse(List.of("encoder.blocks.1.attn.qkv.weight are query missing, key f32[64, 64]"), words());
            write(huggingFace());
            Files.writeString(folder.resolve("config.json"), config("_pooling\": true", "_pooling\": false"));
            Shell.refuse(List.of("use_mean_pooling is false but the weights have fc_norm"), words());
        }
    }

    /** By whatever option it is read. */
    @Test
    void noInputIsReplaced() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Path config = Files.writeString(folder.resolve("config.json"), config());
            Path lines = Files.writeString(folder.resolve("labels.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
            String before = Files.readString(lines);
            for (String given : List.of(lines.toString(), "action=" + lines)) {
                Shell.refuse(
                        List.of("--out " + lines + " is the input of --labels"),
                        "import",
                        "--checkpoint",
                        file,
                        "--labels",
                        given,
                        "--out",
                        lines);
            }
            Shell.refuse(
                    List.of("--out " + config + " is the input of --config"),
                    "import",
                    "--checkpoint",
                    file,
                    "--out",
                    config);
            assertEquals(before, Files.readString(lines));
            assertEquals(config(), Files.readString(config));
        }
    }

    /** To open a pipe would wait for its reader; a device would be replaced by a file. */
    @Test
    @Timeout(120)
    void aResultIsAnOrdinaryFile() throws Exception {
        Path pipe = folder.resolve("pipe.safetensors");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        for (Path place : List.of(pipe, Path.of("/dev/null"))) {
            Shell.refuse(
                    List.of("--out " + place + " is no ordinary file"), "import", "--checkpoint", file, "--out", place);
        }
    }

    private Object[] words(Object... more) {
        List<Object> words = new ArrayList<>(List.of("import", "--checkpoint", file, "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    @Test
    void whatContradictsTheConfigOrIsNotKnownIsRefused() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Path config = folder.resolve("config.json");
            Files.writeString(config, config());
            Shell.refuse(List.of("--heads is 2", config.toString(), "says 4"), wordsOf("--heads=2"));
            Shell.refuse(List.of("--frames is 16", config.toString()), wordsOf("--frames=16"));
            Files.writeString(config, config("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\""));
            Shell.refuse(List.of(config.toString(), "relu"), wordsOf());
            Files.writeString(config, config("\"hidden_size\": 64", "\"hidden_size\": \"wide\""));
            Shell.refuse(List.of(config.toString(), "hidden_size is 'wide'"), wordsOf());
            Files.writeString(config, config().replaceFirst("\"patch_size\": \\d+", "\"patch_size\": [16, 8]"));
            Shell.refuse(List.of(config.toString(), "patch_size is [16, 8]", "no size of equal sides"), wordsOf());
            for (String entry : List.of("patch_size", "tubelet_size", "num_channels", "intermediate_size")) {
                Files.writeString(config, config().replaceFirst("\"" + entry + "\": \\d+", "\"" + entry + "\": 99"));
                Shell.refuse(List.of(config.toString(), entry + " is 99 but the weights have "), wordsOf());
            }
            Files.writeString(config, config("\"image_size\": 32", "\"image_size\": 36"));
            Shell.refuse(List.of(config.toString(), "image_size is 36", "multiple of the patch, 8"), wordsOf());
            Files.writeString(config, config("\"num_frames\": 8", "\"num_frames\": 7"));
            Shell.refuse(List.of(config.toString(), "do not divide clips of 7 frames"), wordsOf());
            Files.writeString(config, config("single_label_classification", "multi_label_classification"));
            assertTrue(Shell.succeed(wordsOf()).contains("predict shares 100 % among the classes"));
            Files.writeString(config, "[1, 2]");
            Shell.refuse(List.of(config.toString(), "no JSON object"), wordsOf());
            Files.writeString(config, "{\"model_type\": \"llama\", \"num_frames\": 99}");
            Shell.succeed(wordsOf("--heads=4", "--frames=8", "--pixels=32"));
        }
    }

    private Object[] wordsOf(String... more) {
        return words((Object[]) more);
    }

    /** Blocks without the biases of queries and values, told by the weights or by the file under either of its names. */
    @Test
    void biasesThatAModelLacksAreZero() throws IOException {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = new LinkedHashMap<>(huggingFace());
            weights.keySet().removeIf(name -> name.matches(".*attention\\.(q_bias|v_bias|(query|key|value)\\.bias)"));
            assertTrue(weights.size() < huggingFace().size());
            write(weights);
            for (String told : List.of("\"qkv_bias\": true", "\"qkv_bias\": false", "\"qv_bias\": false")) {
                Files.writeString(folder.resolve("config.json"), config("\"qkv_bias\": true", told));
                Shell.succeed(words());
                try (Checkpoint read = Checkpoint.read(out)) {
                    for (float bias : requireNonNull(read.tensors().get("encoder.blocks.0.attn.q_bias"))
                            .toFloats()) {
                        assertEquals(0, bias);
                    }
                }
            }
        }
    }

    /** transformers reads the first token where means are not asked for, behind a norm of every token. */
    @Test
    void aHeadOfTheFirstTokenIsRead() throws IOException {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = new LinkedHashMap<>(huggingFace());
            weights.put("videomae.layernorm.weight", weights.remove("fc_norm.weight"));
            weights.put("videomae.layernorm.bias", weights.remove("fc_norm.bias"));
            write(weights);
            Files.writeString(
                    folder.resolve("config.json"), config("\"use_mean_pooling\": true", "\"use_mean_pooling\": false"));
            Shell.succeed("import", "--checkpoint", file, "--out", out);
            try (Student student = Student.load(out, Device.cpu())) {
                VideoMaeConfig read = (VideoMaeConfig) student.config();
                assertFalse(read.meanPooling());
                Map<String, Tensor> named = VideoMaeNames.translate(weights);
                VideoMaeClassifier model =
                        new VideoMaeClassifier(Params.from(Device.cpu(), DType.F32, named), read, 10);
                Tensor clips = pixels(CLASSIFIER);
                Tensor tokens = model.encoder().forward(clips, null);
                double[] first = tokens.slice(1, 0, 1).contiguous().toDoubles();
                Tensor features = student.features(clips, Masking.none(), 1);
                Close.relative(features.toDoubles(), first, 1e-6, "features");
                Tensor scores = model.forward(clips, null);
                Close.relative(
                        student.logits(clips, Masking.none(), 1).toDoubles(), scores.toDoubles(), 1e-6, "scores");
                model.close();
            }
        }
    }

    /** How pictures are prepared stands in a file beside, whose name and entries differ between versions. */
    @Test
    void thePreprocessorsWordsAreTaken() throws IOException {
        try (Scope scope = Scope.open()) {
            write(huggingFace());
            Files.writeString(
                    folder.resolve("config.json"),
                    config("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"gelu_python\""));
            Patches imagenet = prepared(
                    "preprocessor_config.json", "{\"image_mean\": [0.485, 0.456, 0.406], \"image_std\": 0.25}");
            assertArrayEquals(new double[] {.485, .456, .406}, imagenet.mean());
            assertArrayEquals(new double[] {.25, .25, .25}, imagenet.std());
            assertEquals(1 / 255.0, imagenet.scale());
            Patches plain = prepared(
                    "video_preprocessor_config.json",
                    "{\"do_normalize\": false, \"image_mean\": [0.5, 0.5, 0.5], \"rescale_factor\": 0.5}");
            assertArrayEquals(new double[3], plain.mean());
            assertArrayEquals(new double[] {1, 1, 1}, plain.std());
            assertEquals(.5, plain.scale());
            Files.writeString(folder.resolve("preprocessor_config.json"), "{\"image_mean\": [0.5]}");
            Shell.refuse(
                    List.of("config.json: the preprocessor's file beside it gives [0.5] as image_mean but the model"
                            + " has 3"),
                    "import",
                    "--checkpoint",
                    file,
                    "--out",
                    out);
        }
    }

    private Patches prepared(String name, String json) throws IOException {
        Path beside = Files.writeString(folder.resolve(name), json);
        Shell.succeed("import", "--checkpoint", file, "--out", out);
        Files.delete(beside);
        try (Student student = Student.load(out, Device.cpu())) {
            return ((VideoMaeConfig) student.config()).patches();
        }
    }

    /** VideoMAE V2 as its authors publish the distilled models: sizes a level deeper, its own names below {@code model.}. */
    @Test
    void aDistilledModelOfTheSecondVersionIsAFineTunedOne() throws IOException {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = new LinkedHashMap<>();
            original().forEach((name, tensor) -> weights.put("model." + name, tensor));
            write(weights);
            Files.writeString(folder.resolve("config.json"), """
                    {"model_type": "VideoMAEv2_Small", "model_config": {"img_size": 32, "patch_size": 8, "num_frames": 8,
                     "tubelet_size": 2, "embed_dim": 128, "depth": 2, "num_heads": 4, "mlp_ratio": 4, "qkv_bias": true,
                     "use_mean_pooling": true, "cos_attn": false, "num_classes": 5}}
                    """);
            Shell.succeed("import", "--checkpoint", file, "--out", out);
            try (Student student = Student.load(out, Device.cpu())) {
                VideoMaeConfig read = (VideoMaeConfig) student.config();
                assertEquals(4, read.heads());
                assertEquals(1e-6, read.layerNormEps());
                assertEquals(1e-6, read.outputNormEps());
                assertFalse(read.encoderNorm());
                assertEquals(5, student.labels().size());
                sameScores(student, read);
            }
        }
    }

    /** Without any file beside, as it comes from a {@code .pth}: the weights tell the sizes, a published width its heads. */
    @Test
    void theWeightsTellTheSizesOfAnOriginalModel() throws IOException {
        try (Scope scope = Scope.open()) {
            write(original());
            Path lines = Files.writeString(folder.resolve("labels.txt"), "a\nb\nc\nd\ne");
            Shell.succeed(words("--labels", lines, "--frames=8", "--pixels=32"));
            try (Student student = Student.load(out, Device.cpu())) {
                VideoMaeConfig read = (VideoMaeConfig) student.config();
                assertEquals(2, read.heads());
                assertEquals(2, read.depth());
                assertEquals(List.of("a", "b", "c", "d", "e"), student.labels());
                sameScores(student, read);
            }
        }
    }

    private static void sameScores(Student student, VideoMaeConfig config) {
        Map<String, Tensor> named = VideoMaeNames.translate(original());
        VideoMaeClassifier model = new VideoMaeClassifier(Params.from(Device.cpu(), DType.F32, named), config, 5);
        Tensor clips = pixels(CLASSIFIER);
        Close.relative(
                student.logits(clips, Masking.none(), 1).toDoubles(),
                model.forward(clips, null).toDoubles(),
                1e-6,
                "scores");
        model.close();
    }

    /** Weights of a fine-tuned model of width 128 under the names of the original code. */
    private static Map<String, Tensor> original() {
        VideoMaeConfig sizes = sizes(3, 8, false);
        Params params = Params.random(Device.cpu(), DType.F32, 3);
        new VideoMaeClassifier(params, sizes, 5).close();
        Map<String, Tensor> weights = new LinkedHashMap<>();
        params.all().forEach((name, tensor) -> weights.put(name.replaceFirst("^encoder\\.", ""), tensor));
        return weights;
    }

    private static VideoMaeConfig sizes(int channels, int patch, boolean norm) {
        return new VideoMaeConfig(
                Patches.plain(channels, 2, patch),
                8,
                4 * patch,
                4 * patch,
                128,
                2,
                2,
                64,
                1,
                1,
                1e-6,
                1e-6,
                norm,
                false);
    }

    /** MM-CDFSL's second stage: the student, three teachers and projectors in one file. */
    @Test
    void oneModelOfSeveralIsTakenByItsName() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = new LinkedHashMap<>();
            Map<String, Integer> channels = new LinkedHashMap<>();
            channels.put("student_rgb", 3);
            channels.put("teacher_rgb", 3);
            channels.put("teacher_flow", 2);
            channels.put("teacher_pose", 21);
            channels.forEach((name, count) -> {
                Params params = Params.random(Device.cpu(), DType.F32, name.hashCode());
                new VideoMaeClassifier(params, sizes(count, count == 21 ? 2 : 8, true), 0).close();
                params.all().forEach((weight, tensor) -> weights.put("_forward_module." + name + "." + weight, tensor));
                for (String head : List.of("head_action", "head_verb", "head_noun")) {
                    weights.put("_forward_module." + name + "." + head + ".weight", Tensor.ones(3, 128));
                    weights.put("_forward_module." + name + "." + head + ".bias", Tensor.ones(3));
                }
            });
            weights.put("_forward_module.cmt.rgb.0.weight", Tensor.ones(4, 128));
            write(weights);
            String[] known = {
                "student_rgb (a model of 3 channels, width 128)",
                "teacher_flow (a model of 2",
                "teacher_pose",
                "cmt (1 arrays)",
                "--prefix"
            };
            Shell.refuse(List.of(known), words("--frames=8", "--pixels=32"));
            Shell.refuse(List.of("student_flow", known[0]), words("--prefix=student_flow"));
            channels.forEach((name, count) -> {
                int side = count == 21 ? 8 : 32;
                for (String prefix : List.of(name, "_forward_module." + name + ".")) {
                    Shell.succeed(words("--prefix=" + prefix, "--frames=8", "--pixels=" + side));
                    try (Student student = Student.load(out, Device.cpu());
                            Checkpoint read = Checkpoint.read(out)) {
                        assertEquals(count, student.config().input().channels());
                        assertTrue(student.heads().isEmpty(), "heads that were never trained are left");
                        assertEquals(1e-5, ((VideoMaeConfig) student.config()).layerNormEps());
                        String first = "encoder.blocks.1.mlp.fc1.weight";
                        assertArrayEquals(
                                requireNonNull(weights.get("_forward_module." + name + "." + first))
                                        .toFloats(),
                                requireNonNull(read.tensors().get(first)).toFloats());
                    }
                }
            });
        }
    }

    /** A file that a converter gave 16 heads for a width that was trained with 6. */
    @Test
    void theSmallModelsSixHeadsAreTaken() throws IOException {
        try (Scope scope = Scope.open()) {
            VideoMaeConfig small = new VideoMaeConfig(
                    Patches.plain(3, 2, 8), 8, 32, 32, 384, 1, 6, 192, 1, 3, 1e-6, 1e-6, false, false);
            Params params = Params.random(Device.cpu(), DType.F32, 4);
            new VideoMaeClassifier(params, small, 10).close();
            Map<String, Tensor> weights = new LinkedHashMap<>();
            params.all().forEach((name, tensor) -> weights.put(name.replaceFirst("^encoder\\.", ""), tensor));
            write(weights);
            Files.writeString(
                    folder.resolve("config.json"),
                    config(
                            "\"hidden_size\": 64", "\"hidden_size\": 384",
                            "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
                            "\"num_attention_heads\": 4", "\"num_attention_heads\": 16"));
            String told = Shell.succeed(words());
            assertTrue(told.contains("16 heads"), told);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(6, ((VideoMaeConfig) student.config()).heads());
            }
        }
    }
}
