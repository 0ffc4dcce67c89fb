package tessera.jmh.peers;

import static java.util.Objects.requireNonNull;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.NarrowKernels;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * One of our kernels that training runs, or one that an embedder calls alone.
 *
 * <p>What has an operation is called by it; a loss computes its gradient in the same pass. Gradients of other operations are the
 * kernels' own calls, as their backward passes make them, so that a forward pass is no part of the time; memory for results is taken in
 * each call, as it is there.
 */
final class OwnKernel extends Contender {
    /** One call, whose results belong to the open scope or to the kernel. */
    private interface Body {
        Tensor[] run();
    }

    private final Task task;
    private final VideoMaeConfig config;
    private final Precision precision;
    private final Device device;
    private final List<Tensor> owned = new ArrayList<>();
    private final List<Tensor> leaves = new ArrayList<>();
    private final Body body;
    /** What AdamW changes; else empty. */
    private List<Tensor> parameters = List.of();

    private long step = Task.EARLIER_STEPS;

    /**
     * Makes it ready.
     *
     * @throws Peer.AbsentException if this processor has none of the precision
     */
    OwnKernel(Task task, Precision precision, Device device) {
        this.task = task;
        this.config = task.shapes().config();
        this.precision = precision;
        this.device = device;
        if (precision == Precision.BF16 && device.bf16().isEmpty()) {
            throw new Peer.AbsentException("this processor multiplies no bf16");
        }
        body = switch (task.work().kind()) {
            case SOFTMAX -> softmax();
            case PATCHES -> patches();
            case LAYER_NORM_GRADIENTS -> layerNormGradients();
            case LINEAR_INPUT_GRADIENT -> linearInputGradient();
            case LINEAR_WEIGHT_GRADIENT -> linearWeightGradient();
            case GELU_GRADIENT -> geluGradient();
            case ATTENTION_GRADIENTS -> attentionGradients();
            case CROSS_ENTROPY -> crossEntropy();
            case FEATURE_DISTILLATION -> featureDistillation();
            case LOGIT_DISTILLATION -> logitDistillation();
            case RECONSTRUCTION -> reconstruction();
            case ADAMW -> adamW();
            default ->
                throw new IllegalArgumentException(
                        "there is no kernel of " + task.work().kind().text());
        };
    }

    @Override
    public float[] output() {
        if (task.work().kind() == Kind.ADAMW) {
            return changes();
        }
        try (Scope scope = Scope.open()) {
            Tensor[] results = body.run();
            if (!leaves.isEmpty()) {
                results[0].backward();
                results =
                        leaves.stream().map(leaf -> requireNonNull(leaf.grad())).toArray(Tensor[]::new);
            }
            float[] values = joined(results);
            leaves.forEach(Tensor::zeroGrad);
            return values;
        }
    }

    private static float[] joined(Tensor... tensors) {
        float[][] parts = Arrays.stream(tensors).map(Tensor::toFloats).toArray(float[][]::new);
        float[] all =
                new float[Arrays.stream(parts).mapToInt(part -> part.length).sum()];
        int at = 0;
        for (float[] part : parts) {
            System.arraycopy(part, 0, all, at, part.length);
            at += part.length;
        }
        return all;
    }

    @Override
    protected void call() {
        try (Scope scope = Scope.open()) {
            body.run();
        }
    }

    @Override
    public void close() {
        owned.forEach(Tensor::close);
    }

    // ------------------------------------------------------------------------------------------------------- tensors

    private Tensor own(Tensor tensor) {
        owned.add(tensor);
        return tensor;
    }

    private Tensor copy(Tensor tensor) {
        Tensor copy = own(Tensor.empty(device, tensor.dtype(), tensor.shape()));
        copy.copyFrom(tensor);
        return copy;
    }

    private Tensor input(String name) {
        return copy(task.input(name));
    }

    /** An input whose gradient is part of the result. */
    private Tensor leaf(Tensor tensor) {
        leaves.add(tensor.requiresGrad(true));
        return tensor;
    }

    private Tensor weight(String name) {
        return copy(requireNonNull(task.weights().get(name)));
    }

    /** The parts of an input along its first axis, each in memory of its own. */
    private List<Tensor> parts(String name) {
        Tensor whole = task.input(name);
        Shape shape = Shape.of(Arrays.stream(whole.shape().toArray()).skip(1).toArray());
        List<Tensor> parts = new ArrayList<>();
        for (long i = 0; i < whole.size(0); i++) {
            Tensor part = own(Tensor.empty(device, whole.dtype(), shape));
            MemorySegment.copy(whole.segment(), i * part.byteSize(), part.segment(), 0, part.byteSize());
            parts.add(part);
        }
        return parts;
    }

