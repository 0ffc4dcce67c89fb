package tessera.distill.evaluation;

import java.util.Arrays;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Predictor;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Computes the features of a whole set of prepared clips, for few-shot evaluation: a {@link Predictor}'s, batch by batch. */
public final class FeatureExtraction {
    private static final int BATCH = 16;
    /** What of the heap features can take, at the very most. */
    private static final double MOST_OF_HEAP = .9;

    private FeatureExtraction() {}

    /** Clips to look at. */
    @FunctionalInterface
    public interface Source {
        /** Some of the clips, {@code [count, T, H, W, C]}; the tensor belongs to the innermost open scope. */
        Tensor batch(int from, int count);
    }

    /** Where features go. */
    @FunctionalInterface
    public interface Sink {
        /** The feature of a clip by a pass of the ensemble: so many values from an offset on, which belong to the caller. */
        void add(int pass, int clip, double[] values, int offset, int width);
    }

    /**
     * Features of every clip of a set, with progress; see {@link #extract(Predictor, int, int, Source, LongConsumer)}.
     *
     * @param modality what the predictor's student looks at
     * @return {@code [ensemble][clips][D]}
     */
    public static double[][][] extract(Predictor predictor, ClipSet clips, Modality modality, RunContext context) {
        Source source = (from, count) -> {
            int next = from + count;
            clips.expect(
                    IntStream.range(next, Math.min(clips.size(), next + BATCH)).toArray());
            return clips.batch(
                    predictor.student().device(),
                    modality,
                    IntStream.range(from, next).toArray());
        };
        try (Task task = context.task("features " + modality, Task.Unit.CLIPS, clips.size())) {
            return extract(predictor, clips.size(), BATCH, source, task::advance);
        }
    }

    /**
     * Features of clips under the masks of the predictor's ensemble, each clip with masks of its own.
     *
     * @param count of clips in all
     * @param most clips in a batch; the masks depend on it
     * @param progress hears how many clips are done
     * @return {@code [ensemble][clips][D]}
     * @throws IllegalArgumentException if the heap cannot hold them
     */
    public static double[][][] extract(Predictor predictor, int count, int most, Source clips, LongConsumer progress) {
        double[][][] features = new double[predictor.masking().ensemble()][count][];
        long each = Double.BYTES * (long) features.length;
        extract(
                predictor,
                count,
                most,
                clips,
                (pass, clip, values, at, width) -> {
                    if (pass == 0 && clip == 0) {
                        requireRoom(count, each * width);
                    }
                    features[pass][clip] = Arrays.copyOfRange(values, at, at + width);
                },
                progress);
        return features;
    }

    /** Refuses features that are larger than the heap, as tokens may be, once the first of them tell how large. */
    private static void requireRoom(int count, long bytes) {
        long heap = Runtime.getRuntime().maxMemory();
        if (count * (double) bytes > MOST_OF_HEAP * heap) {
            throw new IllegalArgumentException("the features of " + count + " clips take " + ((count * bytes) >> 20)
                    + " MiB, which do not fit into a heap of " + (heap >> 20)
                    + " MiB; pass fewer clips or masks, a larger"
                    + " mask ratio, or a larger heap (-Xmx8g, which TESSERA_JAVA_OPTS passes on)");
        }
    }

    /**
     * The same, without an object for each feature.
     *
     * @param sink gets every feature once
     */
    public static void extract(
            Predictor predictor, int count, int most, Source clips, Sink sink, LongConsumer progress) {
        int ensemble = predictor.masking().ensemble();
        for (int from = 0; from < count; from += most) {
            int batch = Math.min(most, count - from);
            try (Scope scope = Scope.open()) {
                // The masks depend on the seed and the place in the batch, so every batch needs a seed of its own.
                Tensor features = predictor.features(clips.batch(from, batch), predictor.seed() + from);
                int width = Math.toIntExact(features.size(2));
                double[] values = features.toDoubles();
                for (int p = 0; p < ensemble; p++) {
                    for (int i = 0; i < batch; i++) {
                        sink.add(p, from + i, values, (p * batch + i) * width, width);
                    }
                }
            }
            progress.accept(from + batch);
        }
    }
}
