package tessera.kernels.cpu.vector;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Random;
import java.util.function.IntToDoubleFunction;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Inputs of layers on narrow types, and what is asked of all of them. */
abstract class LayerFixture {
    /** Outputs and inputs of layers, odd ones among them. */
    static final int[][] SIZES = {{1, 1}, {3, 4}, {17, 5}, {16, 64}, {33, 31}, {129, 100}, {40, 384}};

    final Random random;

    LayerFixture(long seed) {
        random = new Random(seed);
    }

    static Buffer buffer(int count, IntToDoubleFunction value) {
        Buffer buffer = Device.cpu().allocate(DType.F32, count);
        for (int i = 0; i < count; i++) {
            VectorMath.set(buffer.segment(), i, (float) value.applyAsDouble(i));
        }
        return buffer;
    }

    /** Normally distributed values, others at each call. */
    Buffer normal(int count) {
        return buffer(count, i -> random.nextGaussian());
    }

    static float[] values(Buffer x) {
        float[] values = new float[(int) x.length()];
        for (int i = 0; i < values.length; i++) {
            values[i] = VectorMath.get(x.segment(), i);
        }
        return values;
    }

    /** {@code x W^T} in f64, with x {@code [m, k]} and W {@code [n, k]}. */
    static double[] product(Buffer x, Buffer w, int m, int n, int k) {
        float[] a = values(x);
        float[] b = values(w);
        double[] y = new double[m * n];
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                for (int p = 0; p < k; p++) {
                    y[i * n + j] += (double) a[i * k + p] * b[j * k + p];
                }
            }
        }
        return y;
    }

    static double[] doubles(float[] x) {
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = x[i];
        }
        return y;
    }

    static String refusal(Runnable call) {
        return requireNonNull(
                assertThrows(IllegalArgumentException.class, call::run).getMessage());
    }
}
