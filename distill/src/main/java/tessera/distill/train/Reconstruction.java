package tessera.distill.train;

import java.util.Locale;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Tensor;

/**
 * Mean squared error of the masked patches that a student predicts from its visible tokens (VideoMAE, NeurIPS 2022).
 *
 * @param model the student, with its decoder
 * @param target what it predicts of a patch
 */
public record Reconstruction(VideoMaePretraining model, Target target) implements Objective {
    /** What is predicted of a masked patch. */
    public enum Target {
        /** The patch with its own mean and deviation taken away, as in the papers: predicting nothing gives about 1. */
        PATCHES,
        /** The pixels, normalised as the model's input is: how bright a patch is counts too, and noise of flat patches little. */
        PIXELS;

        /** In lower case, as settings are written. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Of normalised patches, as in the papers. */
    public Reconstruction(VideoMaePretraining model) {
        this(model, Target.PATCHES);
    }

    @Override
    public Tensor loss(Look look) {
        Tensor predicted = model.reconstruct(look.student().tokens(), look.mask());
        return switch (target) {
            case PATCHES -> model.reconstructionLoss(predicted, look.clips(), look.mask());
            case PIXELS -> model.pixelLoss(predicted, look.clips(), look.mask());
        };
    }
}
