package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.MatmulShape;

/**
 * The CUDA kernels against the plain ones in f64: f32 and bf16, aligned and not, three times the same bits, one
 * of them with threads and blocks in another order.
 */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaKernelsTest extends KernelParity {
    private static final PlainDevice PLAIN = new PlainDevice();

    private static CudaDevice device;

    /** The next order of threads; the first, -1, is backwards. */
    private int orders = -1;

    @BeforeAll
    static void find() {
        try {
            device = Device.cuda(0);
        } catch (IllegalArgumentException e) {
            assumeTrue(false, FakeCuda.absence() + "; " + e.getMessage());
        }
    }

    @Override
    void check(String what, double tolerance, Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            List<double[]> expected = reference(type == DType.BF16, call);
            List<double[]> plain = type == DType.BF16 ? run(PLAIN.kernels(), PLAIN, type, true, 0, call) : expected;
            for (int offset = 0; offset < 2; offset++) {
                String where = what + " in " + type + " offset " + offset;
                List<double[]> actual;
                try (Memory memory = new Memory(device, type, type == DType.BF16, offset)) {
                    call.run(device.kernels(), memory);
                    actual = memory.results();
                    for (int i = 0; i < expected.size(); i++) {
                        double bound =
                                PlainDevice.bound(memory.outputs().get(i).dtype(), plain.get(i), expected.get(i));
                        Close.relative(actual.get(i), expected.get(i), bound, where + " output " + i);
                    }
                }
                for (int repeat = 0; repeat < 2; repeat++) {
                    int order = repeat == 0 ? 0 : shuffle();
                    List<double[]> again = run(device.kernels(), device, type, type == DType.BF16, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        String repeated = where + " again, threads in order " + order + ", output " + i;
                        assertArrayEquals(actual.get(i), again.get(i), repeated);
                    }
                }
                inOrder();
            }
        }
    }

    /** Lets the fake run threads and blocks in another random order than ever before, or backwards; returns its number. */
    private int shuffle() {
        int order = orders;
        orders = Math.max(1, order + 1);
        if (FakeCuda.present()) {
            FakeCuda.set("order", order);
        }
        return order;
    }

    @AfterEach
    void inOrder() {
        if (FakeCuda.present()) {
            FakeCuda.set("order", 0);
        }
    }

    // ------------------------------------------------------------------------------------------------------ products

    @Test
    void products() {
        int[][] shapes = {
            {1, 1, 1}, {3, 5, 7}, {16, 16, 16}, {33, 31, 65}, {130, 67, 200}, {0, 4, 3}, {4, 0, 3}, {4, 3, 0}
        };
        for (int[] shape : shapes) {
            int m = shape[0];
            int n = shape[1];
            int k = shape[2];
            for (int transposes = 0; transposes < 4; transposes++) {
                boolean ta = (transposes & 1) != 0;
                boolean tb = (transposes & 2) != 0;
                check("product " + m + " x " + n + " x " + k + " " + transposes, 1e-5, (kernels, memory) -> {
                    int lda = (ta ? m : k) + 3;
                    int ldb = (tb ? k : n) + 1;
                    int ldc = n + 2;
                    MatmulShape spread = new MatmulShape(ta, tb, m, n, k, lda, ldb, ldc);
                    Buffer a = memory.normal((long) (ta ? k : m) * lda);
                    Buffer b = memory.normal((long) (tb ? n : k) * ldb);
                    Buffer bias = memory.normal(n);
                    Buffer addend = memory.normal((long) m * ldc);
                    for (Activation activation : Activation.values()) {
                        for (Buffer row : new Buffer[] {null, bias}) {
                            for (Buffer added : new Buffer[] {null, addend}) {
                                Buffer c = memory.written(memory.normal((long) m * ldc));
                                kernels.matmul(spread, a, b, row, added, activation, c);
                            }
                            Buffer sum = memory.written(memory.normal((long) m * ldc));
                            kernels.matmul(spread, a, b, row, sum, activation, sum);
                        }
                    }
                    memory.written(addend);
                });
            }
        }
    }

    @Test
    void batchedProducts() {
        for (int n : new int[] {1, 7, 16, 33}) {
            check("batched product " + n, 1e-5, (kernels, memory) -> {
                Buffer a = memory.normal(4L * 5 * n);
                Buffer b = memory.normal(4L * n * n);
                long square = (long) n * n;
                for (boolean transpose : new boolean[] {false, true}) {
                    MatmulShape shape = MatmulShape.of(false, transpose, 5, n, n);
                    kernels.matmulBatched(shape, 4, a, 5L * n, b, square, memory.output(20L * n), 5L * n);
                }
                MatmulShape inner = MatmulShape.of(true, false, n, n, 5);
                kernels.matmulBatched(inner, 4, a, 5L * n, a, 5L * n, memory.output(4 * square), square);
            });
        }
    }

    @Test
    void linearLayers() {
        for (int n : new int[] {1, 7, 16, 65}) {
            check("linear " + n, 1e-5, (kernels, memory) -> {
                Buffer x = memory.normal(9L * 24);
                Buffer bias = memory.normal(n);
                try (Kernels.PackedWeight weight = kernels.pack(memory.normal(24L * n), n, 24)) {
                    for (Activation activation : Activation.values()) {
                        kernels.linear(9, x, weight, bias, null, activation, memory.output(9L * n));
                    }
                    Buffer sum = memory.written(memory.normal(9L * n));
                    kernels.linear(9, x, weight, null, sum, Activation.NONE, sum);
                    kernels.linear(9, x, weight, bias, sum, Activation.NONE, memory.output(9L * n));
                }
            });
        }
    }
}
