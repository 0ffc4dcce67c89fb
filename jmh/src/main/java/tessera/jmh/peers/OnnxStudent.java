package tessera.jmh.peers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.export.OnnxGraph;
import tessera.nn.export.OnnxGraph.Attribute;
import tessera.nn.videomae.SinePositions;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Tensor;

/**
 * A {@link Task} as an ONNX model in the form that ONNX Runtime is fastest with: its own attention operator, weights transposed, and
 * of a masked clip only the rows of pixels that are seen. In int8 every linear layer has weights of a scale for each output and
 * quantises its input by itself, as ONNX Runtime's dynamic quantisation writes it.
 *
 * <p>Without VNNI, ONNX Runtime adds up two products in 16 bits, which only weights of 7 bits are sure not to exceed; its own quantisation
 * calls that {@code reduce_range}.
 */
public final class OnnxStudent {
    private final OnnxGraph graph = new OnnxGraph();
    private final Task task;
    private final VideoMaeConfig config;
    private final int largestWeight;

    /** Inputs of the model by name; those of i64 are numbers of rows and tokens, in the order of the model's masks. */
    private final Map<String, Input> inputs = new LinkedHashMap<>();

    /**
     * An input.
     *
     * @param u8 or else f32 or, where {@code indices}, i64
     * @param indices whether it is of i64
     * @param data little-endian, direct
     */
    public record Input(boolean u8, boolean indices, ByteBuffer data, long[] shape) {}

    /** The output's name. */
    public static final String RESULT = "result";

    /** Largest weight of a model in int8 on processors with VNNI, and on others. */
    public static final int LARGEST_WEIGHT = 127;

    public static final int LARGEST_WEIGHT_IN_PAIRS = 63;

    /**
     * Writes a task's model.
     *
     * @param largestWeight in int8; 0 for a model in f32
     * @throws IllegalArgumentException if there is no model for this kind
     */
    public OnnxStudent(Task task, int largestWeight) {
        this.task = task;
        this.config = task.shapes().config();
        this.largestWeight = largestWeight;
        Work work = task.work();
        long rows = work.sequences();
        long tokens = work.tokens(config);
        long d = config.embedDim();
        String block = "encoder.blocks.0.";
        switch (work.kind()) {
            case MATMUL -> {
                Shapes.Product product = task.shapes().product();
                int n = product.columns();
                int k = product.inner();
                String x = input("x");
                graph.output(RESULT, linear(x, task.input("w").toFloats(), new float[0], n, k), product.rows(), n);
            }
            case LAYER_NORM ->
                graph.output(RESULT, norm(input("x"), block + "norm1", config.layerNormEps()), rows, tokens, d);
            case LINEAR ->
                graph.output(
                        RESULT,
                        linear(
                                input("x"),
                                task.weight(block + "attn.qkv.weight"),
                                task.qkvBias(block),
                                3 * (int) d,
                                (int) d),
                        rows,
                        tokens,
                        3 * d);
            case LINEAR_GELU ->
                graph.output(
                        RESULT,
                        graph.gelu(layer(input("x"), block + "mlp.fc1", 4 * (int) d, (int) d)),
                        rows,
                        tokens,
                        4 * d);
            case ATTENTION -> graph.output(RESULT, mix(input("x")), rows, tokens, d);
            case BLOCK -> graph.output(RESULT, block(input("x"), block), rows, tokens, d);
            case FORWARD -> graph.output(RESULT, forward(), rows, d);
            default ->
                throw new IllegalArgumentException(
                        "there is no ONNX model of " + work.kind().text());
        }
    }

    /** The model's file. */
    public byte[] model() {
        return graph.toBytes();
    }

    /** What it takes. */
    public Map<String, Input> inputs() {
        return inputs;
    }

    /** An input that the task has, f32 or u8. */
    private String input(String name) {
        Tensor tensor = task.input(name);
        boolean u8 = tensor.dtype() == DType.U8;
        long[] shape = tensor.shape().toArray();
        inputs.put(name, new Input(u8, false, tensor.segment().asByteBuffer().order(ByteOrder.nativeOrder()), shape));
        return graph.input(name, u8 ? OnnxGraph.Type.U8 : OnnxGraph.Type.F32, shape);
    }

    private String indices(String name, long[] values, long... shape) {
        ByteBuffer data = ByteBuffer.allocateDirect(values.length * Long.BYTES).order(ByteOrder.nativeOrder());
        data.asLongBuffer().put(values);
        inputs.put(name, new Input(false, true, data, shape));
        return graph.input(name, OnnxGraph.Type.I64, shape);
    }

    // -------------------------------------------------------------------------------------------------------- layers

    private String layer(String x, String name, int out, int in) {
        return linear(x, task.weight(name + ".weight"), task.weight(name + ".bias"), out, in);
    }

    /** {@code x w^T + b}; no bias where that is empty. */
    private String linear(String x, float[] weight, float[] bias, int out, int in) {
        if (largestWeight == 0) {
            return graph.linear(x, weight, bias, out, in);
        }
        String product = quantizedProduct(x, weight, out, in);
        return bias.length == 0 ? product : graph.add("Add", List.of(product, graph.constant(bias, out)));
    }

    /** Weights as s8, transposed, with the scale of each output. */
    private record Quantized(byte[] values, float[] scales) {
        static Quantized of(float[] weight, int out, int in, int most) {
            byte[] values = new byte[weight.length];
            float[] scales = new float[out];
            for (int o = 0; o < out; o++) {
                float largest = 0;
                for (int i = 0; i < in; i++) {
                    largest = Math.max(largest, Math.abs(weight[o * in + i]));
                }
                scales[o] = largest == 0 ? 1 : largest / most;
                for (int i = 0; i < in; i++) {
                    values[i * out + o] = (byte) Math.clamp(Math.round(weight[o * in + i] / scales[o]), -most, most);
                }
            }
            return new Quantized(values, scales);
        }
    }

