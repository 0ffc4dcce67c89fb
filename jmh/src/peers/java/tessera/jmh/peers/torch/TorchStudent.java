package tessera.jmh.peers.torch;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import tessera.jmh.peers.Task;
import tessera.jmh.peers.Work;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.videomae.SinePositions;
import tessera.nn.videomae.VideoMaeConfig;

/** What a {@link Task} computes, in PyTorch's words. Tensors of a call belong to the scope of the call. */
final class TorchStudent implements AutoCloseable {
    private final Task task;
    private final VideoMaeConfig config;
    private final ScalarType type;
    private final Map<String, Tensor> constants = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();

    /** Copies a task's weights and inputs. */
    TorchStudent(Task task, boolean bf16) {
        this.task = task;
        this.config = task.shapes().config();
        this.type = bf16 ? ScalarType.BFloat16 : ScalarType.Float;
        task.weights().forEach((name, weight) -> {
            float[] values = name.equals("encoder.patch_embed.proj.weight") ? task.patchEmbedding() : weight.toFloats();
            long[] shape = weight.shape().toArray();
            long[] flat = shape.length > 2 ? new long[] {shape[0], values.length / shape[0]} : shape;
            parameters.put(name, tensor(values, flat));
        });
        switch (task.work().kind()) {
            case MATMUL -> {
                put("x");
                put("w");
            }
            case FORWARD, TRAIN -> {
                pixels();
                for (int i = 0; i < config.depth() && !training(); i++) {
                    bias(i);
                }
            }
            default -> {
                put("x");
                bias(0);
            }
        }
    }

    private boolean training() {
        return task.inputs().containsKey("labels");
    }

    /** For inference one bias, made once. */
    private void bias(int block) {
        float[] bias = task.qkvBias("encoder.blocks." + block + ".");
        constants.put("bias." + block, tensor(bias, bias.length));
    }

    private void put(String name) {
        constants.put(
                name,
                tensor(task.input(name).toFloats(), task.input(name).shape().toArray()));
    }

    private void pixels() {
        ByteBuffer clip = task.input("clip").segment().asByteBuffer();
        int row = config.patches().patch() * config.patches().channels();
        byte[] bytes = new byte[clip.remaining()];
        clip.get(bytes);
        constants.put("clip", blob(new BytePointer(bytes), ScalarType.Byte, bytes.length / row, row));
        long[] rows = task.pixelRows();
        constants.put("rows", blob(new LongPointer(rows), ScalarType.Long, rows.length));
        long[] visible = Arrays.stream(task.visibleTokens()).asLongStream().toArray();
        constants.put("visible", blob(new LongPointer(visible), ScalarType.Long, visible.length));
        try (var positions = SinePositions.table(Device.cpu(), DType.F32, config.tokens(), config.embedDim())) {
            constants.put("positions", tensor(positions.toFloats(), config.tokens(), config.embedDim()));
        }
        int length = config.patches().patchLength();
        float[] factor = new float[length];
        float[] shift = new float[length];
        for (int i = 0; i < length; i++) {
            double std = config.patches().std()[i % config.patches().channels()];
            factor[i] = (float) (config.patches().scale() / std);
            shift[i] = (float) (-config.patches().mean()[i % config.patches().channels()] / std);
        }
        constants.put("factor", blob(new FloatPointer(factor), ScalarType.Float, length));
        constants.put("shift", blob(new FloatPointer(shift), ScalarType.Float, length));
        if (training()) {
            long[] labels =
                    Arrays.stream(task.input("labels").toInts()).asLongStream().toArray();
            constants.put("labels", blob(new LongPointer(labels), ScalarType.Long, labels.length));
        }
    }

    private Tensor tensor(float[] values, long... shape) {
        try (Tensor f32 = blob(new FloatPointer(values), ScalarType.Float, shape)) {
            return f32.to(type, false, true, new org.bytedeco.pytorch.MemoryFormatOptional());
        }
    }

    /** A copy of memory. */
    private static Tensor blob(org.bytedeco.javacpp.Pointer memory, ScalarType type, long... shape) {
        try (memory;
                TensorOptions options = new TensorOptions(type);
                Tensor view = torch.from_blob(memory, shape, options)) {
            return view.clone();
        }
    }

    static float[] floats(Tensor tensor) {
        Tensor flat = tensor.to(ScalarType.Float).contiguous().reshape(-1);
        FloatPointer data = flat.data_ptr_float();
        float[] values = new float[Math.toIntExact(flat.numel())];
        data.get(values);
        return values;
    }

