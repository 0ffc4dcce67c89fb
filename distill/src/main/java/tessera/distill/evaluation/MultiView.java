package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.List;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.View;
import tessera.distill.data.Views;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Multi-view testing: every clip is seen several times, at other moments and in other crops, and its class scores (logits, not
 * probabilities) are averaged over the views (Feichtenhofer et al., "SlowFast Networks", ICCV 2019, section 4; here as in Radevski et
 * al., ICCV 2023).
 */
public final class MultiView {
    /** Clips in a batch; masks depend on it. */
    private static final int BATCH = 8;

    private MultiView() {}

    /** Views of clips. */
    @FunctionalInterface
    public interface Source {
        /**
         * One view of some clips.
         *
         * @param view number of the view, from 0
         * @param clips numbers of the clips
         * @return u8 or f32 {@code [B, T, H, W, C]} of the student's sizes; it belongs to the innermost open scope
         */
        Tensor batch(int view, int[] clips);
    }

    /**
     * Class scores of clips by every head of a student, averaged over the views.
     *
     * @param seed determines the masks; each view and each clip has masks of its own
     * @param views 1 or more
     * @param clips how many there are, 1 or more
     * @param progress hears how many clips are done
     * @return one for each head, in the student's order
     * @throws IllegalArgumentException if the student has no head, or there is no view or no clip
     */
    public static List<HeadLogits> logits(
            Student student, Masking masking, long seed, int views, int clips, Source source, LongConsumer progress) {
        if (student.heads().isEmpty()) {
            throw new IllegalArgumentException(
                    "the student has no heads, so there are no classes to judge; train it with `tessera"
                            + " train` or `tessera distill --heads`, or learn a head on it with `tessera learn`");
        }
        if (views < 1 || clips < 1) {
            throw new IllegalArgumentException(
                    "multi_view: " + views + " views of " + clips + " clips given; pass at least one of each");
        }
        List<HeadLogits> heads = new ArrayList<>();
        for (Head head : student.heads()) {
            heads.add(new HeadLogits(head.name(), head.labels(), new double[clips][head.classes()]));
        }
        for (int from = 0; from < clips; from += BATCH) {
            int[] batch = IntStream.range(from, Math.min(clips, from + BATCH)).toArray();
            for (int view = 0; view < views; view++) {
                try (Scope scope = Scope.open()) {
                    // Masks depend on the seed and the place in the batch, so every batch and view needs a seed of its
                    // own.
                    long own = seed + (long) view * clips + from;
                    add(heads, batch, views, student.logits(source.batch(view, batch), masking, own));
                }
            }
            progress.accept(from + batch.length);
        }
        return heads;
    }

    /**
     * The same of a set's clips, with progress.
     *
     * @param modality what the student looks at
     * @param views such as {@link Views#test}, made for sets of this geometry
     */
    public static List<HeadLogits> logits(
            Student student,
            Masking masking,
            long seed,
            ClipSet clips,
            Modality modality,
            List<View> views,
            RunContext context) {
        Source source = (view, chosen) -> {
            if (view == 0) {
                int next = chosen[chosen.length - 1] + 1;
                clips.expect(IntStream.range(next, Math.min(clips.size(), next + BATCH))
                        .toArray());
            }
            return clips.view(student.device(), modality, chosen, views.get(view));
        };
        String title = "evaluate " + modality + ", views " + views.size();
        try (Task task = context.task(title, Task.Unit.CLIPS, clips.size())) {
            return logits(student, masking, seed, views.size(), clips.size(), source, task::advance);
        }
    }

    private static void add(List<HeadLogits> heads, int[] batch, int views, Tensor logits) {
        double[] scores = logits.toDoubles();
        int at = 0;
        for (int clip : batch) {
            for (HeadLogits head : heads) {
                double[] sum = head.values()[clip];
                for (int c = 0; c < sum.length; c++) {
                    sum[c] += scores[at++] / views;
                }
            }
        }
    }
}
