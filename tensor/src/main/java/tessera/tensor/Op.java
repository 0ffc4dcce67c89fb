package tessera.tensor;

import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * An operation on tensors: its shape rule, forward, gradient and cost in one record.
 *
 * <p>Every operation is either {@link Differentiable} or {@link Constant} with a stated reason, so a gradient cannot go
 * missing in silence. Operations of a user implement the same interfaces and run through {@link #apply}.
 */
public sealed interface Op permits Op.Differentiable, Op.Constant {

    /** Name in messages and cost tables; by default the class name in snake case. Asked for in each call, so it is to be cheap. */
    default String name() {
        return OpNames.of(getClass());
    }

    /**
     * Checks the inputs and computes the result. Runs without recording; whatever the backward pass needs is put into
     * {@code context}.
     *
     * @throws IllegalArgumentException if the inputs do not fit, saying what was given and what is needed
     */
    Tensor forward(Context context, Tensor... inputs);

    /** Work of the forward pass. */
    Cost cost(Tensor output, Tensor... inputs);

    /** An operation with a gradient. */
    non-sealed interface Differentiable extends Op {
        /**
         * Gradients of the inputs. Where an input has other uses their gradients are added up for the operation, unless it
         * does so itself: see {@link Context#gradientSoFar}.
         *
         * @param cotangent gradient of the output, contiguous, of its shape and type; another operation may see it too, so
         *     it is not to be written
         * @return one entry per input, shaped like it; null where {@link Context#needsGradient} is false
         */
        @Nullable
        Tensor[] backward(Context context, Tensor cotangent);
    }

    /** An operation whose result is constant for the gradient. */
    non-sealed interface Constant extends Op {
        /** Why there is no gradient. */
        String whyNoGradient();
    }

    /** Runs an operation, recording it for the backward pass if an input requires a gradient. */
    static Tensor apply(Op op, Tensor... inputs) {
        ThreadState state = ThreadState.get();
        boolean record = false;
        for (Tensor input : inputs) {
            if (input.isClosed()) {
                input.requireOpen(op.name());
            }
            record |= input.requiresGrad();
        }
        if (state.reads != null) {
            state.reads.add(inputs);
        }
        record &= state.recording && op instanceof Differentiable;
        Context context = new Context(op, inputs, record);
        boolean recording = state.recording;
        CostMeter meter = state.meter;
        state.recording = false;
        state.meter = null;
        Tensor output;
        try {
            output = op.forward(context, inputs);
        } finally {
            state.recording = recording;
            state.meter = meter;
        }
        if (meter != null) {
            meter.add(op.name(), op.cost(output, inputs));
        }
        if (record) {
            for (Tensor input : inputs) {
                // An operation may return its input as it is; the record needs a tensor of its own.
                output = output == input ? input.detach() : output;
            }
            output.setNode(new Autograd.OpNode((Differentiable) op, context, inputs));
        }
        return output;
    }

    /** What a forward pass leaves for its backward pass. */
    final class Context {
        private static final Tensor[] NOTHING = {};
        private static final int[] NO_VERSIONS = {};

        private final Op op;
        private final Tensor[] inputs;
        private final boolean[] needs;
        private final boolean recording;
        private Tensor[] saved = NOTHING;
        private int[] versions = NO_VERSIONS;
        private @Nullable IntFunction<@Nullable Tensor> offered;

        Context(Op op, Tensor[] inputs, boolean recording) {
            this.op = op;
            this.inputs = inputs;
            this.recording = recording;
            this.needs = new boolean[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                needs[i] = recording && inputs[i].requiresGrad();
            }
        }

        /** Whether a backward pass may follow; if not, nothing needs saving. */
        public boolean isRecording() {
            return recording;
        }

        /** Whether the gradient of this input is wanted. */
        public boolean needsGradient(int input) {
            return needs[input];
        }

        /**
         * Takes over the gradient that other uses of an input have already given it: what {@link Differentiable#backward},
         * where alone this may be called, returns for the input must then include it. A kernel that adds it as it writes
         * saves the pass over memory in which it would be added else; an operation that does not ask loses nothing but that.
         *
         * <p>It comes in the input's shape and type, not always contiguous, and is not to be written: other inputs may share
         * it. Each is handed out once, so of two inputs that are the same tensor only the first one asked for gets it.
         *
         * @return null if there is none so far, none is needed, or the input is a leaf, which collects gradients itself
         */
        public @Nullable Tensor gradientSoFar(int input) {
            return offered == null || !needs[input] ? null : offered.apply(input);
        }

        /** How many inputs the operation was given. */
        public int inputCount() {
            return needs.length;
        }

        /** Shape of an input. It need not be saved for that, and so may be changed in place before the backward pass. */
        public Shape inputShape(int input) {
            return inputs[input].shape();
        }

        /** Element type of an input; as {@link #inputShape}, nothing need be saved for it. */
        public DType inputType(int input) {
            return inputs[input].dtype();
        }

        /** Device of an input; as {@link #inputShape}, nothing need be saved for it. */
        public Device inputDevice(int input) {
            return inputs[input].device();
        }

        /**
         * Keeps tensors for the backward pass, which needs their values as they are now: save no more than that, because
         * {@link #saved} refuses what was changed in place since. Where nothing is recorded nothing is kept.
         */
        public void save(Tensor... tensors) {
            if (!recording) {
                return;
            }
            saved = tensors;
            versions = new int[tensors.length];
            for (int i = 0; i < tensors.length; i++) {
                versions[i] = tensors[i].storage().version();
            }
        }

        /**
         * A saved tensor, in the order of {@link #save}.
         *
         * @throws IllegalStateException if its memory was changed in place since, naming the operation that saved it and the
         *     one that changed it; see {@link Tensor#changedBy}
         */
        public Tensor saved(int index) {
            Tensor tensor = saved[index];
            Storage storage = tensor.storage();
            if (storage.version() != versions[index]) {
                throw new IllegalStateException(op.name() + ": " + tensor.describe()
                        + ", saved for its backward pass, was changed in place by " + storage.changedBy()
                        + " before that pass; run backward first, or change a copy");
            }
            return tensor;
        }

        /** How many tensors were saved. */
        public int savedCount() {
            return saved.length;
        }

        void offer(IntFunction<@Nullable Tensor> gradientsSoFar) {
            offered = gradientsSoFar;
        }

        void clear() {
            saved = NOTHING;
            versions = NO_VERSIONS;
            offered = null;
        }
    }

    /** The contiguous memory of a tensor, for calling {@link tessera.kernels.Kernels} in an operation. */
    static Buffer buffer(Tensor tensor) {
        return tensor.contiguous().buffer();
    }

    /** As {@link #buffer}, for an operand that a kernel may be given or not. */
    static @Nullable Buffer bufferOrNull(@Nullable Tensor tensor) {
        return tensor == null ? null : buffer(tensor);
    }

    /** What multiplies a tensor's f32 data in bf16; refuses where its device has none. */
    static Bf16Kernels bf16(String name, Tensor data) {
        return data.device()
                .bf16()
                .orElseThrow(() -> new IllegalArgumentException(name + ": " + data.device() + " multiplies no bf16;"
                        + " compute in f32, or on a CPU with AVX512_BF16 or AMX"));
    }

    /** Refuses a call with a message in the form {@code name: what is wrong}. */
    static void check(boolean ok, String name, java.util.function.Supplier<String> message) {
        if (!ok) {
            throw new IllegalArgumentException(name + ": " + message.get());
        }
    }

    /** CPU devices differ in their threads but share memory. */
    private static boolean onHost(Tensor tensor) {
        return tensor.device().isHost();
    }

    /**
     * Refuses inputs that are not of one floating type that their device computes in (f32; f64 on the CPU, bf16 on a GPU),
     * or lie in the memory of different devices.
     */
    static DType floating(String name, Tensor first, Tensor... others) {
        DType dtype = first.dtype();
        check(
                first.device().computes(dtype),
                name,
                () -> "cannot compute on " + first.describe() + "; convert it with to(DType.F32)");
        for (Tensor other : others) {
            sameType(name, first, other, dtype);
        }
        return dtype;
    }

    /** As {@link #floating}, for parameters and statistics that stay f32 beside data in bf16. */
    static void wideFloating(String name, Tensor data, Tensor... parameters) {
        DType wide = wide(floating(name, data));
        for (Tensor parameter : parameters) {
            sameType(name, data, parameter, wide);
        }
    }

    /** The type of statistics, sums and losses over data of a type: f32 for bf16, else the type itself. */
    static DType wide(DType dtype) {
        return dtype == DType.BF16 ? DType.F32 : dtype;
    }

    private static void sameType(String name, Tensor first, Tensor other, DType dtype) {
        check(
                other.dtype() == dtype,
                name,
                () -> other.describe() + " does not have the type "
                        + (dtype == first.dtype() ? "of " : dtype + " that goes with ") + first.describe()
                        + "; convert one of them with to(dtype)");
        sameDevice(name, first, other);
    }

    /** Refuses tensors in the memory of different devices. */
    static void sameDevice(String name, Tensor first, Tensor other) {
        check(
                other.device().equals(first.device()) || (onHost(other) && onHost(first)),
                name,
                () -> first.dtype() + first.shape().toString() + " is on " + first.device() + " but " + other.dtype()
                        + other.shape() + " on " + other.device() + "; move one of them with to(device)");
    }
}
