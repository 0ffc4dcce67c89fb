package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarLosses;

/** Losses in f32, with their gradients; other types are left to the plain Java kernels. */
public final class VectorLosses extends ScalarLosses {
    private final VectorSums sums;

    public VectorLosses(Workers workers) {
        super(workers);
        this.sums = new VectorSums(workers);
    }

    @Override
    public void crossEntropy(
            RowShape shape, Buffer scores, Buffer labels, double smoothing, Buffer loss, @Nullable Buffer gradient) {
        if (!isF32(scores)) {
            super.crossEntropy(shape, scores, labels, smoothing, loss, gradient);
            return;
        }
        checkLabels("cross_entropy", labels, shape);
        long rows = shape.rows();
        int cols = Math.toIntExact(shape.cols());
        MemorySegment logits = scores.segment();
        MemorySegment dlogits = segment(gradient);
        double[] terms = new double[Math.toIntExact(rows)];
        float scale = (float) (1.0 / rows);
        float rest = (float) (smoothing / cols);
        workers.parallelFor(rows, VectorNorms.grain(4L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    int label = Elements.getInt(labels, r);
                    float max = VectorRuns.max(logits, row, cols);
                    float sum = VectorRuns.exps(logits, row, cols, 1, -max, exps, 0);
                    double logSum = max + Math.log(sum);
                    double term = logSum - (1 - smoothing) * get(logits, row + label);
                    if (smoothing != 0) {
                        term -= smoothing / cols * VectorRuns.sum(logits, row, cols);
                    }
                    terms[(int) r] = term;
                    if (dlogits != null) {
                        VectorRuns.affine(exps, 0, cols, scale / sum, -rest * scale, dlogits, row);
                        double p = Math.exp(get(logits, row + label) - logSum);
                        set(dlogits, row + label, (float) ((p - rest - (1 - smoothing)) / rows));
                    }
                }
            }
        });
        set(loss.segment(), 0, (float) (Blocks.total(terms) / Math.max(1, rows)));
    }

    @Override
    public void distillationLoss(
            RowShape shape,
            Buffer student,
            Ensemble ensemble,
            @Nullable Buffer labels,
            Buffer loss,
            @Nullable Buffer dstudent) {
        if (!isF32(student) || !Arrays.stream(ensemble.teachers()).allMatch(VectorMath::isF32)) {
            super.distillationLoss(shape, student, ensemble, labels, loss, dstudent);
            return;
        }
        checkDistillation(labels, ensemble.beta(), shape);
        long rows = shape.rows();
        int cols = Math.toIntExact(shape.cols());
        double[] terms = new double[Math.toIntExact(rows)];
        Distillation pass =
                new Distillation(ensemble, student.segment(), labels, segment(dstudent), cols, 1.0 / Math.max(1, rows));
        workers.parallelFor(rows, VectorNorms.grain(8L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment memory = scratch.floats(3L * cols);
                for (long row = from; row < to; row++) {
                    terms[(int) row] = pass.row(row, memory);
                }
            }
        });
        set(loss.segment(), 0, (float) (Blocks.total(terms) / Math.max(1, rows)));
    }

    /**
     * Rows of a distillation of logits.
     *
     * @param share of a row in the mean over all
     */
    private record Distillation(
            Ensemble ensemble,
            MemorySegment student,
            @Nullable Buffer labels,
            @Nullable MemorySegment gradient,
            int cols,
            double share) {
        /**
         * The loss of a row. With z of the ensemble and x of the student, both over the temperature and less their largest, the
         * divergence is {@code sum p (z - x) - log(sum exp(z)) + log(sum exp(x))}, whose sum needs no logarithm of each element.
         *
         * @param memory of three rows: z, and the exponentials of both
         */
        double row(long row, MemorySegment memory) {
            long at = row * cols;
            double temperature = ensemble.temperature();
            float inverse = (float) (1 / temperature);
            ensembleLogits(row, inverse, memory);
            float largest = VectorRuns.max(memory, 0, cols);
            float sum = VectorRuns.exps(memory, 0, cols, 1, -largest, memory, cols);
            float max = VectorRuns.max(student, at, cols);
            float shift = -max * inverse;
            float sumOfStudent = VectorRuns.exps(student, at, cols, inverse, shift, memory, 2L * cols);
            double weighted = divergence(memory, cols, largest, student, at, inverse, shift);
            double term = ensemble.alpha()
                    * temperature
                    * temperature
                    * (weighted / sum - Math.log(sum) + Math.log(sumOfStudent));
            double factor = ensemble.alpha() * temperature * share;
            if (gradient != null) {
                VectorRuns.affine(memory, 2L * cols, cols, (float) (factor / sumOfStudent), 0, gradient, at);
                VectorRuns.addScaled((float) (-factor / sum), memory, cols, gradient, at, cols);
            }
            return labels == null || ensemble.beta() == 0 ? term : term + ofLabel(labels, row, max, memory);
        }

        private void ensembleLogits(long row, float inverse, MemorySegment z) {
            Buffer[] teachers = ensemble.teachers();
            long firstWeight = ensemble.perSample() ? row * teachers.length : 0;
            z.asSlice(0, (long) cols * Float.BYTES).fill((byte) 0);
            for (int t = 0; t < teachers.length; t++) {
                float weight = (float) Elements.get(ensemble.weights(), firstWeight + t);
                VectorRuns.addScaled(weight * inverse, teachers[t].segment(), row * cols, z, 0, cols);
            }
        }

        /** The cross-entropy of a row, with its gradient. */
        private double ofLabel(Buffer labels, long row, float max, MemorySegment memory) {
            long at = row * cols;
            double beta = ensemble.beta();
            long label = at + Elements.getInt(labels, row);
            float sum = VectorRuns.exps(student, at, cols, 1, -max, memory, 0);
            if (gradient != null) {
                VectorRuns.addScaled((float) (beta * share / sum), memory, 0, gradient, at, cols);
                set(gradient, label, (float) (get(gradient, label) - beta * share));
            }
            return beta * (max + Math.log(sum) - get(student, label));
        }
    }

    /**
     * {@code sum e_i ((z_i - largest) - (factor x_i + shift))}, where e is the exponential of the first; what is too far below the largest to
     * count, and may be infinite, is left out.
     *
     * @param memory z, and e behind it
     */
    private static float divergence(
            MemorySegment memory, int n, float largest, MemorySegment x, long start, float factor, float shift) {
        FloatVector most = all(largest);
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        FloatVector none = all(0);
        FloatVector sums = none;
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector e = load(memory, n + i);
            FloatVector apart = load(memory, i).sub(most).sub(load(x, start + i).fma(f, s));
            sums = sums.add(e.mul(apart).blend(none, e.compare(VectorOperators.EQ, none)));
        }
        float sum = VectorMath.sum(sums);
        for (int i = end; i < n; i++) {
            float e = get(memory, n + i);
            if (e != 0) {
                sum += e * (get(memory, i) - largest - Math.fma(get(x, start + i), factor, shift));
            }
        }
        return sum;
    }

    @Override
    protected double meanSquare(Buffer a, Buffer b, double factor, @Nullable Buffer da) {
        if (!isF32(a)) {
            return super.meanSquare(a, b, factor, da);
        }
        double count = Math.max(1, a.length());
        return sums.squaredDistance(a.segment(), b.segment(), a.length(), (float) (2 * factor / count), segment(da))
                / count;
    }
}
