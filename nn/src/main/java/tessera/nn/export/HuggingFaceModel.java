package tessera.nn.export;

import java.io.OutputStream;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.nn.Checkpoint;
import tessera.nn.ModelHeads;
import tessera.nn.inference.Head;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.JsonTokens;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * A VideoMAE student as transformers reads it: {@code model.safetensors}, {@code config.json} and, of a model of pictures, {@code
 * preprocessor_config.json}. Biases of attention are written under the names of transformers 4 and of 5, each of which reads its own.
 *
 * <p>{@code VideoMAEForVideoClassification} takes the head that follows a mean of tokens or the first token. Students with a norm of
 * every token and another of their mean, which distillation makes, fit none of its models: they are a {@code VideoMAEModel}, whose
 * tokens are averaged and normed by {@code fc_norm} outside, and their heads keep their names here. The metadata of the weights say
 * all that config.json has no words for, so that {@code tessera import} gives the same student back, bit for bit.
 */
public final class HuggingFaceModel {
    private static final double CLASSIFIERS_EPS = 1e-5;

    private HuggingFaceModel() {}

    /**
     * Whether transformers' classifier gives the student's own class scores: it has a head, its pooling is one of transformers' and
     * so is the epsilon of its norm.
     */
    public static boolean isClassifier(StudentWeights student) {
        VideoMaeConfig config = student.config();
        return !student.heads().isEmpty() && (!config.meanPooling() || !config.encoderNorm());
    }

    /** Whether the norm of the mean has the epsilon that transformers has there, 1e-5, which no config.json can change. */
    public static boolean hasItsEpsilon(StudentWeights student) {
        return !student.config().meanPooling() || student.config().outputNormEps() == CLASSIFIERS_EPS;
    }

    /**
     * Writes the files into a folder, which is made if it is missing. They take their names when all are whole, {@code config.json} as the
     * last, without which nobody loads the others.
     *
     * @throws IllegalArgumentException if another run writes into the folder
     */
    public static void write(Path folder, StudentWeights student) {
        AtomicFile.writeTogether(
                folder,
                List.of("model.safetensors", "preprocessor_config.json", "config.json"),
                hidden -> writeFiles(hidden, student));
    }

    private static void writeFiles(Path folder, StudentWeights student) {
        VideoMaeConfig config = student.config();
        Map<String, List<String>> labels = new LinkedHashMap<>();
        student.heads().forEach(head -> labels.put(head.name(), head.labels()));
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("format", "pt"); // which transformers asks for
        metadata.putAll(config.toMetadata());
        metadata.putAll(new ModelHeads(labels).toMetadata());
        try (Scope scope = Scope.open()) {
            Checkpoint.write(folder.resolve("model.safetensors"), weights(student), metadata);
        }
        text(folder.resolve("config.json"), describe(student));
        if (config.patches().channels() == 3) {
            text(folder.resolve("preprocessor_config.json"), preprocessing(config));
        }
    }

    private static Map<String, Tensor> weights(StudentWeights student) {
        Map<String, Tensor> named = new LinkedHashMap<>();
        student.tensors().forEach((name, tensor) -> {
            if (name.startsWith("encoder.")) {
                put(named, name.substring("encoder.".length()), tensor, student.config());
            } else if (name.startsWith("fc_norm.")) {
                named.put(name, tensor);
            }
        });
        for (Head head : student.heads()) {
            boolean main = head == student.heads().getFirst() && isClassifier(student);
            Tensor weight = Tensor.of(head.weight(), head.classes(), head.width());
            named.put(main ? "classifier.weight" : ModelHeads.weight(head.name()), weight);
            named.put(main ? "classifier.bias" : ModelHeads.bias(head.name()), Tensor.of(head.bias()));
        }
        return named;
    }

    private static void put(Map<String, Tensor> named, String name, Tensor tensor, VideoMaeConfig config) {
        if (!name.startsWith("blocks.")) {
            named.put(
                    "videomae."
                            + name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
                                    .replaceFirst("^norm\\.", "layernorm."),
                    tensor);
            return;
        }
        String[] parts = name.split("\\.", 3);
        String layer = "videomae.encoder.layer." + parts[1] + ".";
        String attention = layer + "attention.attention.";
        switch (parts[2]) {
            case "attn.qkv.weight" -> {
                int d = config.embedDim();
                named.put(attention + "query.weight", tensor.slice(0, 0, d));
                named.put(attention + "key.weight", tensor.slice(0, d, 2L * d));
                named.put(attention + "value.weight", tensor.slice(0, 2L * d, 3L * d));
            }
            case "attn.q_bias" -> biases(named, attention, "query.bias", "q_bias", tensor, config);
            case "attn.v_bias" -> biases(named, attention, "value.bias", "v_bias", tensor, config);
            case "attn.k_bias" -> named.put(attention + "key.bias", tensor);
            default ->
                named.put(
                        layer
                                + parts[2].replace("attn.proj", "attention.output.dense")
                                        .replace("norm1", "layernorm_before")
                                        .replace("norm2", "layernorm_after")
                                        .replace("mlp.fc1", "intermediate.dense")
                                        .replace("mlp.fc2", "output.dense"),
                        tensor);
        }
    }

