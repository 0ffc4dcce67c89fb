package tessera.kernels.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
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

    private static final int MOST_ALGORITHMS = 8;

    private final MemorySegment results = Arena.ofAuto().allocate(MOST_ALGORITHMS * CublasLt.RESULT_BYTES, 8);
    private final long beta;
    private final long algorithm;
    private final long workspaceBytes;
    private long desc;
    private long layoutA;
    private long layoutB;
    private long layoutC;

    /**
     * The row-major product C = op(A) op(B), plus what the epilogue adds and an addend laid out as C.
     *
     * @param epilogue of {@link CublasLt}
     * @param alignmentA of A's address in bytes, at most {@link #LARGEST_ALIGNMENT}
     * @param alignmentAddend that of C where there is no addend
     */
    record Key(
            MatmulShape shape,
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

    /**
     * Describes a product and chooses its algorithm.
     *
     * @throws Unsupported if the library knows no algorithm for it
     */
    CudaProduct(long handle, Key key, long workspaceLimit) {
        beta = key.addend ? Cublas.ONE : Cublas.ZERO;
        try {
            describe(key);
            int chosen = choose(handle, key, workspaceLimit);
            algorithm = CublasLt.algorithm(results, chosen);
            workspaceBytes = CublasLt.workspaceBytes(results, chosen);
        } catch (RuntimeException | Error e) {
            release(e);
            throw e;
        }
    }

    private void describe(Key key) {
        int in = type(key.in);
        int out = type(key.out);
        desc = CublasLt.matmulDescCreate(
                key.tf32 && key.in == DType.F32 ? Cublas.COMPUTE_32F_FAST_TF32 : Cublas.COMPUTE_32F, Cublas.R_32F);
        // Row-major B is column-major B^T, which is the first factor of C^T = B^T A^T.
        MatmulShape shape = key.shape;
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSA, shape.transposeB() ? Cublas.OP_T : Cublas.OP_N);
        CublasLt.matmulDescSet(desc, CublasLt.DESC_TRANSB, shape.transposeA() ? Cublas.OP_T : Cublas.OP_N);
        if (key.epilogue != CublasLt.EPILOGUE_DEFAULT) {
            CublasLt.matmulDescSet(desc, CublasLt.DESC_EPILOGUE, key.epilogue);
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_DATA_TYPE, out);
        }
        layoutB = layout(in, shape.transposeB(), shape.k(), shape.n(), shape.ldb());
        layoutA = layout(in, shape.transposeA(), shape.m(), shape.k(), shape.lda());
        layoutC = layout(out, false, shape.m(), shape.n(), shape.ldc());
    }

    /** Of a row-major matrix, which may be stored transposed. */
    private static long layout(int type, boolean transposed, long rows, long columns, long stride) {
        return CublasLt.matrixLayoutCreate(type, transposed ? rows : columns, transposed ? columns : rows, stride);
    }

    /** The best algorithm that works and needs no more memory than there is. */
    private int choose(long handle, Key key, long workspaceLimit) {
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
            int found = CublasLt.heuristics(handle, desc, layoutB, layoutA, layoutC, layoutC, preference, results);
            for (int i = 0; i < found; i++) {
                if (CublasLt.works(results, i) && CublasLt.workspaceBytes(results, i) <= workspaceLimit) {
                    return i;
                }
            }
            throw new Unsupported(key);
        } finally {
            CublasLt.preferenceDestroy(preference);
        }
    }

    /** Destroys what was made before a failure. */
    private void release(Throwable failure) {
        destroy(desc, CublasLt::matmulDescDestroy, failure);
        for (long layout : new long[] {layoutA, layoutB, layoutC}) {
            destroy(layout, CublasLt::matrixLayoutDestroy, failure);
        }
    }

    private static void destroy(long made, LongConsumer end, Throwable failure) {
        try {
            if (made != 0) {
                end.accept(made);
            }
        } catch (RuntimeException e) {
            failure.addSuppressed(e);
        }
    }

    /** The number that cuBLAS has for a type. */
    static int type(DType dtype) {
        return dtype == DType.BF16 ? Cublas.R_16BF : Cublas.R_32F;
    }

    /** Device memory that a run needs. */
    long workspaceBytes() {
        return workspaceBytes;
    }

    synchronized void run(long handle, Buffer a, Buffer b, Epilogue epilogue, Buffer c, long workspace, long stream) {
        Buffer bias = epilogue.bias();
        if (bias != null) {
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_POINTER, bias.address());
        }
        Buffer addend = epilogue.addend();
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
                workspace,
                workspaceBytes,
                stream);
    }

    /** The library has no algorithm for a product. */
    static final class Unsupported extends IllegalStateException {
        private static final long serialVersionUID = 1;

        Unsupported(Key key) {
            super("matmul: cuBLASLt knows no algorithm for " + key + "; use contiguous tensors, or compute in f32");
        }
    }
}
