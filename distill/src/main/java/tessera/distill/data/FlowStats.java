package tessera.distill.data;

import java.util.List;
import java.util.function.IntFunction;

/**
 * Mean and standard deviation of flow in pixels, per direction (right, down): what flow is normalised with.
 *
 * @param mean two numbers
 * @param std two numbers, positive
 */
public record FlowStats(List<Float> mean, List<Float> std) {
    /** Stands for statistics where no flow is seen. */
    public static final FlowStats NONE = new FlowStats(List.of(0f, 0f), List.of(1f, 1f));

    /**
     * Measures clips.
     *
     * @param clips how many
     * @param flow of a clip, right and down alternating
     * @throws IllegalArgumentException if there is no clip
     */
    public static FlowStats measure(int clips, IntFunction<float[]> flow) {
        double[] sum = new double[2];
        double[] squares = new double[2];
        long count = 0;
        for (int i = 0; i < clips; i++) {
            float[] values = flow.apply(i);
            for (int k = 0; k < values.length; k++) {
                sum[k & 1] += values[k];
                squares[k & 1] += (double) values[k] * values[k];
            }
            count += values.length / 2;
        }
        if (count == 0) {
            throw new IllegalArgumentException("flow statistics of " + clips + " clips; ask for at least 1 with flow");
        }
        Float[] mean = new Float[2];
        Float[] std = new Float[2];
        for (int k = 0; k < 2; k++) {
            double m = sum[k] / count;
            mean[k] = (float) m;
            std[k] = (float) Math.sqrt(Math.max(squares[k] / count - m * m, 1e-12));
        }
        return new FlowStats(List.of(mean), List.of(std));
    }
}
