package tessera.distill.stage;

import tessera.tensor.Tensor;

/** Changes training pictures, as a function of the seed and the step. */
@FunctionalInterface
interface Augmentation {
    /** Augments u8 clips {@code [B, T, H, W, C]} in place. */
    void apply(Tensor clips, long seed, long step);
}
