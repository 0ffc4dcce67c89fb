package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
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
            MatmulShape shape,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer c) {
        gemm.gemm(c.dtype(), shape, a.segment(), b.segment(), segment(bias), segment(addend), activation, c.segment());
    }

    static @Nullable MemorySegment segment(@Nullable Buffer buffer) {
        return buffer == null ? null : buffer.segment();
    }

    @Override
    public void matmulBatched(
            MatmulShape shape, long batch, Buffer a, long strideA, Buffer b, long strideB, Buffer c, long strideC) {
        if (shape.m() == 0 || shape.n() == 0) {
            return;
        }
        DType type = c.dtype();
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, shape.m() * shape.n() * shape.k()));
        workers.parallelFor(batch, grain, (worker, from, to) -> {
            for (long i = from; i < to; i++) {
                gemm.gemmSerial(
                        type,
                        shape,
                        a.segment().asSlice(i * strideA * type.bytes()),
                        b.segment().asSlice(i * strideB * type.bytes()),
                        null,
                        null,
                        Activation.NONE,
                        c.segment().asSlice(i * strideC * type.bytes()));
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
            @Nullable Buffer addend,
            Activation activation,
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
                segment(bias),
                segment(addend),
                activation,
                y.segment(),
                packed.n());
    }
}
