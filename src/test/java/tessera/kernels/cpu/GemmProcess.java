package tessera.kernels.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;

/** Started by tests as a process of its own, to see how a process with other settings multiplies. */
public final class GemmProcess {
    private GemmProcess() {}

    public static void main(String[] args) {
        double[] products = new double[2];
        for (int i = 0; i < products.length; i++) {
            try (Workers workers = new Workers(2);
                    Arena arena = Arena.ofConfined()) {
                MemorySegment a = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2);
                MemorySegment b = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 3, 2);
                MemorySegment c = arena.allocate(ValueLayout.JAVA_FLOAT);
                Gemm.create(workers, new HostMemory())
                        .gemm(DType.F32, MatmulShape.of(false, false, 1, 1, 2), a, b, null, null, Activation.NONE, c);
                products[i] = c.get(ValueLayout.JAVA_FLOAT, 0);
            }
        }
        System.out.println("products " + Arrays.toString(products));
        System.out.println("relative error " + relativeError(37, 70, 300));
    }

    /** Of a larger f32 product, in the 2-norm. */
    private static double relativeError(int m, int n, int k) {
        try (Workers workers = new Workers(2);
                Arena arena = Arena.ofShared()) {
            Random random = new Random(3);
            MemorySegment a = arena.allocate(4L * m * k);
            MemorySegment b = arena.allocate(4L * n * k);
            MemorySegment c = arena.allocate(4L * m * n);
            for (int i = 0; i < m * k; i++) {
                a.setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat() - 0.5f);
            }
            for (int i = 0; i < n * k; i++) {
                b.setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat() - 0.5f);
            }
            Gemm.create(workers, new HostMemory())
                    .gemm(DType.F32, MatmulShape.of(false, true, m, n, k), a, b, null, null, Activation.NONE, c);
            double difference = 0;
            double norm = 0;
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    double sum = 0;
                    for (int p = 0; p < k; p++) {
                        sum += (double) a.getAtIndex(ValueLayout.JAVA_FLOAT, i * k + p)
                                * b.getAtIndex(ValueLayout.JAVA_FLOAT, j * k + p);
                    }
                    double error = c.getAtIndex(ValueLayout.JAVA_FLOAT, i * n + j) - sum;
                    difference += error * error;
                    norm += sum * sum;
                }
            }
            return Math.sqrt(difference / norm);
        }
    }
}
