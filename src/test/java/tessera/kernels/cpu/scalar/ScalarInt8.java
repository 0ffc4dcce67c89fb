package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Int8Matmul;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;

/** Linear layers on bytes in plain Java, one output after the other, with the integer sums in 64 bits. */
public final class ScalarInt8 implements Int8Matmul {
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
            scales[i] = Int8Matmul.weightScale(largest);
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
            float[] out = layer(row(x, i * w.k, (int) w.k), w, epilogue.bias(), epilogue, y, i);
            store(out, y, i);
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
        Epilogue gelu = new Epilogue(firstBias, null, Activation.GELU);
        for (long i = 0; i < m; i++) {
            float[] hidden = layer(row(x, i * w1.k, (int) w1.k), w1, firstBias, gelu, y, i);
            store(layer(hidden, w2, epilogue.bias(), epilogue, y, i), y, i);
        }
    }

    private static void store(float[] row, Buffer y, long i) {
        double[] wide = new double[row.length];
        for (int j = 0; j < row.length; j++) {
            wide[j] = row[j];
        }
        Elements.store(wide, 0, row.length, y, i * row.length);
    }

    private static float[] layer(float[] x, Weight w, @Nullable Buffer bias, Epilogue epilogue, Buffer y, long row) {
        float low = w.input == null ? 0 : w.input.low();
        float high = w.input == null ? 0 : w.input.high();
        boolean finite = true;
        for (float v : x) {
            finite &= Float.isFinite(v);
            if (w.input == null) {
                low = Math.min(low, v);
                high = Math.max(high, v);
            }
        }
        float scale = finite ? high / LARGEST_INPUT - low / LARGEST_INPUT : Float.NaN;
        scale = scale < Float.MIN_NORMAL ? 0 : scale;
        long zero = scale > 0 ? (long) Math.rint(-low / scale) : 0;
        long[] u = new long[x.length];
        for (int i = 0; i < x.length && scale > 0; i++) {
            u[i] = Math.clamp((long) Math.rint((double) x[i] * (1 / scale) + zero), 0, LARGEST_INPUT);
        }
        float[] out = new float[(int) w.n];
        float[] added = epilogue.addend() == null ? null : row(epilogue.addend(), row * w.n, (int) w.n);
        float[] biases = bias == null ? null : row(bias, 0, (int) w.n);
        for (int j = 0; j < w.n; j++) {
            long sum = 0;
            for (int i = 0; i < x.length; i++) {
                sum += (u[i] - zero) * w.q[j * x.length + i];
            }
            float factor = w.scales[j] * scale;
            float v = biases == null ? sum * factor : Math.fma(sum, factor, biases[j]);
            v = added == null ? v : v + added[j];
            out[j] = epilogue.activation() == Activation.GELU ? (float) Erf.gelu((double) v) : v;
        }
        return out;
    }
}
