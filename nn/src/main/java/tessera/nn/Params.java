package tessera.nn;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Where a model under construction gets its parameters: a place in a tree of names.
 *
 * <p>{@code params.at("blocks").at(3).get("weight", ..)} is the parameter {@code blocks.3.weight}, drawn at random or taken
 * from a checkpoint, so names in the code are names in the file. Not thread-safe.
 */
public final class Params {
    private final Store store;
    private final String path;

    private Params(Store store, String path) {
        this.store = store;
        this.path = path;
    }

    /** Fresh parameters, a pure function of the seed and their names. */
    public static Params random(Device device, DType dtype, long seed) {
        return new Params(new Store(device, dtype, seed, null, name -> true), "");
    }

    /** Parameters from a checkpoint, every one of which must be there. */
    public static Params from(Device device, DType dtype, Map<String, Tensor> checkpoint) {
        return from(device, dtype, checkpoint, 0, name -> false);
    }

    /**
     * Parameters from a checkpoint, except those that start afresh.
     *
     * @param checkpoint tensors by name, copied and converted as the model asks for them: open until {@link #finish}
     * @param fresh names that are drawn at random even if the checkpoint has them
     */
    public static Params from(
            Device device, DType dtype, Map<String, Tensor> checkpoint, long seed, Predicate<String> fresh) {
        return new Params(new Store(device, dtype, seed, checkpoint, fresh), "");
    }

    /** The place one name further down. */
    public Params at(String name) {
        return new Params(store, name(name));
    }

    /** The place of one element of a list. */
    public Params at(int index) {
        return at(Integer.toString(index));
    }

    /** The device of all parameters. */
    public Device device() {
        return store.device;
    }

    /** The type of all parameters. */
    public DType dtype() {
        return store.dtype;
    }

    /**
     * Lets the model compute in another type than its parameters have (mixed precision); call before making a layer.
     *
     * <p>On a GPU that is the type of activations. On a CPU, where {@link Device#bf16} is there, f32 activations and weights are rounded
     * to bf16 for the products alone.
     *
     * @param compute the parameters' type, or bf16 for f32 parameters
     * @throws IllegalArgumentException if the device does not compute in that type
     */
    public Params computeIn(DType compute) {
        boolean narrow = compute == DType.BF16 && store.dtype == DType.F32;
        store.productsInBf16 =
                narrow && !store.device.computes(compute) && store.device.bf16().isPresent();
        if (compute != store.dtype && !(narrow && (store.device.computes(compute) || store.productsInBf16))) {
            throw new IllegalArgumentException("a model of " + store.dtype + " parameters cannot compute in " + compute
                    + " on " + store.device + "; pass f32, or bf16 on a GPU or a CPU with AVX512_BF16 or AMX");
        }
        store.compute = store.productsInBf16 ? store.dtype : compute;
        return this;
    }

    /** The type of activations. */
    public DType compute() {
        return store.compute;
    }

    /** Whether f32 factors of the products of layers are rounded to bf16. */
    public boolean productsInBf16() {
        return store.productsInBf16;
    }

    /**
     * Lets every block of the model keep its result alone in training, and be run again in the backward pass, as {@link
     * tessera.tensor.Autograd#recomputed} says: less memory for more time, and the same gradients. Call before making a layer.
     */
    public Params recomputing(boolean wanted) {
        store.recomputing = wanted;
        return this;
    }

    /** Whether blocks are recomputed in the backward pass. */
    public boolean recomputing() {
        return store.recomputing;
    }

    /** Lets {@link Linear#pack} lay out the weights of a model that is made from here on bytes, or look at their inputs. */
    public Params on(Int8Layers layers) {
        store.int8 = layers;
        return this;
    }

    /** Whether attention rounds the factors of its products to bf16 where the device can, as models on bytes do too. */
    public boolean attentionInBf16() {
        return store.productsInBf16 || (store.int8 != null && !store.int8.isObserving());
    }

    /** The layers on bytes of the model, or null if it has none. */
    @Nullable
    Int8Layers int8() {
        return store.int8;
    }

    /** The whole name of a parameter of this place. */
    String name(String last) {
        return path.isEmpty() ? last : path + "." + last;
    }

    /** Gives every matrix and bias made so far a bf16 shadow where the model computes in bf16; for models that are trained. */
    public void addShadows() {
        if (store.compute == DType.BF16) {
            store.made.forEach((name, parameter) -> {
                if (parameter.rank() > 1 || name.endsWith(".bias")) {
                    parameter.withShadow();
                }
            });
        }
    }

