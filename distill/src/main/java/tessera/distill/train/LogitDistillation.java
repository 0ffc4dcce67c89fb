package tessera.distill.train;

import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.tensor.Losses;
import tessera.tensor.Tensor;

/**
 * Logit distillation from a weighted ensemble of teachers (Radevski et al., ICCV 2023): {@code alpha T^2 KL(softmax(z / T) ||
 * softmax(student / T)) + beta CE(student, labels)} with ensemble logits {@code z = sum_t w_t teacher_t}; the KL is the mean over
 * clips. A student with several heads has one of these for each, in {@link Weighted}.
 *
 * @param teachers whose logits, 1 to 8
 * @param head of the student and of every teacher
 * @param temperature T
 * @param alpha weight of the teachers, 1 in the paper
 * @param beta weight of the labels, 0 in the paper; above 0 batches must be labelled
 * @param weighting of the teachers
 */
public record LogitDistillation(
        List<Teacher> teachers, String head, double temperature, double alpha, double beta, Weighting weighting)
        implements Objective {

    public LogitDistillation {
        teachers = List.copyOf(teachers);
        if (teachers.isEmpty() || !(temperature > 0) || !(alpha >= 0) || !(beta >= 0)) {
            throw new IllegalArgumentException("logit distillation from " + teachers.size() + " teachers at T "
                    + temperature + ", alpha " + alpha + ", beta " + beta
                    + "; pass a teacher or more, a positive temperature, and weights of 0 or more");
        }
    }

    @Override
    public Tensor loss(Look look) {
        List<Tensor> logits =
                teachers.stream().map(teacher -> look.logits(teacher, head)).toList();
        @Nullable
        Tensor labels = beta > 0 || weighting.needsLabels() ? look.batch().labels(head) : null;
        Tensor weights = weighting.weights(logits, labels);
        return Losses.distillation(
                look.student().logits(head), logits, weights, beta > 0 ? labels : null, temperature, alpha, beta);
    }
}
