package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.report.Json;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** {@code tessera export}: what transformers loads, and what ONNX Runtime runs. */
class ExportTest {
    @TempDir
    private Path folder;

    /** Every kind of VideoMAE student: the norms of distilled and of fine-tuned ones, of the first token, biases of keys. */
    private Path student(boolean encoderNorm, boolean keyBias, boolean meanPooling, String... heads) {
        return student(48, encoderNorm, keyBias, meanPooling, heads);
    }

    private Path student(int width, boolean encoderNorm, boolean keyBias, boolean meanPooling, String... heads) {
        return student(width, 256, encoderNorm, keyBias, meanPooling, heads);
    }

    private Path student(
            int width, int mlp, boolean encoderNorm, boolean keyBias, boolean meanPooling, String... heads) {
        Patches patches = new Patches(3, 2, 8, 1 / 255.0, numbers(.485, .456, .406), numbers(.229, .224, .225));
        VideoMaeConfig config = new VideoMaeConfig(
                patches, 4, 32, width, 64, 2, 4, 32, 1, 2, 1e-6, 1e-5, encoderNorm, keyBias, meanPooling, mlp);
        Path file = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, config, 0).close();
            Map<String, Tensor> weights = new LinkedHashMap<>();
            // No weight is 0 or 1, so that none can be left out unseen.
            params.all()
                    .forEach((name, tensor) -> weights.put(name, tensor.detach().add(normal(tensor.shape(), name))));
            Map<String, List<String>> labels = new LinkedHashMap<>();
            for (String head : heads) {
                labels.put(head, List.of(head + " \u00e9", "b", "c"));
                weights.put(
                        ModelHeads.weight(head), normal(Shape.of(3, 64), head).mul(5));
                weights.put(ModelHeads.bias(head), normal(Shape.of(3), head));
            }
            Student.save(file, weights, config, new ModelHeads(labels), Map.of());
        }
        return file;
    }

    private static double[] numbers(double... values) {
        return values;
    }

    private static Tensor normal(Shape shape, String name) {
        return Tensor.normal(Device.cpu(), DType.F32, shape, name.hashCode(), 1, 0, .05);
    }

    private static Tensor clips(int count) {
        byte[] pixels = new byte[count * 4 * 32 * 48 * 3];
        new Random(count).nextBytes(pixels);
        return Tensor.of(pixels, count, 4, 32, 48, 3);
    }

    @ParameterizedTest
    @CsvSource({"true, false, true", "false, false, true", "false, true, true", "true, false, false"})
    void weightsGoOutUnderNamesOfHuggingFaceAndComeBackToTheBit(boolean encoderNorm, boolean keyBias, boolean mean)
            throws IOException {
        Path file = student(encoderNorm, keyBias, mean, "verb", "noun");
        Path out = folder.resolve("hf");
        Path back = folder.resolve("back.safetensors");
        Shell.succeed("export", "--student", file, "--format=hf", "--out", out);
        Shell.succeed("import", "--checkpoint", out.resolve("model.safetensors"), "--out", back);
        assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(back));
        Map<String, Object> config = castless(Json.object(Files.readString(out.resolve("config.json"))));
        String pictures = Files.readString(out.resolve("preprocessor_config.json"));
        assertTrue(
                pictures.contains("\"size\":{\"height\":32,\"width\":48}"),
                "in this order in every process: " + pictures);
        boolean classifier = !mean || !encoderNorm;
        assertEquals(
                List.of(classifier ? "VideoMAEForVideoClassification" : "VideoMAEModel"), config.get("architectures"));
        assertEquals(List.of(32L, 48L), config.get("image_size"));
        assertEquals(mean && !encoderNorm, config.get("use_mean_pooling"));
        assertEquals(1e-6, config.get("layer_norm_eps"));
        try (Checkpoint read = Checkpoint.read(out.resolve("model.safetensors"))) {
            String attention = "videomae.encoder.layer.1.attention.attention.";
            assertEquals(!keyBias, read.tensors().containsKey(attention + "q_bias"));
            assertTrue(read.tensors().containsKey(attention + "value.bias"));
            assertEquals(classifier, read.tensors().containsKey("classifier.weight"));
            assertEquals("pt", read.metadata().get("format"));
        }
    }

    @Test
    void classesRenamedInTheConfigOfAnExportComeBackSo() throws IOException {
        Path file = student(true, false, false, "verb");
        Path out = folder.resolve("hf");
        Shell.succeed("export", "--student", file, "--format=hf", "--out", out);
        Path config = out.resolve("config.json");
        String text = Files.readString(config);
        Map<?, ?> names = (Map<?, ?>) requireNonNull(Json.object(text).get("id2label"));
        String first = String.valueOf(names.get("0"));
        Files.writeString(config, text.replace("\"" + first + "\"", "\"renamed\""));
        Path back = folder.resolve("back.safetensors");
        Shell.succeed("import", "--checkpoint", out, "--out", back);
        try (Checkpoint read = Checkpoint.read(back)) {
            List<String> labels = requireNonNull(
                    ModelHeads.fromMetadata(read.metadata()).labels().get("verb"));
            assertEquals("renamed", labels.getFirst());
            assertEquals(names.size(), labels.size());
        }
        Files.writeString(
                config, text.replaceFirst("\"id2label\":\\{", "\"id2label\":{\"" + names.size() + "\":\"more\","));
        Shell.refuse(List.of("config.json", "labels"), "import", "--checkpoint", out, "--out", back);
    }

    /** With MLPs of other widths than four times the tokens', in either direction. */
    @ParameterizedTest
    @ValueSource(ints = {96, 320})
    void anMlpOfAnyWidthGoesOutAndComesBack(int mlp) throws IOException {
        Path file = student(32, mlp, false, false, true, "action");
        Path out = folder.resolve("hf");
        Path back = folder.resolve("back.safetensors");
        Shell.succeed("export", "--student", file, "--format=hf", "--out", out);
        Path config = out.resolve("config.json");
        assertEquals((long) mlp, castless(Json.object(Files.readString(config))).get("intermediate_size"));
        Path model = out.resolve("model.safetensors");
        try (Checkpoint read = Checkpoint.read(model)) {
            Checkpoint.write(model, read.tensors(), Map.of("format", "pt")); // so that nothing but the weights tells
        }
        Shell.succeed("import", "--checkpoint", model, "--out", back);
        try (Scope scope = Scope.open();
                Student first = Student.load(file, Device.cpu());
                Student second = Student.load(back, Device.cpu())) {
            assertEquals(mlp, ((VideoMaeConfig) second.config()).mlpDim());
            assertEquals(first.checksum(), second.checksum());
        }
        Files.writeString(
                config, Files.readString(config).replaceFirst("(\"intermediate_size\": *)" + mlp, "$1" + 128));
        Shell.refuse(
                List.of("config.json: intermediate_size is 128 but the weights have " + mlp
                        + "; pass the config.json of these weights"),
                "import",
                "--checkpoint",
                model,
                "--out",
                back);
    }

    private static Map<String, Object> castless(Map<String, ?> entries) {
        Map<String, Object> copy = new LinkedHashMap<>();
        entries.forEach((name, value) -> copy.put(name, requireNonNull(value)));
        return copy;
    }

    /** Another program saves it again without our metadata: then config.json and the file beside it say what it is. */
    @Test
    void theConfigAloneGivesTheSameScores() {
        Path file = student(32, false, false, true, "action");
        Path out = folder.resolve("hf");
        Path back = folder.resolve("back.safetensors");
        Shell.succeed("export", "--student", file, "--format=hf", "--out", out);
        Path model = out.resolve("model.safetensors");
        try (Checkpoint read = Checkpoint.read(model)) {
            Checkpoint.write(model, read.tensors(), Map.of("format", "pt"));
        }
        Shell.succeed("import", "--checkpoint", model, "--out", back);
        try (Scope scope = Scope.open();
                Student first = Student.load(file, Device.cpu());
                Student second = Student.load(back, Device.cpu())) {
            assertEquals(first.checksum(), second.checksum());
            assertEquals(first.labels(), second.labels());
            Tensor pixels = normal(Shape.of(2, 4, 32, 32, 3), "pixels").mul(1000);
            assertArrayEquals(
                    first.logits(pixels, Masking.none(), 1).toFloats(),
                    second.logits(pixels, Masking.none(), 1).toFloats());
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0, 1, true, false, true, u8",
        "0, 2, false, true, true, f32",
        ".75, 2, true, false, true, u8",
        ".75, 3, false, false, true, f32",
        ".5, 2, true, false, false, u8"
    })
    void onnxRuntimeGivesTheStudentsAnswers(
            double ratio, int ensemble, boolean encoderNorm, boolean keyBias, boolean mean, String input)
            throws OrtException {
        Path file = student(encoderNorm, keyBias, mean, "verb", "noun");
        Path model = folder.resolve("student.onnx");
        Object[] words = {
            "export",
            "--student",
            file,
            "--format=onnx",
            "--input=" + input,
            "--mask-ratio=" + ratio,
            "--ensemble=" + ensemble,
            "--seed=7",
            "--out",
            model
        };
        Shell.succeed(words);
        Masking masking = Masking.of(ratio, ensemble);
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (Scope scope = Scope.open();
                Student student = Student.load(file, Device.cpu());
                OrtSession.SessionOptions options = new OrtSession.SessionOptions();
                OrtSession session = environment.createSession(model.toString(), options)) {
            assertEquals(
                    "verb \u00e9\nb\nc",
                    session.getMetadata().getCustomMetadata().get("labels"));
            for (int count : List.of(1, 3)) {
                Tensor clips = clips(count);
                try (OnnxTensor given = given(environment, clips, input);
                        OrtSession.Result result = session.run(Map.of("clips", given))) {
                    for (int b = 0; b < count; b++) {
                        Tensor clip =
                                clips.slice(0, b, b + 1).contiguous(); // alone, as its masks are those of a clip alone
                        float[] features = student.features(clip, masking, 7).toFloats();
                        Close.relative(row(result, "features", b, count), features, 1e-5, "features");
                        float[] scores = student.logits(clip, masking, 7).toFloats();
                        Close.relative(both(result, "scores", b, count), scores, 1e-5, "scores");
                        float[] probabilities =
                                student.predictAll(clip, masking, 7).toFloats();
                        Close.relative(both(result, "probabilities", b, count), probabilities, 1e-5, "probabilities");
                    }
                }
            }
        }
    }

    private static OnnxTensor given(OrtEnvironment environment, Tensor clips, String input) throws OrtException {
        long[] shape = clips.shape().toArray();
        if (input.equals("f32")) {
            return OnnxTensor.createTensor(
                    environment, FloatBuffer.wrap(clips.to(DType.F32).toFloats()), shape);
        }
        ByteBuffer bytes = clips.segment().asByteBuffer().order(ByteOrder.nativeOrder());
        return OnnxTensor.createTensor(environment, bytes, shape, OnnxJavaType.UINT8);
    }

    private static float[] both(OrtSession.Result result, String name, int b, int count) {
        float[] verbs = row(result, name, b, count);
        float[] nouns = row(result, name + ".noun", b, count);
        float[] both = Arrays.copyOf(verbs, verbs.length + nouns.length);
        System.arraycopy(nouns, 0, both, verbs.length, nouns.length);
        return both;
    }

    /** The values of one clip. */
    private static float[] row(OrtSession.Result result, String name, int b, int count) {
        FloatBuffer values = ((OnnxTensor) result.get(name).orElseThrow()).getFloatBuffer();
        float[] row = new float[values.remaining() / count];
        values.get(b * row.length, row);
        return row;
    }

    @Test
    void whatCannotBeExportedIsRefused() {
        Path file = student(true, false, true);
        Path small = folder.resolve("int8.safetensors");
        Shell.succeed("quantize", "--student", file, "--out", small);
        Path out = folder.resolve("out.onnx");
        Shell.refuse(List.of(small.toString(), "int8"), "export", "--student", small, "--format=onnx", "--out", out);
        Shell.refuse(List.of("--student", "input"), "export", "--student", file, "--format=onnx", "--out", file);
        assertFalse(Files.exists(out));
    }
}
