package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarLosses;

/** Losses in f32, with their gradients; other types and distillation are left to the plain Java kernels. */
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
    protected double meanSquare(Buffer a, Buffer b, double factor, @Nullable Buffer da) {
        if (!isF32(a)) {
            return super.meanSquare(a, b, factor, da);
        }
        double count = Math.max(1, a.length());
        return sums.squaredDistance(a.segment(), b.segment(), a.length(), (float) (2 * factor / count), segment(da))
                / count;
    }
}
