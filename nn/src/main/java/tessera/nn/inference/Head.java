package tessera.nn.inference;

import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Pooling;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.JsonTokens;
import tessera.tensor.io.JsonTokens.Token;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * A linear classifier on a student's features, such as a few-shot head: a value in the heap, with nothing to close. Where its features
 * are pooled by attention it has the query of this too ({@link Pooling#withQuery}). A student
 * makes its own copy of it ({@link Student#withHeads}). Immutable and thread-safe.
 */
public final class Head {
    /** The name of a head that was given none. */
    public static final String ACTION = "action";

    /** The array of the query by which tokens are weighted, f32 {@code [D]}; only where the pooling has one. */
    private static final String QUERY = "head.query";

    private static final String LABELS = "tessera.head.labels";
    private static final String NAME = "tessera.head.name";
    private static final String POOLING = "tessera.head.pooling";
    private static final String STOPPING = "tessera.head.adaptive";
    private static final String STUDENT = "tessera.head.student";
    /** The labels of files before {@link #LABELS}, one a line. */
    private static final String LINES = "tessera.labels";

    private final String name;
    private final float[] weight;
    private final float[] bias;
    private final List<String> labels;
    private final Pooling pooling;
    private final @Nullable String student;
    private final @Nullable Stopping stopping;

    private Head(
            String name,
            float[] weight,
            float[] bias,
            List<String> labels,
            Pooling pooling,
            @Nullable String student,
            @Nullable Stopping stopping) {
        this.name = name;
        this.weight = weight;
        this.bias = bias;
        this.labels = List.copyOf(labels);
        this.pooling = pooling;
        this.student = student;
        this.stopping = stopping;
        for (float[] values : List.of(weight, bias)) {
            for (float value : values) {
                if (!Float.isFinite(value)) {
                    throw new IllegalArgumentException(
                            "head: it holds the weight " + value + "; every weight must be finite, so learn it again");
                }
            }
        }
    }

    /**
     * A head called {@value #ACTION} that does not say which student it was fitted on.
     *
     * @param coefficients {@code [classes][D]}
     * @param intercepts {@code [classes]}
     * @param labels names of the classes, in order; any text
     * @throws IllegalArgumentException if the sizes do not fit together or a number is not finite in f32
     */
    public static Head of(double[][] coefficients, double[] intercepts, List<String> labels) {
        int classes = coefficients.length;
        int width = classes == 0 ? 0 : coefficients[0].length;
        float[] weight = new float[classes * width];
        float[] bias = new float[intercepts.length];
        for (int c = 0; c < classes; c++) {
            if (coefficients[c].length != width) {
                throw new IllegalArgumentException("head: class " + c + " has " + coefficients[c].length
                        + " coefficients but class 0 has " + width + "; pass rows of one length");
            }
            for (int j = 0; j < width; j++) {
                weight[c * width + j] = (float) coefficients[c][j];
            }
        }
        for (int c = 0; c < bias.length; c++) {
            bias[c] = (float) intercepts[c];
        }
        requireFit("f32[" + classes + ", " + width + "]", classes, bias.length, labels);
        return new Head(ACTION, weight, bias, labels, Pooling.MEAN, null, null);
    }

    /** A head of two tensors, whose values are copied. */
    static Head of(String name, Tensor weight, Tensor bias, List<String> labels, @Nullable String student) {
        if (weight.rank() != 2 || weight.dtype() != DType.F32 || bias.rank() != 1 || bias.dtype() != DType.F32) {
            throw new CheckpointException("its weight is " + weight.describe() + " and its bias " + bias.describe()
                    + ", not f32[classes, width] and f32[classes]");
        }
        requireFit(weight.describe(), weight.size(0), bias.size(0), labels);
        return new Head(name, weight.toFloats(), bias.toFloats(), labels, Pooling.MEAN, student, null);
    }

    private static void requireFit(String weight, long classes, long biases, List<String> labels) {
        if (classes < 1 || classes != labels.size() || biases != classes) {
            throw new IllegalArgumentException("head: weight " + weight + " and bias f32[" + biases + "] do not fit "
                    + labels.size() + " labels; pass f32[classes, width] and f32[classes]");
        }
    }

    /** Whether a file whose arrays have these names is a head alone, as {@code tessera learn} makes them, and no model. */
    public static boolean isAlone(Set<String> names) {
        return names.contains("head.weight") && names.size() <= (names.contains(QUERY) ? 3 : 2);
    }

    /**
     * Refuses a head alone in the place of a model, by the names of its file's arrays.
     *
     * @throws CheckpointException if it is one
     */
    public static void requireModel(Set<String> names) {
        if (isAlone(names)) {
            throw new CheckpointException("this is a head and no model; pass the student that it was learned with");
        }
    }

    /**
     * Reads a head that {@link #save} wrote, now or before heads had names and checksums.
     *
     * @throws IllegalArgumentException if the file is no head
     */
    public static Head load(Path file) {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            Map<String, String> metadata = checkpoint.metadata();
            Tensor weight = checkpoint.tensors().get("head.weight");
            Tensor bias = checkpoint.tensors().get("head.bias");
            Tensor query = checkpoint.tensors().get(QUERY);
            String json = metadata.get(LABELS);
            String lines = metadata.get(LINES);
            if (weight == null
                    || bias == null
                    || (json == null && lines == null)
                    || checkpoint.tensors().size() > (query == null ? 2 : 3)) {
                throw new CheckpointException("it does not hold head.weight, head.bias and the labels alone");
            }
            List<String> labels = json != null
                    ? fromJson(json)
                    : List.of(String.valueOf(lines).split("\n", -1));
            return of(metadata.getOrDefault(NAME, ACTION), weight, bias, labels, metadata.get(STUDENT))
                    .on(pooling(metadata.get(POOLING), query))
                    .stoppingAt(Stopping.of(metadata.get(STOPPING)));
        } catch (tessera.tensor.io.TensorFileException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + " is no head: " + e.getMessage() + "; make one with `tessera learn`");
        }
    }

    /** How a file says that features are pooled. */
    static Pooling pooling(@Nullable String word, @Nullable Tensor query) {
        Pooling pooling = word == null ? Pooling.MEAN : Pooling.of(word);
        if (query == null) {
            return pooling;
        }
        if (query.rank() != 1 || query.dtype() != DType.F32) {
            throw new CheckpointException("its query is " + query.describe() + ", not f32[width]");
        }
        return pooling.withQuery(query.toFloats());
    }

    /** Writes a safetensors file: to a temporary name, then moved. */
    public void save(Path file) {
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put(NAME, name);
        metadata.put(LABELS, toJson(labels));
        if (!pooling.equals(Pooling.MEAN)) {
            metadata.put(POOLING, pooling.toString());
        }
        if (student != null) {
            metadata.put(STUDENT, student);
        }
        if (stopping != null) {
            metadata.put(STOPPING, stopping.text());
        }
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> tensors = new LinkedHashMap<>(); // in this order, so that equal heads are equal bytes
            tensors.put("head.weight", weightTensor());
            tensors.put("head.bias", Tensor.of(bias));
            float[] query = pooling.query();
            if (query != null) {
                tensors.put(QUERY, Tensor.of(query));
            }
            Checkpoint.write(file, tensors, metadata);
        }
    }

    /** The same head under a name, by which it is told from other heads of a student. */
    public Head named(String other) {
        return new Head(other, weight, bias, labels, pooling, student, stopping);
    }

    /**
     * The same head, bound to the student whose features it was fitted on; any other refuses it.
     *
     * @param checksum {@link Student#checksum}
     */
    public Head fittedOn(String checksum) {
        return new Head(name, weight, bias, labels, pooling, checksum, stopping);
    }

    /**
     * The same head for features that are pooled in this way; without it they are the model's own ({@link Pooling#MEAN}).
     *
     * @throws IllegalArgumentException if the pooling {@link Pooling#needsQuery needs a query}, or has one and other parts
     */
    public Head on(Pooling other) {
        if (other.needsQuery()) {
            throw new IllegalArgumentException(
                    "head: the pooling " + other
                            + " has no query, which is fitted with the head; pass it with Pooling.withQuery, or learn the head again");
        }
        Pooling.of(other.toString()); // refuses what a file could not say: attention beside others
        return new Head(name, weight, bias, labels, other, student, stopping);
    }

    /** The same head with a rule for adaptive masks, or without one. */
    public Head stoppingAt(@Nullable Stopping rule) {
        return new Head(name, weight, bias, labels, pooling, student, rule);
    }

    /** When it has seen enough of a clip, if it was learned with a rule for adaptive masks. */
    public Optional<Stopping> stopping() {
        return Optional.ofNullable(stopping);
    }

    /** How the features were pooled on which it was fitted; a student with this head pools them so. */
    public Pooling pooling() {
        return pooling;
    }

    public String name() {
        return name;
    }

    /** Names of the classes, in order. */
    public List<String> labels() {
        return labels;
    }

    /** The checksum of the student it was fitted on, if it says so. */
    public Optional<String> student() {
        return Optional.ofNullable(student);
    }

    /** Number of classes. */
    public int classes() {
        return labels.size();
    }

    /** Values of a feature, D. */
    public int width() {
        return weight.length / classes();
    }

    /** The weight on the CPU, f32 {@code [classes, D]}. */
    Tensor weightTensor() {
        return Tensor.of(weight, classes(), width());
    }

    /** A copy of the weight, {@code [classes, D]} in row-major order. */
    public float[] weight() {
        return weight.clone();
    }

    /** A copy of the bias, {@code [classes]}. */
    public float[] bias() {
        return bias.clone();
    }

    private static String toJson(List<String> labels) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
            json.writeStartArray();
            labels.forEach(json::writeString);
            json.writeEndArray();
        }
        return JsonTokens.escaped(text.toString());
    }

    private static List<String> fromJson(String text) {
        List<String> labels = new ArrayList<>();
        try {
            JsonTokens json = new JsonTokens(text, 1);
            if (json.next() == Token.START_ARRAY) {
                while (json.next() == Token.STRING) {
                    labels.add(json.text());
                }
                if (json.current() == Token.END_ARRAY && json.next() == Token.END) {
                    return labels;
                }
            }
        } catch (JsonTokens.InvalidException e) {
            throw new CheckpointException("its labels are not the JSON they must be");
        }
        throw new CheckpointException("its labels are no JSON array of texts");
    }
}
