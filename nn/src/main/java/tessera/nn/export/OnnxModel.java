package tessera.nn.export;

import java.io.OutputStream;
import java.nio.file.Path;
import java.util.List;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.export.OnnxGraph.Attribute;
import tessera.nn.inference.Aggregation;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.videomae.SinePositions;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;
import tessera.tensor.io.AtomicFile;

/**
 * A VideoMAE student as an ONNX model of operator set 17, of ONNX's own operators alone. Masks are drawn when it is written and are
 * the same for every clip: those that the student draws for a clip alone. Only patches that are seen are embedded.
 *
 * <p>Input {@code clips} {@code [batch, T, H, W, C]}, u8 or f32 in the units of the pixels, for any batch. Outputs f32: {@code
 * features} {@code [batch, P, D]}, one of each mask, and of every head {@code scores} and {@code probabilities} {@code [batch,
 * classes]}: the mean of the masks' class scores, and their probabilities by the masking's {@link Aggregation}. Heads after the first have
 * their name behind a dot: {@code scores.noun}. The model's metadata have each head's labels, one a line.
 */
public final class OnnxModel {
    private static final long MOST_BYTES = Integer.MAX_VALUE - (1L << 26);

    private final OnnxGraph graph = new OnnxGraph();
    private final StudentWeights student;
    private final VideoMaeConfig config;
    private final Masking masking;
    private final int passes;

    private OnnxModel(StudentWeights student, Masking masking) {
        this.student = student;
        this.config = student.config();
        this.masking = masking;
        this.passes = masking.ensemble();
    }

    /**
     * Writes a model: to a temporary name, then moved.
     *
     * @param masking which tokens it looks at
     * @param seed of the masks
     * @param input u8 or f32, the type of the clips it takes
     * @throws IllegalArgumentException if the model is larger than an ONNX file can be, 2 GiB
     */
    public static void write(Path file, StudentWeights student, Masking masking, long seed, DType input) {
        long bytes = student.tensors().values().stream()
                .mapToLong(tensor -> tensor.shape().count() * Float.BYTES)
                .sum();
        if (bytes > MOST_BYTES) {
            throw new IllegalArgumentException(
                    "the student has %,d bytes of weights but an ONNX file holds %,d; pass a smaller"
                                    .formatted(bytes, MOST_BYTES)
                            + " student, or export to Hugging Face's format");
        }
        byte[] model = new OnnxModel(student, masking).bytes(seed, input);
        AtomicFile.write(file, (OutputStream out) -> out.write(model));
    }

    private byte[] bytes(long seed, DType input) {
        int d = config.embedDim();
        int length = config.patches().patchLength();
        int[] visible = visible(seed);
        int seen = visible.length / passes;
        String clips = graph.input(
                "clips",
                input == DType.U8 ? OnnxGraph.Type.U8 : OnnxGraph.Type.F32,
                OnnxGraph.BATCH,
                config.frames(),
                config.height(),
                config.width(),
                config.patches().channels());
        String patches = patches(clips, visible); // [B, P, Nvis, C * dt * p * p]
        String embedded =
                graph.linear(patches, patchEmbedding(), student.values("encoder.patch_embed.proj.bias"), d, length);
        String placed = graph.add("Add", List.of(embedded, graph.constant(positions(visible), passes, seen, d)));
        String x = graph.reshape(placed, -1, seen, d); // [B * P, Nvis, D]
        for (int i = 0; i < config.depth(); i++) {
            x = block(x, "encoder.blocks." + i + ".");
        }
        if (config.encoderNorm()) {
            x = norm(x, "encoder.norm", config.layerNormEps());
        }
        String features = graph.reshape(pool(x), -1, passes, d); // [B, P, D]
        graph.output("features", features, OnnxGraph.BATCH, passes, d);
        for (Head head : student.heads()) {
            String suffix = head == student.heads().getFirst() ? "" : "." + head.name();
            classify(features, head, suffix);
            graph.property("labels" + suffix, String.join("\n", head.labels()));
        }
        graph.property("mask_ratio", Double.toString(masking.ratio()));
        graph.property("ensemble", Integer.toString(passes));
        graph.property("seed", Long.toString(seed));
        return graph.toBytes();
    }

    /** Numbers of the tokens that are seen, pass by pass. */
    private int[] visible(long seed) {
        int tokens = config.tokens();
        int hidden = TokenMask.maskedCells(config.plane(), masking.ratio());
        int seen = tokens - hidden * config.slots();
        int[] visible = new int[passes * seen];
        for (int p = 0; p < passes; p++) {
            if (hidden == 0) {
                for (int i = 0; i < tokens; i++) {
                    visible[p * tokens + i] = i;
                }
                continue;
            }
            try (Scope scope = Scope.open()) {
                MaskContext context = new MaskContext(Device.cpu(), 1, config.grid(), masking.ratio(), seed, 0, p);
                TokenMask mask = masking.strategy().draw(context);
                context.requireVisible(mask, seen);
                System.arraycopy(mask.visible().toInts(), 0, visible, p * seen, seen);
            }
        }
        return visible;
    }

