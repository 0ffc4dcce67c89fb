package tessera.distill.train;

import tessera.tensor.Tensor;

/** What a stage minimises. Objectives mix by {@link Weighted}; one of one's own is a lambda. */
@FunctionalInterface
public interface Objective {
    /**
     * The loss of a step, a scalar with a gradient. It computes on the device alone, without looking at values, for on a GPU it is
     * recorded once and replayed.
     */
    Tensor loss(Look look);
}
