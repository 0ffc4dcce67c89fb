package tessera;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntToDoubleFunction;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.json.JsonFactory;

/**
 * A file of reference values from the test resources, read into plain arrays.
 *
 * <p>It reads the safetensors format by itself, so that the tests of the library's own reader have something independent
 * to compare with.
 */
public final class Golden {
    private record Entry(String dtype, long[] shape, int begin, int end) {}

    private final String name;
    private final ByteBuffer data;
    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    private Golden(String name, byte[] file) {
        this.name = name;
        ByteBuffer bytes = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        int headerLength = Math.toIntExact(bytes.getLong(0));
        readHeader(new String(file, Long.BYTES, headerLength, StandardCharsets.UTF_8));
        this.data = bytes.slice(Long.BYTES + headerLength, file.length - Long.BYTES - headerLength)
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Reads {@code golden/<name>.safetensors} from the test resources. */
    public static Golden open(String name) {
        try (InputStream in = Golden.class.getResourceAsStream("/golden/" + name + ".safetensors")) {
            if (in == null) {
                throw new IllegalArgumentException("no golden file " + name + " in the test resources");
            }
            return new Golden(name, in.readAllBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The names of all arrays. */
    public Set<String> keys() {
        return entries.keySet();
    }

    /** The free-form strings of the header; values are JSON texts. */
    public Map<String, String> metadata() {
        return metadata;
    }

    /** The extents of an array. */
    public long[] shape(String key) {
        return entry(key).shape().clone();
    }

    /** The dtype as the file writes it, such as {@code F32}. */
    public String dtype(String key) {
        return entry(key).dtype();
    }

    /** The values in row-major order, widened from whatever dtype the file holds. */
    public double[] doubles(String key) {
        Entry e = entry(key);
        int width = width(e.dtype());
        IntToDoubleFunction at = switch (e.dtype()) {
            case "F64" -> data::getDouble;
            case "F32" -> data::getFloat;
            case "I64" -> data::getLong;
            case "I32" -> data::getInt;
            case "U8", "BOOL" -> i -> data.get(i) & 0xff;
            default -> throw new IllegalArgumentException(name + ": " + key + " has dtype " + e.dtype());
        };
        double[] values = new double[(e.end() - e.begin()) / width];
        for (int i = 0; i < values.length; i++) {
            values[i] = at.applyAsDouble(e.begin() + i * width);
        }
        return values;
    }

    /** The values in row-major order, rounded to f32 where the file holds f64. */
    public float[] floats(String key) {
        double[] wide = doubles(key);
        float[] values = new float[wide.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) wide[i];
        }
        return values;
    }

    /** The values in row-major order as integers; a fraction is an error. */
    public int[] ints(String key) {
        double[] wide = doubles(key);
        int[] values = new int[wide.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = (int) wide[i];
            if (values[i] != wide[i]) {
                throw new IllegalArgumentException(name + ": " + key + "[" + i + "] = " + wide[i] + " is no int");
            }
        }
        return values;
    }

    /** A two-dimensional array as rows. */
    public double[][] rows(String key) {
        long[] shape = shape(key);
        if (shape.length != 2) {
            throw new IllegalArgumentException(name + ": " + key + " has rank " + shape.length + ", not 2");
        }
        double[] flat = doubles(key);
        int columns = (int) shape[1];
        double[][] rows = new double[(int) shape[0]][];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = Arrays.copyOfRange(flat, i * columns, (i + 1) * columns);
        }
        return rows;
    }

    private Entry entry(String key) {
        Entry entry = entries.get(key);
        if (entry == null) {
            throw new IllegalArgumentException(name + " has no array " + key + "; it has " + entries.keySet());
        }
        return entry;
    }

    private static int width(String dtype) {
        return switch (dtype) {
            case "F64", "I64" -> 8;
            case "F32", "I32" -> 4;
            default -> 1;
        };
    }

    private void readHeader(String json) {
        try (JsonParser p = new JsonFactory().createParser(ObjectReadContext.empty(), json)) {
            p.nextToken();
            while (p.nextToken() != JsonToken.END_OBJECT) {
                String key = p.currentName();
                p.nextToken();
                if (key.equals("__metadata__")) {
                    while (p.nextToken() != JsonToken.END_OBJECT) {
                        String field = p.currentName();
                        p.nextToken();
                        metadata.put(field, p.getString());
                    }
                } else {
                    entries.put(key, readEntry(p));
                }
            }
        }
    }

    private static Entry readEntry(JsonParser p) {
        String dtype = "";
        long[] shape = {};
        long[] offsets = {};
        while (p.nextToken() != JsonToken.END_OBJECT) {
            String field = p.currentName();
            p.nextToken();
            switch (field) {
                case "dtype" -> dtype = p.getString();
                case "shape" -> shape = readLongs(p);
                case "data_offsets" -> offsets = readLongs(p);
                default -> throw new IllegalArgumentException("unexpected field " + field);
            }
        }
        return new Entry(dtype, shape, Math.toIntExact(offsets[0]), Math.toIntExact(offsets[1]));
    }

    private static long[] readLongs(JsonParser p) {
        List<Long> values = new ArrayList<>();
        while (p.nextToken() != JsonToken.END_ARRAY) {
            values.add(p.getLongValue());
        }
        return values.stream().mapToLong(Long::longValue).toArray();
    }
}
