package tessera.distill.train;

import tessera.nn.DropPath;

/**
 * What a network leaves out at random in a step of training.
 *
 * @param dropPath branches of the encoder
 * @param seed with the step determines what else is left out
 * @param step number of the step, or of a batch of it where it has several: another for each
 */
public record Noise(DropPath dropPath, long seed, long step) {
    /** Nothing is left out. */
    public static final Noise NONE = new Noise(DropPath.NONE, 0, 0);
}
