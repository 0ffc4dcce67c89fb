package tessera.distill.demo;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.demo.ModelPlan.Disturbance;
import tessera.kernels.Philox;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Clips whose modalities, but for RGB, are noisy or missing. */
final class DisturbedClips {
    /** Random streams of these draws, apart from those of training by their sign. */
    private static final long STREAM = Long.MIN_VALUE;

    private DisturbedClips() {}

    /**
     * A copy of a set with noise added, uniform and independent for each value, and modalities of some clips zeroed.
     *
     * @param seed with which, the modality and the clip's place all is drawn
     */
    static ClipSet of(ClipSet clips, Disturbance how, FlowStats flow, long seed) {
        List<Modality> order = List.copyOf(Modality.ALL);
        return ClipSet.load(
                clips.geometry(),
                clips.classes(),
                clips.labels(),
                clips.modalities(),
                i -> {
                    Map<Modality, MemorySegment> samples = new HashMap<>();
                    for (Modality modality : clips.modalities()) {
                        try (Scope scope = Scope.open()) {
                            Tensor clip = clips.batch(modality, new int[] {i});
                            if (modality.equals(Modality.RGB)) {
                                samples.put(
                                        modality,
                                        MemorySegment.ofArray(clip.segment().toArray(ValueLayout.JAVA_BYTE)));
                            } else {
                                float[] values = clip.toFloats();
                                long stream = STREAM + ((long) order.indexOf(modality) << 32) + i;
                                disturb(values, modality, how, flow, seed, stream);
                                samples.put(modality, MemorySegment.ofArray(values));
                            }
                        }
                    }
                    return samples;
                },
                done -> {});
    }

    private static void disturb(
            float[] values, Modality modality, Disturbance how, FlowStats flow, long seed, long stream) {
        // The last counter is no value's.
        boolean missing = Philox.uniform(Philox.word(seed, stream, Long.MAX_VALUE)) < how.missing();
        boolean map = modality.equals(Modality.POSE);
        List<? extends Number> deviations = map ? modality.layout().std() : flow.std();
        // Uniform in [-1, 1] has the deviation 1 / sqrt(3).
        double width = how.noise() * Math.sqrt(3);
        int[] words = new int[4];
        for (int i = 0; i < values.length; i++) {
            if (missing) {
                values[i] = 0;
            } else if (width > 0) {
                if (i % 4 == 0) {
                    Philox.words(seed, stream, i / 4, words);
                }
                double deviation = deviations.get(i % deviations.size()).doubleValue();
                double noisy = values[i] + width * deviation * (2 * Philox.uniform(words[i % 4]) - 1);
                values[i] = (float) (map ? Math.clamp(noisy, 0, 1) : noisy);
            }
        }
    }
}
