package tessera.distill.train;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.tensor.Autograd;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * What an {@link Objective} judges: one batch, as student and teachers see it through one mask. Every network looks at most once.
 * Not thread-safe.
 */
public final class Look {
    private final Batch batch;
    private final Modality sees;
    private final @Nullable TokenMask mask;
    private final Outputs student;
    private final Map<Teacher, Outputs> taught = new HashMap<>();
    private final Map<Metric, Tensor> metrics = new LinkedHashMap<>();

    /**
     * Lets the student look.
     *
     * @param sees what the student looks at
     * @param mask for everybody, or null if all tokens are seen
     */
    public Look(Batch batch, Modality sees, @Nullable TokenMask mask, Network student, Noise noise) {
        this.batch = batch;
        this.sees = sees;
        this.mask = mask;
        this.student = student.forward(batch.clips(sees), mask, noise);
    }

    public Batch batch() {
        return batch;
    }

    /** The clips that the student looks at. */
    public Tensor clips() {
        return batch.clips(sees);
    }

    /**
     * The mask of the step.
     *
     * @throws IllegalArgumentException if the stage has none
     */
    public TokenMask mask() {
        if (mask == null) {
            throw new IllegalArgumentException(
                    "an objective needs masked tokens but the stage masks none; give it masks");
        }
        return mask;
    }

    /** What the student makes of the batch, with gradients. */
    public Outputs student() {
        return student;
    }

    /** What a teacher makes of the batch, without gradients. */
    public Outputs of(Teacher teacher) {
        return taught.computeIfAbsent(
                teacher, t -> Autograd.noGrad(() -> t.network().look(batch, t.sees(), mask)));
    }

    /** Class scores of a teacher's head, without gradients. */
    Tensor logits(Teacher teacher, String head) {
        return Autograd.noGrad(() -> of(teacher).logits(head));
    }

    /** Logs a scalar of the step. */
    public void log(Metric metric, Tensor scalar) {
        metrics.put(metric, scalar);
    }

    Map<Metric, Tensor> metrics() {
        return metrics;
    }
}
