package tessera.nn;

import tessera.kernels.Device;

/**
 * What a {@link MaskStrategy} may look at: where the masks are needed, how many of which size, and what determines them.
 *
 * @param device where the masks are used; a strategy may make them elsewhere, they are then copied
 * @param batch number of masks, one for each clip
 * @param slots time slots of the token grid
 * @param plane cells of one slot
 * @param ratio share of hidden cells, in [0, 1)
 * @param seed with {@code stream} and {@code member} determines the masks
 * @param stream number of the draw in training, so that every step sees other masks; 0 in inference
 * @param member number of the mask in an ensemble, from 0; 0 in training
 */
public record MaskContext(
        Device device, long batch, int slots, int plane, double ratio, long seed, long stream, int member) {}
