package tessera.nn.export;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.tensor.Patches;

/**
 * Writes an ONNX model, of operator set 17 and ONNX Runtime's own operators, node by node; every method that adds a value gives its
 * name, which later nodes take. After onnx.proto3 of the ONNX project. Not thread-safe.
 */
public final class OnnxGraph {
    /** ONNX Runtime's own operators. */
    public static final String MICROSOFT = "com.microsoft";

    private static final int IR_VERSION = 8;
    private static final int OPERATORS = 17;

    private final List<Protobuf> nodes = new ArrayList<>();
    private final List<Protobuf> constants = new ArrayList<>();
    private final List<Protobuf> inputs = new ArrayList<>();
    private final List<Protobuf> outputs = new ArrayList<>();
    private final List<Protobuf> properties = new ArrayList<>();
    private int names;
    private boolean microsoft;

    /** An empty graph. */
    public OnnxGraph() {}

    /** Types of elements, as onnx.proto3 numbers them. */
    public enum Type {
        F32(1),
        U8(2),
        S8(3),
        I32(6),
        I64(7);

        private final int number;

        Type(int number) {
            this.number = number;
        }

        /** The number that a cast to it takes. */
        public long number() {
            return number;
        }
    }

    /** An attribute of a node. */
    public record Attribute(Protobuf message) {
        private static final int REAL = 1;
        private static final int INTEGER = 2;
        private static final int INTEGERS = 7;

        public static Attribute of(String name, long value) {
            return new Attribute(new Protobuf().text(1, name).number(3, value).number(20, INTEGER));
        }

        public static Attribute of(String name, float value) {
            return new Attribute(new Protobuf().text(1, name).real(2, value).number(20, REAL));
        }

        public static Attribute of(String name, long... values) {
            Protobuf message = new Protobuf().text(1, name);
            for (long value : values) {
                message.number(8, value);
            }
            return new Attribute(message.number(20, INTEGERS));
        }
    }

    /** Size of an axis that a model leaves open: the number of clips of a call. */
    public static final long BATCH = -1;

    /** Declares an input; a size may be {@link #BATCH}. */
    public String input(String name, Type type, long... shape) {
        inputs.add(value(name, type, shape));
        return name;
    }

    /** Gives a value out under a name, f32; a size may be {@link #BATCH}. */
    public void output(String name, String value, long... shape) {
        nodes.add(node("Identity", "", List.of(value), List.of(name)));
        outputs.add(value(name, Type.F32, shape));
    }

    private static Protobuf value(String name, Type type, long... shape) {
        Protobuf dimensions = new Protobuf();
        for (long size : shape) {
            dimensions.message(1, size == BATCH ? new Protobuf().text(2, "batch") : new Protobuf().number(1, size));
        }
        Protobuf tensor = new Protobuf().number(1, type.number).message(2, dimensions);
        return new Protobuf().text(1, name).message(2, new Protobuf().message(1, tensor));
    }

