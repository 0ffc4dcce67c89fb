package tessera.kernels.cpu.vector;

import static tessera.kernels.VectorMath.LANES;
import static tessera.kernels.VectorMath.all;
import static tessera.kernels.VectorMath.first;
import static tessera.kernels.VectorMath.load;
import static tessera.kernels.VectorMath.store;
import static tessera.kernels.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** Element-wise f32 functions and the optimiser. */
final class VectorElementwise {
    /** Elements below which a second thread costs more than it brings. */
    static final long GRAIN = 16_384;

    private static final int GELU_BLOCK = 2048;
    private static final float ONE_OVER_ROOT_2_PI = (float) (1 / Math.sqrt(2 * Math.PI));

    private final Workers workers;

    VectorElementwise(Workers workers) {
        this.workers = workers;
    }

    void fill(MemorySegment y, long length, float value) {
        workers.parallelFor(length, 4 * GRAIN, (worker, from, to) -> {
            FloatVector v = all(value);
            long end = from + whole(to - from);
            for (long i = from; i < end; i += LANES) {
                store(v, y, i);
            }
            if (end < to) {
                store(v, y, end, first((int) (to - end)));
            }
        });
    }

    /** Whether {@link #unary} and {@link #unaryBackward} have the function. */
    static boolean has(Kernels.UnaryOp op) {
        return switch (op) {
            case NEG, ABS, SQUARE, SQRT, RELU, GELU -> true;
            case EXP, LOG, TANH, SIGMOID -> false;
        };
    }

    void unary(Kernels.UnaryOp op, MemorySegment x, MemorySegment y, long length) {
        workers.parallelFor(length, GRAIN, (worker, from, to) -> {
            if (op == Kernels.UnaryOp.GELU) {
                gelu(x, y, from, to);
            } else {
                unary(op, x, y, from, to);
            }
        });
    }

