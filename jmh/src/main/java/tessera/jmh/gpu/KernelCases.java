package tessera.jmh.gpu;

import java.util.ArrayList;
import java.util.List;

/** Every primitive at the shapes of MM-CDFSL (spec 4.1), by family. */
final class KernelCases {
    private KernelCases() {}

    static List<KernelCase> of(Sizes sizes) {
        List<KernelCase> all = new ArrayList<>();
        for (FamilyCases family : List.of(
                new AttentionCases(sizes),
                new MatmulCases(sizes),
                new NormsCases(sizes),
                new PatchesCases(sizes),
                new TokensCases(sizes),
                new ElementwiseCases(sizes),
                new RandomCases(sizes),
                new LossesCases(sizes),
                new OptimiserCases(sizes))) {
            family.all();
            all.addAll(family.cases());
        }
        return all;
    }

    /** Attention alone, at the lengths that the mask ratios leave, then what few models have. */
    static List<KernelCase> attention(Sizes sizes) {
        AttentionCases family = new AttentionCases(sizes);
        family.whole();
        family.otherLengths();
        family.rare();
        return family.cases();
    }
}
