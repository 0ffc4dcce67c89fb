package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarNorms;

/** Layer normalisation and softmax in f32; other types are left to the plain Java kernels. */
public final class VectorNorms extends ScalarNorms {
    /** Elements below which a second thread costs more than it brings. */
    private static final long GRAIN = 8192;
    /** Rows whose gradients of gamma and beta are summed together; more where the partial sums would need much memory. */
    private static final long PARTITION_ROWS = 64;

    private static final long MOST_PARTITIONS = 128;

    public VectorNorms(Workers workers) {
        super(workers);
    }

    /** Rows that are worth a thread. */
    static long grain(long cols) {
        return Math.max(1, GRAIN / Math.max(1, cols));
    }

    @Override
    public void layerNorm(
            RowShape shape,
            Buffer source,
            NormParameters parameters,
            Buffer target,
            @Nullable NormStatistics statistics) {
        if (!isF32(source)) {
            super.layerNorm(shape, source, parameters, target, statistics);
            return;
        }
        int cols = Math.toIntExact(shape.cols());
        double eps = parameters.eps();
        MemorySegment x = source.segment();
        MemorySegment y = target.segment();
        MemorySegment gamma = parameters.gamma().segment();
        MemorySegment beta = parameters.beta().segment();
        MemorySegment mean = statistics == null ? null : statistics.mean().segment();
        MemorySegment rstd = statistics == null ? null : statistics.rstd().segment();
        workers.repeatableFor(shape.rows(), grain(cols), (worker, from, to) -> {
            long r = from;
            if (Addresses.USABLE && LANES <= 8 && cols % (2 * LANES) == 0 && !FirstRuns.take(0)) {
                NormRows.run(x, from, to, cols, eps, gamma, beta, y, mean, rstd);
                r = to;
            }
            for (; r < to; r++) {
                long row = r * cols;
                boolean early = FirstRuns.take(cols);
                float sum = early ? FirstRuns.sum(x, row, cols) : VectorRuns.sum(x, row, cols);
                float mu = sum / cols;
                float squares = early ? FirstRuns.squares(x, row, cols, mu) : VectorRuns.squares(x, row, cols, mu);
                float inverse = (float) (1 / Math.sqrt((double) squares / cols + eps));
                if (early) {
                    FirstRuns.normalise(x, row, cols, mu, inverse, gamma, beta, y);
                } else {
                    normalise(x, row, cols, mu, inverse, gamma, beta, y);
                }
                if (mean != null && rstd != null) {
                    set(mean, r, mu);
                    set(rstd, r, inverse);
                }
            }
        });
    }