    Map<String, Tensor> parameters() {
        return parameters;
    }

    Tensor labels() {
        return constant("labels");
    }

    private Tensor constant(String name) {
        Tensor tensor = constants.get(name);
        if (tensor == null) {
            throw new IllegalStateException("no constant " + name);
        }
        return tensor;
    }

    private Tensor parameter(String name) {
        Tensor tensor = parameters.get(name);
        if (tensor == null) {
            throw new IllegalStateException("no parameter " + name);
        }
        return tensor;
    }

    // ------------------------------------------------------------------------------------------------------ compute

    /** The task's result; of training the scores. */
    Tensor run() {
        String block = "encoder.blocks.0.";
        return switch (task.work().kind()) {
            case MATMUL -> torch.linear(constant("x"), constant("w"));
            case LAYER_NORM -> norm(constant("x"), block + "norm1", config.layerNormEps());
            case LINEAR -> linear(constant("x"), parameter(block + "attn.qkv.weight"), constant("bias.0"));
            case LINEAR_GELU -> torch.gelu(layer(constant("x"), block + "mlp.fc1"));
            case ATTENTION -> mix(constant("x"));
            case BLOCK -> block(constant("x"), 0);
            case FORWARD -> features();
            case TRAIN -> layer(features(), "head");
            default -> throw new IllegalStateException(task.work().kind() + " is not written here");
        };
    }

    private Tensor layer(Tensor x, String name) {
        return linear(x, parameter(name + ".weight"), parameter(name + ".bias"));
    }

    private static Tensor linear(Tensor x, Tensor weight, Tensor bias) {
        return torch.linear(x, weight, new TensorOptional(bias));
    }

    private Tensor norm(Tensor x, String name, double eps) {
        Tensor gain = parameter(name + ".weight");
        return torch.layer_norm(
                x,
                new long[] {gain.numel()},
                new TensorOptional(gain),
                new TensorOptional(parameter(name + ".bias")),
                eps,
                true);
    }

    private Tensor mix(Tensor qkv) {
        long b = qkv.size(0);
        long n = qkv.size(1);
        long d = qkv.size(2) / 3;
        Tensor parts = qkv.view(b, n, 3, config.heads(), d / config.heads()).permute(2, 0, 3, 1, 4);
        // Attention calls OpenBLAS from threads of its own, and threads of both would get in each other's way.
        openblas.blas_set_num_threads(1);
        Tensor mixed = torch.scaled_dot_product_attention(parts.select(0, 0), parts.select(0, 1), parts.select(0, 2));
        openblas.blas_set_num_threads(torch.get_num_threads());
        return mixed.transpose(1, 2).reshape(b, n, d);
    }

    private Tensor block(Tensor x, int index) {
        String name = "encoder.blocks." + index + ".";
        Tensor normed = norm(x, name + "norm1", config.layerNormEps());
        Tensor qkv = linear(normed, parameter(name + "attn.qkv.weight"), qkvBias(index, name));
        Tensor sum = x.add(layer(mix(qkv), name + "attn.proj"));
        Tensor wide = torch.gelu(layer(norm(sum, name + "norm2", config.layerNormEps()), name + "mlp.fc1"));
        return sum.add(layer(wide, name + "mlp.fc2"));
    }

    private Tensor qkvBias(int index, String name) {
        Tensor made = constants.get("bias." + index);
        if (made != null) {
            return made;
        }
        Tensor q = parameter(name + "attn.q_bias");
        return torch.cat(new TensorVector(q, torch.zeros_like(q), parameter(name + "attn.v_bias")));
    }

    private Tensor features() {
        Work work = task.work();
        long tokens = work.tokens(config);
        Tensor pixels = constant("clip").index_select(0, constant("rows"));
        Tensor values = pixels.reshape(
                        work.sequences(), tokens, config.patches().patchLength())
                .to(ScalarType.Float)
                .mul(constant("factor"))
                .add(constant("shift"))
                .to(type);
        Tensor positions = constant("positions")
                .index_select(0, constant("visible"))
                .reshape(work.sequences(), tokens, config.embedDim());
        Tensor x = layer(values, "encoder.patch_embed.proj").add(positions);
        for (int i = 0; i < config.depth(); i++) {
            x = block(x, i);
        }
        return norm(norm(x, "encoder.norm", config.layerNormEps()).mean(1), "fc_norm", config.outputNormEps());
    }

    @Override
    public void close() {
        constants.values().forEach(Tensor::close);
        parameters.values().forEach(Tensor::close);
    }
}
