package tessera.distill.train;

import org.jspecify.annotations.Nullable;
import tessera.distill.data.Modality;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A network that sees clips: the student that a stage trains, or a frozen teacher. Any architecture can be one. */
public interface Network extends AutoCloseable {
    /**
     * One look at clips.
     *
     * @param clips {@code [B, T, H, W, C]} of the modality that the network sees
     * @param mask which tokens are seen, or null for all
     * @param noise what is left out at random; {@link Noise#NONE} for a teacher
     */
    Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise);

    /**
     * What a teacher makes of a batch: by default one look without noise.
     *
     * @param sees what it looks at
     */
    default Outputs look(Batch batch, Modality sees, @Nullable TokenMask mask) {
        return forward(batch.clips(sees), mask, Noise.NONE);
    }

    /**
     * The tokens that masks hide.
     *
     * @throws IllegalArgumentException if the network cannot be masked
     */
    TokenGrid grid();

    /** Frees what belongs to the network beside its parameters. */
    @Override
    default void close() {}
}
