package tessera.distill.sweep;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * What a way to look gives of all clips.
 *
 * @param features {@code [clips][D]}, the mean over the masks
 * @param probabilities {@code [clips][classes]} of the main head; empty without one
 */
record Answers(double[][] features, double[][] probabilities) {
    /** SweepClips in a batch; masks depend on it. */
    private static final int BATCH = 8;

    static Answers of(Setup setup, SweepClips clips, long seed) {
        Student student = setup.student();
        List<double[]> features = new ArrayList<>();
        List<double[]> probabilities = new ArrayList<>();
        for (int from = 0; from < clips.count(); from += BATCH) {
            try (Scope scope = Scope.open()) {
                Tensor batch = clips.batch(from, Math.min(BATCH, clips.count() - from));
                add(
                        features,
                        student.features(batch, setup.masking(), seed + from).mean(0));
                if (!student.heads().isEmpty()) {
                    add(probabilities, student.predict(batch, setup.masking(), seed + from));
                }
            }
        }
        return new Answers(features.toArray(double[][]::new), probabilities.toArray(double[][]::new));
    }

    private static void add(List<double[]> rows, Tensor tensor) {
        double[] values = tensor.toDoubles();
        int width = Math.toIntExact(tensor.size(1));
        for (int at = 0; at < values.length; at += width) {
            rows.add(Arrays.copyOfRange(values, at, at + width));
        }
    }
}
