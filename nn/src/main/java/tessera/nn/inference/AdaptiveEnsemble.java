package tessera.nn.inference;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Ensemble masked inference that ends early: clips are looked at through one mask after the other, and those of which enough is known
 * leave the batch, so that easy clips cost one pass and only hard ones all of them. The masks are those of the whole ensemble
 * ({@link Masking}), in their order: a clip that needs them all gets the answer that it gets without.
 *
 * <p>Strategies see the batch as it was at first: mask p of clip b is the same whichever clips are left.
 */
public final class AdaptiveEnsemble {
    private AdaptiveEnsemble() {}

    /** Decides which clips have been looked at enough. */
    @FunctionalInterface
    public interface Judge {
        /**
         * Whether a clip needs no further mask. Not asked after the last.
         *
         * @param clip its place in the batch
         * @param passes masks so far, 1 or more
         * @param probabilities what they agreed on, the heads one after the other; not to be changed
         */
        boolean isEnough(int clip, int passes, float[] probabilities);
    }

    /**
     * What came of a batch.
     *
     * @param probabilities {@code [B][classes of all heads]}, the heads one after the other
     * @param passes masks that each clip was looked at through, {@code [B]}
     */
    public record Seen(float[][] probabilities, int[] passes) {}

    /**
     * Class probabilities of clips by every head of a student. A clip is left alone as soon as every head is sure of it.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, f32 in the units of the pixels (0 to 255)
     * @param masking of which the ensemble is the most masks
     * @param seed determines the masks
     * @param rules one for each head; where one cannot be met, all masks ride in one batch
     * @throws IllegalArgumentException if there is not one rule for each head, or the strategy {@link MaskStrategy#looksBack looks back}
     * @throws IllegalStateException if the student has no head
     */
    public static Seen predict(Student student, Tensor clips, Masking masking, long seed, List<Stopping> rules) {
        List<Head> heads = student.heads();
        if (rules.size() != heads.size()) {
            throw new IllegalArgumentException("adaptive masks: " + rules.size() + " rules for " + heads.size()
                    + " heads; pass one for each, in their order");
        }
        if (rules.stream().anyMatch(rule -> rule.threshold() > 1)) {
            try (Scope scope = Scope.open()) {
                float[][] rows = rows(student.predictAll(clips, masking, seed));
                int[] passes = new int[rows.length];
                Arrays.fill(passes, masking.ensemble());
                return new Seen(rows, passes);
            }
        }
        return predict(student, clips, masking, seed, (clip, passes, probabilities) -> {
            int from = 0;
            for (int h = 0; h < heads.size(); h++) {
                int end = from + heads.get(h).classes();
                if (!rules.get(h).isEnough(doubles(probabilities, from, end))) {
                    return false;
                }
                from = end;
            }
            return true;
        });
    }

    /** As {@link #predict(Student, Tensor, Masking, long, List)}, with a judge of one's own. */
    public static Seen predict(Student student, Tensor clips, Masking masking, long seed, Judge judge) {
        if (student.heads().isEmpty()) {
            throw new IllegalStateException(
                    "adaptive masks: this student has no head to be sure; learn one and pass it to withHead");
        }
        if (masking.strategy().looksBack()) {
            throw new IllegalArgumentException(
                    "adaptive masks: the strategy " + masking.strategy().word()
                            + " follows what earlier passes saw of every clip, which those that are done no longer show; pass"
                            + " another strategy, or all masks at once");
        }
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor here = student.device().isHost() ? clips : clips.to(student.device());
                return look(student, here, masking, seed, judge);
            }
        });
    }

    private static Seen look(Student student, Tensor clips, Masking masking, long seed, Judge judge) {
        int batch = Math.toIntExact(clips.size(0));
        Seen answers = new Seen(new float[batch][], new int[batch]);
        int[] open = IntStream.range(0, batch).toArray();
        List<Tensor> seen = new ArrayList<>(); // of each mask so far f32 [open, D]
        for (int pass = 1; open.length > 0; pass++) {
            seen.add(features(student, clips, masking, seed, pass - 1, open));
            Tensor all = Tensor.concat(0, seen.toArray(Tensor[]::new)); // [pass * open, D]
            float[][] probabilities =
                    rows(Classifier.probabilities(student.classifiers(), all, pass, masking.aggregation()));
            int[] left = new int[open.length];
            int count = 0;
            for (int i = 0; i < open.length; i++) {
                if (pass < masking.ensemble() && !judge.isEnough(open[i], pass, probabilities[i])) {
                    left[count++] = i;
                } else {
                    answers.probabilities[open[i]] = probabilities[i];
                    answers.passes[open[i]] = pass;
                }
            }
            if (count < open.length) {
                int[] places = Arrays.copyOf(left, count);
                int[] before = open;
                open = IntStream.of(places).map(i -> before[i]).toArray();
                if (count > 0) {
                    seen.replaceAll(features -> rows(features, places));
                }
            }
        }
        return answers;
    }

    /** Features of some clips of a batch under one mask of the ensemble, {@code [open, D]}. */
    private static Tensor features(Student student, Tensor clips, Masking masking, long seed, int member, int[] open) {
        int batch = Math.toIntExact(clips.size(0));
        MaskStrategy one = context -> {
            TokenMask all = masking.strategy()
                    .draw(new MaskContext(
                            context.device(),
                            batch,
                            context.grid(),
                            context.ratio(),
                            context.seed(),
                            context.stream(),
                            member,
                            clips,
                            null));
            return new TokenMask(rows(all.visible(), open), rows(all.masked(), open));
        };
        Masking single = masking.withEnsemble(1).withStrategy(one);
        return student.features(rows(clips, open), single, seed).reshape(open.length, student.featureWidth());
    }

    /** Some rows of a tensor, ascending. */
    private static Tensor rows(Tensor tensor, int[] places) {
        return places.length == tensor.size(0)
                ? tensor
                : Tensor.concat(
                        0,
                        IntStream.of(places)
                                .mapToObj(i -> tensor.slice(0, i, i + 1))
                                .toArray(Tensor[]::new));
    }

    private static float[][] rows(Tensor tensor) {
        float[] values = tensor.toFloats();
        int width = Math.toIntExact(tensor.size(1));
        float[][] rows = new float[values.length / width][];
        Arrays.setAll(rows, i -> Arrays.copyOfRange(values, i * width, (i + 1) * width));
        return rows;
    }

    private static double[] doubles(float[] values, int from, int end) {
        return IntStream.range(from, end).mapToDouble(i -> values[i]).toArray();
    }
}