    /** Normalised patches of the tokens that are seen: rows of a patch's pixels are gathered from the clip as it lies in memory. */
    private String patches(String clips, int[] visible) {
        int channels = config.patches().channels();
        int patch = config.patches().patch();
        int tubelet = config.patches().tubelet();
        int across = config.width() / patch;
        int rowsOfPatch = tubelet * patch;
        long[] rows = new long[visible.length * rowsOfPatch];
        for (int i = 0; i < rows.length; i++) {
            int token = visible[i / rowsOfPatch];
            int row = i % rowsOfPatch;
            int slot = token / config.plane();
            int cell = token % config.plane();
            long frame = (long) slot * tubelet + row / patch;
            long line = (long) cell / across * patch + row % patch;
            rows[i] = (frame * config.height() + line) * across + cell % across;
        }
        long all = (long) config.frames() * config.height() * across;
        int length = config.patches().patchLength();
        String flat = graph.reshape(clips, -1, all, (long) patch * channels);
        String gathered =
                graph.add("Gather", List.of(flat, graph.constant(rows, rows.length)), Attribute.of("axis", 1L));
        String shaped = graph.reshape(gathered, -1, passes, visible.length / passes, length);
        String pixels = graph.add("Cast", List.of(shaped), Attribute.of("to", OnnxGraph.Type.F32.number()));
        return graph.normalised(pixels, config.patches());
    }

    /** The patch embedding with columns in the order of the pixels in memory, (dt, dy, dx, c), instead of (c, dt, dy, dx). */
    private float[] patchEmbedding() {
        float[] weight = student.values("encoder.patch_embed.proj.weight");
        int channels = config.patches().channels();
        int length = config.patches().patchLength();
        int pixels = length / channels;
        float[] result = new float[weight.length];
        for (int i = 0; i < weight.length; i++) {
            int column = i % length;
            result[i - column + column % pixels * channels + column / pixels] = weight[i];
        }
        return result;
    }

    private float[] positions(int[] visible) {
        int d = config.embedDim();
        float[] table;
        try (Tensor positions = SinePositions.table(Device.cpu(), DType.F32, config.tokens(), d)) {
            table = positions.toFloats();
        }
        float[] result = new float[visible.length * d];
        for (int i = 0; i < visible.length; i++) {
            System.arraycopy(table, visible[i] * d, result, i * d, d);
        }
        return result;
    }

    private String layer(String x, String name, int out, int in) {
        return graph.linear(x, student.values(name + ".weight"), student.values(name + ".bias"), out, in);
    }

    private String norm(String x, String name, double eps) {
        return graph.layerNorm(x, student.values(name + ".weight"), student.values(name + ".bias"), eps);
    }

    private String block(String x, String name) {
        int d = config.embedDim();
        String mixed = attention(norm(x, name + "norm1", config.layerNormEps()), name + "attn.");
        String sum = graph.add("Add", List.of(x, layer(mixed, name + "attn.proj", d, d)));
        String wide = graph.gelu(
                layer(norm(sum, name + "norm2", config.layerNormEps()), name + "mlp.fc1", config.mlpDim(), d));
        return graph.add("Add", List.of(sum, layer(wide, name + "mlp.fc2", d, config.mlpDim())));
    }

    private String attention(String x, String name) {
        int d = config.embedDim();
        int heads = config.heads();
        int width = d / heads;
        float[] bias = new float[3 * d];
        System.arraycopy(student.values(name + "q_bias"), 0, bias, 0, d);
        if (config.keyBias()) {
            System.arraycopy(student.values(name + "k_bias"), 0, bias, d, d);
        }
        System.arraycopy(student.values(name + "v_bias"), 0, bias, 2 * d, d);
        String qkv = graph.linear(x, student.values(name + "qkv.weight"), bias, 3 * d, d); // [B, N, 3 D]
        List<String> parts = graph.add("", "Split", List.of(qkv), 3, Attribute.of("axis", -1L));
        String q = heads(parts.get(0), heads, width, 0, 2, 1, 3); // [B, h, N, Dh]
        String k = heads(parts.get(1), heads, width, 0, 2, 3, 1); // [B, h, Dh, N]
        String v = heads(parts.get(2), heads, width, 0, 2, 1, 3);
        String scale = graph.constant(new float[] {(float) (1 / Math.sqrt(width))});
        String scores = graph.add("MatMul", List.of(graph.add("Mul", List.of(q, scale)), k)); // [B, h, N, N]
        String shares = graph.add("Softmax", List.of(scores), Attribute.of("axis", -1L));
        String mixed = graph.add("MatMul", List.of(shares, v)); // [B, h, N, Dh]
        String back = graph.add("Transpose", List.of(mixed), Attribute.of("perm", 0, 2, 1, 3));
        return graph.reshape(back, 0, 0, d);
    }

    private String heads(String x, int heads, int width, long... order) {
        return graph.add("Transpose", List.of(graph.reshape(x, 0, 0, heads, width)), Attribute.of("perm", order));
    }

    private String pool(String tokens) {
        if (!config.meanPooling()) {
            return graph.add(
                    "Gather", List.of(tokens, graph.constant(new long[] {0})), Attribute.of("axis", 1L)); // [B * P, D]
        }
        return norm(mean(tokens), "fc_norm", config.outputNormEps());
    }

    /** The mean over the second axis. */
    private String mean(String x) {
        return graph.add("ReduceMean", List.of(x), Attribute.of("axes", new long[] {1}), Attribute.of("keepdims", 0L));
    }

    private void classify(String features, Head head, String suffix) {
        int classes = head.classes();
        String each = graph.linear(features, head.weight(), head.bias(), classes, config.embedDim()); // [B, P, classes]
        String scores = mean(each);
        boolean ofEach = masking.aggregation() == Aggregation.PROBABILITIES;
        String shares = graph.add("Softmax", List.of(ofEach ? each : scores), Attribute.of("axis", -1L));
        graph.output("scores" + suffix, scores, OnnxGraph.BATCH, classes);
        graph.output("probabilities" + suffix, ofEach ? mean(shares) : shares, OnnxGraph.BATCH, classes);
    }
}
