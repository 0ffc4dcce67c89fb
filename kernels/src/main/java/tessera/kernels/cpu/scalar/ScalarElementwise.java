package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.UnaryOp;

/** Element-wise functions, strided copies, reductions and random numbers, block by block in double. */
final class ScalarElementwise {
    private static final int COLUMNS = 64;
    private static final double CLIP_EPS = 1e-6;
    private static final double ONE_OVER_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

    private final Workers workers;
    private final Blocks blocks;

    ScalarElementwise(Workers workers) {
        this.workers = workers;
        this.blocks = new Blocks(workers);
    }

    void fill(Buffer y, double value) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Arrays.fill(a, value);
            Elements.store(a, 0, n, y, from);
        });
    }

    void cast(Buffer x, Buffer y) {
        affine(x, 1, 0, y);
    }

    void affine(Buffer x, double alpha, double beta, Buffer y) {
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

    void axpy(double alpha, Buffer x, Buffer y) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            Elements.load(y, from, n, b, 0);
            for (int i = 0; i < n; i++) {
                b[i] += alpha * a[i];
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    void unary(UnaryOp op, Buffer x, Buffer y) {
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

    void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
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

    void binary(BinaryOp op, Buffer a, long[] aStrides, Buffer b, long[] bStrides, Buffer y, long[] shape) {
        Layout layout = new Layout(shape, aStrides, bStrides);
        workers.parallelFor(layout.units(), layout.grain(), (worker, from, to) -> {
            double[] u = new double[layout.chunk()];
            double[] v = new double[layout.chunk()];
            long[] at = new long[2];
            for (long unit = from; unit < to; unit++) {
                layout.locate(unit, at);
                int n = layout.length(unit);
                Elements.load(a, at[0], layout.stride(0), n, u, 0);
                Elements.load(b, at[1], layout.stride(1), n, v, 0);
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

    void copyStrided(Buffer x, long xOffset, long[] xStrides, Buffer y, long yOffset, long[] yStrides, long[] shape) {
        Layout layout = new Layout(shape, xStrides, yStrides);
        int bytes = x.dtype().bytes();
        boolean contiguous = layout.stride(0) == 1 && layout.stride(1) == 1;
        workers.parallelFor(layout.units(), layout.grain(), (worker, from, to) -> {
            long[] at = new long[2];
            for (long unit = from; unit < to; unit++) {
                layout.locate(unit, at);
                int n = layout.length(unit);
                long source = xOffset + at[0];
                long target = yOffset + at[1];
                if (contiguous) {
                    MemorySegment.copy(x.segment(), source * bytes, y.segment(), target * bytes, n * (long) bytes);
                } else {
                    for (int i = 0; i < n; i++) {
                        Elements.set(y, target + i * layout.stride(1), Elements.get(x, source + i * layout.stride(0)));
                    }
                }
            }
        });
    }

    void scaleBy(Buffer x, Buffer scale, Buffer y) {
        affine(x, Elements.get(scale, 0), 0, y);
    }

    void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
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

    void randomUniform(long seed, long stream, double low, double high, Buffer y) {
        // Rounding must not reach the excluded upper end.
        double last = y.dtype() == DType.F64 ? Math.nextDown(high) : Math.nextDown((float) high);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            uniforms(seed, stream, from, n, a);
            for (int i = 0; i < n; i++) {
                a[i] = Math.max(low, Math.min(last, low + (high - low) * a[i]));
            }
            Elements.store(a, 0, n, y, from);
        });
    }

    void randomNormal(long seed, long stream, double mean, double std, Buffer y) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            double[] v = new double[n + n % 2];
            uniforms(seed, stream, from, v.length, v);
            for (int i = 0; i < v.length; i += 2) {
                double radius = std * Math.sqrt(-2 * Math.log(1 - v[i]));
                double angle = 2 * Math.PI * v[i + 1];
                v[i] = mean + radius * Math.cos(angle);
                v[i + 1] = mean + radius * Math.sin(angle);
            }
            Elements.store(v, 0, n, y, from);
        });
    }

    void dropout(Buffer x, double p, long seed, long stream, Buffer y) {
        double scale = 1 / (1 - p);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            uniforms(seed, stream, from, n, a);
            Elements.load(x, from, n, b, 0);
            for (int i = 0; i < n; i++) {
                b[i] = a[i] >= p ? b[i] * scale : 0;
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    void dropPath(@Nullable Buffer residual, Buffer x, double p, long seed, long stream, long batch, Buffer y) {
        double[] uniforms = new double[Math.toIntExact(batch)];
        uniforms(seed, stream, 0, uniforms.length, uniforms);
        double scale = 1 / (1 - p);
        long each = y.length() / Math.max(1, batch);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            if (residual == null) {
                Arrays.fill(b, 0, n, 0);
            } else {
                Elements.load(residual, from, n, b, 0);
            }
            for (int i = 0; i < n; ) {
                long sample = (from + i) / each;
                int end = (int) Math.min(n, (sample + 1) * each - from);
                boolean kept = uniforms[(int) sample] >= p;
                for (; i < end; i++) {
                    b[i] += kept ? a[i] * scale : 0;
                }
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    /** Uniform numbers {@code from} and on; {@code from} is a multiple of 4. */
    private static void uniforms(long seed, long stream, long from, int n, double[] to) {
        int[] words = new int[4];
        for (int i = 0; i < n; i++) {
            if (i % 4 == 0) {
                Philox.words(seed, stream, (from + i) / 4, words);
            }
            to[i] = Philox.uniform(words[i % 4]);
        }
    }

    double sumOfSquares(Buffer x) {
        return blocks.sum(x.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            double sum = 0;
            for (int i = 0; i < n; i++) {
                sum += a[i] * a[i];
            }
            return sum;
        });
    }

    /** What gradients are multiplied by; {@code Math.min} lets NaN through. */
    static double clipFactor(Kernels.@Nullable Clip clip) {
        return clip == null ? 1 : Math.min(1, clip.largest() / (Elements.get(clip.norm(), 0) + CLIP_EPS));
    }

    void adamW(
            Buffer parameter,
            Buffer gradient,
            Buffer first,
            Buffer second,
            @Nullable Buffer shadow,
            double decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step,
            Kernels.@Nullable Clip clip) {
        double factor = clipFactor(clip);
        double correction1 = 1 - Math.pow(beta1, step);
        double correction2 = 1 - Math.pow(beta2, step);
        blocks.forEach(parameter.length(), (from, n, p, g) -> {
            double[] m = new double[n];
            double[] v = new double[n];
            Elements.load(parameter, from, n, p, 0);
            Elements.load(gradient, from, n, g, 0);
            Elements.load(first, from, n, m, 0);
            Elements.load(second, from, n, v, 0);
            for (int i = 0; i < n; i++) {
                g[i] *= factor;
                m[i] = beta1 * m[i] + (1 - beta1) * g[i];
                v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
                p[i] *= 1 - lr * decay;
                p[i] -= lr * (m[i] / correction1) / (Math.sqrt(v[i] / correction2) + eps);
            }
            Elements.store(p, 0, n, parameter, from);
            if (shadow != null) {
                Elements.store(p, 0, n, shadow, from);
            }
            Elements.store(m, 0, n, first, from);
            Elements.store(v, 0, n, second, from);
        });
    }
}
