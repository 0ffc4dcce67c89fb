package tessera.nn;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * A family of models, told by the entry {@value #ENTRY} of a file's metadata. To add one, implement this interface and
 * register the class as a service ({@code provides tessera.nn.Architecture with ..} in {@code module-info.java}, or a line in {@code
 * META-INF/services/tessera.nn.Architecture}); every student file of that architecture then opens as any other does.
 */
public interface Architecture {
    /** Name of the metadata entry that says which architecture a file holds. */
    String ENTRY = "tessera.architecture";

    /** The architecture of files without the entry. */
    String FIRST = "videomae";

    /** The value of the entry. */
    String name();

    /** What the weights of a student's file begin with; a training's other weights are left out of it. */
    List<String> weightPrefixes();

    /**
     * Builds the model that a file's metadata describe.
     *
     * @throws CheckpointException if they describe none
     */
    VideoModel build(Params params, Map<String, String> metadata);

    /**
     * Why a file of this architecture is no student, where its weights' names tell: what it is instead and what to do with it. Empty
     * where they do not.
     *
     * @param names of all weights in the file
     */
    default Optional<String> refusal(Path file, Set<String> names) {
        return Optional.empty();
    }

    /**
     * The sizes of the model that a file's metadata describe, without its weights.
     *
     * @throws CheckpointException if they describe none
     */
    default ModelConfig config(Map<String, String> metadata) {
        try (Scope scope = Scope.open()) {
            // Of an empty checkpoint no parameter gets memory.
            try (VideoModel hollow = build(Params.from(Device.cpu(), DType.F32, Map.of()), metadata)) {
                return hollow.config();
            }
        }
    }

    /** The weights under the names of this code, whichever public code's names they have; by default unchanged. */
    default Map<String, Tensor> translate(Map<String, Tensor> weights) {
        return weights;
    }

    /**
     * How a file opens that is to teach or to be trained on, where it need not be a finished student: by default as it is.
     *
     * @param names of all weights in the file, as {@link #translate} gives them
     */
    default Opening opening(Map<String, String> metadata, Set<String> names) {
        return new Opening(metadata, name -> false);
    }

    /**
     * How a file opens.
     *
     * @param metadata from which the model is built
     * @param fresh names of weights that are not taken from the file but start afresh
     */
    record Opening(Map<String, String> metadata, Predicate<String> fresh) {}

    /**
     * Name of the layer that embeds patches, whose weight is {@code [width, channels, tubelet, patch, patch]}; empty, the default, where there is
     * none. A model with one can start from a file of pictures, as {@link PictureWeights} says.
     */
    default Optional<String> patchEmbedding() {
        return Optional.empty();
    }

    /** Whether a weight of this name belongs into a student's file. */
    default boolean keeps(String weight) {
        return weightPrefixes().stream().anyMatch(weight::startsWith);
    }

    /**
     * The architecture of a file; VideoMAE's where the metadata do not say.
     *
     * @throws CheckpointException if it is not registered
     */
    static Architecture of(Map<String, String> metadata) {
        Map<String, Architecture> known = known();
        String name = metadata.getOrDefault(ENTRY, FIRST);
        Architecture found = known.get(name);
        if (known.isEmpty()) {
            throw new CheckpointException(
                    "the file holds a model of architecture '" + name + "' but none is known at all;"
                            + " keep META-INF/services/tessera.nn.Architecture where jars are put together");
        }
        if (found == null) {
            throw new CheckpointException("the file holds a model of architecture '" + name + "' but known are "
                    + String.join(", ", known.keySet())
                    + "; pass a file of one of these, or put the module that provides it on the path");
        }
        return found;
    }

    /** The registered architectures in the order of their names. */
    private static Map<String, Architecture> known() {
        Map<String, Architecture> known = new TreeMap<>();
        ServiceLoader.load(Architecture.class, Architecture.class.getClassLoader())
                .forEach(found -> known.putIfAbsent(found.name(), found));
        ClassLoader context = Thread.currentThread().getContextClassLoader();
        if (sees(context == null ? ClassLoader.getSystemClassLoader() : context)) {
            ServiceLoader.load(Architecture.class).forEach(found -> known.putIfAbsent(found.name(), found));
        }
        return known;
    }

    /** Whether what a class loader has are architectures of this copy of the library; in a server it may have a copy of its own. */
    private static boolean sees(ClassLoader loader) {
        try {
            return Class.forName(Architecture.class.getName(), false, loader) == Architecture.class;
        } catch (ClassNotFoundException none) {
            return false;
        }
    }
}
