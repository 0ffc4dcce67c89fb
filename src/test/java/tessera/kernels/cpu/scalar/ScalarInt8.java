package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;
import tessera.kernels.cpu.Workers;

/** Linear layers on bytes in plain Java, one output after the other, with the integer sums in 64 bits. */
public final class ScalarInt8 implements Int8Kernels {
    private final int largestInput;

    /** Kernels whose inputs are bytes up to the given one. */
    public ScalarInt8(int largestInput) {
        this.largestInput = largestInput;
    }

    @Override
    public int largestInput() {
        return largestInput;
    }

    private record Weight(
            long n,
            long k,
            byte[] q,
            float[] scales,
            @Nullable InputRange input) implements PackedWeight {
        @Override
        public void close() {}
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        byte[] q = new byte[(int) (n * k)];
        float[] scales = new float[(int) n];
        for (int i = 0; i < n; i++) {
            float[] row = row(weight, i * k, (int) k);
            float largest = 0;
            for (float v : row) {
                largest = Float.isFinite(v) ? Math.max(largest, Math.abs(v)) : Float.POSITIVE_INFINITY;
                if (largest == Float.POSITIVE_INFINITY) {
                    break;
                }
            }
            scales[i] = Int8Kernels.weightScale(largest);
            for (int j = 0; j < k && scales[i] > 0; j++) {
                q[i * (int) k + j] = (byte) Math.rint(row[j] / scales[i]);
            }
        }
        return new Weight(n, k, q, scales, input);
    }

    private static float[] row(Buffer x, long from, int count) {
        double[] wide = new double[count];
        Elements.load(x, from, count, wide, 0);
        float[] row = new float[count];
        for (int i = 0; i < count; i++) {
            row[i] = (float) wide[i];
        }
        return row;
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = (Weight) weight;
        for (long i = 0; i < m; i++) {
            Row row =
                    w.input == null ? signed(row(x, i * w.k, (int) w.k)) : ranged(row(x, i * w.k, (int) w.k), w.input);
            store(finish(layer(row, w, epilogue.bias()), epilogue, i), y, i);
        }
    }

    @Override
    public void mlp(
            long m,
            Buffer x,
            PackedWeight first,
            @Nullable Buffer firstBias,
            PackedWeight second,
            Epilogue epilogue,
            Buffer y) {
        Weight w1 = (Weight) first;
        Weight w2 = (Weight) second;
        for (long i = 0; i < m; i++) {
            float[] values = row(x, i * w1.k, (int) w1.k);
            float[] hidden = layer(w1.input == null ? signed(values) : ranged(values, w1.input), w1, firstBias);
            for (int j = 0; j < hidden.length; j++) {
                hidden[j] = (float) Erf.gelu((double) hidden[j]);
            }
            Row row = w2.input == null ? ofGelu(hidden) : ranged(hidden, w2.input);
            store(finish(layer(row, w2, epilogue.bias()), epilogue, i), y, i);
        }
    }

    @Override
    public Attention attention() {
        return new ScalarAttention(new Workers(1));
    }

    private static void store(float[] row, Buffer y, long i) {
        double[] wide = new double[row.length];
        for (int j = 0; j < row.length; j++) {
            wide[j] = row[j];
        }
        Elements.store(wide, 0, row.length, y, i * row.length);
    }

    /** A row of {@code steps * scale - offset}. */
    private record Row(long[] steps, float scale, float offset) {}

    private static Row steps(float[] x, float scale, float offset, long least, long most) {
        long[] steps = new long[x.length];
        for (int i = 0; i < x.length && scale > 0; i++) {
            steps[i] = Math.clamp((long) Math.rint((double) (x[i] + offset) * (1 / scale)), least, most);
        }
        return new Row(steps, scale, offset);
    }

    private static float scale(float[] x, float offset, int parts) {
        float largest = 0;
        for (float v : x) {
            if (!Float.isFinite(v)) {
                return Float.NaN;
            }
            largest = Math.max(largest, Math.abs(v + offset));
        }
        return largest / parts < Float.MIN_NORMAL ? 0 : largest / parts;
    }

    private Row signed(float[] x) {
        int steps = largestInput - Int8Kernels.zero(largestInput);
        return steps(x, scale(x, 0, steps), 0, -steps, steps);
    }

    private Row ofGelu(float[] x) {
        return steps(x, scale(x, GELU_OFFSET, largestInput), GELU_OFFSET, 0, largestInput);
    }

    private Row ranged(float[] x, InputRange range) {
        int zero = range.zero(largestInput);
        float scale = Float.isNaN(scale(x, 0, 1)) ? Float.NaN : range.scale(largestInput);
        return steps(x, scale, 0, -zero, largestInput - zero);
    }

    private static float[] layer(Row x, Weight w, @Nullable Buffer bias) {
        float[] out = new float[(int) w.n];
        float[] biases = bias == null ? out.clone() : row(bias, 0, out.length);
        int k = x.steps.length;
        for (int j = 0; j < w.n; j++) {
            long sum = 0;
            long all = 0;
            for (int i = 0; i < k; i++) {
                sum += x.steps[i] * w.q[j * k + i];
                all += w.q[j * k + i];
            }
            double offset = x.offset * (double) w.scales[j] * all;
            out[j] = (float) ((double) sum * w.scales[j] * x.scale - offset + biases[j]);
        }
        return out;
    }

    private static float[] finish(float[] v, Epilogue epilogue, long i) {
        float[] added = epilogue.addend() == null ? v.clone() : row(epilogue.addend(), i * v.length, v.length);
        for (int j = 0; j < v.length; j++) {
            v[j] = epilogue.addend() == null ? v[j] : v[j] + added[j];
            v[j] = epilogue.activation() == Activation.GELU ? (float) Erf.gelu((double) v[j]) : v[j];
        }
        return v;
    }
}
