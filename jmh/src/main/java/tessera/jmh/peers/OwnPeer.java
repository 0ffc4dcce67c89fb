package tessera.jmh.peers;

import static java.util.Objects.requireNonNull;

import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tessera.jmh.Models;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.NativeReport;
import tessera.nn.AdamW;
import tessera.nn.Block;
import tessera.nn.Int8Layers;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Autograd;
import tessera.tensor.Bf16Products;
import tessera.tensor.Losses;
import tessera.tensor.PackedLinear;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Ourselves, through the API that an embedder uses. */
final class OwnPeer implements Peer {
    static final String NAME = "Tessera";

    private static final String UNPACKED = "unpacked";
    private static final String JAVA = "Java";

    private final Device device;

    OwnPeer(int threads) {
        device = threads == Device.cpu().threads() ? Device.cpu() : Device.cpu(threads);
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Map<String, String> versions() {
        String found = NativeReport.findings().getOrDefault("oneDNN", "not used");
        return Map.of("oneDNN", found.startsWith("not used") ? found : "used"); // not where it lies
    }

    /** Every precision that there is for a kind: one that this processor lacks is told by what opening it throws. */
    @Override
    public List<Way> ways(Work work) {
        Way f32 = new Way("", Precision.F32);
        Way bf16 = new Way("", Precision.BF16);
        Way int8 = new Way("", Precision.INT8);
        return switch (work.kind()) {
            case MATMUL -> List.of(f32, new Way(UNPACKED, Precision.F32), bf16, int8);
            case COPY -> List.of(f32, new Way(JAVA, Precision.F32));
            case ATTENTION, LINEAR_INPUT_GRADIENT, LINEAR_WEIGHT_GRADIENT, ATTENTION_GRADIENTS, TRAIN ->
                List.of(f32, bf16);
            case LINEAR, LINEAR_GELU, BLOCK, FORWARD, SWIN -> List.of(f32, bf16, int8);
            default -> List.of(f32);
        };
    }

    @Override
    public Contender open(Task task, Way way) {
        Precision precision = way.precision();
        try {
            return switch (task.work().kind()) {
                case MATMUL ->
                    way.mode().equals(UNPACKED)
                            ? unpacked(task)
                            : product(task.input("w"), null, Activation.NONE, task, precision);
                case COPY -> way.mode().equals(JAVA) ? new JavaCopy(task.input("x"), device.threads()) : copy(task);
                case LINEAR -> projection(task, precision);
                case LINEAR_GELU -> {
                    String layer = "encoder.blocks.0.mlp.fc1.";
                    yield product(
                            task.weights().get(layer + "weight"),
                            task.weights().get(layer + "bias"),
                            Activation.GELU,
                            task,
                            precision);
                }
                case LAYER_NORM -> norm(task);
                case ATTENTION -> attention(task, precision);
                case BLOCK -> block(task, precision);
                case FORWARD -> new Inference(task, student(task, precision));
                case SWIN -> swin(task, precision);
                case TRAIN -> new Training(task, precision);
                default -> new OwnKernel(task, precision, device);
            };
        } catch (IllegalArgumentException e) {
            if (precision == Precision.F32) {
                throw e;
            }
            throw new AbsentException(String.valueOf(e.getMessage()));
        }
    }

    /** A task's weights, for a model that computes its products in a precision. */
    private Params params(Task task, Precision precision) {
        Params params = Params.from(device, DType.F32, task.weights());
        return switch (precision) {
            case F32 -> params;
            case BF16 -> params.computeIn(DType.BF16);
            case INT8 -> {
                if (device.int8().isEmpty()) {
                    throw new AbsentException("this processor multiplies no bytes faster than floats");
                }
                yield params.on(Int8Layers.of(Map.of()));
            }
        };
    }

    /** The student of a precision. */
    private Student student(Task task, Precision precision) {
        if (precision == Precision.INT8) {
            try (Student exact = Student.of(task.weights(), task.shapes().config(), device)) {
                return exact.quantize();
            }
        }
        return Student.of(
                task.weights(), task.shapes().config(), device, precision == Precision.BF16 ? DType.BF16 : DType.F32);
    }

    // ------------------------------------------------------------------------------------------------------ kernels

    /** A call that gives a tensor, with what it needs. */
    private static final class Call extends Contender {
        private final Supplier<Tensor> body;
        private final List<AutoCloseable> owned;

        Call(Supplier<Tensor> body, AutoCloseable... owned) {
            this.body = body;
            this.owned = List.of(owned);
        }

        @Override
        public float[] output() {
            return Autograd.noGrad(() -> {
                try (Scope scope = Scope.open()) {
                    return body.get().toFloats();
                }
            });
        }

        @Override
        protected void call() {
            Autograd.noGrad(() -> {
                try (Scope scope = Scope.open()) {
                    return body.get().shape();
                }
            });
        }

        @Override
        public void close() {
            owned.forEach(each -> {
                try {
                    each.close();
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
        }
    }

    private Tensor here(Tensor tensor) {
        Tensor copy = Tensor.empty(device, tensor.dtype(), tensor.shape());
        copy.copyFrom(tensor);
        return copy;
    }

    private Contender product(
            @Nullable Tensor weight, @Nullable Tensor bias, Activation activation, Task task, Precision precision) {
        Tensor w = here(requireNonNull(weight));
        Tensor b = bias == null ? null : here(bias);
        PackedLinear packed = switch (precision) {
            case F32 -> new PackedLinear(w, b);
            case BF16 -> PackedLinear.bf16(w, b);
            case INT8 -> PackedLinear.int8(w, b, null);
        };
        Tensor x = here(task.input("x"));
        return new Call(() -> packed.apply(x, activation), packed, w, x, b == null ? () -> {} : b);
    }

    private Contender unpacked(Task task) {
        Tensor w = here(task.input("w"));
        Tensor x = here(task.input("x"));
        return new Call(() -> x.linear(w, null), w, x);
    }

    private Contender copy(Task task) {
        Tensor from = here(task.input("x"));
        Tensor to = here(from);
        return new Call(
                () -> {
                    to.copyFrom(from);
                    return to;
                },
                from,
                to);
    }

    private Contender projection(Task task, Precision precision) {
        String block = "encoder.blocks.0.";
        float[] bias = task.qkvBias(block);
        try (Tensor b = Tensor.of(bias, bias.length)) {
            return product(task.weights().get(block + "attn.qkv.weight"), b, Activation.NONE, task, precision);
        }
    }

    private Contender attention(Task task, Precision precision) {
        int heads = task.shapes().config().heads();
        if (precision == Precision.F32) {
            Tensor x = here(task.input("x"));
            return new Call(() -> x.selfAttention(heads), x);
        }
        if (device.bf16().isEmpty()) {
            throw new AbsentException("this processor multiplies no bf16");
        }
        Tensor x = here(task.input("x"));
        return new Call(() -> Bf16Products.selfAttention(x, heads, null, null), x);
    }

    private Contender norm(Task task) {
        VideoMaeConfig config = task.shapes().config();
        Tensor x = here(task.input("x"));
        Tensor gain = here(requireNonNull(task.weights().get("encoder.blocks.0.norm1.weight")));
        Tensor bias = here(requireNonNull(task.weights().get("encoder.blocks.0.norm1.bias")));
        return new Call(() -> x.layerNorm(gain, bias, config.layerNormEps()), x, gain, bias);
    }

    /** The block writes over its input, so a copy of that is part of the time. */
    private Contender block(Task task, Precision precision) {
        VideoMaeConfig config = task.shapes().config();
        Params params = params(task, precision);
        Block block = new Block(
                params.at("encoder").at("blocks").at(0),
                config.embedDim(),
                config.heads(),
                config.layerNormEps(),
                config.keyBias());
        block.pack(params.compute());
        Tensor x = here(task.input("x"));
        return new Call(
                () -> block.forward(here(x)),
                block,
                x,
                () -> params.all().values().forEach(Tensor::close));
    }

    private Contender swin(Task task, Precision precision) {
        Params params = params(task, precision);
        int classes = task.weight("head.bias").length;
        SwinModel model = new SwinModel(params, Models.swin(), classes);
        model.pack();
        Tensor clip = here(task.input("clip"));
        return new Call(
                () -> model.forward(clip),
                model,
                clip,
                () -> params.all().values().forEach(Tensor::close));
    }

    // ------------------------------------------------------------------------------------------------------- models

    /** Features of one session; each call draws its masks, which the peers are given. */
    private static final class Inference extends Contender {
        private final Student student;
        private final Student.Session session;

        Inference(Task task, Student student) {
            this.student = student;
            Work work = task.work();
            session = student.session(work.batch(), Masking.of(work.ratio(), work.ensemble()));
            MemorySegment.copy(
                    task.input("clip").segment(),
                    0,
                    session.input(),
                    0,
                    session.input().byteSize());
        }

        @Override
        public float[] output() {
            return session.features(Task.SEED);
        }

        @Override
        protected void call() {
            session.features(Task.SEED);
        }

        @Override
        public void close() {
            session.close();
            student.close();
        }
    }

    /** Steps on the same clips. */
    private final class Training extends Contender {
        private final Params params;
        private final VideoMaeClassifier model;
        private final AdamW optimiser;
        private final Map<String, Tensor> inputs = new LinkedHashMap<>();

        Training(Task task, Precision precision) {
            params = params(task, precision);
            model = new VideoMaeClassifier(
                    params, task.shapes().config(), task.shapes().classes());
            params.finish();
            params.addShadows();
            optimiser = new AdamW(params.all(), .9, .999, 1e-8, Task.DECAY, AdamW.matrices(params.all()));
            task.inputs().forEach((name, tensor) -> inputs.put(name, here(tensor)));
        }

        private double step() {
            try (Scope scope = Scope.open()) {
                Tensor clip = requireNonNull(inputs.get("clip"));
                Tensor labels = requireNonNull(inputs.get("labels"));
                Tensor loss = Losses.crossEntropy(model.forward(clip, inputs.get("visible")), labels);
                loss.backward();
                optimiser.step(Task.RATE);
                return loss.item();
            }
        }

        @Override
        public float[] output() {
            float[] losses = new float[Task.STEPS];
            for (int i = 0; i < losses.length; i++) {
                losses[i] = (float) step();
            }
            return losses;
        }

        @Override
        protected void call() {
            double loss = step();
            if (!Double.isFinite(loss)) {
                throw new IllegalStateException("the loss is " + loss);
            }
        }

        @Override
        public void close() {
            optimiser.close();
            model.close();
            params.all().values().forEach(Tensor::close);
            inputs.values().forEach(Tensor::close);
        }
    }

    @Override
    public void close() {}
}
