package tessera.distill.demo;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import tessera.distill.data.Modality;
import tessera.distill.demo.ModelPlan.Disturbance;
import tessera.distill.train.ClipBatches;
import tessera.kernels.DType;
import tessera.kernels.Philox;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/**
 * Makes clips noisy or takes modalities from them, on their way into a batch: nothing is kept. RGB stays as it is.
 *
 * <p>Noise is uniform, independent for each value, added to what sensors give and not cut off: a value that can be no real one,
 * such as a negative share of a heat map, stays. Which clips lack a modality is drawn for each modality.
 *
 * @param how its noise is a multiple of the deviation that the models divide each channel by
 * @param inputs how the models take a modality
 * @param seed with which, the modality and the clip's number all is drawn
 */
record DisturbedClips(Disturbance how, Function<Modality, Patches> inputs, long seed) implements ClipBatches.Change {
    /** Random streams of these draws, apart from those of training by their sign. */
    private static final long STREAM = Long.MIN_VALUE;

    private static final List<Modality> ORDER = List.copyOf(Modality.ALL);

    @Override
    public Tensor of(Modality modality, int[] clips, Tensor samples) {
        if (modality.equals(Modality.RGB)) {
            return samples;
        }
        Tensor changed = how.noise() > 0 ? samples.to(DType.F32) : samples;
        MemorySegment all = changed.segment();
        long bytes = all.byteSize() / clips.length;
        double[] widths = widths(inputs.apply(modality));
        IntStream.range(0, clips.length).parallel().forEach(place -> {
            MemorySegment own = all.asSlice(place * bytes, bytes);
            long stream = STREAM + ((long) ORDER.indexOf(modality) << 32) + clips[place];
            // The last counter is no value's.
            if (Philox.uniform(Philox.word(seed, stream, Long.MAX_VALUE)) < how.missing()) {
                own.fill((byte) 0);
            } else if (how.noise() > 0) {
                addNoise(own, widths, stream);
            }
        });
        return changed;
    }

    /** Half the width of each channel's noise in the numbers of a batch; uniform in [-1, 1] has the deviation 1 / sqrt(3). */
    private double[] widths(Patches input) {
        double[] widths = input.std().clone();
        for (int channel = 0; channel < widths.length; channel++) {
            widths[channel] *= how.noise() * Math.sqrt(3) / input.scale();
        }
        return widths;
    }

    private void addNoise(MemorySegment clip, double[] widths, long stream) {
        int[] words = new int[4];
        long count = clip.byteSize() / Float.BYTES;
        for (long i = 0; i < count; i++) {
            int word = (int) (i % 4);
            if (word == 0) {
                Philox.words(seed, stream, i / 4, words);
            }
            double noise = widths[(int) (i % widths.length)] * (2 * Philox.uniform(words[word]) - 1);
            clip.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) (clip.getAtIndex(ValueLayout.JAVA_FLOAT, i) + noise));
        }
    }
}
