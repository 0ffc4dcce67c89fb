package tessera.jmh.peers;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.nn.export.OnnxGraph;
import tessera.nn.export.Protobuf;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** ONNX models, read back by a reader that knows the wire format alone; ONNX Runtime itself reads them in the benchmark. */
class OnnxGraphTest {
    /** A message: the values of each field, numbers as {@code Long} and anything else as {@code byte[]}. */
    private static final class Message extends TreeMap<Integer, List<Object>> {
        private static final long serialVersionUID = 1;

        Message(byte[] bytes) {
            ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            while (in.hasRemaining()) {
                long tag = varint(in);
                int field = (int) (tag >> 3);
                Object value = switch ((int) (tag & 7)) {
                    case 0 -> varint(in);
                    case 2 -> slice(in, (int) varint(in));
                    case 5 -> slice(in, 4);
                    default -> throw new IllegalArgumentException("wire type of tag " + tag);
                };
                computeIfAbsent(field, f -> new ArrayList<>()).add(value);
            }
        }

        private static byte[] slice(ByteBuffer in, int length) {
            byte[] bytes = new byte[length];
            in.get(bytes);
            return bytes;
        }

        private static long varint(ByteBuffer in) {
            long value = 0;
            for (int shift = 0; ; shift += 7) {
                byte b = in.get();
                value |= (b & 0x7FL) << shift;
                if (b >= 0) {
                    return value;
                }
            }
        }

        List<Message> messages(int field) {
            return getOrDefault(field, List.of()).stream()
                    .map(v -> new Message((byte[]) v))
                    .toList();
        }

        List<String> texts(int field) {
            return getOrDefault(field, List.of()).stream()
                    .map(v -> new String((byte[]) v, StandardCharsets.UTF_8))
                    .toList();
        }

        List<Long> numbers(int field) {
            return getOrDefault(field, List.of()).stream().map(Long.class::cast).toList();
        }
    }

    @Test
    void numbersTakeAsManyBytesAsTheyNeed() {
        assertArrayEquals(
                new byte[] {8, (byte) 0x96, 1}, new Protobuf().number(1, 150).toBytes());
        assertArrayEquals(
                new byte[] {8, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1},
                new Protobuf().number(1, -1).toBytes());
        assertArrayEquals(
                new byte[] {0x12, 2, 'h', 'i'}, new Protobuf().text(2, "hi").toBytes());
        assertArrayEquals(
                new byte[] {0x15, 0, 0, (byte) 0x80, 0x3F},
                new Protobuf().real(2, 1).toBytes());
        assertArrayEquals(
                new byte[] {0x1A, 2, 8, 5},
                new Protobuf().message(3, new Protobuf().number(1, 5)).toBytes());
    }

    @Test
    void aModelIsReadBack() {
        OnnxGraph graph = new OnnxGraph();
        String x = graph.input("x", OnnxGraph.Type.F32, 2, 3);
        String w = graph.constant(new float[] {1, 2, 3}, 3, 1);
        String y = graph.add("MatMul", List.of(x, w));
        List<String> parts = graph.add(
                OnnxGraph.MICROSOFT,
                "Odd",
                List.of(y, "", x),
                2,
                OnnxGraph.Attribute.of("axis", -1L),
                OnnxGraph.Attribute.of("eps", .5F));
        graph.output("result", parts.get(1), 2, 1);

        Message model = new Message(graph.toBytes());
        assertEquals(List.of(8L), model.numbers(1));
        List<Message> operators = model.messages(8);
        assertEquals(List.of(17L), operators.get(0).numbers(2));
        assertEquals(List.of("com.microsoft"), operators.get(1).texts(1));
        Message read = model.messages(7).getFirst();
        List<Message> nodes = read.messages(1);
        assertEquals(
                List.of(List.of("MatMul"), List.of("Odd"), List.of("Identity")),
                nodes.stream().map(n -> n.texts(4)).toList());
        assertEquals(List.of(y, "", x), nodes.get(1).texts(1));
        assertEquals(parts, nodes.get(1).texts(2));
        assertEquals(List.of("com.microsoft"), nodes.get(1).texts(7));
        Message axis = nodes.get(1).messages(5).get(0);
        assertEquals(List.of("axis"), axis.texts(1));
        assertEquals(List.of(-1L), axis.numbers(3));
        assertEquals(List.of(2L), axis.numbers(20), "an integer");
        assertEquals(List.of(1L), nodes.get(1).messages(5).get(1).numbers(20), "a real number");
        Message constant = read.messages(5).getFirst();
        assertEquals(List.of(3L, 1L), constant.numbers(1));
        assertEquals(List.of(1L), constant.numbers(2));
        assertEquals(List.of(w), constant.texts(8));
        assertArrayEquals(new byte[] {0, 0, (byte) 0x80, 0x3F, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40}, (byte[])
                requireNonNull(constant.get(9)).getFirst());
        Message shape = read.messages(11)
                .getFirst()
                .messages(2)
                .getFirst()
                .messages(1)
                .getFirst()
                .messages(2)
                .getFirst();
        assertEquals(
                List.of(2L, 3L),
                shape.messages(1).stream().map(d -> d.numbers(1).getFirst()).toList());
        assertEquals(List.of("result"), read.messages(12).getFirst().texts(1));
    }