    /** A constant. */
    public String constant(float[] values, long... shape) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return constant(Type.F32, bytes.array(), shape);
    }

    /** A constant. */
    public String constant(long[] values, long... shape) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(values);
        return constant(Type.I64, bytes.array(), shape);
    }

    /** A constant of which the bytes are given, in row-major order, little-endian. */
    public String constant(Type type, byte[] bytes, long... shape) {
        String name = fresh();
        Protobuf tensor = new Protobuf();
        for (long size : shape) {
            tensor.number(1, size);
        }
        constants.add(tensor.number(2, type.number).text(8, name).bytes(9, bytes));
        return name;
    }

    /** Adds a node of one result. */
    public String add(String operator, List<String> arguments, Attribute... attributes) {
        return add("", operator, arguments, 1, attributes).getFirst();
    }

    /**
     * Adds a node.
     *
     * @param domain empty for ONNX's own operators
     * @param arguments names of values; an empty one leaves an optional argument out
     * @return the names of its results
     */
    public List<String> add(
            String domain, String operator, List<String> arguments, int results, Attribute... attributes) {
        List<String> made = new ArrayList<>();
        for (int i = 0; i < results; i++) {
            made.add(fresh());
        }
        microsoft |= domain.equals(MICROSOFT);
        nodes.add(node(operator, domain, arguments, made, attributes));
        return made;
    }

    private static Protobuf node(
            String operator, String domain, List<String> arguments, List<String> results, Attribute... attributes) {
        Protobuf node = new Protobuf();
        arguments.forEach(name -> node.text(1, name));
        results.forEach(name -> node.text(2, name));
        node.text(3, results.getFirst() + "_" + operator).text(4, operator);
        Arrays.stream(attributes).forEach(attribute -> node.message(5, attribute.message()));
        return domain.isEmpty() ? node : node.text(7, domain);
    }

    /** Says something of the model in its metadata. */
    public void property(String name, String value) {
        properties.add(new Protobuf().text(1, name).text(2, value));
    }

    // -------------------------------------------------------------------------------------------------------- layers

    /**
     * {@code x w^T + b}.
     *
     * @param weight {@code [out, in]}
     * @param bias {@code [out]}, or empty for none
     */
    public String linear(String x, float[] weight, float[] bias, int out, int in) {
        String product = add("MatMul", List.of(x, constant(transposed(weight, out, in), in, out)));
        return bias.length == 0 ? product : add("Add", List.of(product, constant(bias, out)));
    }

    /** A weight {@code [out, in]} as {@code [in, out]}. */
    public static float[] transposed(float[] weight, int out, int in) {
        float[] result = new float[weight.length];
        for (int o = 0; o < out; o++) {
            for (int i = 0; i < in; i++) {
                result[i * out + o] = weight[o * in + i];
            }
        }
        return result;
    }

    /** GELU by the error function, in the form that ONNX Runtime knows and makes one operator of. */
    public String gelu(String x) {
        String inner = add("Div", List.of(x, constant(new float[] {(float) Math.sqrt(2)})));
        String share = add("Add", List.of(add("Erf", List.of(inner)), constant(new float[] {1})));
        return add("Mul", List.of(add("Mul", List.of(x, share)), constant(new float[] {.5F})));
    }

    /** Layer norm of the last axis. */
    public String layerNorm(String x, float[] gain, float[] bias, double eps) {
        return add(
                "LayerNormalization",
                List.of(x, constant(gain, gain.length), constant(bias, gain.length)),
                Attribute.of("axis", -1L),
                Attribute.of("epsilon", (float) eps));
    }

    /**
     * Pixels as a model sees them: times the scale, minus the mean of their channel, over its deviation.
     *
     * @param pixels f32 {@code [.., patchLength]}, the channels of a pixel side by side
     */
    public String normalised(String pixels, Patches patches) {
        float[] factor = new float[patches.patchLength()];
        float[] shift = new float[factor.length];
        for (int i = 0; i < factor.length; i++) {
            int channel = i % patches.channels();
            factor[i] = (float) (patches.scale() / patches.std()[channel]);
            shift[i] = (float) (-patches.mean()[channel] / patches.std()[channel]);
        }
        String scaled = add("Mul", List.of(pixels, constant(factor, factor.length)));
        return add("Add", List.of(scaled, constant(shift, shift.length)));
    }

    /** The same elements under another shape; 0 keeps a size, one may be -1. */
    public String reshape(String x, long... shape) {
        return add("Reshape", List.of(x, constant(shape, shape.length)));
    }

    private String fresh() {
        return "v" + names++;
    }

    /** The model's file. */
    public byte[] toBytes() {
        Protobuf graph = new Protobuf();
        nodes.forEach(node -> graph.message(1, node));
        graph.text(2, "tessera");
        constants.forEach(constant -> graph.message(5, constant));
        inputs.forEach(input -> graph.message(11, input));
        outputs.forEach(output -> graph.message(12, output));
        Protobuf model = new Protobuf()
                .number(1, IR_VERSION)
                .text(2, "tessera")
                .message(7, graph)
                .message(8, new Protobuf().text(1, "").number(2, OPERATORS));
        if (microsoft) {
            model.message(8, new Protobuf().text(1, MICROSOFT).number(2, 1));
        }
        properties.forEach(property -> model.message(14, property));
        return model.toBytes();
    }
}
