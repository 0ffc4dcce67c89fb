package tessera.nn;

import java.io.StringWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * The linear layers of a model that are computed on bytes (see {@link Int8Kernels}), by the names of their weights: all those
 * that {@link Linear#pack} lays out. Norms, softmax, positions and heads stay as they are;
 * attention's products are bf16 where the processor multiplies that.
 *
 * <p>Weights are rounded when they are laid out, so the model's parameters are what is computed with: {@code q * scale} with q in
 * [-127, 127] and one scale for each output. In a file such a weight is s8 and stands beside {@code <name>.scale} f32 {@code [out]};
 * the metadata say {@code tessera.precision = int8}, and {@code tessera.inputRanges} gives the inputs' ranges where they were
 * calibrated, a JSON object of pairs. Inputs are rounded to as many bytes as the device multiplies exactly
 * ({@link Int8Kernels#largestInput}); on a CPU without AVX2, and on a GPU that computes no layers on bytes, the rounded weights are
 * computed with in the model's type. The file is the same for all.
 *
 * <p>Used by one thread while the model is made; afterwards only read.
 */
public final class Int8Layers {
    /** Why a training refuses a file on bytes. */
    public static final String NOT_TRAINED =
            "its weights are int8 (made by tessera quantize), which no training starts from; pass"
                    + " the student that it was made from";

    private static final String ENTRY = "tessera.precision";
    private static final String INT8 = "int8";
    private static final String RANGES = "tessera.inputRanges";
    private static final String SCALE = ".scale";
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    /** Adding this and taking it away rounds to a whole number, half to even. */
    private static final float ROUNDER = 0x1.8p23f;

    private final Set<String> names = new LinkedHashSet<>();
    private final Map<String, InputRange> ranges;
    private final boolean observing;

    private Int8Layers(Map<String, InputRange> ranges, boolean observing) {
        this.ranges = ranges;
        this.observing = observing;
    }

    /**
     * Layers on bytes.
     *
     * @param ranges of the inputs by the weight's name; inputs of others are looked at row by row
     */
    public static Int8Layers of(Map<String, InputRange> ranges) {
        return new Int8Layers(new TreeMap<>(ranges), false);
    }

    /** Layers that stay in f32 while the {@link #ranges} of their inputs are collected: the least and the largest value seen. */
    public static Int8Layers observing() {
        return new Int8Layers(new TreeMap<>(), true);
    }

    /** Names of the weights, in the order in which they were laid out. */
    public Set<String> names() {
        return Collections.unmodifiableSet(names);
    }

    /** Ranges of the inputs by the weight's name; empty where every row is looked at. */
    public Map<String, InputRange> ranges() {
        return Collections.unmodifiableMap(ranges);
    }

    boolean isObserving() {
        return observing;
    }

    /** Widens the range of a layer's input, by values on the host. */
    void observe(String name, Tensor x) {
        float low = 0;
        float high = 0;
        for (float v : x.toFloats()) {
            if (!Float.isFinite(v)) {
                throw new IllegalArgumentException("int8: the input of " + name + " holds " + v
                        + "; calibrate on clips that the model gives finite features of");
            }
            low = Math.min(low, v);
            high = Math.max(high, v);
        }
        InputRange before = ranges.getOrDefault(name, new InputRange(0, 0));
        ranges.put(name, new InputRange(Math.min(before.low(), low), Math.max(before.high(), high)));
    }

    @Nullable
    InputRange range(String name) {
        return ranges.get(name);
    }

    /** Rounds a layer's weight {@code [out, in]} in place. */
    void round(String name, Tensor weight) {
        if (!weight.device().isHost()) {
            try (Scope scope = Scope.open()) {
                Tensor host = weight.to(Device.cpu());
                round(name, host);
                weight.copyFrom(host);
            }
            return;
        }
        int k = Math.toIntExact(weight.size(1));
        float[] row = new float[k];
        for (long i = 0; i < weight.size(0); i++) {
            read(weight.segment(), i * k, row);
            float scale = scale(name, row);
            for (int j = 0; j < k; j++) {
                row[j] = nearest(row[j], scale) * scale;
            }
            MemorySegment.copy(row, 0, weight.segment(), FLOAT, i * k * Float.BYTES, k);
        }
        names.add(name);
    }

    private static void read(MemorySegment w, long from, float[] row) {
        MemorySegment.copy(w, FLOAT, from * Float.BYTES, row, 0, row.length);
    }

    /** The whole number that a weight is of its scale. */
    private static float nearest(float weight, float scale) {
        return scale == 0 ? 0 : weight / scale + ROUNDER - ROUNDER;
    }

    private static float scale(String name, float[] row) {
        float largest = 0;
        for (float v : row) {
            largest = Math.max(largest, Math.abs(v));
        }
        float scale = Int8Kernels.weightScale(largest);
        if (Float.isNaN(scale)) {
            throw new IllegalArgumentException("int8: the weight " + name + " holds a value of " + largest
                    + ", which no byte stands for; train the model again");
        }
        return scale;
    }

    // --------------------------------------------------------------------------------------------------------- files

    /** Whether a file's metadata say that its layers are on bytes. */
    public static boolean isInt8(Map<String, String> metadata) {
        return INT8.equals(metadata.get(ENTRY));
    }

    /** Name of the scales of a weight. */
    static String scaleOf(String weight) {
        return weight + SCALE;
    }

    /** A rounded weight as s8, and its scales: the first axis are its outputs. */
    static float[] encode(String name, Tensor weight, byte[] bytes) {
        float[] scales = new float[Math.toIntExact(weight.size(0))];
        float[] row = new float[scales.length == 0 ? 0 : bytes.length / scales.length];
        for (int i = 0; i < scales.length; i++) {
            read(weight.segment(), (long) i * row.length, row);
            scales[i] = scale(name, row);
            for (int j = 0; j < row.length; j++) {
                bytes[i * row.length + j] = (byte) nearest(row[j], scales[i]);
            }
        }
        return scales;
    }

    /** The f32 weight of what {@link #encode} made, on the CPU. */
    static Tensor decode(String name, Shape shape, MemorySegment bytes, float[] scales) {
        if (shape.rank() < 2 || scales.length != shape.size(0)) {
            throw new CheckpointException(name + " is int8" + shape + " but has " + scales.length
                    + " scales and needs one for each output; use the file as it was written");
        }
        for (float scale : scales) {
            if (!(scale >= 0 && scale < Float.MAX_VALUE / 256)) {
                throw new CheckpointException(
                        name + " has the scale " + scale + " for its bytes; use the file as it was written");
            }
        }
        Tensor weight = Tensor.empty(Device.cpu(), DType.F32, shape);
        int k = scales.length == 0 ? 0 : Math.toIntExact(shape.count() / scales.length);
        byte[] stored = new byte[k];
        float[] row = new float[k];
        for (int i = 0; i < scales.length; i++) {
            MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, (long) i * k, stored, 0, k);
            for (int j = 0; j < k; j++) {
                row[j] = stored[j] * scales[i];
            }
            MemorySegment.copy(row, 0, weight.segment(), FLOAT, (long) i * k * Float.BYTES, k);
        }
        return weight;
    }

    /** The entries that a file of such a model has beside the others. */
    public Map<String, String> toMetadata() {
        Map<String, String> entries = new LinkedHashMap<>();
        entries.put(ENTRY, INT8);
        if (!ranges.isEmpty()) {
            StringWriter text = new StringWriter();
            try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
                json.writeStartObject();
                ranges.forEach((name, range) -> {
                    json.writeName(name);
                    json.writeStartArray();
                    json.writeNumber(range.low());
                    json.writeNumber(range.high());
                    json.writeEndArray();
                });
                json.writeEndObject();
            }
            entries.put(RANGES, text.toString());
        }
        return entries;
    }

    /**
     * The layers of a file on bytes, not laid out yet; null for a file of f32.
     *
     * @throws CheckpointException if an entry is not what it must be
     */
    public static @Nullable Int8Layers fromMetadata(Map<String, String> metadata) {
        String precision = metadata.get(ENTRY);
        if (precision == null) {
            return null;
        }
        if (!precision.equals(INT8)) {
            throw new CheckpointException("the file's precision is '" + precision
                    + "' but known is int8; open it with the version of Tessera that wrote it");
        }
        String text = metadata.get(RANGES);
        return of(text == null ? Map.of() : ranges(text));
    }

    private static Map<String, InputRange> ranges(String text) {
        Map<String, InputRange> ranges = new HashMap<>();
        try (JsonParser json = new JsonFactory().createParser(ObjectReadContext.empty(), text)) {
            boolean good = json.nextToken() == JsonToken.START_OBJECT;
            while (good && json.nextToken() == JsonToken.PROPERTY_NAME) {
                String name = json.currentName();
                good = json.nextToken() == JsonToken.START_ARRAY && number(json.nextToken());
                float low = good ? json.getFloatValue() : 0;
                good = good && number(json.nextToken());
                float high = good ? json.getFloatValue() : 0;
                good = good
                        && json.nextToken() == JsonToken.END_ARRAY
                        && ranges.put(name, new InputRange(low, high)) == null;
            }
            if (good && json.currentToken() == JsonToken.END_OBJECT && json.nextToken() == null) {
                return ranges;
            }
        } catch (JacksonException | IllegalArgumentException e) {
            // Refused below, as what is no object of pairs is.
        }
        throw new CheckpointException("the file's metadata entry " + RANGES + " is no JSON object that gives each layer"
                + " the least and the largest of its inputs; quantise the student again");
    }

    private static boolean number(@Nullable JsonToken token) {
        return token == JsonToken.VALUE_NUMBER_FLOAT || token == JsonToken.VALUE_NUMBER_INT;
    }
}
