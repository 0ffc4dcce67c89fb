package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.nn.inference.AdaptiveEnsemble;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Times of fixed ensembles of 1 to P masks and of adaptive ones side by side ({@link PairedTiming}), in milliseconds of a clip. An
 * adaptive one is run as it is in use, batches shrinking, on clips that need as many passes as those that were judged.
 *
 * @param fixed of 1 to P masks
 * @param adaptive of each adaptive ensemble
 * @param share median of its share of the time of P masks in the same round
 */
public record EnsembleTiming(double[] fixed, double[] adaptive, double[] share) {
    private static final int ROUNDS = 5;

    /**
     * Measures.
     *
     * @param student with a head
     * @param batches of clips, of any number, together one or more
     * @param masking of P masks
     * @param plans of each adaptive ensemble the passes of the clips that were judged; clips that are timed get their quantiles
     */
    public static EnsembleTiming of(
            Student student, List<Tensor> batches, Masking masking, long seed, List<int[]> plans) {
        int clips = Math.toIntExact(
                batches.stream().mapToLong(batch -> batch.size(0)).sum());
        int most = masking.ensemble();
        List<Runnable> ways = new ArrayList<>();
        for (int p = 1; p <= most; p++) {
            Masking fixed = masking.withEnsemble(p);
            ways.add(() -> batches.forEach(batch -> {
                try (Scope scope = Scope.open()) {
                    student.predictAll(batch, fixed, seed).toFloats();
                }
            }));
        }
        for (int[] plan : plans) {
            int[] planned = quantiles(plan, clips);
            ways.add(() -> {
                int from = 0;
                for (Tensor batch : batches) {
                    int first = from;
                    AdaptiveEnsemble.predict(
                            student,
                            batch,
                            masking,
                            seed,
                            (clip, passes, probabilities) -> passes >= planned[first + clip]);
                    from += Math.toIntExact(batch.size(0));
                }
            });
        }
        PairedTiming timing = PairedTiming.of(ways, ROUNDS);
        double[] fixed = new double[most];
        Arrays.setAll(fixed, p -> timing.milliseconds(p) / clips);
        double[] adaptive = new double[plans.size()];
        Arrays.setAll(adaptive, i -> timing.milliseconds(most + i) / clips);
        double[] share = new double[plans.size()];
        Arrays.setAll(share, i -> timing.ratio(most + i, most - 1));
        return new EnsembleTiming(fixed, adaptive, share);
    }

    /** As many numbers as are wanted, distributed as those given, few and many mixed. */
    static int[] quantiles(int[] plan, int wanted) {
        int[] sorted = plan.clone();
        Arrays.sort(sorted);
        int[] quantiles = new int[wanted];
        for (int i = 0; i < wanted; i++) {
            // Every second place from the front, then the others from the back, so that batches are alike.
            int place = 2 * i < wanted ? 2 * i : 2 * (wanted - i) - 1;
            quantiles[place] = sorted[(int) ((2L * i + 1) * sorted.length / (2L * wanted))];
        }
        return quantiles;
    }
}
