package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Layout;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarElementwise;

/** Element-wise f32 functions, copies, casts and sums; f64 and what the Vector API lacks are left to the plain Java kernels. */
public final class VectorElementwise extends ScalarElementwise {
    /** Elements below which a second thread costs more than it brings. */
    static final long GRAIN = 16_384;

    private final VectorSums sums;

    public VectorElementwise(Workers workers) {
        super(workers);
        this.sums = new VectorSums(workers);
    }

    @Override
    public void fill(Buffer target, double value) {
        if (!isF32(target)) {
            super.fill(target, value);
            return;
        }
        MemorySegment y = target.segment();
        workers.repeatableFor(target.length(), 4 * GRAIN, (worker, from, to) -> {
            FloatVector v = all((float) value);
            long end = from + whole(to - from);
            for (long i = from; i < end; i += LANES) {
                store(v, y, i);
            }
            if (end < to) {
                store(v, y, end, first((int) (to - end)));
            }
        });
    }

    @Override
    protected void copyRun(Buffer x, long start, long step, Buffer y, long goal, long goalStep, int n) {
        if (!Addresses.USABLE || !isF32(x) || step < 0 || goalStep < 0) {
            super.copyRun(x, start, step, y, goal, goalStep, n);
            return;
        }
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        try {
            copyRun(
                    Addresses.of(from, start, (n - 1) * step + 1),
                    step,
                    Addresses.of(to, goal, (n - 1) * goalStep + 1),
                    goalStep,
                    n);
        } finally {
            Reference.reachabilityFence(from);
            Reference.reachabilityFence(to);
        }
    }

    private static void copyRun(long from, long step, long to, long toStep, int n) {
        for (int i = 0; i < n; i++) {
            Addresses.set(to + i * toStep * Float.BYTES, 0, Addresses.get(from + i * step * Float.BYTES, 0));
        }
    }

    private static boolean has(UnaryOp op) {
        return switch (op) {
            case NEG, ABS, SQUARE, SQRT, RELU, GELU -> true;
            case EXP, LOG, TANH, SIGMOID -> false;
        };
    }

    @Override
    public void unary(UnaryOp op, Buffer source, Buffer target) {
        if (!isF32(source) || !has(op)) {
            super.unary(op, source, target);
            return;
        }
        MemorySegment x = source.segment();
        MemorySegment y = target.segment();
        workers.repeatableFor(target.length(), GRAIN, (worker, from, to) -> {
            if (op == UnaryOp.GELU) {
                gelu(x, y, from, to);
            } else {
                unary(op, x, y, from, to);
            }
        });
    }

