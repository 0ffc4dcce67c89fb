package tessera.distill.train;

import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Tensor;

/**
 * Mean squared error of the masked patches that a student predicts from its visible tokens (VideoMAE, NeurIPS 2022).
 *
 * @param model the student, with its decoder
 */
public record Reconstruction(VideoMaePretraining model) implements Objective {
    @Override
    public Tensor loss(Look look) {
        Tensor predicted = model.reconstruct(look.student().tokens(), look.mask());
        return model.reconstructionLoss(predicted, look.clips(), look.mask());
    }
}
