package tessera.distill.train;

import java.util.List;
import tessera.nn.Projector;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Tensor;

/**
 * Feature distillation (MM-CDFSL, ECCV 2024): the weighted sum over teachers of the mean squared difference between the
 * student's projected feature and the teacher's.
 *
 * @param matches whose features, 1 or more
 * @param standardised whether each number of a teacher's feature has mean 0 and deviation 1 over the clips of a batch before it is
 *     matched. What all clips have in common, which is most of a feature of a teacher that was trained on few clips, then teaches
 *     nothing, and how they differ teaches all. Batches of one clip teach nothing either
 */
public record FeatureMatch(List<Match> matches, boolean standardised) implements Objective {
    /** Added to the variance: what is the same in all clips stays 0. */
    private static final double EPS = 1e-6;

    /**
     * One teacher to match.
     *
     * @param projector from the student's feature to the teacher's; it is trained too
     */
    public record Match(Teacher teacher, Projector projector, double weight) {}

    public FeatureMatch {
        matches = List.copyOf(matches);
    }

    /** Features as they are, as in the paper. */
    public FeatureMatch(List<Match> matches) {
        this(matches, false);
    }

    @Override
    public Tensor loss(Look look) {
        Tensor feature = look.student().feature(); // [B, D]
        List<Tensor> projected = matches.stream()
                .map(match -> match.projector().forward(feature))
                .toList();
        List<Tensor> targets =
                matches.stream().map(match -> target(look, match.teacher())).toList();
        double[] weights = matches.stream().mapToDouble(Match::weight).toArray();
        return Losses.features(projected, targets, weights);
    }

    private Tensor target(Look look, Teacher teacher) {
        Tensor feature = look.of(teacher).feature(); // [B, D]
        return standardised ? Autograd.noGrad(() -> standardised(feature)) : feature;
    }

    private static Tensor standardised(Tensor feature) {
        long clips = feature.size(0);
        long width = feature.size(1);
        Tensor centred = feature.sub(feature.mean(0).reshape(1, width).expand(clips, width));
        Tensor deviation = centred.square().mean(0).add(EPS).sqrt();
        return centred.div(deviation.reshape(1, width).expand(clips, width));
    }
}
