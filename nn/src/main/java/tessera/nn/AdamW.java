package tessera.nn;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Optimiser;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Optimiser.Clip;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), all parameters in one kernel.
 *
 * <p>Its moments belong to it and are freed by {@link #close()}. Not thread-safe.
 */
public final class AdamW implements AutoCloseable {
    private static final String NAME = "adamw";

    private final Map<String, Tensor> parameters;
    private final Map<String, Tensor> firstMoments = new LinkedHashMap<>();
    private final Map<String, Tensor> secondMoments = new LinkedHashMap<>();
    private final Map<String, Double> decay = new LinkedHashMap<>();
    private final double beta1;
    private final double beta2;
    private final double eps;
    private long step;
    private double clipNorm;
    private @Nullable Tensor gradientNorm;

    /**
     * An optimiser of the parameters that require a gradient.
     *
     * @param parameters by name
     * @param decays which names decay by {@code weightDecay}; see {@link #matrices}
     */
    public AdamW(
            Map<String, Tensor> parameters,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            Predicate<String> decays) {
        this.beta1 = beta1;
        this.beta2 = beta2;
        this.eps = eps;
        Map<String, Tensor> trained = new LinkedHashMap<>();
        parameters.forEach((name, parameter) -> {
            if (parameter.requiresGrad()) {
                trained.put(name, parameter);
                firstMoments.put(name, zerosLike(parameter));
                secondMoments.put(name, zerosLike(parameter));
                decay.put(name, decays.test(name) ? weightDecay : 0.0);
            }
        });
        this.parameters = Collections.unmodifiableMap(trained);
    }

    /** Decays matrices only: not vectors, biases and the mask token (VideoMAE's parameter groups). */
    public static Predicate<String> matrices(Map<String, Tensor> parameters) {
        return name -> {
            Tensor parameter = parameters.get(name);
            return parameter != null && parameter.rank() > 1 && !name.endsWith(".bias") && !name.endsWith("mask_token");
        };
    }

    private static Tensor zerosLike(Tensor x) {
        return Tensor.full(x.device(), x.dtype(), x.shape(), 0);
    }

    /**
     * Scales the gradients of every further step by {@code min(1, largest / (norm + 1e-6))} where norm is the L2 norm of all of
     * them together (PyTorch's {@code clip_grad_norm_}). Each step then leaves that norm in {@link #gradientNorm}; a step
     * whose norm is not finite spoils the weights and should be the last.
     *
     * @param largest a positive number, 5 for example
     */
    public AdamW clipNorm(double largest) {
        if (!(largest > 0)) {
            throw new IllegalArgumentException("adamw: gradients cannot be clipped to a norm of " + largest
                    + "; pass a positive number such as 5");
        }
        clipNorm = largest;
        if (gradientNorm == null && !parameters.isEmpty()) {
            Tensor like = parameters.values().iterator().next();
            gradientNorm = Tensor.full(like.device(), like.dtype(), Shape.of(), 0);
        }
        return this;
    }

    /**
     * The norm of the latest step's gradients before they were clipped, a scalar in the memory of the parameters that the next
     * step overwrites; null if nothing is clipped.
     */
    public @Nullable Tensor gradientNorm() {
        return gradientNorm;
    }

    /** Steps taken so far. */
    public long steps() {
        return step;
    }

    /** Counts a step that a recorded graph takes; see {@link tessera.kernels.Graph}. */
    public void advance() {
        step++;
        parameters.forEach(this::changed);
    }

    /** Says that a parameter and its moments were written in place. */
    private void changed(String name, Tensor parameter) {
        parameter.changedBy(NAME);
        moment(firstMoments, name).changedBy(NAME);
        moment(secondMoments, name).changedBy(NAME);
    }

    /** Updates every parameter that has a gradient, then forgets the gradients. */
    public void step(double lr) {
        step++;
        List<Buffer> p = new ArrayList<>();
        List<Buffer> g = new ArrayList<>();
        List<Buffer> m = new ArrayList<>();
        List<Buffer> v = new ArrayList<>();
        List<@Nullable Buffer> shadows = new ArrayList<>();
        List<Double> decays = new ArrayList<>();
        parameters.forEach((name, parameter) -> {
            Tensor gradient = parameter.grad();
            if (gradient != null) {
                p.add(parameter.buffer());
                g.add(gradient.buffer());
                m.add(moment(firstMoments, name).buffer());
                v.add(moment(secondMoments, name).buffer());
                Tensor shadow = parameter.shadow();
                shadows.add(shadow == null ? null : shadow.buffer());
                decays.add(decay.getOrDefault(name, 0.0));
                parameter.zeroGrad();
                changed(name, parameter);
            }
        });
        if (p.isEmpty()) {
            return;
        }
        Optimiser kernels = parameters.values().iterator().next().kernels().optimiser();
        Buffer[] gradients = g.toArray(Buffer[]::new);
        Clip clip = null;
        if (gradientNorm != null) {
            kernels.globalNorm(gradients, gradientNorm.buffer());
            gradientNorm.changedBy(NAME);
            clip = new Clip(gradientNorm.buffer(), clipNorm);
        }
        kernels.adamW(
                new AdamWTensors(
                        p.toArray(Buffer[]::new),
                        gradients,
                        m.toArray(Buffer[]::new),
                        v.toArray(Buffer[]::new),
                        shadows.toArray(Buffer[]::new),
                        decays.stream().mapToDouble(Double::doubleValue).toArray()),
                new AdamWStep(lr, beta1, beta2, eps, step, clip));
    }

    private static Tensor moment(Map<String, Tensor> moments, String name) {
        return java.util.Objects.requireNonNull(moments.get(name));
    }

    /** Its moments under the names {@code m.NAME} and {@code v.NAME}, for a checkpoint. */
    public Map<String, Tensor> state() {
        Map<String, Tensor> state = new LinkedHashMap<>();
        firstMoments.forEach((name, moment) -> state.put("m." + name, moment));
        secondMoments.forEach((name, moment) -> state.put("v." + name, moment));
        return state;
    }

    /**
     * Continues where a checkpoint stopped.
     *
     * @param saved what {@link #state} returned
     * @throws CheckpointException if a moment is missing or misshapen
     */
    public void restore(Map<String, Tensor> saved, long steps) {
        state().forEach((name, moment) -> {
            Tensor from = saved.get(name);
            if (from == null || !from.shape().equals(moment.shape())) {
                throw new CheckpointException("the checkpoint's optimiser state " + name + " is "
                        + (from == null ? "missing" : from.shape()) + " but the model needs " + moment.shape()
                        + "; resume with the configuration that the run started with");
            }
            moment.copyFrom(from);
        });
        step = steps;
    }

    @Override
    public void close() {
        firstMoments.values().forEach(Tensor::close);
        secondMoments.values().forEach(Tensor::close);
        if (gradientNorm != null) {
            gradientNorm.close();
        }
    }
}
