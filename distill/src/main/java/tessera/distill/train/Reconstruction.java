package tessera.distill.train;

import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Tensor;

/**
 * Mean squared error of the masked patches that a student predicts from its visible tokens (VideoMAE, NeurIPS 2022).
 *
 * @param model the student, with its decoder
 * @param floor added to the standard deviation by which each patch is divided, in units of pixels after their scale (so that 1 is
 *     white): patches with less contrast than that count less, for their noise cannot be predicted
 */
public record Reconstruction(VideoMaePretraining model, double floor) implements Objective {
    /** What the papers add, for division's sake alone. */
    public static final double PAPERS_FLOOR = 1e-6;

    /** As in the papers: all patches count alike. */
    public Reconstruction(VideoMaePretraining model) {
        this(model, PAPERS_FLOOR);
    }

    @Override
    public Tensor loss(Look look) {
        Tensor predicted = model.reconstruct(look.student().tokens(), look.mask());
        return model.reconstructionLoss(predicted, look.clips(), look.mask(), floor);
    }
}