    /** transformers 4 has no bias of keys, so a model with one has the names of 5 alone. */
    private static void biases(
            Map<String, Tensor> named,
            String attention,
            String now,
            String before,
            Tensor tensor,
            VideoMaeConfig config) {
        named.put(attention + now, tensor);
        if (!config.keyBias()) {
            named.put(attention + before, tensor);
        }
    }

    private static Map<String, Object> describe(StudentWeights student) {
        VideoMaeConfig config = student.config();
        boolean classifier = isClassifier(student);
        Map<String, Object> entries = new LinkedHashMap<>();
        entries.put("architectures", List.of(classifier ? "VideoMAEForVideoClassification" : "VideoMAEModel"));
        entries.put("model_type", "videomae");
        entries.put(
                "image_size",
                config.height() == config.width() ? config.height() : List.of(config.height(), config.width()));
        entries.put("patch_size", config.patches().patch());
        entries.put("num_channels", config.patches().channels());
        entries.put("num_frames", config.frames());
        entries.put("tubelet_size", config.patches().tubelet());
        entries.put("hidden_size", config.embedDim());
        entries.put("num_hidden_layers", config.depth());
        entries.put("num_attention_heads", config.heads());
        entries.put("intermediate_size", config.mlpDim());
        entries.put("hidden_act", "gelu");
        entries.put("hidden_dropout_prob", 0.0);
        entries.put("attention_probs_dropout_prob", 0.0);
        entries.put("layer_norm_eps", config.layerNormEps());
        entries.put("qkv_bias", true);
        entries.put("use_mean_pooling", !config.encoderNorm() && config.meanPooling());
        entries.put("decoder_hidden_size", config.decoderDim());
        entries.put("decoder_num_hidden_layers", config.decoderDepth());
        entries.put("decoder_num_attention_heads", config.decoderHeads());
        entries.put("decoder_intermediate_size", 4 * config.decoderDim());
        entries.put("norm_pix_loss", true);
        entries.put("torch_dtype", "float32");
        if (!student.heads().isEmpty()) {
            Map<String, Object> names = new LinkedHashMap<>();
            Map<String, Object> ids = new LinkedHashMap<>();
            List<String> labels = student.heads().getFirst().labels();
            for (int i = 0; i < labels.size(); i++) {
                names.put(Integer.toString(i), labels.get(i));
                ids.put(labels.get(i), i);
            }
            entries.put("id2label", names);
            entries.put("label2id", ids);
        }
        return entries;
    }

    private static Map<String, Object> preprocessing(VideoMaeConfig config) {
        Map<String, Object> entries = new LinkedHashMap<>();
        entries.put("image_processor_type", "VideoMAEImageProcessor");
        entries.put("do_resize", true);
        // Not Map.of, whose order is another one in each process: the same student gives the same bytes.
        Map<String, Object> size = new LinkedHashMap<>();
        size.put("height", config.height());
        size.put("width", config.width());
        entries.put("size", size);
        entries.put("resample", 2); // bilinear
        entries.put("do_center_crop", false);
        entries.put("do_rescale", true);
        entries.put("rescale_factor", config.patches().scale());
        entries.put("do_normalize", true);
        entries.put("image_mean", list(config.patches().mean()));
        entries.put("image_std", list(config.patches().std()));
        return entries;
    }

    private static List<Double> list(double[] values) {
        return Arrays.stream(values).boxed().toList();
    }

    private static void text(Path file, Map<String, Object> entries) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
            write(json, entries);
        }
        byte[] bytes = JsonTokens.escaped(text.append('\n').toString()).getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(file, (OutputStream out) -> out.write(bytes));
    }

    private static void write(JsonGenerator json, Object value) {
        switch (value) {
            case Map<?, ?> map -> {
                json.writeStartObject();
                map.forEach((name, member) -> {
                    json.writeName(String.valueOf(name));
                    write(json, member);
                });
                json.writeEndObject();
            }
            case List<?> items -> {
                json.writeStartArray();
                items.forEach(item -> write(json, item));
                json.writeEndArray();
            }
            case Boolean flag -> json.writeBoolean(flag);
            case Integer number -> json.writeNumber(number);
            case Double number -> json.writeNumber(number);
            default -> json.writeString(value.toString());
        }
    }
}