    static void normalise(
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
            normaliseRest(x, start, end, n, mean, rstd, gamma, beta, y);
        }
    }

    private static void normaliseRest(
            MemorySegment x,
            long start,
            int end,
            int n,
            float mean,
            float rstd,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y) {
        VectorMask<Float> mask = first(n - end);
        FloatVector hat = load(x, start + end, mask).sub(mean).mul(rstd);
        store(hat.fma(load(gamma, end, mask), load(beta, end, mask)), y, start + end, mask);
    }

    @Override
    public void layerNormBackward(
            RowShape shape,
            Buffer source,
            Buffer scale,
            NormStatistics statistics,
            Buffer gradient,
            NormGradients gradients) {
        if (!isF32(source)) {
            super.layerNormBackward(shape, source, scale, statistics, gradient, gradients);
            return;
        }
        long rows = shape.rows();
        int cols = Math.toIntExact(shape.cols());
        MemorySegment x = source.segment();
        MemorySegment gamma = scale.segment();
        MemorySegment mean = statistics.mean().segment();
        MemorySegment rstd = statistics.rstd().segment();
        MemorySegment dy = gradient.segment();
        MemorySegment addend = segment(gradients.addend());
        MemorySegment dx = segment(gradients.dx());
        long rowsEach = Math.max(PARTITION_ROWS, (rows + MOST_PARTITIONS - 1) / MOST_PARTITIONS);
        long partitions = (rows + rowsEach - 1) / rowsEach;
        try (Scratch scratch = Scratch.borrow()) {
            MemorySegment sums = scratch.floats(2L * cols * partitions);
            workers.parallelFor(partitions, Math.max(1, GRAIN / (rowsEach * cols + 1)), (worker, from, to) -> {
                sums.asSlice(2L * cols * from * Float.BYTES, 2L * cols * (to - from) * Float.BYTES)
                        .fill((byte) 0);
                for (long r = from * rowsEach; r < Math.min(rows, to * rowsEach); r++) {
                    long partial = r / rowsEach * 2 * cols;
                    layerNormBackwardRow(
                            x, gamma, get(mean, r), get(rstd, r), dy, r * cols, cols, addend, dx, sums, partial);
                }
            });
            addPartitions(sums, 0, cols, partitions, segment(gradients.dgamma()));
            addPartitions(sums, cols, cols, partitions, segment(gradients.dbeta()));
        }
    }

    private static void addPartitions(
            MemorySegment sums, long offset, int cols, long partitions, @Nullable MemorySegment y) {
        if (y == null) {
            return;
        }
        y.asSlice(0, (long) cols * Float.BYTES).fill((byte) 0);
        for (long p = 0; p < partitions; p++) {
            VectorRuns.addScaled(1, sums, 2 * p * cols + offset, y, 0, cols);
        }
    }

    /**
     * Each loop is a method of its own without masks, as in {@link VectorOptimiser}: in one with all of it the compiler made an object for
     * every vector in a process that had run other kernels.
     */
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
        int end = whole(n);
        addParameterGradients(x, mean, rstd, dy, row, end, sums, partial, n);
        for (int i = end; i < n; i++) {
            float d = get(dy, row + i);
            set(sums, partial + i, Math.fma(d, (get(x, row + i) - mean) * rstd, get(sums, partial + i)));
            set(sums, partial + n + i, d + get(sums, partial + n + i));
        }
        if (dx == null) {
            return;
        }
        long projections = projections(x, gamma, mean, rstd, dy, row, n);
        float meanG = NormRows.first(projections) / n;
        float meanGHat = NormRows.second(projections) / n;
        if (addend == null) {
            inputGradient(x, gamma, mean, rstd, dy, row, end, meanG, meanGHat, dx);
        } else {
            inputGradient(x, gamma, mean, rstd, dy, row, end, meanG, meanGHat, addend, dx);
        }
        for (int i = end; i < n; i++) {
            float hat = (get(x, row + i) - mean) * rstd;
            float d = (get(dy, row + i) * get(gamma, i) - meanG - hat * meanGHat) * rstd;
            set(dx, row + i, addend == null ? d : d + get(addend, row + i));
        }
    }

    /** Gradients of gamma and, n elements behind them, of beta, each of so many whole vectors. */
    private static void addParameterGradients(
            MemorySegment x,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int end,
            MemorySegment sums,
            long partial,
            int n) {
        for (int i = 0; i < end; i += LANES) {
            FloatVector d = load(dy, row + i);
            store(load(x, row + i).sub(mean).mul(rstd).fma(d, load(sums, partial + i)), sums, partial + i);
            store(d.add(load(sums, partial + n + i)), sums, partial + n + i);
        }
    }

    /** Sums of g and of {@code g hat}, with {@code g = dy gamma} and {@code hat = (x - mean) rstd}, as {@link NormRows#pair}. */
    private static long projections(
            MemorySegment x, MemorySegment gamma, float mean, float rstd, MemorySegment dy, long row, int n) {
        FloatVector sumG = all(0);
        FloatVector sumGHat = sumG;
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector g = load(dy, row + i).mul(load(gamma, i));
            sumG = sumG.add(g);
            sumGHat = load(x, row + i).sub(mean).mul(rstd).fma(g, sumGHat);
        }
        float first = VectorMath.sum(sumG);
        float second = VectorMath.sum(sumGHat);
        for (int i = end; i < n; i++) {
            float g = get(dy, row + i) * get(gamma, i);
            first += g;
            second = Math.fma(g, (get(x, row + i) - mean) * rstd, second);
        }
        return NormRows.pair(first, second);
    }

    private static void inputGradient(
            MemorySegment x,
            MemorySegment gamma,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int end,
            float meanG,
            float meanGHat,
            MemorySegment dx) {
        for (int i = 0; i < end; i += LANES) {
            store(inputGradient(x, gamma, mean, rstd, dy, row, i, meanG, meanGHat), dx, row + i);
        }
    }

    /** The same, added to {@code addend}. */
    private static void inputGradient(
            MemorySegment x,
            MemorySegment gamma,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int end,
            float meanG,
            float meanGHat,
            MemorySegment addend,
            MemorySegment dx) {
        for (int i = 0; i < end; i += LANES) {
            FloatVector d = inputGradient(x, gamma, mean, rstd, dy, row, i, meanG, meanGHat);
            store(d.add(load(addend, row + i)), dx, row + i);
        }
    }

    private static FloatVector inputGradient(
            MemorySegment x,
            MemorySegment gamma,
            float mean,
            float rstd,
            MemorySegment dy,
            long row,
            int i,
            float meanG,
            float meanGHat) {
        FloatVector hat = load(x, row + i).sub(mean).mul(rstd);
        FloatVector g = load(dy, row + i).mul(load(gamma, i));
        return g.sub(meanG).sub(hat.mul(meanGHat)).mul(rstd);
    }

    @Override
    public void softmax(RowShape shape, Buffer source, boolean log, Buffer target) {
        if (!isF32(source)) {
            super.softmax(shape, source, log, target);
            return;
        }
        int cols = Math.toIntExact(shape.cols());
        MemorySegment x = source.segment();
        MemorySegment y = target.segment();
        workers.repeatableFor(shape.rows(), grain(4L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    float max = VectorRuns.max(x, row, cols);
                    float sum = VectorRuns.exps(x, row, cols, 1, -max, exps, 0);
                    if (log) {
                        VectorRuns.affine(x, row, cols, 1, (float) (-max - Math.log(sum)), y, row);
                    } else {
                        VectorRuns.affine(exps, 0, cols, 1 / sum, 0, y, row);
                    }
                }
            }
        });
    }

    @Override
    public void softmaxBackward(RowShape shape, Buffer result, Buffer gradient, boolean log, Buffer target) {
        if (!isF32(result)) {
            super.softmaxBackward(shape, result, gradient, log, target);
            return;
        }
        int cols = Math.toIntExact(shape.cols());
        MemorySegment y = result.segment();
        MemorySegment dy = gradient.segment();
        MemorySegment dx = target.segment();
        workers.parallelFor(shape.rows(), grain(2L * cols), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment exps = scratch.floats(cols);
                for (long r = from; r < to; r++) {
                    long row = r * cols;
                    if (log) {
                        VectorRuns.exps(y, row, cols, 1, 0, exps, 0);
                        logSoftmaxBackwardRow(exps, dy, row, cols, VectorRuns.sum(dy, row, cols), dx);
                    } else {
                        softmaxBackwardRow(y, dy, row, cols, VectorRuns.dot(y, dy, row, cols), dx);
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
            softmaxBackwardRest(y, dy, row + end, n - end, dot, dx);
        }
    }

    private static void softmaxBackwardRest(
            MemorySegment y, MemorySegment dy, long start, int n, float dot, MemorySegment dx) {
        VectorMask<Float> mask = first(n);
        store(load(y, start, mask).mul(load(dy, start, mask).sub(dot)), dx, start, mask);
    }

    private static void logSoftmaxBackwardRow(
            MemorySegment p, MemorySegment dy, long row, int n, float sum, MemorySegment dx) {
        FloatVector minus = all(-sum);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(p, i).fma(minus, load(dy, row + i)), dx, row + i);
        }
        if (end < n) {
            logSoftmaxBackwardRest(p, end, dy, row + end, n - end, sum, dx);
        }
    }

    private static void logSoftmaxBackwardRest(
            MemorySegment p, int at, MemorySegment dy, long start, int n, float sum, MemorySegment dx) {
        VectorMask<Float> mask = first(n);
        store(load(p, at, mask).fma(all(-sum), load(dy, start, mask)), dx, start, mask);
    }
}
