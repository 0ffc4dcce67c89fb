package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import tessera.nn.inference.AdaptiveEnsemble;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * What a head says of clips after 1, 2, .. P masks, as its student computes it.
 *
 * @param head whose answers these are
 * @param answers {@code [P][clips][classes]}, probabilities
 */
public record HeadPasses(Head head, double[][][] answers) {
    /** Clips in a batch; masks depend on it. */
    private static final int BATCH = 8;

    /** Clips to look at. */
    @FunctionalInterface
    public interface Source {
        /** Some clips by their numbers, u8 or f32 {@code [B, T, H, W, C]} of the student's sizes; of the innermost open scope. */
        Tensor batch(int[] clips);
    }

    /**
     * Looks at clips through all masks of an ensemble, one after the other.
     *
     * @param clips how many there are, 1 or more
     * @param seed determines the masks, with the number of a batch's first clip
     * @param progress hears how many clips are done
     * @return one for each head, in the student's order
     */
    public static List<HeadPasses> of(
            Student student, Masking masking, long seed, int clips, Source source, LongConsumer progress) {
        List<HeadPasses> heads = student.heads().stream()
                .map(head -> new HeadPasses(head, new double[masking.ensemble()][clips][]))
                .toList();
        for (int from = 0; from < clips; from += BATCH) {
            int first = from;
            int[] batch = IntStream.range(from, Math.min(clips, from + BATCH)).toArray();
            try (Scope scope = Scope.open()) {
                AdaptiveEnsemble.Seen last = AdaptiveEnsemble.predict(
                        student, source.batch(batch), masking, seed + from, (clip, passes, probabilities) -> {
                            keep(heads, passes, first + clip, probabilities);
                            return false;
                        });
                for (int i = 0; i < batch.length; i++) {
                    keep(heads, masking.ensemble(), batch[i], last.probabilities()[i]);
                }
            }
            progress.accept(from + batch.length);
        }
        return heads;
    }

    private static void keep(List<HeadPasses> heads, int passes, int clip, float[] probabilities) {
        int at = 0;
        for (HeadPasses head : heads) {
            double[] own = new double[head.head.classes()];
            for (int c = 0; c < own.length; c++) {
                own[c] = probabilities[at++];
            }
            head.answers[passes - 1][clip] = own;
        }
    }

    /** With the classes of the clips. */
    public EnsemblePasses labelled(int[] labels) {
        return EnsemblePasses.ofAnswers(answers, labels);
    }

    /**
     * Some clips in batches for {@link EnsembleTiming}, spread evenly.
     *
     * @param clips how many there are
     * @return one or two batches; of the innermost open scope
     */
    public static List<Tensor> spread(int clips, Source source) {
        int wanted = Math.min(clips, 2 * BATCH);
        int[] chosen = new int[wanted];
        Arrays.setAll(chosen, i -> (int) ((long) i * clips / wanted));
        List<Tensor> batches = new ArrayList<>();
        for (int from = 0; from < wanted; from += BATCH) {
            batches.add(source.batch(Arrays.copyOfRange(chosen, from, Math.min(wanted, from + BATCH))));
        }
        return batches;
    }
}
