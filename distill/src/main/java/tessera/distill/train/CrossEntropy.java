package tessera.distill.train;

import tessera.tensor.Losses;
import tessera.tensor.Tensor;

/**
 * Mean cross-entropy of a head of the student against the labels of the batch.
 *
 * @param head whose scores and labels
 */
public record CrossEntropy(String head) implements Objective {
    @Override
    public Tensor loss(Look look) {
        return Losses.crossEntropy(look.student().logits(head), look.batch().labels(head));
    }
}
