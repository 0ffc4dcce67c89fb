package tessera.distill.train;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Int8Layers;
import tessera.nn.Linear;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.PictureWeights;
import tessera.nn.VideoModel;
import tessera.nn.inference.Head;
import tessera.tensor.Tensor;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/**
 * A model of any registered architecture, with heads, that a stage trains or learns from.
 *
 * @param params of the model and the heads; they belong to the innermost open scope
 */
record OpenModel(VideoModel model, Params params, Map<String, Linear> heads) {

    /**
     * What a file says it holds, without its weights.
     *
     * @param config of the model as it opens to teach or to be trained on
     */
    record Description(ModelConfig config, ModelHeads heads) {
        /**
         * Reads a file's description.
         *
         * @throws CheckpointException if it holds no model of a registered architecture
         */
        static Description of(Path file) {
            try (SafetensorsFile open = Safetensors.open(file)) {
                Head.requireModel(Set.copyOf(open.names()));
                Architecture architecture = Architecture.of(open.metadata());
                Architecture.Opening opening = architecture.opening(open.metadata(), Set.copyOf(open.names()));
                return new Description(
                        architecture.config(opening.metadata()), ModelHeads.fromMetadata(open.metadata()));
            } catch (CheckpointException e) {
                throw new CheckpointException(file + ": " + e.getMessage());
            }
        }
    }

    /** A file's model and heads, frozen and laid out for inference; closed by its network. */
    static OpenModel frozen(Path file, RunContext context) {
        OpenModel open = open(file, 0, ModelHeads.fromMetadata(metadata(file)), context);
        open.params.all().values().forEach(parameter -> parameter.requiresGrad(false));
        open.model.pack();
        return open;
    }

    private static Map<String, String> metadata(Path file) {
        try (SafetensorsFile open = Safetensors.open(file)) {
            return open.metadata();
        }
    }

    /** A file's model with the file's weights, and heads; what the file lacks of heads starts afresh. */
    static OpenModel open(Path file, long seed, ModelHeads heads, RunContext context) {
        return from(file, null, heads, seed, context);
    }

    /**
     * A model with heads, to be trained.
     *
     * @param start a file of the same architecture, under any public code's names, whose weights it starts from, and with the heads
     *     of the file where they have the same labels; one of pictures is fitted to sound and flow ({@link PictureWeights}). Null to start
     *     afresh
     */
    static OpenModel trained(
            ModelConfig config, ModelHeads heads, @Nullable Path start, long seed, RunContext context) {
        if (start != null) {
            return from(start, config, heads, seed, context);
        }
        Params params = context.configure(Params.random(context.device(), DType.F32, seed));
        return build(config.toMetadata(), heads, params);
    }

    private static OpenModel from(
            Path file, @Nullable ModelConfig wanted, ModelHeads heads, long seed, RunContext context) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            Map<String, String> metadata = checkpoint.metadata();
            Head.requireModel(checkpoint.tensors().keySet());
            if (wanted != null && Int8Layers.isInt8(metadata)) {
                throw new CheckpointException(Int8Layers.NOT_TRAINED);
            }
            // Public checkpoints do not say what they are: what is trained does.
            boolean foreign = wanted != null && !metadata.containsKey(Architecture.ENTRY);
            Map<String, String> described =
                    foreign ? Objects.requireNonNull(wanted).toMetadata() : metadata;
            Architecture architecture = Architecture.of(described);
            Map<String, Tensor> weights =
                    new LinkedHashMap<>(architecture.translate(checkpoint.select(name -> !ModelHeads.isHead(name))));
            Architecture.Opening opening = architecture.opening(described, weights.keySet());
            requireSame(architecture, wanted);
            weights.keySet().removeIf(name -> !architecture.keeps(name));
            if (wanted != null) {
                weights.putAll(PictureWeights.fit(architecture, weights, described, wanted.toMetadata()));
            }
            addHeads(checkpoint, heads, weights);
            Predicate<String> fresh =
                    name -> opening.fresh().test(name) || (ModelHeads.isHead(name) && !weights.containsKey(name));
            Params params = context.configure(Params.from(context.device(), DType.F32, weights, seed, fresh));
            return build(wanted == null ? opening.metadata() : wanted.toMetadata(), heads, params);
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
    }

    private static void requireSame(Architecture architecture, @Nullable ModelConfig wanted) {
        if (wanted != null) {
            String other = Architecture.of(wanted.toMetadata()).name();
            if (!architecture.name().equals(other)) {
                throw new CheckpointException("the file holds a model of architecture '" + architecture.name()
                        + "' but one of '" + other + "' is trained; start from a file of that architecture");
            }
        }
    }

    /** Adds the file's weights of those heads that have the same labels in it. */
    private static void addHeads(Checkpoint checkpoint, ModelHeads heads, Map<String, Tensor> weights) {
        ModelHeads own = ModelHeads.fromMetadata(checkpoint.metadata());
        heads.labels().forEach((name, labels) -> {
            if (labels.equals(own.labels().get(name))) {
                for (String weight : new String[] {ModelHeads.weight(name), ModelHeads.bias(name)}) {
                    Tensor stored = checkpoint.tensors().get(weight);
                    if (stored == null) {
                        throw new CheckpointException(
                                "it lacks " + weight + ", which its metadata name; use the file as it was written");
                    }
                    weights.put(weight, stored);
                }
            }
        });
    }

    private static OpenModel build(Map<String, String> metadata, ModelHeads heads, Params params) {
        VideoModel model = Architecture.of(metadata).build(params, metadata);
        try {
            Map<String, Linear> layers = heads.layers(params, model.config().featureWidth());
            params.finish();
            return new OpenModel(model, params, layers);
        } catch (RuntimeException | Error e) {
            model.close();
            throw e;
        }
    }

    /** The model with its heads as a student or teacher. */
    ModelNetwork network() {
        return new ModelNetwork(model, heads);
    }
}
