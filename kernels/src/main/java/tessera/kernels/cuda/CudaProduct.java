package tessera.kernels.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Set;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.cuda.Cublas;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaException;

/**
 * One shape of matrix product as cuBLASLt wants it described, with the algorithm that its heuristics chose or that was the fastest.
 *
 * <p>What the library does not support it says in several ways, by every call that describes, asks for or starts a product;
 * all of them come out as {@link Refused}, because there is another way to compute each product.
 *
 * <p>Lives as long as the process. Thread-safe: one call at a time, because the bias is part of the description.
 */
final class CudaProduct {
    /** Alignments beyond this make no difference to the library. */
    static final int LARGEST_ALIGNMENT = 256;

    /** Bytes that a product may use beside its factors and its result. */
    static final long LARGEST_WORKSPACE = 32L << 20;

    private static final int MOST_ALGORITHMS = 8;

    /** The answers by which the library says that a product, a type or an epilogue is not supported. */
    private static final Set<String> REFUSALS = Set.of(
            Cublas.Status.CUBLAS_STATUS_INVALID_VALUE.name(),
            Cublas.Status.CUBLAS_STATUS_ARCH_MISMATCH.name(),
            Cublas.Status.CUBLAS_STATUS_NOT_SUPPORTED.name());

    /** What stands for a bias whose alignment alone matters. */
    private static final long SOME_ADDRESS = 1L << 40;

    /** In the words of a product with a layer norm before it. */
    static final String NORM = "+norm";

    private final CudaDevice device;
    private final Key key;
    private final long beta;
    private final MemorySegment algorithm = Arena.ofAuto().allocate(CublasLt.ALGO_BYTES, 8);
    private long workspaceBytes;
    private long desc;
    private long layoutA;
    private long layoutB;
    private long layoutC;

    /**
     * The row-major product C = op(A) op(B), plus what the epilogue adds and an addend laid out as C.
     *
     * @param epilogue of {@link CublasLt}, whose GELU stands for the exact one
     * @param norm whether A is before a layer norm, whose scale is in B, and is normed as it leaves the product
     * @param alignmentA of A's address in bytes, at most {@link #LARGEST_ALIGNMENT}
     * @param alignmentAddend that of C where there is no addend
     */
    record Key(
            MatmulShape shape,
            DType in,
            DType out,
            int epilogue,
            boolean addend,
            boolean norm,
            boolean tf32,
            int alignmentA,
            int alignmentB,
            int alignmentAddend,
            int alignmentC,
            int alignmentBias) {
        /** Whether exact GELU or its derivative follows, which the library does not have. */
        boolean gelu() {
            return (epilogue & CublasLt.EPILOGUE_GELU) != 0 || gradient();
        }

        /** Whether what GELU is of is kept, as the backward pass needs it. */
        boolean keeping() {
            return (epilogue & ~CublasLt.EPILOGUE_BIAS) == CublasLt.EPILOGUE_GELU_AUX;
        }

        /** Whether the derivative of GELU follows, of what is the addend elsewhere. */
        boolean gradient() {
            return epilogue == CublasLt.EPILOGUE_DGELU || sums();
        }

        /** Whether the sums of the columns of that are written too. */
        boolean sums() {
            return epilogue == CublasLt.EPILOGUE_DGELU_BGRAD;
        }

        /** The same with a layer norm before it. */
        Key behindNorm() {
            return with(true);
        }

        /** The product alone of one that has a norm before it. */
        Key withoutNorm() {
            return with(false);
        }

        private Key with(boolean itsNorm) {
            return new Key(
                    shape,
                    in,
                    out,
                    epilogue,
                    addend,
                    itsNorm,
                    tf32,
                    alignmentA,
                    alignmentB,
                    alignmentAddend,
                    alignmentC,
                    alignmentBias);
        }

        /** The key as words of a table. */
        String words() {
            return String.join(
                    " ",
                    List.of(
                            in + "," + out,
                            (shape.transposeA() ? "T" : "N") + (shape.transposeB() ? "T" : "N"),
                            shape.m() + "," + shape.n() + "," + shape.k(),
                            shape.lda() + "," + shape.ldb() + "," + shape.ldc(),
                            "epilogue" + epilogue + (addend ? "+addend" : "") + (norm ? NORM : "")
                                    + (tf32 ? "+tf32" : ""),
                            alignmentA + "," + alignmentB + "," + alignmentAddend + "," + alignmentC + ","
                                    + alignmentBias));
        }
    }

    /**
     * Describes a product and chooses its algorithm: one that was kept, where it fits, or else the best by the heuristics.
     *
     * @throws Refused if the library knows no algorithm for it
     */
    CudaProduct(CudaDevice device, long handle, Key key, byte @Nullable [] kept) {
        this(device, key);
        try {
            if (kept == null || !restore(handle, kept)) {
                MemorySegment results = results(MOST_ALGORITHMS);
                List<Integer> found = ask(handle, results);
                if (found.isEmpty()) {
                    throw new Refused(key, null);
                }
                algorithm.copyFrom(CublasLt.algorithm(results, found.getFirst()));
                workspaceBytes = CublasLt.workspaceBytes(results, found.getFirst());
            }
        } catch (CudaException e) {
            release(e);
            throw refusal(e);
        } catch (RuntimeException | Error e) {
            release(e);
            throw e;
        }
    }

