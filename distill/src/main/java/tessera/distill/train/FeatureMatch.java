package tessera.distill.train;

import java.util.List;
import tessera.nn.Projector;
import tessera.tensor.Losses;
import tessera.tensor.Tensor;

/**
 * Feature distillation (MM-CDFSL, ECCV 2024): the weighted sum over teachers of the mean squared difference between the
 * student's projected feature and the teacher's.
 *
 * @param matches whose features, 1 or more
 */
public record FeatureMatch(List<Match> matches) implements Objective {
    /**
     * One teacher to match.
     *
     * @param projector from the student's feature to the teacher's; it is trained too
     */
    public record Match(Teacher teacher, Projector projector, double weight) {}

    public FeatureMatch {
        matches = List.copyOf(matches);
    }

    @Override
    public Tensor loss(Look look) {
        Tensor feature = look.student().feature(); // [B, D]
        List<Tensor> projected = matches.stream()
                .map(match -> match.projector().forward(feature))
                .toList();
        List<Tensor> targets = matches.stream()
                .map(match -> look.of(match.teacher()).feature())
                .toList();
        double[] weights = matches.stream().mapToDouble(Match::weight).toArray();
        return Losses.features(projected, targets, weights);
    }
}