    private static void unary(Kernels.UnaryOp op, MemorySegment x, MemorySegment y, long from, long to) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            store(value(op, load(x, i)), y, i);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            store(value(op, load(x, end, mask)), y, end, mask);
        }
    }

    private static FloatVector value(Kernels.UnaryOp op, FloatVector x) {
        return switch (op) {
            case NEG -> x.neg();
            case ABS -> x.abs();
            case SQUARE -> x.mul(x);
            case SQRT -> x.sqrt();
            case RELU -> x.blend(0, x.compare(VectorOperators.LT, 0));
            case EXP, LOG, TANH, SIGMOID, GELU -> throw new IllegalArgumentException(op + " is not done here");
        };
    }

    private static void gelu(MemorySegment x, MemorySegment y, long from, long to) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            store(VectorMath.gelu(load(x, i)), y, i);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            store(VectorMath.gelu(load(x, end, mask)), y, end, mask);
        }
    }

    void unaryBackward(Kernels.UnaryOp op, MemorySegment x, MemorySegment dy, MemorySegment dx, long length) {
        workers.parallelFor(length, GRAIN, (worker, from, to) -> {
            if (op == Kernels.UnaryOp.GELU) {
                geluBackward(x, dy, dx, from, to);
            } else {
                unaryBackward(op, x, dy, dx, from, to);
            }
        });
    }

    private static void unaryBackward(
            Kernels.UnaryOp op, MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long to) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            store(gradient(op, load(x, i), load(dy, i)), dx, i);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            store(gradient(op, load(x, end, mask), load(dy, end, mask)), dx, end, mask);
        }
    }

    private static FloatVector gradient(Kernels.UnaryOp op, FloatVector x, FloatVector dy) {
        return switch (op) {
            case NEG -> dy.neg();
            case ABS -> {
                FloatVector signed = dy.blend(dy.neg(), x.compare(VectorOperators.LT, 0));
                yield signed.blend(0, x.compare(VectorOperators.EQ, 0));
            }
            case SQUARE -> dy.mul(x.add(x));
            case SQRT -> dy.mul(0.5f).div(x.sqrt());
            case RELU -> dy.blend(0, x.compare(VectorOperators.LE, 0));
            case EXP, LOG, TANH, SIGMOID, GELU -> throw new IllegalArgumentException(op + " is not done here");
        };
    }

    /** {@code dx = dy (Phi(x) + x phi(x))} with the normal density phi, in blocks that stay in the first-level cache. */
    private static void geluBackward(MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long to) {
        try (Scratch scratch = Scratch.borrow()) {
            MemorySegment density = scratch.floats(2 * GELU_BLOCK);
            for (long start = from; start < to; start += GELU_BLOCK) {
                int n = (int) Math.min(GELU_BLOCK, to - start);
                exponents(x, start, n, density);
                VectorMath.exps(density, 0, n, 1, 0, density, 0);
                distribution(x, start, n, density, GELU_BLOCK);
                geluGradient(x, dy, dx, start, n, density);
            }
        }
    }

    private static void exponents(MemorySegment x, long start, int n, MemorySegment y) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector v = load(x, start + i);
            store(v.mul(v).mul(-0.5f), y, i);
        }
        if (end < n) {
            FloatVector v = load(x, start + end, first(n - end));
            store(v.mul(v).mul(-0.5f), y, end);
        }
    }

    private static void distribution(MemorySegment x, long start, int n, MemorySegment y, long yStart) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(VectorMath.normalCdf(load(x, start + i)), y, yStart + i);
        }
        if (end < n) {
            store(VectorMath.normalCdf(load(x, start + end, first(n - end))), y, yStart + end);
        }
    }

    private static void geluGradient(
            MemorySegment x, MemorySegment dy, MemorySegment dx, long start, int n, MemorySegment density) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector slope = load(x, start + i)
                    .mul(load(density, i))
                    .fma(all(ONE_OVER_ROOT_2_PI), load(density, GELU_BLOCK + i));
            store(load(dy, start + i).mul(slope), dx, start + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            FloatVector slope = load(x, start + end, mask)
                    .mul(load(density, end))
                    .fma(all(ONE_OVER_ROOT_2_PI), load(density, GELU_BLOCK + end));
            store(load(dy, start + end, mask).mul(slope), dx, start + end, mask);
        }
    }

    void affine(MemorySegment x, float alpha, float beta, MemorySegment y, long length) {
        workers.parallelFor(length, GRAIN, (worker, from, to) -> {
            FloatVector a = all(alpha);
            FloatVector b = all(beta);
            long end = from + whole(to - from);
            for (long i = from; i < end; i += LANES) {
                store(load(x, i).fma(a, b), y, i);
            }
            if (end < to) {
                VectorMask<Float> mask = first((int) (to - end));
                store(load(x, end, mask).fma(a, b), y, end, mask);
            }
        });
    }

    void axpy(float alpha, MemorySegment x, MemorySegment y, long length) {
        workers.parallelFor(length, GRAIN, (worker, from, to) -> addScaled(alpha, x, from, y, from, to - from));
    }

    /** {@code y[i] += alpha * x[i]} on the calling thread. */
    static void addScaled(float alpha, MemorySegment x, long xFrom, MemorySegment y, long yFrom, long length) {
        FloatVector a = all(alpha);
        long end = whole(length);
        for (long i = 0; i < end; i += LANES) {
            store(load(x, xFrom + i).fma(a, load(y, yFrom + i)), y, yFrom + i);
        }
        if (end < length) {
            VectorMask<Float> mask = first((int) (length - end));
            store(load(x, xFrom + end, mask).fma(a, load(y, yFrom + end, mask)), y, yFrom + end, mask);
        }
    }

    /**
     * An operation on strided views.
     *
     * @return false if the innermost strides, after joining what lies together, are neither 0 nor 1, and nothing was done
     */
    boolean binary(
            Kernels.BinaryOp op,
            MemorySegment a,
            long[] aStrides,
            MemorySegment b,
            long[] bStrides,
            MemorySegment y,
            long[] shape) {
        long[] sizes = new long[Math.max(1, shape.length)];
        long[] aSteps = new long[sizes.length];
        long[] bSteps = new long[sizes.length];
        sizes[0] = 1;
        int rank = 0;
        for (int d = 0; d < shape.length; d++) {
            if (shape[d] == 0) {
                return true;
            }
            if (shape[d] == 1) {
                continue;
            }
            if (rank > 0 && aSteps[rank - 1] == shape[d] * aStrides[d] && bSteps[rank - 1] == shape[d] * bStrides[d]) {
                rank--;
                sizes[rank] *= shape[d];
            } else {
                sizes[rank] = shape[d];
            }
            aSteps[rank] = aStrides[d];
            bSteps[rank] = bStrides[d];
            rank++;
        }
        int last = Math.max(0, rank - 1);
        long inner = sizes[last];
        long aStep = aSteps[last];
        long bStep = bSteps[last];
        if (aStep < 0 || aStep > 1 || bStep < 0 || bStep > 1) {
            return false;
        }
        if (last == 0) {
            workers.parallelFor(
                    inner,
                    GRAIN,
                    (worker, from, to) ->
                            row(op, a, aStep * from, aStep == 0, b, bStep * from, bStep == 0, y, from, to - from));
            return true;
        }
        long outer = 1;
        for (int d = 0; d < last; d++) {
            outer *= sizes[d];
        }
        workers.parallelFor(outer, Math.max(1, GRAIN / inner), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long rest = r;
                long aFrom = 0;
                long bFrom = 0;
                for (int d = last - 1; d >= 0; d--) {
                    long index = rest % sizes[d];
                    rest /= sizes[d];
                    aFrom += index * aSteps[d];
                    bFrom += index * bSteps[d];
                }
                row(op, a, aFrom, aStep == 0, b, bFrom, bStep == 0, y, r * inner, inner);
            }
        });
        return true;
    }

    private static void row(
            Kernels.BinaryOp op,
            MemorySegment a,
            long aFrom,
            boolean oneA,
            MemorySegment b,
            long bFrom,
            boolean oneB,
            MemorySegment y,
            long yFrom,
            long length) {
        if (length == 0) {
            return;
        }
        FloatVector firstA = all(VectorMath.get(a, aFrom));
        FloatVector firstB = all(VectorMath.get(b, bFrom));
        long end = whole(length);
        if (!oneA && !oneB) {
            for (long i = 0; i < end; i += LANES) {
                store(value(op, load(a, aFrom + i), load(b, bFrom + i)), y, yFrom + i);
            }
        } else if (!oneA) {
            for (long i = 0; i < end; i += LANES) {
                store(value(op, load(a, aFrom + i), firstB), y, yFrom + i);
            }
        } else {
            for (long i = 0; i < end; i += LANES) {
                store(value(op, firstA, oneB ? firstB : load(b, bFrom + i)), y, yFrom + i);
            }
        }
        if (end < length) {
            VectorMask<Float> mask = first((int) (length - end));
            FloatVector u = oneA ? firstA : load(a, aFrom + end, mask);
            FloatVector v = oneB ? firstB : load(b, bFrom + end, mask);
            store(value(op, u, v), y, yFrom + end, mask);
        }
    }

    private static FloatVector value(Kernels.BinaryOp op, FloatVector a, FloatVector b) {
        return switch (op) {
            case ADD -> a.add(b);
            case SUB -> a.sub(b);
            case MUL -> a.mul(b);
            case DIV -> a.div(b);
        };
    }

    /** One AdamW step on the gradients times a factor; all tensors together are cut into chunks, so that many small ones cost no more than a large one. */
    void adamW(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            double[] decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step,
            float factor) {
        // firstChunk[i] is the number of chunks before tensor i.
        long[] firstChunk = new long[parameters.length + 1];
        for (int i = 0; i < parameters.length; i++) {
            firstChunk[i + 1] = firstChunk[i] + Blocks.ceilDiv(parameters[i].length(), GRAIN);
        }
        float rate = (float) (lr / (1 - Math.pow(beta1, step)));
        float correction = (float) (1 / Math.sqrt(1 - Math.pow(beta2, step)));
        workers.parallelFor(firstChunk[parameters.length], 2, (worker, from, to) -> {
            int i = 0;
            for (long chunk = from; chunk < to; chunk++) {
                while (chunk >= firstChunk[i + 1]) {
                    i++;
                }
                long start = (chunk - firstChunk[i]) * GRAIN;
                adamW(
                        parameters[i].segment(),
                        gradients[i].segment(),
                        firstMoments[i].segment(),
                        secondMoments[i].segment(),
                        start,
                        Math.min(parameters[i].length(), start + GRAIN),
                        (float) (1 - lr * decay[i]),
                        (float) beta1,
                        (float) (1 - beta1),
                        (float) beta2,
                        (float) (1 - beta2),
                        rate,
                        correction,
                        (float) eps,
                        factor);
            }
        });
    }

    private static void adamW(
            MemorySegment p,
            MemorySegment g,
            MemorySegment m,
            MemorySegment v,
            long from,
            long to,
            float keep,
            float beta1,
            float fresh1,
            float beta2,
            float fresh2,
            float rate,
            float correction,
            float eps,
            float factor) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            FloatVector gradient = load(g, i).mul(factor);
            FloatVector mean = load(m, i).mul(beta1).add(gradient.mul(fresh1));
            FloatVector square =
                    load(v, i).mul(beta2).add(gradient.mul(gradient).mul(fresh2));
            store(mean, m, i);
            store(square, v, i);
            store(load(p, i).mul(keep).sub(step(mean, square, rate, correction, eps)), p, i);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            FloatVector gradient = load(g, end, mask).mul(factor);
            FloatVector mean = load(m, end, mask).mul(beta1).add(gradient.mul(fresh1));
            FloatVector square =
                    load(v, end, mask).mul(beta2).add(gradient.mul(gradient).mul(fresh2));
            store(mean, m, end, mask);
            store(square, v, end, mask);
            store(load(p, end, mask).mul(keep).sub(step(mean, square, rate, correction, eps)), p, end, mask);
        }
    }

    private static FloatVector step(FloatVector mean, FloatVector square, float rate, float correction, float eps) {
        return mean.mul(rate).div(square.sqrt().mul(correction).add(eps));
    }

    /** Converts between f32 and u8 or bf16; false if the pair is another one, and nothing was done. */
    boolean cast(Buffer x, Buffer y) {
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        if (x.dtype() == DType.U8 && y.dtype() == DType.F32) {
            workers.parallelFor(y.length(), GRAIN, (worker, start, end) -> {
                for (long i = start; i < end; i++) {
                    VectorMath.set(to, i, from.get(ValueLayout.JAVA_BYTE, i) & 0xFF);
                }
            });
        } else if (x.dtype() == DType.BF16 && y.dtype() == DType.F32) {
            workers.parallelFor(y.length(), GRAIN, (worker, start, end) -> {
                for (long i = start; i < end; i++) {
                    VectorMath.set(to, i, Elements.fromBf16(from.get(ValueLayout.JAVA_SHORT, i * Short.BYTES)));
                }
            });
        } else if (x.dtype() == DType.F32 && y.dtype() == DType.BF16) {
            workers.parallelFor(y.length(), GRAIN, (worker, start, end) -> {
                for (long i = start; i < end; i++) {
                    to.set(ValueLayout.JAVA_SHORT, i * Short.BYTES, nearestBf16(VectorMath.get(from, i)));
                }
            });
        } else {
            return false;
        }
        return true;
    }

    /** Ties go to even, NaN to a quiet NaN. */
    private static short nearestBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        int rounded = (bits + 0x7FFF + (bits >>> 16 & 1)) >>> 16;
        return (short) (Float.isNaN(value) ? 0x7FC0 : rounded);
    }
}
