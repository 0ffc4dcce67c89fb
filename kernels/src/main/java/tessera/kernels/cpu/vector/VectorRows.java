package tessera.kernels.cpu.vector;

import static tessera.kernels.VectorMath.LANES;
import static tessera.kernels.VectorMath.all;
import static tessera.kernels.VectorMath.first;
import static tessera.kernels.VectorMath.get;
import static tessera.kernels.VectorMath.load;
import static tessera.kernels.VectorMath.set;
import static tessera.kernels.VectorMath.store;
import static tessera.kernels.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/** f32 functions of the rows of a matrix: normalisations, softmax and the losses made of it. */
final class VectorRows {
    /** Elements below which a second thread costs more than it brings. */
    private static final long GRAIN = 8192;
    /** Rows whose gradients of gamma and beta are summed together; more where the partial sums would need much memory. */
    private static final long PARTITION_ROWS = 64;

    private static final long MOST_PARTITIONS = 128;

    private final Workers workers;

    VectorRows(Workers workers) {
        this.workers = workers;
    }

    private static long grain(long cols) {
        return Math.max(1, GRAIN / Math.max(1, cols));
    }

    // -------------------------------------------------------------------------------------------------- layer norm

    void layerNorm(
            MemorySegment x,
            MemorySegment gamma,
            MemorySegment beta,
            double eps,
            long rows,
            int cols,
            MemorySegment y,
            @Nullable MemorySegment mean,
            @Nullable MemorySegment rstd) {
        workers.parallelFor(rows, grain(cols), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long row = r * cols;
                float mu = sum(x, row, cols) / cols;
                float inverse = (float) (1 / Math.sqrt((double) squares(x, row, cols, mu) / cols + eps));
                normalise(x, row, cols, mu, inverse, gamma, beta, y);
                if (mean != null) {
                    set(mean, r, mu);
                }
                if (rstd != null) {
                    set(rstd, r, inverse);
                }
            }
        });
    }

    private static float sum(MemorySegment x, long start, int n) {
        FloatVector s0 = all(0);
        FloatVector s1 = s0;
        int i = 0;
        for (; i <= n - 2 * LANES; i += 2 * LANES) {
            s0 = s0.add(load(x, start + i));
            s1 = s1.add(load(x, start + i + LANES));
        }
        for (; i < n; i += LANES) {
            s0 = s0.add(load(x, start + i, first(Math.min(LANES, n - i))));
        }
        return VectorMath.sum(s0.add(s1));
    }

    private static float squares(MemorySegment x, long start, int n, float mean) {
        FloatVector s0 = all(0);
        FloatVector s1 = s0;
        int i = 0;
        for (; i <= n - 2 * LANES; i += 2 * LANES) {
            FloatVector d0 = load(x, start + i).sub(mean);
            FloatVector d1 = load(x, start + i + LANES).sub(mean);
            s0 = d0.fma(d0, s0);
            s1 = d1.fma(d1, s1);
        }
        for (; i < n; i += LANES) {
            VectorMask<Float> mask = first(Math.min(LANES, n - i));
            FloatVector d = load(x, start + i, mask).sub(all(mean), mask);
            s0 = d.fma(d, s0);
        }
        return VectorMath.sum(s0.add(s1));
    }

    private static void normalise(
            MemorySegment x,
            long start,
            int n,
            float mean,
            float rstd,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector hat = load(x, start + i).sub(mean).mul(rstd);
            store(hat.fma(load(gamma, i), load(beta, i)), y, start + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            FloatVector hat = load(x, start + end, mask).sub(mean).mul(rstd);
            store(hat.fma(load(gamma, end, mask), load(beta, end, mask)), y, start + end, mask);
        }
    }

    void layerNormBackward(
            MemorySegment x,
            MemorySegment gamma,
            MemorySegment mean,
            MemorySegment rstd,
            MemorySegment dy,
            long rows,
            int cols,
            @Nullable MemorySegment addend,
            @Nullable MemorySegment dx,
            @Nullable MemorySegment dgamma,
            @Nullable MemorySegment dbeta) {
        long rowsEach = Math.max(PARTITION_ROWS, (rows + MOST_PARTITIONS - 1) / MOST_PARTITIONS);
        long partitions = (rows + rowsEach - 1) / rowsEach;
        try (Scratch scratch = Scratch.borrow()) {
            MemorySegment sums = scratch.floats(2 * cols * partitions);
            workers.parallelFor(partitions, Math.max(1, GRAIN / (rowsEach * cols + 1)), (worker, from, to) -> {
                sums.asSlice(2L * cols * from * Float.BYTES, 2L * cols * (to - from) * Float.BYTES)
                        .fill((byte) 0);
                for (long r = from * rowsEach; r < Math.min(rows, to * rowsEach); r++) {
                    long partial = r / rowsEach * 2 * cols;
                    layerNormBackwardRow(
                            x, gamma, get(mean, r), get(rstd, r), dy, r * cols, cols, addend, dx, sums, partial);
                }
            });
            addPartitions(sums, 0, cols, partitions, dgamma);
            addPartitions(sums, cols, cols, partitions, dbeta);
        }
    }

    private static void addPartitions(
            MemorySegment sums, long offset, int cols, long partitions, @Nullable MemorySegment y) {
        if (y == null) {
            return;
        }
        y.asSlice(0, (long) cols * Float.BYTES).fill((byte) 0);
        for (long p = 0; p < partitions; p++) {
            VectorElementwise.addScaled(1, sums, 2 * p * cols + offset, y, 0, cols);
        }
    }

    private static void layerNormBackwardRow(
            MemorySegment x,
            MemorySegment gamma,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int n,
            @Nullable MemorySegment addend,
            @Nullable MemorySegment dx,
            MemorySegment sums,
            long partial) {
        FloatVector sumG = all(0);
        FloatVector sumGHat = sumG;
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector hat = load(x, row + i).sub(mean).mul(rstd);
            FloatVector d = load(dy, row + i);
            FloatVector g = d.mul(load(gamma, i));
            sumG = sumG.add(g);
            sumGHat = g.fma(hat, sumGHat);
            store(d.fma(hat, load(sums, partial + i)), sums, partial + i);
            store(d.add(load(sums, partial + n + i)), sums, partial + n + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            FloatVector hat = load(x, row + end, mask).sub(mean).mul(rstd);
            FloatVector d = load(dy, row + end, mask);
            FloatVector g = d.mul(load(gamma, end, mask));
            sumG = sumG.add(g);
            sumGHat = g.fma(hat, sumGHat);
            store(d.fma(hat, load(sums, partial + end, mask)), sums, partial + end, mask);
            store(d.add(load(sums, partial + n + end, mask)), sums, partial + n + end, mask);
        }
        if (dx != null) {
            float meanG = VectorMath.sum(sumG) / n;
            float meanGHat = VectorMath.sum(sumGHat) / n;
            inputGradient(x, gamma, mean, rstd, dy, row, n, meanG, meanGHat, addend, dx);
        }
    }

    private static void inputGradient(
            MemorySegment x,
            MemorySegment gamma,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int n,
            float meanG,
            float meanGHat,
            @Nullable MemorySegment addend,
            MemorySegment dx) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector hat = load(x, row + i).sub(mean).mul(rstd);
            FloatVector g = load(dy, row + i).mul(load(gamma, i));
            FloatVector d = g.sub(meanG).sub(hat.mul(meanGHat)).mul(rstd);
            store(addend == null ? d : d.add(load(addend, row + i)), dx, row + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            FloatVector hat = load(x, row + end, mask).sub(mean).mul(rstd);
            FloatVector g = load(dy, row + end, mask).mul(load(gamma, end, mask));
            FloatVector d = g.sub(meanG).sub(hat.mul(meanGHat)).mul(rstd);
            store(addend == null ? d : d.add(load(addend, row + end, mask)), dx, row + end, mask);
        }
    }

    // ----------------------------------------------------------------------------------------------------- softmax

    void softmax(MemorySegment x, long rows, int cols, boolean log, MemorySegment y) {
        workers.parallelFor(rows, grain(4L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    float max = max(x, row, cols);
                    float sum = VectorMath.exps(x, row, cols, 1, -max, exps, 0);
                    if (log) {
                        affine(x, row, cols, 1, (float) (-max - Math.log(sum)), y, row);
                    } else {
                        affine(exps, 0, cols, 1 / sum, 0, y, row);
                    }
                }
            }
        });
    }

    static float max(MemorySegment x, long start, int n) {
        FloatVector best = all(Float.NEGATIVE_INFINITY);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            best = VectorMath.max(best, load(x, start + i));
        }
        float max = best.reduceLanes(VectorOperators.MAX);
        for (int i = end; i < n; i++) {
            float value = get(x, start + i);
            max = value > max ? value : max;
        }
        return max;
    }

    /** {@code y = factor * x + shift} for the n elements of a row. */
    private static void affine(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(x, xStart + i).fma(f, s), y, yStart + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            store(load(x, xStart + end, mask).fma(f, s), y, yStart + end, mask);
        }
    }

    void softmaxBackward(MemorySegment y, MemorySegment dy, long rows, int cols, boolean log, MemorySegment dx) {
        workers.parallelFor(rows, grain(2L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    if (log) {
                        VectorMath.exps(y, row, cols, 1, 0, exps, 0);
                        logSoftmaxBackwardRow(exps, dy, row, cols, sum(dy, row, cols), dx);
                    } else {
                        softmaxBackwardRow(y, dy, row, cols, VectorMath.dot(y, dy, row, cols), dx);
                    }
                }
            }
        });
    }

    private static void softmaxBackwardRow(
            MemorySegment y, MemorySegment dy, long row, int n, float dot, MemorySegment dx) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(y, row + i).mul(load(dy, row + i).sub(dot)), dx, row + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            store(load(y, row + end, mask).mul(load(dy, row + end, mask).sub(dot)), dx, row + end, mask);
        }
    }

    private static void logSoftmaxBackwardRow(
            MemorySegment p, MemorySegment dy, long row, int n, float sum, MemorySegment dx) {
        FloatVector minus = all(-sum);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(p, i).fma(minus, load(dy, row + i)), dx, row + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            store(load(p, end, mask).fma(minus, load(dy, row + end, mask)), dx, row + end, mask);
        }
    }

    // ------------------------------------------------------------------------------------------------------ losses

    double crossEntropy(
            MemorySegment logits,
            Buffer labels,
            double smoothing,
            long rows,
            int cols,
            @Nullable MemorySegment dlogits) {
        ScalarLosses.checkLabels("cross_entropy", labels, rows, cols);
        double[] losses = new double[Math.toIntExact(rows)];
        float scale = (float) (1.0 / rows);
        float rest = (float) (smoothing / cols);
        workers.parallelFor(rows, grain(4L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    int label = Elements.getInt(labels, r);
                    float max = max(logits, row, cols);
                    float sum = VectorMath.exps(logits, row, cols, 1, -max, exps, 0);
                    double logSum = max + Math.log(sum);
                    double loss = logSum - (1 - smoothing) * get(logits, row + label);
                    if (smoothing != 0) {
                        loss -= smoothing / cols * sum(logits, row, cols);
                    }
                    losses[(int) r] = loss;
                    if (dlogits != null) {
                        affine(exps, 0, cols, scale / sum, -rest * scale, dlogits, row);
                        double p = Math.exp(get(logits, row + label) - logSum);
                        set(dlogits, row + label, (float) ((p - rest - (1 - smoothing)) / rows));
                    }
                }
            }
        });
        return Blocks.total(losses) / Math.max(1, rows);
    }
}
