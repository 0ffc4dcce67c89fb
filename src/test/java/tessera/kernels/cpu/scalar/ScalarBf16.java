package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;

/** Linear layers on bf16 in plain Java: factors rounded, everything else in f64, results rounded to f32. */
public final class ScalarBf16 implements Bf16Kernels {
    private record Weight(long n, long k, double[] w) implements PackedWeight {
        @Override
        public void close() {}
    }

    private static double round(double value) {
        return Elements.fromBf16(Elements.toBf16(value));
    }

    private static double[] rounded(Buffer x, long from, long count) {
        double[] values = values(x, from, count);
        for (int i = 0; i < values.length; i++) {
            values[i] = round(values[i]);
        }
        return values;
    }

    private static double[] values(Buffer x, long from, long count) {
        double[] values = new double[(int) count];
        Elements.load(x, from, values.length, values, 0);
        return values;
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        return new Weight(n, k, rounded(weight, 0, n * k));
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = (Weight) weight;
        for (long i = 0; i < m; i++) {
            store(layer(rounded(x, i * w.k, w.k), w, epilogue, i), y, i);
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
            double[] hidden = layer(rounded(x, i * w1.k, w1.k), w1, gelu, i);
            for (int j = 0; j < hidden.length; j++) {
                hidden[j] = round(hidden[j]);
            }
            store(layer(hidden, w2, epilogue, i), y, i);
        }
    }

    @Override
    public void matmul(MatmulShape s, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        double[] x = rounded(a, 0, s.m() * s.k());
        double[] w = rounded(b, 0, s.k() * s.n());
        for (int i = 0; i < s.m(); i++) {
            double[] row = new double[(int) s.k()];
            for (int p = 0; p < s.k(); p++) {
                row[p] = x[s.transposeA() ? p * (int) s.m() + i : i * row.length + p];
            }
            double[] columns = new double[w.length];
            for (int j = 0; j < w.length; j++) {
                int n = (int) s.n();
                columns[j] = s.transposeB() ? w[j] : w[j % row.length * n + j / row.length];
            }
            store(layer(row, new Weight(s.n(), s.k(), columns), epilogue, i), c, i);
        }
    }

    @Override
    public Attention attention() {
        throw new UnsupportedOperationException("compared with attention on rounded data");
    }

    private static void store(double[] row, Buffer y, long i) {
        Elements.store(row, 0, row.length, y, i * row.length);
    }

    private static double[] layer(double[] x, Weight w, Epilogue epilogue, long row) {
        double[] y = epilogue.bias() == null ? new double[(int) w.n] : values(epilogue.bias(), 0, w.n);
        double[] added = epilogue.addend() == null ? new double[y.length] : values(epilogue.addend(), row * w.n, w.n);
        for (int j = 0; j < y.length; j++) {
            y[j] += added[j];
            for (int i = 0; i < x.length; i++) {
                y[j] += x[i] * w.w[j * x.length + i];
            }
            y[j] = epilogue.activation() == Activation.GELU ? Erf.gelu(y[j]) : y[j];
        }
        return y;
    }
}
