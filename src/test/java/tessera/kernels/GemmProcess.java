package tessera.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import tessera.kernels.Kernels.Activation;

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
                Gemm.create(workers)
                        .gemm(DType.F32, false, false, 1, 1, 2, a, 2, b, 1, c, 1, null, Activation.NONE, false);
                products[i] = c.get(ValueLayout.JAVA_FLOAT, 0);
            }
        }
        System.out.println("products " + Arrays.toString(products));
    }
}