    private static void unary(UnaryOp op, MemorySegment x, MemorySegment y, long from, long to) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            store(value(op, load(x, i)), y, i);
        }
        if (end < to) {
            unaryRest(op, x, y, end, (int) (to - end));
        }
    }

    private static void unaryRest(UnaryOp op, MemorySegment x, MemorySegment y, long from, int count) {
        VectorMask<Float> mask = first(count);
        store(value(op, load(x, from, mask)), y, from, mask);
    }

    private static FloatVector value(UnaryOp op, FloatVector x) {
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
        if (AddressRuns.USABLE) {
            AddressRuns.gelu(x, y, from, end);
        } else {
            wholeGelu(x, y, from, end);
        }
        if (end < to) {
            geluRest(x, y, end, (int) (to - end));
        }
    }

    private static void wholeGelu(MemorySegment x, MemorySegment y, long from, long end) {
        for (long i = from; i < end; i += LANES) {
            store(VectorMath.gelu(load(x, i)), y, i);
        }
    }

    private static void geluRest(MemorySegment x, MemorySegment y, long from, int count) {
        VectorMask<Float> mask = first(count);
        store(VectorMath.gelu(load(x, from, mask)), y, from, mask);
    }

    @Override
    public void unaryBackward(UnaryOp op, Buffer source, Buffer gradient, Buffer target) {
        if (!isF32(source) || !has(op)) {
            super.unaryBackward(op, source, gradient, target);
            return;
        }
        MemorySegment x = source.segment();
        MemorySegment dy = gradient.segment();
        MemorySegment dx = target.segment();
        workers.parallelFor(target.length(), GRAIN, (worker, from, to) -> {
            if (op == UnaryOp.GELU) {
                geluBackward(x, dy, dx, from, to);
            } else {
                unaryBackward(op, x, dy, dx, from, to);
            }
        });
    }

    private static void unaryBackward(
            UnaryOp op, MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long to) {
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            store(gradient(op, load(x, i), load(dy, i)), dx, i);
        }
        if (end < to) {
            gradientRest(op, x, dy, dx, end, (int) (to - end));
        }
    }

    private static void gradientRest(
            UnaryOp op, MemorySegment x, MemorySegment dy, MemorySegment dx, long from, int count) {
        VectorMask<Float> mask = first(count);
        store(gradient(op, load(x, from, mask), load(dy, from, mask)), dx, from, mask);
    }

    private static FloatVector gradient(UnaryOp op, FloatVector x, FloatVector dy) {
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

    private static void geluBackward(MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long to) {
        long end = from + whole(to - from);
        if (AddressRuns.USABLE) {
            AddressRuns.geluGradient(x, dy, dx, from, end);
        } else {
            geluGradient(x, dy, dx, from, end);
        }
        for (long i = end; i < to; i++) {
            VectorMath.set(dx, i, VectorMath.get(dy, i) * VectorMath.geluSlope(VectorMath.get(x, i)));
        }
    }

    /** Of whole vectors. */
    private static void geluGradient(MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long end) {
        for (long i = from; i < end; i += LANES) {
            store(load(dy, i).mul(VectorMath.geluSlope(load(x, i))), dx, i);
        }
    }

    @Override
    public void affine(Buffer source, double alpha, double beta, Buffer target) {
        if (!isF32(source)) {
            super.affine(source, alpha, beta, target);
            return;
        }
        MemorySegment x = source.segment();
        MemorySegment y = target.segment();
        workers.parallelFor(target.length(), GRAIN, (worker, from, to) -> {
            FloatVector a = all((float) alpha);
            FloatVector b = all((float) beta);
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

    @Override
    public void axpy(double alpha, Buffer x, Buffer y) {
        if (!isF32(y)) {
            super.axpy(alpha, x, y);
            return;
        }
        workers.parallelFor(
                y.length(),
                GRAIN,
                (worker, from, to) ->
                        VectorRuns.addScaled((float) alpha, x.segment(), from, y.segment(), from, to - from));
    }

    @Override
    public void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        if (isF32(x)) {
            sums.sum(x.segment(), outer, reduced, inner, scale, y.segment());
        } else {
            super.sum(x, outer, reduced, inner, scale, y);
        }
    }

    @Override
    public void binary(BinaryOp op, Strided left, Strided right, Buffer target, long[] shape) {
        Layout layout = new Layout(shape, left.strides(), right.strides());
        long aStep = layout.stride(0);
        long bStep = layout.stride(1);
        if (!isF32(target) || aStep < 0 || aStep > 1 || bStep < 0 || bStep > 1) {
            super.binary(op, left, right, target, shape);
            return;
        }
        MemorySegment a = left.buffer().segment();
        MemorySegment b = right.buffer().segment();
        MemorySegment y = target.segment();
        long[][] places = layout.places(workers.threads());
        workers.repeatableFor(layout.units(), layout.grain(), (worker, from, to) -> {
            long[] at = places[worker];
            for (long unit = from; unit < to; unit++) {
                layout.locate(unit, at);
                long aFrom = left.offset() + at[0];
                long bFrom = right.offset() + at[1];
                row(op, a, aFrom, aStep == 0, b, bFrom, bStep == 0, y, layout.position(unit), layout.length(unit));
            }
        });
    }

    private static void row(
            BinaryOp op,
            MemorySegment a,
            long aFrom,
            boolean oneA,
            MemorySegment b,
            long bFrom,
            boolean oneB,
            MemorySegment y,
            long yFrom,
            int length) {
        FloatVector firstA = all(VectorMath.get(a, aFrom));
        FloatVector firstB = all(VectorMath.get(b, bFrom));
        int end = whole(length);
        if (!oneA && !oneB) {
            for (int i = 0; i < end; i += LANES) {
                store(value(op, load(a, aFrom + i), load(b, bFrom + i)), y, yFrom + i);
            }
        } else if (!oneA) {
            for (int i = 0; i < end; i += LANES) {
                store(value(op, load(a, aFrom + i), firstB), y, yFrom + i);
            }
        } else {
            for (int i = 0; i < end; i += LANES) {
                store(value(op, firstA, oneB ? firstB : load(b, bFrom + i)), y, yFrom + i);
            }
        }
        if (end < length) {
            rest(
                    op,
                    a,
                    oneA ? aFrom : aFrom + end,
                    oneA,
                    b,
                    oneB ? bFrom : bFrom + end,
                    oneB,
                    y,
                    yFrom + end,
                    length - end);
        }
    }

    private static void rest(
            BinaryOp op,
            MemorySegment a,
            long aFrom,
            boolean oneA,
            MemorySegment b,
            long bFrom,
            boolean oneB,
            MemorySegment y,
            long yFrom,
            int count) {
        VectorMask<Float> mask = first(count);
        FloatVector u = oneA ? all(VectorMath.get(a, aFrom)) : load(a, aFrom, mask);
        FloatVector v = oneB ? all(VectorMath.get(b, bFrom)) : load(b, bFrom, mask);
        store(value(op, u, v), y, yFrom, mask);
    }

    private static FloatVector value(BinaryOp op, FloatVector a, FloatVector b) {
        return switch (op) {
            case ADD -> a.add(b);
            case SUB -> a.sub(b);
            case MUL -> a.mul(b);
            case DIV -> a.div(b);
        };
    }

    @Override
    public void cast(Buffer x, Buffer y) {
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        if (x.dtype() == y.dtype()) {
            MemorySegment.copy(from, 0, to, 0, y.byteSize());
        } else if (x.dtype() == DType.U8 && y.dtype() == DType.F32) {
            workers.repeatableFor(y.length(), GRAIN, (worker, start, end) -> {
                for (long i = start; i < end; i++) {
                    VectorMath.set(to, i, from.get(ValueLayout.JAVA_BYTE, i) & 0xFF);
                }
            });
        } else if (x.dtype() == DType.BF16 && y.dtype() == DType.F32) {
            workers.repeatableFor(y.length(), GRAIN, (worker, start, end) -> {
                for (long i = start; i < end; i++) {
                    VectorMath.set(to, i, Elements.fromBf16(from.get(ValueLayout.JAVA_SHORT, i * Short.BYTES)));
                }
            });
        } else if (x.dtype() == DType.F32 && y.dtype() == DType.BF16) {
            workers.repeatableFor(
                    y.length(),
                    GRAIN,
                    (worker, start, end) -> VectorBf16Rows.narrow(from, start, end - start, to, start));
        } else {
            super.cast(x, y);
        }
    }
}