    private CudaProduct(CudaDevice device, Key key) {
        this.device = device;
        this.key = key;
        beta = key.addend ? Cublas.ONE : Cublas.ZERO;
        try {
            describe();
        } catch (CudaException e) {
            release(e);
            throw refusal(e);
        } catch (RuntimeException | Error e) {
            release(e);
            throw e;
        }
    }

    /** All algorithms that the heuristics know for a product, the best first as they think. */
    static List<byte[]> algorithms(CudaDevice device, long handle, Key key, int most) {
        CudaProduct product = new CudaProduct(device, key);
        try {
            MemorySegment results = results(most);
            return product.ask(handle, results).stream()
                    .map(i -> CublasLt.algorithm(results, i).toArray(ValueLayout.JAVA_BYTE))
                    .toList();
        } catch (CudaException e) {
            throw product.refusal(e);
        } finally {
            product.close();
        }
    }

    private static MemorySegment results(int count) {
        return Arena.ofAuto().allocate((long) count * CublasLt.RESULT_BYTES, 8);
    }

    private boolean restore(long handle, byte[] kept) {
        MemorySegment result = results(1);
        algorithm.copyFrom(MemorySegment.ofArray(kept));
        boolean fits = CublasLt.fits(handle, desc, layoutB, layoutA, layoutC, layoutC, algorithm, result);
        workspaceBytes = CublasLt.workspaceBytes(result, 0);
        return fits && workspaceBytes <= LARGEST_WORKSPACE;
    }

    /** Whether the library says by this failure that it does not support a call, and has started nothing. */
    static boolean refuses(CudaException e) {
        return REFUSALS.contains(e.codeName());
    }

    /** A failure of the library, as a refusal where it is one. */
    private RuntimeException refusal(CudaException e) {
        return refuses(e) ? new Refused(key, e) : e;
    }

    private void describe() {
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
            // The heuristics look at its alignment, for which there is no preference.
            CublasLt.matmulDescSet(desc, CublasLt.DESC_BIAS_POINTER, SOME_ADDRESS + key.alignmentBias);
        }
        layoutB = layout(in, shape.transposeB(), shape.k(), shape.n(), shape.ldb());
        layoutA = layout(in, shape.transposeA(), shape.m(), shape.k(), shape.lda());
        layoutC = layout(out, false, shape.m(), shape.n(), shape.ldc());
    }

    /** Of a row-major matrix, which may be stored transposed. */
    private static long layout(int type, boolean transposed, long rows, long columns, long stride) {
        return CublasLt.matrixLayoutCreate(type, transposed ? rows : columns, transposed ? columns : rows, stride);
    }

    /** Fills in what the heuristics know, and lists the results that work and need no more memory than there is. */
    private List<Integer> ask(long handle, MemorySegment results) {
        long preference = CublasLt.preferenceCreate();
        try {
            CublasLt.preferenceSet(preference, CublasLt.PREF_MAX_WORKSPACE_BYTES, LARGEST_WORKSPACE);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_A, key.alignmentB);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_B, key.alignmentA);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_C, key.alignmentAddend);
            CublasLt.preferenceSet(preference, CublasLt.PREF_MIN_ALIGNMENT_D, key.alignmentC);
            // Partial sums of a split product stay f32, whatever the result's type.
            CublasLt.preferenceSet(preference, CublasLt.PREF_REDUCTION_SCHEME_MASK, CublasLt.REDUCTION_COMPUTE_TYPE);
            int found = CublasLt.heuristics(handle, desc, layoutB, layoutA, layoutC, layoutC, preference, results);
            return IntStream.range(0, found)
                    .filter(i -> CublasLt.works(results, i) && CublasLt.workspaceBytes(results, i) <= LARGEST_WORKSPACE)
                    .boxed()
                    .toList();
        } finally {
            CublasLt.preferenceDestroy(preference);
        }
    }

    /** For a product that nobody else knows, once its work is done. */
    void close() {
        release(new IllegalStateException("not closed"));
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

    /** The algorithm, to be kept for the same version of the library. */
    byte[] algorithm() {
        return algorithm.toArray(ValueLayout.JAVA_BYTE);
    }

    /** Device memory that a run needs. */
    long workspaceBytes() {
        return workspaceBytes;
    }

    /**
     * Enqueues the product.
     *
     * @throws Refused if the library will not do it after all
     */
    synchronized void run(long handle, Buffer a, Buffer b, Epilogue epilogue, Buffer c, long workspace, long stream) {
        // A virtual thread may have changed its carrier while it waited for its turn.
        CudaThread.get().use(device);
        Buffer bias = epilogue.bias();
        Buffer addend = epilogue.addend();
        try {
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
                    algorithm.address(),
                    workspace,
                    workspaceBytes,
                    stream);
        } catch (CudaException e) {
            throw refusal(e);
        }
    }

    /** The library will not compute a product as it was described. */
    static final class Refused extends IllegalStateException {
        private static final long serialVersionUID = 1;

        Refused(Key key, @Nullable CudaException answer) {
            super(
                    "cuBLASLt " + (answer == null ? "knows no algorithm" : "refuses (" + answer.getMessage() + ")")
                            + " for " + key,
                    answer);
        }
    }
}
