package tessera.distill.evaluation;

import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Computes a student's features of a whole set of clips, for few-shot evaluation. */
public final class FeatureExtraction {
    private static final int BATCH = 16;

    private FeatureExtraction() {}

    /**
     * Features of every clip under {@code ensemble} independent masks, each clip with masks of its own.
     *
     * @param modality what the student looks at
     * @return {@code [ensemble][clips][D]}
     */
    public static double[][][] extract(
            Student student,
            ClipSet clips,
            Modality modality,
            double maskRatio,
            int ensemble,
            long seed,
            RunContext context) {
        int count = clips.size();
        int width = student.config().embedDim();
        double[][][] features = new double[ensemble][count][width];
        String title = "features " + modality;
        try (Task task = context.task(title, Task.Unit.CLIPS, count)) {
            for (int from = 0; from < count; from += BATCH) {
                int[] indices = new int[Math.min(BATCH, count - from)];
                for (int i = 0; i < indices.length; i++) {
                    indices[i] = from + i;
                }
                try (Scope scope = Scope.open()) {
                    Tensor batch = clips.batch(student.device(), modality, indices);
                    // The masks depend on the seed and the place in the batch, so every batch needs a seed of its own.
                    double[] values = student.features(batch, maskRatio, ensemble, seed + from)
                            .toDoubles();
                    for (int p = 0; p < ensemble; p++) {
                        for (int i = 0; i < indices.length; i++) {
                            System.arraycopy(values, (p * indices.length + i) * width, features[p][from + i], 0, width);
                        }
                    }
                }
                task.advance(from + indices.length);
            }
        }
        return features;
    }
}