    private Tensor empty(long... sizes) {
        return Tensor.empty(device, DType.F32, Shape.of(sizes));
    }

    private static Tensor like(Tensor tensor) {
        return Tensor.empty(tensor.device(), tensor.dtype(), tensor.shape());
    }

    /** All but the last axis together. */
    private static long rowCount(Tensor tensor) {
        return tensor.shape().count() / tensor.size(-1);
    }

    private static RowShape rows(Tensor tensor) {
        return new RowShape(rowCount(tensor), tensor.size(-1));
    }

    // ------------------------------------------------------------------------------------------------------- kernels

    private Body softmax() {
        Tensor x = input("x");
        return () -> new Tensor[] {x.softmax()};
    }

    private Body patches() {
        Tensor clip = input("clip");
        if (!task.inputs().containsKey("visible")) {
            return () -> new Tensor[] {config.patches().gather(clip, null)};
        }
        Tensor visible = input("visible");
        return () -> new Tensor[] {config.patches().gather(clip, visible)};
    }

    private Body layerNormGradients() {
        Tensor x = input("x");
        Tensor dy = input("dy");
        Tensor gain = weight("encoder.blocks.0.norm1.weight");
        Tensor bias = weight("encoder.blocks.0.norm1.bias");
        RowShape shape = rows(x);
        NormStatistics statistics = new NormStatistics(
                own(empty(shape.rows())).buffer(), own(empty(shape.rows())).buffer());
        try (Tensor y = like(x)) {
            NormParameters parameters = new NormParameters(gain.buffer(), bias.buffer(), config.layerNormEps());
            device.kernels().norms().layerNorm(shape, x.buffer(), parameters, y.buffer(), statistics);
        }
        return () -> {
            Tensor dx = like(x);
            Tensor dgain = like(gain);
            Tensor dbias = like(bias);
            NormGradients to = new NormGradients(null, dx.buffer(), dgain.buffer(), dbias.buffer());
            device.kernels().norms().layerNormBackward(shape, x.buffer(), gain.buffer(), statistics, dy.buffer(), to);
            return new Tensor[] {dx, dgain, dbias};
        };
    }

    private void multiply(MatmulShape shape, Tensor a, Tensor b, Tensor c) {
        if (precision == Precision.BF16) {
            Bf16Kernels kernels = device.bf16().orElseThrow();
            kernels.matmul(shape, a.buffer(), b.buffer(), Epilogue.NONE, c.buffer());
        } else {
            device.kernels().matmul().matmul(shape, a.buffer(), b.buffer(), Epilogue.NONE, c.buffer());
        }
    }

    private Body linearInputGradient() {
        Tensor x = task.input("x");
        Tensor dy = input("dy");
        Tensor weight = weight("encoder.blocks.0.attn.qkv.weight");
        MatmulShape shape = MatmulShape.of(false, false, rowCount(x), x.size(-1), dy.size(-1));
        return () -> {
            Tensor dx = empty(x.shape().toArray());
            multiply(shape, dy, weight, dx);
            return new Tensor[] {dx};
        };
    }

    private Body linearWeightGradient() {
        Tensor x = input("x");
        Tensor dy = input("dy");
        LinearShape shape = new LinearShape(rowCount(x), dy.size(-1), x.size(-1));
        return () -> {
            Tensor dw = empty(shape.n(), shape.k());
            Tensor db = empty(shape.n());
            if (precision == Precision.F32) {
                device.kernels().matmul().linearBackward(shape, dy.buffer(), x.buffer(), dw.buffer(), db.buffer());
            } else {
                multiply(shape.weightGradient(), dy, x, dw);
                device.kernels().elementwise().sum(dy.buffer(), 1, shape.m(), shape.n(), 1, db.buffer());
            }
            return new Tensor[] {dw, db};
        };
    }

    private Body geluGradient() {
        Tensor x = input("x");
        Tensor dy = input("dy");
        return () -> {
            Tensor dx = like(x);
            device.kernels().elementwise().unaryBackward(UnaryOp.GELU, x.buffer(), dy.buffer(), dx.buffer());
            return new Tensor[] {dx};
        };
    }

