package tessera.distill.train;

import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Tensor;

/**
 * Mean squared error of the masked patches that a student predicts from its visible tokens (VideoMAE, NeurIPS 2022).
 *
 * @param model the student, with its decoder
 * @param normaliseClips whether pixels are normalised over each channel of each clip; else, as in the paper, of each patch
 */
public record Reconstruction(VideoMaePretraining model, boolean normaliseClips) implements Objective {
    @Override
    public Tensor loss(Look look) {
        Tensor predicted = model.reconstruct(look.student().tokens(), look.mask());
        return normaliseClips
                ? model.clipReconstructionLoss(predicted, look.clips(), look.mask())
                : model.reconstructionLoss(predicted, look.clips(), look.mask());
    }
}
