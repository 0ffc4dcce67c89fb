package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import tessera.kernels.Buffer;
import tessera.kernels.Elementwise;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;
import tessera.kernels.cpu.Layout;
import tessera.kernels.cpu.Workers;

/** Element-wise functions, strided copies and sums, block by block in double. Results do not depend on the number of threads. */
public class ScalarElementwise implements Elementwise {
    private static final int COLUMNS = 64;
    private static final double ONE_OVER_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

    protected final Workers workers;
    private final Blocks blocks;

    public ScalarElementwise(Workers workers) {
        this.workers = workers;
        this.blocks = new Blocks(workers);
    }

    @Override
    public void fill(Buffer y, double value) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Arrays.fill(a, value);
            Elements.store(a, 0, n, y, from);
        });
    }

    @Override
    public void cast(Buffer x, Buffer y) {
        convert(x, 1, 0, y);
    }

    @Override
    public void affine(Buffer x, double alpha, double beta, Buffer y) {
        convert(x, alpha, beta, y);
    }

    /** {@code y = alpha * x + beta} between any two types; not for subclasses, which may know one type alone. */
    private void convert(Buffer x, double alpha, double beta, Buffer y) {
        boolean identity = alpha == 1 && beta == 0;
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            if (!identity) {
                for (int i = 0; i < n; i++) {
                    a[i] = alpha * a[i] + beta;
                }
            }
            Elements.store(a, 0, n, y, from);
        });
    }

    @Override
    public void axpy(double alpha, Buffer x, Buffer y) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            Elements.load(y, from, n, b, 0);
            for (int i = 0; i < n; i++) {
                b[i] += alpha * a[i];
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    @Override
    public void unary(UnaryOp op, Buffer x, Buffer y) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            apply(op, a, n);
            Elements.store(a, 0, n, y, from);
        });
    }

    private static void apply(UnaryOp op, double[] v, int n) {
        for (int i = 0; i < n; i++) {
            double x = v[i];
            v[i] = switch (op) {
                case NEG -> -x;
                case ABS -> Math.abs(x);
                case SQUARE -> x * x;
                case SQRT -> Math.sqrt(x);
                case EXP -> Math.exp(x);
                case LOG -> Math.log(x);
                case TANH -> Math.tanh(x);
                case SIGMOID -> 1 / (1 + Math.exp(-x));
                case RELU -> Math.max(x, 0);
                case GELU -> Erf.gelu(x);
            };
        }
    }

    @Override
    public void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
        blocks.forEach(dx.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            Elements.load(dy, from, n, b, 0);
            for (int i = 0; i < n; i++) {
                b[i] *= derivative(op, a[i]);
            }
            Elements.store(b, 0, n, dx, from);
        });
    }

    private static double derivative(UnaryOp op, double x) {
        return switch (op) {
            case NEG -> -1;
            case ABS -> Math.signum(x);
            case SQUARE -> 2 * x;
            case SQRT -> 0.5 / Math.sqrt(x);
            case EXP -> Math.exp(x);
            case LOG -> 1 / x;
            case TANH -> 4 * sigmoidDerivative(2 * x);
            case SIGMOID -> sigmoidDerivative(x);
            case RELU -> x <= 0 ? 0 : 1;
            case GELU -> Erf.normalCdf(x) + x * ONE_OVER_SQRT_2PI * Math.exp(-0.5 * x * x);
        };
    }

    /** Written with exp(-|x|), which neither overflows nor cancels. */
    private static double sigmoidDerivative(double x) {
        double e = Math.exp(-Math.abs(x));
        return e / ((1 + e) * (1 + e));
    }

    @Override
    public void binary(BinaryOp op, Strided a, Strided b, Buffer y, long[] shape) {
        Layout layout = new Layout(shape, a.strides(), b.strides());
        workers.parallelFor(layout.units(), layout.grain(), (worker, from, to) -> {
            double[] u = new double[layout.chunk()];
            double[] v = new double[layout.chunk()];
            long[] at = new long[2];
            for (long unit = from; unit < to; unit++) {
                layout.locate(unit, at);
                int n = layout.length(unit);
                Elements.load(a.buffer(), a.offset() + at[0], layout.stride(0), n, u, 0);
                Elements.load(b.buffer(), b.offset() + at[1], layout.stride(1), n, v, 0);
                apply(op, u, v, n);
                Elements.store(u, 0, n, y, layout.position(unit));
            }
        });
    }

    private static void apply(BinaryOp op, double[] u, double[] v, int n) {
        for (int i = 0; i < n; i++) {
            u[i] = switch (op) {
                case ADD -> u[i] + v[i];
                case SUB -> u[i] - v[i];
                case MUL -> u[i] * v[i];
                case DIV -> u[i] / v[i];
            };
        }
    }

    @Override
    public void copyStrided(Strided source, Strided target, long[] shape) {
        Buffer x = source.buffer();
        Buffer y = target.buffer();
        Layout layout = Layout.ofCopy(shape, source.strides(), target.strides());
        int bytes = x.dtype().bytes();
        boolean contiguous = layout.stride(0) == 1 && layout.stride(1) == 1;
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        long[][] places = layout.places(workers.threads());
        workers.repeatableFor(layout.units(), layout.grain(), (worker, first, last) -> {
            long[] at = places[worker];
            for (long unit = first; unit < last; unit++) {
                layout.locate(unit, at);
                int n = layout.length(unit);
                long start = source.offset() + at[0];
                long goal = target.offset() + at[1];
                if (contiguous) {
                    MemorySegment.copy(from, start * bytes, to, goal * bytes, n * (long) bytes);
                } else {
                    copyRun(x, start, layout.stride(0), y, goal, layout.stride(1), n);
                }
            }
        });
    }

    /** Copies n elements, at least one, that lie evenly spaced. */
    protected void copyRun(Buffer x, long start, long step, Buffer y, long goal, long goalStep, int n) {
        for (int i = 0; i < n; i++) {
            Elements.set(y, goal + i * goalStep, Elements.get(x, start + i * step));
        }
    }

    @Override
    public void scaleBy(Buffer x, Buffer scale, Buffer y) {
        affine(x, Elements.get(scale, 0), 0, y);
    }

    @Override
    public void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        if (inner == 1 && outer == 1) {
            double total = blocks.sum(reduced, (from, n, a, b) -> sum(x, from, n, a));
            Elements.set(y, 0, scale * total);
            return;
        }
        if (inner == 1) {
            sumRows(x, outer, reduced, scale, y);
        } else {
            sumColumns(x, outer, reduced, inner, scale, y);
        }
    }

    private void sumRows(Buffer x, long rows, long cols, double scale, Buffer y) {
        workers.parallelFor(rows, Math.max(1, 4L * Blocks.SIZE / Math.max(1, cols)), (worker, from, to) -> {
            double[] v = new double[(int) Math.min(Blocks.SIZE, cols)];
            for (long row = from; row < to; row++) {
                double total = 0;
                for (long c = 0; c < cols; c += v.length) {
                    total += sum(x, row * cols + c, (int) Math.min(v.length, cols - c), v);
                }
                Elements.set(y, row, scale * total);
            }
        });
    }

    private void sumColumns(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        long tiles = Blocks.ceilDiv(inner, COLUMNS);
        workers.parallelFor(outer * tiles, 1, (worker, from, to) -> {
            for (long tile = from; tile < to; tile++) {
                long o = tile / tiles;
                long col = tile % tiles * COLUMNS;
                int n = (int) Math.min(COLUMNS, inner - col);
                double[] row = new double[n];
                double[] sum = new double[n];
                for (long r = 0; r < reduced; r++) {
                    Elements.load(x, (o * reduced + r) * inner + col, n, row, 0);
                    for (int i = 0; i < n; i++) {
                        sum[i] += row[i];
                    }
                }
                for (int i = 0; i < n; i++) {
                    sum[i] *= scale;
                }
                Elements.store(sum, 0, n, y, o * inner + col);
            }
        });
    }

    private static double sum(Buffer x, long from, int n, double[] v) {
        Elements.load(x, from, n, v, 0);
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += v[i];
        }
        return sum;
    }
}