    /** Every value is made before it is used, and every result has the one name. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void everyTaskIsAGraphInOrder(boolean quantized, @TempDir Path folder) {
        Shapes shapes = Shapes.tiny();
        for (Kind kind : List.of(
                Kind.MATMUL,
                Kind.LAYER_NORM,
                Kind.LINEAR,
                Kind.LINEAR_GELU,
                Kind.ATTENTION,
                Kind.BLOCK,
                Kind.FORWARD)) {
            for (double ratio : new double[] {0, .75}) {
                try (Task task = Task.make(new Work(kind, 2, ratio, 1), shapes, folder)) {
                    OnnxStudent student = new OnnxStudent(task, quantized ? OnnxStudent.LARGEST_WEIGHT : 0);
                    Message graph = new Message(student.model()).messages(7).getFirst();
                    Set<String> known = new HashSet<>(Set.of(""));
                    graph.messages(5).forEach(constant -> known.addAll(constant.texts(8)));
                    Set<String> inputs = new HashSet<>();
                    graph.messages(11).forEach(input -> inputs.addAll(input.texts(1)));
                    assertEquals(inputs, student.inputs().keySet());
                    known.addAll(inputs);
                    for (Message node : graph.messages(1)) {
                        assertTrue(known.containsAll(node.texts(1)), () -> kind + ": " + node.texts(4) + node.texts(1));
                        known.addAll(node.texts(2));
                    }
                    assertTrue(known.contains(OnnxStudent.RESULT));
                    boolean integers = graph.messages(1).stream()
                            .anyMatch(node -> node.texts(4).getFirst().equals("DynamicQuantizeLinear"));
                    boolean products = kind != Kind.LAYER_NORM && kind != Kind.ATTENTION;
                    assertEquals(quantized && products, integers, kind.toString());
                }
            }
        }
    }

    @Test
    void thereIsNoModelOfTraining(@TempDir Path folder) {
        try (Task task = Task.make(new Work(Kind.TRAIN, 1, .75, 1), Shapes.tiny(), folder)) {
            assertThrows(IllegalArgumentException.class, () -> new OnnxStudent(task, 0));
        }
    }

    /** What the peers gather from the clip is what our own patches are made of. */
    @Test
    void rowsOfPixelsMakeThePatches(@TempDir Path folder) {
        Shapes shapes = Shapes.tiny();
        try (Task task = Task.make(new Work(Kind.FORWARD, 2, .5, 2), shapes, folder)) {
            var patches = shapes.config().patches();
            int channels = patches.channels();
            int length = patches.patchLength();
            int row = patches.patch() * channels;
            byte[] pixels = new byte[(int) task.input("clip").shape().count()];
            task.input("clip").segment().asByteBuffer().get(pixels);
            long[] rows = task.pixelRows();
            int tokens = task.work().tokens(shapes.config());
            int[] visible = task.visibleTokens();
            for (int sequence = 0; sequence < task.work().sequences(); sequence++) {
                try (Scope scope = Scope.open()) {
                    Tensor clip = task.input("clip").slice(0, sequence % 2, sequence % 2 + 1);
                    int[] seen = Arrays.copyOfRange(visible, sequence * tokens, (sequence + 1) * tokens);
                    Tensor ours = patches.gather(clip, Tensor.of(seen, 1, tokens));
                    float[] expected = ours.toFloats();
                    for (int token = 0; token < tokens; token++) {
                        for (int i = 0; i < length; i++) {
                            int place = (sequence * tokens + token) * (length / row) + i / row;
                            int value = pixels[(int) rows[place] * row + i % row] & 0xFF;
                            int channel = i % channels;
                            double normalised =
                                    (value * patches.scale() - patches.mean()[channel]) / patches.std()[channel];
                            int ordered = channel * (length / channels) + i / channels; // (c, dt, dy, dx)
                            Close.within(expected[token * length + ordered], normalised, 1e-5, "value");
                        }
                    }
                }
            }
        }
    }

    @Test
    void tasksGiveTheSameInputsAgain(@TempDir Path folder) {
        Work work = new Work(Kind.FORWARD, 1, .75, 2);
        try (Task one = Task.make(work, Shapes.tiny(), folder);
                Task other = Task.make(work, Shapes.tiny(), folder)) {
            assertArrayEquals(one.visibleTokens(), other.visibleTokens());
            assertArrayEquals(one.patchEmbedding(), other.patchEmbedding());
        }
    }
}
