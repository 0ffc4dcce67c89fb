package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Features under masks that are drawn anew in every episode, as MM-CDFSL (ECCV 2024) tests: a clip is looked at again in each episode
 * that has it.
 *
 * <p>Independent tube masks ({@link MaskStrategy#tubes}) are used as the published code does: of an episode of n clips, support clips
 * before queries in the episode's order, n masks are drawn, and in pass p clip i sees mask {@code (i + p) mod n}: its own in the first
 * pass, its successor's in the second. So the passes of a query are independent while masks serve several clips. Masks of other
 * strategies are drawn for each clip and pass.
 *
 * <p>Calls wait for each other, for one pass uses the whole device; the result depends on the seed and the episode's number alone.
 */
public final class RedrawnMasks implements FewShotEvaluation.Source {
    /** Clips in a batch, as in {@link tessera.distill.evaluation.FeatureExtraction}; masks of other strategies than tubes depend on it. */
    private static final int BATCH = 16;
    /** Keeps the masks of one episode apart from those of the next, where they are drawn by seeds. */
    private static final long EPISODE = 1L << 20;

    private final Student student;
    private final ClipSet clips;
    private final Modality modality;
    private final Masking masking;
    private final int supportViews;
    private final long seed;

    /**
     * Looks at nothing yet.
     *
     * @param student stays the caller's
     * @param clips that hold the modality
     * @param supportViews passes of support clips, 1 or more; queries have those of the masking
     * @param seed determines the masks
     */
    public RedrawnMasks(
            Student student, ClipSet clips, Modality modality, Masking masking, int supportViews, long seed) {
        this.student = student;
        this.clips = clips;
        this.modality = modality;
        this.masking = masking;
        this.supportViews = supportViews;
        this.seed = seed;
    }

    @Override
    public synchronized FewShotEvaluation.Views see(int number, Episode episode) {
        int support = episode.support().length;
        int queries = episode.queries().length;
        int[] all = IntStream.concat(IntStream.of(episode.support()), IntStream.of(episode.queries()))
                .toArray();
        clips.expect(all);
        try (Scope scope = Scope.open()) {
            TokenMask drawn = rotating() ? drawn(number, all.length) : null;
            return new FewShotEvaluation.Views(
                    features(number, all, 0, support, supportViews, drawn),
                    features(number, all, support, queries, masking.ensemble(), drawn));
        }
    }

    private boolean rotating() {
        TokenGrid grid = student.config().grid();
        return grid != null
                && masking.strategy().equals(MaskStrategy.tubes())
                && TokenMask.maskedCells(grid.plane(), masking.ratio()) > 0;
    }

    /** The masks of an episode, one for each of its clips. */
    private TokenMask drawn(int number, int count) {
        TokenGrid grid = student.config().grid();
        if (grid == null) {
            throw new IllegalStateException("masks of a student that has none");
        }
        return masking.strategy()
                .draw(new MaskContext(Device.cpu(), count, grid, masking.ratio(), seed, number, /* member= */ 0));
    }

    /**
     * Features of some of an episode's clips, {@code [passes][count][D]}.
     *
     * @param drawn masks of all clips of the episode, which rotate, or null if they are drawn for each batch
     */
    private double[][][] features(int number, int[] all, int first, int count, int passes, @Nullable TokenMask drawn) {
        double[][][] features = new double[passes][count][];
        for (int from = 0; from < count; from += BATCH) {
            int at = first + from;
            int batch = Math.min(BATCH, count - from);
            Masking own = new Masking(
                    masking.ratio(),
                    passes,
                    drawn == null ? masking.strategy() : c -> rotated(drawn, at + c.member(), batch),
                    masking.aggregation());
            try (Scope scope = Scope.open()) {
                Tensor seen = clips.batch(student.device(), modality, Arrays.copyOfRange(all, at, at + batch));
                Tensor made = student.features(seen, own, seed + EPISODE * number + at); // [passes, batch, D]
                int width = Math.toIntExact(made.size(2));
                double[] values = made.toDoubles();
                for (int p = 0; p < passes; p++) {
                    for (int i = 0; i < batch; i++) {
                        int row = (p * batch + i) * width;
                        features[p][from + i] = Arrays.copyOfRange(values, row, row + width);
                    }
                }
            }
        }
        return features;
    }

    /** Consecutive masks, the first after the last. */
    private static TokenMask rotated(TokenMask masks, int from, int count) {
        return new TokenMask(rows(masks.visible(), from, count), rows(masks.masked(), from, count));
    }

    private static Tensor rows(Tensor indices, int from, int count) {
        int[] values = indices.toInts();
        int width = Math.toIntExact(indices.size(1));
        int all = values.length / width;
        int[] chosen = new int[count * width];
        for (int i = 0; i < count; i++) {
            System.arraycopy(values, (from + i) % all * width, chosen, i * width, width);
        }
        return Tensor.of(chosen, count, width);
    }
}
