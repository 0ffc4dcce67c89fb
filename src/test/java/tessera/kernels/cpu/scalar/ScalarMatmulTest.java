package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Erf;

/** Matrix products in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarMatmulTest extends PlainFamilies {
    @Test
    void linearMatches() {
        String name = "linear_7x5x3";
        Buffer x = in(name, "x");
        Buffer w = in(name, "w");
        Buffer y = f64(21);
        try (PackedWeight packed = KERNELS.matmul().pack(w, 3, 5)) {
            KERNELS.matmul().linear(7, x, packed, new Epilogue(in(name, "b"), null, Activation.NONE), y);
            assertGolden(y, name + "/out");
            KERNELS.matmul().linear(7, x, packed, new Epilogue(in(name, "b"), y, Activation.NONE), y);
            KERNELS.elementwise().affine(y, 0.5, 0, y);
            assertGolden(y, name + "/out");
        }
        Buffer dy = cotangent(name);
        Buffer dx = like(x);
        Buffer dw = like(w);
        Buffer db = f64(3);
        KERNELS.matmul().matmul(MatmulShape.of(false, false, 7, 5, 3), dy, w, Epilogue.NONE, dx);
        KERNELS.matmul().matmul(MatmulShape.of(true, false, 3, 5, 7), dy, x, Epilogue.NONE, dw);
        KERNELS.elementwise().sum(dy, 1, 7, 3, 1, db);
        assertGradient(dx, name, "x");
        assertGradient(dw, name, "w");
        assertGradient(db, name, "b");
    }

    @ParameterizedTest
    @CsvSource({"false, false", "false, true", "true, false", "true, true"})
    void matmulMatchesDefinitionOnManyTiles(boolean transposeA, boolean transposeB) {
        int m = 70;
        int n = 261;
        int k = 133;
        int lda = (transposeA ? m : k) + 2;
        int ldb = (transposeB ? k : n) + 1;
        int ldc = n + 3;
        Buffer a = noise((transposeA ? k : m) * lda, 1);
        Buffer b = noise((transposeB ? n : k) * ldb, 2);
        Buffer bias = noise(n, 3);
        Buffer addend = noise(m * ldc, 4);
        Buffer c = f64((long) m * ldc);
        KERNELS.elementwise().fill(c, 7);
        MatmulShape shape = new MatmulShape(transposeA, transposeB, m, n, k, lda, ldb, ldc);
        KERNELS.matmul().matmul(shape, a, b, new Epilogue(bias, addend, Activation.GELU), c);
        double[] av = doubles(a);
        double[] bv = doubles(b);
        double[] biases = doubles(bias);
        double[] addends = doubles(addend);
        double[] expected = new double[m * ldc];
        Arrays.fill(expected, 7);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = biases[j] + addends[i * ldc + j];
                for (int p = 0; p < k; p++) {
                    sum += av[transposeA ? p * lda + i : i * lda + p] * bv[transposeB ? j * ldb + p : p * ldb + j];
                }
                expected[i * ldc + j] = 0.5 * sum * (1 + Erf.erf(sum / Math.sqrt(2)));
            }
        }
        Close.relative(doubles(c), expected, 1e-13, "matmul");
    }

    @Test
    void batchedMatmulAndFloatsWork() {
        Buffer a = f32(1, 2, 3, 4, 5, 6, 7, 8);
        Buffer b = f32(1, 0, 0, 1, 0, 2, 2, 0);
        Buffer c = f32(new float[8]);
        MatmulShape shape = MatmulShape.of(false, false, 2, 2, 2);
        KERNELS.matmul().matmulBatched(shape, new Batch(2, 4, 4, 4), a, b, c);
        assertArrayEquals(new float[] {1, 2, 3, 4, 12, 10, 16, 14}, floats(c));
        KERNELS.matmul().matmul(shape, a, b, new Epilogue(null, c, Activation.NONE), c);
        assertArrayEquals(new float[] {2, 4, 6, 8, 12, 10, 16, 14}, floats(c));
    }

    @Test
    void foreignPackedWeightIsRefused() {
        PackedWeight foreign = new PackedWeight() {
            @Override
            public long n() {
                return 1;
            }

            @Override
            public long k() {
                return 1;
            }

            @Override
            public void close() {}
        };
        assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.matmul().linear(1, f64(1), foreign, Epilogue.NONE, f64(1)));
    }
}
