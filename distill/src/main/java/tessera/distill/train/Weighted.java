package tessera.distill.train;

import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.tensor.Tensor;

/**
 * A weighted sum of objectives.
 *
 * @param terms 1 or more, summed in order
 */
public record Weighted(List<Term> terms) implements Objective {
    /**
     * One objective of the sum.
     *
     * @param metric under which its loss is logged, without the weight; null if it is not
     */
    public record Term(
            Objective objective, double weight, @Nullable Metric metric) {}

    public Weighted {
        terms = List.copyOf(terms);
        if (terms.isEmpty()) {
            throw new IllegalArgumentException("a weighted sum of no objective; pass one or more");
        }
    }

    @Override
    public Tensor loss(Look look) {
        Tensor sum = weighted(terms.getFirst(), look);
        for (Term term : terms.subList(1, terms.size())) {
            sum = sum.add(weighted(term, look));
        }
        return sum;
    }

    private static Tensor weighted(Term term, Look look) {
        Tensor loss = term.objective().loss(look);
        if (term.metric() != null) {
            look.log(term.metric(), loss);
        }
        return term.weight() == 1 ? loss : loss.mul(term.weight());
    }
}
