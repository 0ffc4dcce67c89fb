package tessera.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.MatmulShape;
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
     * The row-major product C = op(A) op(B), plus what the epilogue adds and an addend laid out as C.
     *
     * @param epilogue of {@link CublasLt}
     * @param alignmentA of every A of the batch in bytes, at most {@link #LARGEST_ALIGNMENT}
     * @param alignmentAddend that of C where there is no addend
     */
    record Key(
            MatmulShape shape,
            int batch,
            long strideA,
            long strideB,
            long strideC,
            DType in,
            DType out,
            int epilogue,
            boolean addend,
            boolean tf32,
            int alignmentA,
            int alignmentB,
            int alignmentAddend,
            int alignmentC,
            int alignmentBias) {}

    CudaProduct(long handle, Key key, long workspaceLimit) {
        int in = key.in == DType.BF16 ? Cublas.R_16BF : Cublas.R_32F;
        int out = key.out == DType.BF16 ? Cublas.R_16BF : Cublas.R_32F;
        desc = CublasLt.matmulDescCreate(
                key.tf32 && key.in == DType.F32 ? Cublas.COMPUTE_32F_FAST_TF32 : Cublas.COMPUTE_32F, Cublas.R_32F);
        // Row-major B is column-major B^T, which is the first factor of C^T = B^T A^T.
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSA, key.shape.transposeB() ? Cublas.OP_T : Cublas.OP_N);
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSB, key.shape.transposeA() ? Cublas.OP_T : Cublas.OP_N);
        if (key.epilogue != CublasLt.EPILOGUE_DEFAULT) {
            CublasLt.matmulDescSet(desc, CublasLt.DESC_EPILOGUE, key.epilogue);
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_DATA_TYPE, out);
        }
        MatmulShape shape = key.shape;
        long m = shape.m();
        long n = shape.n();
        long k = shape.k();
        layoutB = shape.transposeB()
                ? layout(in, k, n, shape.ldb(), key.batch, key.strideB)
                : layout(in, n, k, shape.ldb(), key.batch, key.strideB);
        layoutA = shape.transposeA()
                ? layout(in, m, k, shape.lda(), key.batch, key.strideA)
                : layout(in, k, m, shape.lda(), key.batch, key.strideA);
        layoutC = layout(out, n, m, shape.ldc(), key.batch, key.strideC);
        beta = key.addend ? Cublas.ONE : Cublas.ZERO;

        long preference = CublasLt.preferenceCreate();
        try {
            CublasLt.preferenceSet(preference, CublasLt.PREF_MAX_WORKSPACE_BYTES, workspaceLimit);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_A, key.alignmentB);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_B, key.alignmentA);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_C, key.alignmentAddend);
            // There is no preference for the bias, which goes with D.
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
            long handle,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Buffer c,
            Buffer workspace,
            long stream) {
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
                addend == null ? c.address() : addend.address(),
                layoutC,
                c.address(),
                layoutC,
                algorithm,
                workspace.address(),
                workspaceBytes,
                stream);
    }
}
