package tessera.jmh.peers.torch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import tessera.jmh.peers.Contender;
import tessera.jmh.peers.Task;

/** Steps of training: scores, cross-entropy, backward, AdamW. */
final class TorchTraining extends Contender {
    private final TorchStudent student;
    private final List<AdamW> optimisers = new ArrayList<>();

    TorchTraining(Task task, TorchStudent student) {
        this.student = student;
        TensorVector matrices = new TensorVector();
        TensorVector vectors = new TensorVector();
        student.parameters().values().forEach(parameter -> {
            parameter.requires_grad_(true);
            (parameter.dim() > 1 ? matrices : vectors).push_back(parameter);
        });
        optimisers.add(optimiser(matrices, Task.DECAY));
        optimisers.add(optimiser(vectors, 0));
    }

    private static AdamW optimiser(TensorVector parameters, double decay) {
        AdamWOptions options = new AdamWOptions(Task.RATE);
        options.weight_decay().put(decay);
        options.eps().put(1e-8);
        return new AdamW(parameters, options);
    }

    private float step() {
        try (PointerScope scope = new PointerScope()) {
            optimisers.forEach(AdamW::zero_grad);
            Tensor loss = torch.cross_entropy_loss(student.run(), student.labels());
            loss.backward();
            optimisers.forEach(AdamW::step);
            return loss.item_float();
        }
    }

    @Override
    public float[] output() {
        float[] losses = new float[Task.STEPS];
        for (int i = 0; i < losses.length; i++) {
            losses[i] = step();
        }
        return losses;
    }

    @Override
    protected void call() {
        step();
    }

    @Override
    public void close() {
        optimisers.forEach(AdamW::close);
        student.close();
    }
}
