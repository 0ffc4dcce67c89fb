package tessera.jmh.peers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Writes an ONNX model, of operator set 17 and ONNX Runtime's own operators, node by node; every method that adds a value gives its
 * name, which later nodes take. After onnx.proto3 of the ONNX project. Not thread-safe.
 */
final class OnnxGraph {
    /** ONNX Runtime's own operators. */
    static final String MICROSOFT = "com.microsoft";

    private static final int IR_VERSION = 8;
    private static final int OPERATORS = 17;

    private final List<Protobuf> nodes = new ArrayList<>();
    private final List<Protobuf> constants = new ArrayList<>();
    private final List<Protobuf> inputs = new ArrayList<>();
    private final List<Protobuf> outputs = new ArrayList<>();
    private int names;

    /** Types of elements, as onnx.proto3 numbers them. */
    enum Type {
        F32(1),
        U8(2),
        S8(3),
        I32(6),
        I64(7);

        private final int number;

        Type(int number) {
            this.number = number;
        }
    }

    /** An attribute of a node. */
    record Attribute(Protobuf message) {
        private static final int REAL = 1;
        private static final int INTEGER = 2;
        private static final int INTEGERS = 7;

        static Attribute of(String name, long value) {
            return new Attribute(new Protobuf().text(1, name).number(3, value).number(20, INTEGER));
        }

        static Attribute of(String name, float value) {
            return new Attribute(new Protobuf().text(1, name).real(2, value).number(20, REAL));
        }

        static Attribute of(String name, long... values) {
            Protobuf message = new Protobuf().text(1, name);
            for (long value : values) {
                message.number(8, value);
            }
            return new Attribute(message.number(20, INTEGERS));
        }
    }

    /** Declares an input. */
    String input(String name, Type type, long... shape) {
        inputs.add(value(name, type, shape));
        return name;
    }

    /** Gives a value out under a name, f32. */
    void output(String name, String value, long... shape) {
        nodes.add(node("Identity", "", List.of(value), List.of(name)));
        outputs.add(value(name, Type.F32, shape));
    }

    private static Protobuf value(String name, Type type, long... shape) {
        Protobuf dimensions = new Protobuf();
        for (long size : shape) {
            dimensions.message(1, new Protobuf().number(1, size));
        }
        Protobuf tensor = new Protobuf().number(1, type.number).message(2, dimensions);
        return new Protobuf().text(1, name).message(2, new Protobuf().message(1, tensor));
    }

    String constant(float[] values, long... shape) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return constant(Type.F32, bytes.array(), shape);
    }

    String constant(long[] values, long... shape) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(values);
        return constant(Type.I64, bytes.array(), shape);
    }

    /** A constant of which the bytes are given, in row-major order, little-endian. */
    String constant(Type type, byte[] bytes, long... shape) {
        String name = fresh();
        Protobuf tensor = new Protobuf();
        for (long size : shape) {
            tensor.number(1, size);
        }
        constants.add(tensor.number(2, type.number).text(8, name).bytes(9, bytes));
        return name;
    }

    /** Adds a node of one result. */
    String add(String operator, List<String> arguments, Attribute... attributes) {
        return add("", operator, arguments, 1, attributes).getFirst();
    }

    /**
     * Adds a node.
     *
     * @param domain empty for ONNX's own operators
     * @param arguments names of values; an empty one leaves an optional argument out
     * @return the names of its results
     */
    List<String> add(String domain, String operator, List<String> arguments, int results, Attribute... attributes) {
        List<String> made = new ArrayList<>();
        for (int i = 0; i < results; i++) {
            made.add(fresh());
        }
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

    private String fresh() {
        return "v" + names++;
    }

    /** The model's file. */
    byte[] toBytes() {
        Protobuf graph = new Protobuf();
        nodes.forEach(node -> graph.message(1, node));
        graph.text(2, "tessera");
        constants.forEach(constant -> graph.message(5, constant));
        inputs.forEach(input -> graph.message(11, input));
        outputs.forEach(output -> graph.message(12, output));
        return new Protobuf()
                .number(1, IR_VERSION)
                .text(2, "tessera")
                .message(7, graph)
                .message(8, new Protobuf().text(1, "").number(2, OPERATORS))
                .message(8, new Protobuf().text(1, MICROSOFT).number(2, 1))
                .toBytes();
    }
}
