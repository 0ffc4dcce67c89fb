package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

/** Products of bf16 matrices in f32 by oneDNN, each call on the calling thread. */
public final class OneDnnBf16 {
    private static final int TYPES = OneDnnProducts.types(OneDnn.BF16, OneDnn.BF16, OneDnn.F32);

    private OneDnnBf16() {}

    /** Whether oneDNN is there and this processor multiplies bf16 in one instruction. */
    public static boolean usable() {
        return OneDnn.finding().usable() && OneDnn.hasBf16();
    }

    /**
     * {@code C = A op(B)}, or {@code C += A op(B)}, with A bf16 {@code [m, k]}, op(B) bf16 {@code [k, n]} and C f32 {@code [m, n]}, all of
     * positive sizes, rows {@code lda}, {@code ldb} and {@code ldc} elements apart.
     *
     * @param transposed whether B is stored as {@code [n, k]}
     */
    public static void multiply(
            boolean transposed,
            long m,
            long n,
            long k,
            long lda,
            long ldb,
            long ldc,
            MemorySegment a,
            MemorySegment b,
            boolean accumulate,
            MemorySegment c) {
        MatmulShape shape = new MatmulShape(false, transposed, m, n, k, lda, ldb, ldc);
        @Nullable MemorySegment addend = accumulate ? c : null;
        OneDnnProducts.run(TYPES, new Gemm.Product(DType.F32, shape, a, b, 0, null, addend, Activation.NONE, c));
    }
}
