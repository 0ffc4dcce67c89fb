package tessera.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.natives.cuda.Cublas;
import tessera.natives.cuda.CublasLt;

/**
 * One shape of matrix product as cuBLASLt wants it described, with the algorithm that its heuristics chose.
 *
 * <p>Lives as long as the process. Thread-safe: one call at a time, because the bias is part of the description.
 */
final class CudaProduct {
    /** Alignments beyond this make no difference to the library. */
    static final int LARGEST_ALIGNMENT = 256;

    private final MemorySegment result = Arena.ofAuto().allocate(CublasLt.RESULT_BYTES, 8);
    private final long desc;
    private final long layoutA;
    private final long layoutB;
    private final long layoutC;
    private final long beta;
    private final long algorithm;
    private final long workspaceBytes;

    /**
     * The row-major product C = op(A) op(B), or C += op(A) op(B).
     *
     * @param alignmentA of every A of the batch in bytes, at most {@link #LARGEST_ALIGNMENT}
     */
    record Key(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            long lda,
            long ldb,
            long ldc,
            int batch,
            long strideA,
            long strideB,
            long strideC,
            DType in,
            DType out,
            boolean bias,
            boolean accumulate,
            boolean tf32,
            int alignmentA,
            int alignmentB,
            int alignmentC,
            int alignmentBias) {}

    CudaProduct(long handle, Key key, long workspaceLimit) {
        int in = key.in == DType.BF16 ? Cublas.R_16BF : Cublas.R_32F;
        int out = key.out == DType.BF16 ? Cublas.R_16BF : Cublas.R_32F;
        desc = CublasLt.matmulDescCreate(
                key.tf32 && key.in == DType.F32 ? Cublas.COMPUTE_32F_FAST_TF32 : Cublas.COMPUTE_32F, Cublas.R_32F);
        // Row-major B is column-major B^T, which is the first factor of C^T = B^T A^T.
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSA, key.transposeB ? Cublas.OP_T : Cublas.OP_N);
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSB, key.transposeA ? Cublas.OP_T : Cublas.OP_N);
        if (key.bias) {
            CublasLt.matmulDescSet(desc, CublasLt.DESC_EPILOGUE, CublasLt.EPILOGUE_BIAS);
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_DATA_TYPE, out);
        }
        layoutB = key.transposeB
                ? layout(in, key.k, key.n, key.ldb, key.batch, key.strideB)
                : layout(in, key.n, key.k, key.ldb, key.batch, key.strideB);
        layoutA = key.transposeA
                ? layout(in, key.m, key.k, key.lda, key.batch, key.strideA)
                : layout(in, key.k, key.m, key.lda, key.batch, key.strideA);
        layoutC = layout(out, key.n, key.m, key.ldc, key.batch, key.strideC);
        beta = key.accumulate ? Cublas.ONE : Cublas.ZERO;

        long preference = CublasLt.preferenceCreate();
        try {
            CublasLt.preferenceSet(preference, CublasLt.PREF_MAX_WORKSPACE_BYTES, workspaceLimit);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_A, key.alignmentB);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_B, key.alignmentA);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_C, key.alignmentC);
            // There is no preference for the bias, which the epilogue reads as it writes D.
            CublasLt.preferenceSet(
                    preference, CublasLt.PREF_MIN_ALIGNMENT_D, Math.min(key.alignmentC, key.alignmentBias));
            // Partial sums of a split product stay f32, whatever the result's type.
            CublasLt.preferenceSet(preference, CublasLt.PREF_REDUCTION_SCHEME_MASK, CublasLt.REDUCTION_COMPUTE_TYPE);
            int found = CublasLt.heuristics(handle, desc, layoutB, layoutA, layoutC, layoutC, preference, result);
            if (found == 0 || !CublasLt.works(result, 0)) {
                throw new IllegalStateException("matmul: cuBLASLt knows no algorithm for " + key
                        + "; use contiguous tensors, or compute in f32");
            }
        } finally {
            CublasLt.preferenceDestroy(preference);
        }
        algorithm = CublasLt.algorithm(result, 0);
        workspaceBytes = CublasLt.workspaceBytes(result, 0);
    }

    private static long layout(int type, long rows, long columns, long ld, int batch, long stride) {
        long layout = CublasLt.matrixLayoutCreate(type, rows, columns, ld);
        if (batch != 1) {
            CublasLt.matrixLayoutSet(layout, CublasLt.LAYOUT_BATCH_COUNT, batch);
            CublasLt.matrixLayoutSet(layout, CublasLt.LAYOUT_STRIDED_BATCH_OFFSET, stride);
        }
        return layout;
    }

    /** Device memory that a run needs. */
    long workspaceBytes() {
        return workspaceBytes;
    }

    synchronized void run(
            long handle, Buffer a, Buffer b, @Nullable Buffer bias, Buffer c, Buffer workspace, long stream) {
        if (bias != null) {
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_POINTER, bias.address());
        }
        CublasLt.matmul(
                handle,
                desc,
                Cublas.ONE,
                b.address(),
                layoutB,
                a.address(),
                layoutA,
                beta,
                c.address(),
                layoutC,
                c.address(),
                layoutC,
                algorithm,
                workspace.address(),
                workspaceBytes,
                stream);
    }
}
