package tessera.kernels;

import org.jspecify.annotations.Nullable;

/** The plain Java kernels with matrix products by {@link Gemm}. */
class GemmKernels extends ScalarKernels {
    final Workers workers;
    final Gemm gemm;

    /** @param memory where packed weights lie */
    GemmKernels(Workers workers, HostMemory memory) {
        super(workers);
        this.workers = workers;
        this.gemm = Gemm.create(workers, memory);
    }

    @Override
    public void matmul(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            Buffer b,
            long ldb,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer c,
            long ldc) {
        gemm.gemm(
                c.dtype(),
                transposeA,
                transposeB,
                m,
                n,
                k,
                a.segment(),
                lda,
                b.segment(),
                ldb,
                c.segment(),
                ldc,
                bias == null ? null : bias.segment(),
                activation,
                accumulate);
    }

    @Override
    public void matmulBatched(
            boolean transposeA,
            boolean transposeB,
            long batch,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            long strideA,
            Buffer b,
            long ldb,
            long strideB,
            Buffer c,
            long ldc,
            long strideC) {
        DType type = c.dtype();
        if (m == 0 || n == 0) {
            return;
        }
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, m * n * k));
        workers.parallelFor(batch, grain, (worker, from, to) -> {
            for (long i = from; i < to; i++) {
                gemm.gemmSerial(
                        type,
                        transposeA,
                        transposeB,
                        m,
                        n,
                        k,
                        a.segment().asSlice(i * strideA * type.bytes()),
                        lda,
                        b.segment().asSlice(i * strideB * type.bytes()),
                        ldb,
                        c.segment().asSlice(i * strideC * type.bytes()),
                        ldc,
                        null,
                        Activation.NONE,
                        false);
            }
        });
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        return gemm.pack(weight.dtype(), n, k, weight.segment(), k);
    }

    @Override
    public void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer y) {
        if (!(weight instanceof Gemm.Weight packed)) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed for other kernels; pack it by the kernels that use it");
        }
        gemm.linear(
                m,
                x.segment(),
                packed.k(),
                packed,
                bias == null ? null : bias.segment(),
                activation,
                accumulate,
                y.segment(),
                packed.n());
    }
}
