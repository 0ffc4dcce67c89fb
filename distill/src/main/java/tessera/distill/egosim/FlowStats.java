package tessera.distill.egosim;

import java.util.List;
import java.util.Set;

/**
 * Mean and standard deviation of flow in pixels, per direction (right, down): what flow is normalised with. RGB takes
 * the usual ImageNet figures, and heat maps .3 and .3.
 *
 * @param mean two numbers
 * @param std two numbers, positive
 */
public record FlowStats(List<Float> mean, List<Float> std) {
    /** Measures some clips of a split, spread evenly over its classes; the same arguments give the same figures. */
    public static FlowStats of(EgoSim sim, Split split, Domain domain, int clips) {
        int classes = EgoSim.classes(split).size();
        var sum = new double[2];
        var squares = new double[2];
        long count = 0;
        for (int i = 0; i < clips; i++) {
            float[] flow = sim.render(split, domain, i % classes, i / classes, Set.of(Modality.FLOW))
                    .flow();
            for (int k = 0; k < flow.length; k++) {
                sum[k & 1] += flow[k];
                squares[k & 1] += (double) flow[k] * flow[k];
            }
            count += flow.length / 2;
        }
        if (count == 0) {
            throw new IllegalArgumentException("egosim: flow statistics of " + clips + " clips; ask for at least 1");
        }
        var mean = new Float[2];
        var std = new Float[2];
        for (int k = 0; k < 2; k++) {
            double m = sum[k] / count;
            mean[k] = (float) m;
            std[k] = (float) Math.sqrt(Math.max(squares[k] / count - m * m, 1e-12));
        }
        return new FlowStats(List.of(mean), List.of(std));
    }
}
