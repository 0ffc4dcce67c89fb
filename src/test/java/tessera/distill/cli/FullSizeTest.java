package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * A fine-tuned VideoMAE-S of full size, 16 x 224 x 224 and 400 classes, whose scores are those that transformers computes in f64 from
 * the same weights. Weights and pixels are numbers by a formula, so that the scores alone are kept.
 */
class FullSizeTest {
    private static final int CLASSES = 400;
    private static final int WIDTH = 384;
    private static final int HIDDEN = 4 * WIDTH;
    private static final int DEPTH = 12;
    private static final int PIXELS = 1000;

    @TempDir
    private Path folder;

    /** Number {@code i} of a series, from -1 to 1, of 24 bits. */
    private static double number(long series, long i) {
        long z = ((series << 32) + i + 1) * 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return ((z ^ (z >>> 31)) >>> 40) / (double) (1 << 24) * 2 - 1;
    }

    private static Map<String, long[]> shapes() {
        Map<String, long[]> shapes = new TreeMap<>();
        shapes.put("classifier.weight", new long[] {CLASSES, WIDTH});
        shapes.put("classifier.bias", new long[] {CLASSES});
        norm(shapes, "fc_norm");
        String patches = "videomae.embeddings.patch_embeddings.projection.";
        shapes.put(patches + "weight", new long[] {WIDTH, 3, 2, 16, 16});
        shapes.put(patches + "bias", new long[] {WIDTH});
        for (int layer = 0; layer < DEPTH; layer++) {
            String block = "videomae.encoder.layer." + layer + ".";
            for (String part : new String[] {"query", "key", "value"}) {
                shapes.put(block + "attention.attention." + part + ".weight", new long[] {WIDTH, WIDTH});
                if (!part.equals("key")) {
                    shapes.put(block + "attention.attention." + part + ".bias", new long[] {WIDTH});
                }
            }
            linear(shapes, block + "attention.output.dense", WIDTH, WIDTH);
            linear(shapes, block + "intermediate.dense", HIDDEN, WIDTH);
            linear(shapes, block + "output.dense", WIDTH, HIDDEN);
            norm(shapes, block + "layernorm_before");
            norm(shapes, block + "layernorm_after");
        }
        return shapes;
    }

    private static void linear(Map<String, long[]> shapes, String name, long outputs, long inputs) {
        shapes.put(name + ".weight", new long[] {outputs, inputs});
        shapes.put(name + ".bias", new long[] {outputs});
    }

    private static void norm(Map<String, long[]> shapes, String name) {
        shapes.put(name + ".weight", new long[] {WIDTH});
        shapes.put(name + ".bias", new long[] {WIDTH});
    }

    /** Series are numbered by the order of the names. */
    private static Map<String, Tensor> weights() {
        Map<String, Tensor> weights = new TreeMap<>();
        int series = 0;
        for (Map.Entry<String, long[]> entry : shapes().entrySet()) {
            String name = entry.getKey();
            long[] shape = entry.getValue();
            int count = Math.toIntExact(Arrays.stream(shape).reduce(1, (a, b) -> a * b));
            boolean gain = name.contains("norm") && name.endsWith("weight");
            double size = shape.length == 1 ? .2 : Math.sqrt(3.0 * shape[0] / count);
            float[] values = new float[count];
            for (int i = 0; i < count; i++) {
                values[i] = (float) ((gain ? 1 : 0) + size * number(series, i));
            }
            weights.put(name, Tensor.of(values, shape));
            series++;
        }
        return weights;
    }

    private static double[] scores() throws IOException {
        try (InputStream file =
                requireNonNull(FullSizeTest.class.getResourceAsStream("/videomae-full-size-logits.txt"))) {
            return new String(file.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .mapToDouble(Double::parseDouble)
                    .toArray();
        }
    }

    @Test
    void aFineTunedModelOfFullSizeGivesTheScoresOfTransformers() throws IOException {
        Path checkpoint = folder.resolve("model.safetensors");
        Path out = folder.resolve("student.safetensors");
        String labels = IntStream.range(0, CLASSES)
                .mapToObj(i -> "\"" + i + "\": \"class " + i + "\"")
                .collect(Collectors.joining(", "));
        Files.writeString(folder.resolve("config.json"), """
                {"model_type": "videomae", "image_size": 224, "patch_size": 16, "num_channels": 3, "num_frames": 16,
                 "tubelet_size": 2, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
                 "intermediate_size": 1536, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": true,
                 "use_mean_pooling": true, "id2label": {%s}}
                """.formatted(labels));
        try (Scope scope = Scope.open()) {
            Checkpoint.write(checkpoint, weights(), Map.of("format", "pt"));
            Shell.succeed("import", "--checkpoint", checkpoint, "--out", out);
            byte[] pixels = new byte[16 * 224 * 224 * 3];
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] = (byte) Math.floor((number(PIXELS, i) + 1) * 128);
            }
            try (Student student = Student.load(out, Device.cpu())) {
                Tensor clip = Tensor.of(pixels, 1, 16, 224, 224, 3);
                Close.relative(
                        student.logits(clip, Masking.none(), 1).toDoubles(), scores(), 2e-6, "scores of 400 classes");
                assertEquals("class 399", student.labels().getLast());
            }
        }
    }
}