    /** The parameter of this name, which requires a gradient and belongs to the model. */
    public Tensor get(String name, Init init, long... sizes) {
        return store.get(name(name), init, Shape.of(sizes));
    }

    /** All parameters made so far, in order. */
    public Map<String, Tensor> all() {
        return Collections.unmodifiableMap(store.made);
    }

    /**
     * Ends the construction: checks that the checkpoint had every parameter in its shape, and no other.
     *
     * @param ignored names of the checkpoint that may stay unused
     * @throws CheckpointException listing what is missing, misshapen and unexpected; the parameters are then freed
     */
    public void finish(Predicate<String> ignored) {
        store.finish(ignored);
    }

    /** As {@link #finish(Predicate)}, with no name ignored. */
    public void finish() {
        finish(name -> false);
    }

    private static final class Store {
        private static final int LISTED = 8;

        private final Device device;
        private final DType dtype;
        private DType compute;
        private boolean productsInBf16;
        private boolean recomputing;
        private @Nullable Int8Layers int8;
        private final long seed;
        private final @Nullable Map<String, Tensor> checkpoint;
        private final Predicate<String> fresh;
        private final Map<String, Tensor> made = new LinkedHashMap<>();
        private final List<String> missing = new ArrayList<>();
        private final List<String> misshapen = new ArrayList<>();

        Store(
                Device device,
                DType dtype,
                long seed,
                @Nullable Map<String, Tensor> checkpoint,
                Predicate<String> fresh) {
            this.device = device;
            this.dtype = dtype;
            this.compute = dtype;
            this.seed = seed;
            this.checkpoint = checkpoint;
            this.fresh = fresh;
        }

        Tensor get(String name, Init init, Shape shape) {
            Tensor parameter = load(name, shape);
            if (parameter == null) {
                // finish() refuses a checkpoint that lacks it: nothing is allocated by what only its metadata claim.
                parameter = checkpoint == null || fresh.test(name)
                        ? init.create(device, dtype, shape, seed, stream(name))
                        : Tensor.empty(device, dtype, Shape.of(1));
            }
            parameter.requiresGrad(true);
            if (made.put(name, parameter) != null) {
                throw new IllegalStateException("parameter " + name + " is made twice; give each a name of its own");
            }
            return parameter;
        }

        private @Nullable Tensor load(String name, Shape shape) {
            if (checkpoint == null || fresh.test(name)) {
                return null;
            }
            Tensor stored = checkpoint.get(name);
            if (stored == null) {
                missing.add(name + " " + shape);
                return null;
            }
            if (!stored.shape().equals(shape)) {
                misshapen.add(name + " is " + stored.shape() + ", needs " + shape);
                return null;
            }
            if (stored.dtype() == DType.I32 || stored.dtype() == DType.U8) {
                misshapen.add(name + " is of integers, needs floats");
                return null;
            }
            Tensor parameter = Tensor.empty(device, dtype, shape);
            parameter.copyFrom(stored);
            return parameter;
        }

        /** FNV-1a, so that a parameter's values do not depend on the order of construction. */
        private static long stream(String name) {
            long hash = 0xcbf29ce484222325L;
            for (int i = 0; i < name.length(); i++) {
                hash = (hash ^ name.charAt(i)) * 0x100000001b3L;
            }
            return hash;
        }

        void finish(Predicate<String> ignored) {
            List<String> problems = new ArrayList<>();
            describe("missing", missing, problems);
            describe("misshapen", misshapen, problems);
            if (checkpoint != null) {
                Set<String> unused = new LinkedHashSet<>(checkpoint.keySet());
                unused.removeAll(made.keySet());
                unused.removeIf(ignored);
                describe("unexpected", List.copyOf(unused), problems);
            }
            if (!problems.isEmpty()) {
                made.values().forEach(Tensor::close);
                throw new CheckpointException("the checkpoint does not fit the model: " + String.join("; ", problems)
                        + "; use a checkpoint of this architecture or change the model's configuration");
            }
        }

        private static void describe(String what, List<String> names, List<String> problems) {
            if (!names.isEmpty()) {
                String more = names.size() > LISTED ? " and " + (names.size() - LISTED) + " more" : "";
                problems.add(names.size() + " " + what + " ("
                        + String.join(", ", names.subList(0, Math.min(LISTED, names.size()))) + more + ")");
            }
        }
    }
}