    private String quantizedProduct(String x, float[] weight, int out, int in) {
        Quantized w = Quantized.of(weight, out, in, largestWeight);
        List<String> q = graph.add("", "DynamicQuantizeLinear", List.of(x), 3); // u8, scale, zero point
        String sums = graph.add(
                "MatMulInteger",
                List.of(
                        q.get(0),
                        graph.constant(OnnxGraph.Type.S8, w.values(), in, out),
                        q.get(2),
                        graph.constant(OnnxGraph.Type.S8, new byte[out], out)));
        String real = graph.add("Cast", List.of(sums), Attribute.of("to", 1));
        String scale = graph.add("Mul", List.of(q.get(1), graph.constant(w.scales(), out)));
        return graph.add("Mul", List.of(real, scale));
    }

    private String norm(String x, String name, double eps) {
        return graph.layerNorm(x, task.weight(name + ".weight"), task.weight(name + ".bias"), eps);
    }

    /** Attention from queries, keys and values side by side. */
    private String mix(String qkv) {
        List<String> parts = graph.add("", "Split", List.of(qkv), 3, Attribute.of("axis", -1L));
        return graph.add(OnnxGraph.MICROSOFT, "MultiHeadAttention", parts, 1, Attribute.of("num_heads", (long)
                        config.heads()))
                .getFirst();
    }

    /** The projection to queries, keys and values, and attention, in one operator. */
    private String attention(String x, String block) {
        int d = config.embedDim();
        float[] weight = task.weight(block + "attn.qkv.weight");
        String bias = graph.constant(task.qkvBias(block), 3L * d);
        Attribute heads = Attribute.of("num_heads", (long) config.heads());
        if (largestWeight == 0) {
            List<String> arguments =
                    List.of(x, graph.constant(OnnxGraph.transposed(weight, 3 * d, d), d, 3L * d), bias);
            return graph.add(OnnxGraph.MICROSOFT, "Attention", arguments, 1, heads)
                    .getFirst();
        }
        Quantized w = Quantized.of(weight, 3 * d, d, largestWeight);
        List<String> q = graph.add("", "DynamicQuantizeLinear", List.of(x), 3);
        List<String> arguments = List.of(
                q.get(0),
                graph.constant(OnnxGraph.Type.S8, w.values(), d, 3L * d),
                bias,
                q.get(1),
                graph.constant(w.scales(), 3L * d),
                "",
                q.get(2),
                graph.constant(OnnxGraph.Type.S8, new byte[3 * d], 3L * d));
        return graph.add(OnnxGraph.MICROSOFT, "QAttention", arguments, 1, heads).getFirst();
    }

    private String block(String x, String name) {
        int d = config.embedDim();
        String mixed = attention(norm(x, name + "norm1", config.layerNormEps()), name);
        String sum = graph.add("Add", List.of(x, layer(mixed, name + "attn.proj", d, d)));
        String wide = graph.gelu(layer(norm(sum, name + "norm2", config.layerNormEps()), name + "mlp.fc1", 4 * d, d));
        return graph.add("Add", List.of(sum, layer(wide, name + "mlp.fc2", d, 4 * d)));
    }

    // --------------------------------------------------------------------------------------------------------- model

    private String forward() {
        int d = config.embedDim();
        int length = config.patches().patchLength();
        String x = graph.add(
                "Add",
                List.of(
                        linear(
                                patches(),
                                task.patchEmbedding(),
                                task.weight("encoder.patch_embed.proj.bias"),
                                d,
                                length),
                        positions()));
        for (int i = 0; i < config.depth(); i++) {
            x = block(x, "encoder.blocks." + i + ".");
        }
        String normed = norm(x, "encoder.norm", config.layerNormEps());
        String mean = graph.add(
                "ReduceMean", List.of(normed), Attribute.of("axes", new long[] {1}), Attribute.of("keepdims", 0L));
        return norm(mean, "fc_norm", config.outputNormEps());
    }

    /** Normalised patches of the tokens that are seen: rows of a patch's pixels are gathered from the clip as it lies in memory. */
    private String patches() {
        Work work = task.work();
        int channels = config.patches().channels();
        int tokens = work.tokens(config);
        int rowOfPixels = config.patches().patch() * channels;
        int length = config.patches().patchLength();
        long all = task.input("clip").shape().count();
        String flat = graph.reshape(input("clip"), all / rowOfPixels, rowOfPixels);
        String gathered = graph.add(
                "Gather",
                List.of(flat, indices("rows", task.pixelRows(), work.sequences(), tokens, length / rowOfPixels)),
                Attribute.of("axis", 0L));
        String pixels = graph.add(
                "Cast", List.of(graph.reshape(gathered, work.sequences(), tokens, length)), Attribute.of("to", 1));
        return graph.normalised(pixels, config.patches());
    }

    private String positions() {
        int d = config.embedDim();
        float[] table;
        try (Tensor positions = SinePositions.table(Device.cpu(), DType.F32, config.tokens(), d)) {
            table = positions.toFloats();
        }
        String all = graph.constant(table, config.tokens(), d);
        if (!task.inputs().containsKey("visible")) {
            return all;
        }
        long[] tokens = Arrays.stream(task.visibleTokens()).asLongStream().toArray();
        String visible =
                indices("visible", tokens, task.work().sequences(), task.work().tokens(config));
        return graph.add("Gather", List.of(all, visible), Attribute.of("axis", 0L));
    }
}