    private Body attentionGradients() {
        Tensor x = input("x");
        Tensor dy = input("dy");
        Tensor out = own(like(dy));
        int n = Math.toIntExact(dy.size(1));
        long d = dy.size(2);
        Tensor logSumExp = own(empty(dy.size(0), config.heads(), n));
        int width = Math.toIntExact(d / config.heads());
        Strides packed = new Strides(3L * n * d, width, 3 * d);
        Strides single = new Strides(n * d, width, d);
        AttentionShape shape = new AttentionShape(
                dy.size(0), config.heads(), n, n, width, 1 / Math.sqrt(width), packed, packed, packed, single, 0);
        tessera.kernels.Attention kernel = precision == Precision.BF16
                ? device.bf16().map(NarrowKernels::attention).orElseThrow()
                : device.kernels().attention();
        AttentionTensors in = threefold(x);
        kernel.attention(shape, in, out.buffer(), logSumExp.buffer());
        return () -> {
            Tensor dx = like(x);
            kernel.attentionBackward(shape, in, out.buffer(), logSumExp.buffer(), dy.buffer(), threefold(dx));
            return new Tensor[] {dx};
        };
    }

    /** Queries, keys and values, which lie side by side. */
    private static AttentionTensors threefold(Tensor qkv) {
        Buffer whole = qkv.buffer();
        long d = qkv.size(2) / 3;
        return new AttentionTensors(
                whole, whole.slice(d, whole.length() - d), whole.slice(2 * d, whole.length() - 2 * d), null);
    }

    // -------------------------------------------------------------------------------------------------------- losses

    private Body crossEntropy() {
        Tensor x = leaf(input("x"));
        Tensor labels = input("labels");
        return () -> new Tensor[] {Losses.crossEntropy(x, labels)};
    }

    private Body featureDistillation() {
        List<Tensor> x = parts("x");
        x.forEach(this::leaf);
        List<Tensor> teachers = parts("teachers");
        return () -> new Tensor[] {Losses.features(x, teachers, Task.teacherWeights())};
    }

    private Body logitDistillation() {
        Tensor x = leaf(input("x"));
        List<Tensor> teachers = parts("teachers");
        Tensor labels = input("labels");
        float[] weights = new float[Task.TEACHERS];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = (float) Task.teacherWeights()[i];
        }
        Tensor weight;
        try (Tensor host = Tensor.of(weights, weights.length)) {
            weight = copy(host);
        }
        return () -> new Tensor[] {
            Losses.distillation(x, teachers, weight, labels, Task.TEMPERATURE, 1 - Task.LABELS, Task.LABELS)
        };
    }

    private Body reconstruction() {
        Tensor x = leaf(input("x"));
        Tensor clip = input("clip");
        int[] tokens = task.visibleTokens();
        Tensor visible;
        try (Tensor host = Tensor.of(
                tokens, task.work().batch(), tokens.length / task.work().batch())) {
            visible = copy(host);
        }
        return () -> new Tensor[] {config.patches().reconstructionLoss(x, clip, visible, Task.PATCH_EPS, true)};
    }

    // ----------------------------------------------------------------------------------------------------- optimiser

    /** Moments that are none of these gradients', so that it shows in the result what each of them weighs. */
    private Body adamW() {
        parameters = parts("x");
        List<Tensor> gradients = parts("gradient");
        List<Tensor> first = new ArrayList<>();
        List<Tensor> second = new ArrayList<>();
        for (Tensor parameter : parameters) {
            first.add(own(Tensor.full(device, DType.F32, parameter.shape(), 0)));
            second.add(own(Tensor.full(device, DType.F32, parameter.shape(), Task.EARLIER_SQUARES)));
        }
        double[] decay = new double[parameters.size()];
        Arrays.fill(decay, Task.DECAY);
        AdamWTensors tensors =
                new AdamWTensors(buffers(parameters), buffers(gradients), buffers(first), buffers(second), null, decay);
        return () -> {
            step++;
            device.kernels().optimiser().adamW(tensors, new AdamWStep(Task.RATE, .9, .999, 1e-8, step, null));
            return parameters.toArray(Tensor[]::new);
        };
    }

    private static Buffer[] buffers(List<Tensor> tensors) {
        return tensors.stream().map(Tensor::buffer).toArray(Buffer[]::new);
    }

    /** What some steps change, in steps of the rate: the parameters themselves would hide it. */
    private float[] changes() {
        float[] before = joined(parameters.toArray(Tensor[]::new));
        for (int i = 0; i < Task.STEPS; i++) {
            call();
        }
        float[] after = joined(parameters.toArray(Tensor[]::new));
        for (int i = 0; i < after.length; i++) {
            after[i] = (float) ((after[i] - before[i]) / Task.RATE);
        }
        return after;
    }
}
