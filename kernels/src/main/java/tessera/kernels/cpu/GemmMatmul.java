package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise;
import tessera.kernels.Matmul;

/** Matrix products by {@link Gemm}. */
public final class GemmMatmul implements Matmul {
    private final Workers workers;
    private final Gemm gemm;
    private final Elementwise elementwise;

    /** @param elementwise adds up the gradient of a bias */
    public GemmMatmul(Workers workers, Gemm gemm, Elementwise elementwise) {
        this.workers = workers;
        this.gemm = gemm;
        this.elementwise = elementwise;
    }

    private static @Nullable MemorySegment segment(@Nullable Buffer buffer) {
        return buffer == null ? null : buffer.segment();
    }

    @Override
    public void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        gemm.gemm(
                c.dtype(),
                shape,
                a.segment(),
                b.segment(),
                segment(epilogue.bias()),
                segment(epilogue.addend()),
                epilogue.activation(),
                c.segment());
    }

    @Override
    public void matmulBatched(MatmulShape shape, Batch batch, Buffer a, Buffer b, Buffer c) {
        if (shape.m() == 0 || shape.n() == 0) {
            return;
        }
        DType type = c.dtype();
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, shape.m() * shape.n() * shape.k()));
        workers.parallelFor(batch.count(), grain, (worker, from, to) -> {
            for (long i = from; i < to; i++) {
                gemm.gemmSerial(
                        type,
                        shape,
                        a.segment().asSlice(i * batch.strideA() * type.bytes()),
                        b.segment().asSlice(i * batch.strideB() * type.bytes()),
                        null,
                        null,
                        Activation.NONE,
                        c.segment().asSlice(i * batch.strideC() * type.bytes()));
            }
        });
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        return gemm.pack(weight.dtype(), n, k, weight.segment(), k);
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        if (!(weight instanceof Gemm.Weight packed)) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed for other kernels; pack it by the kernels that use it");
        }
        gemm.linear(
                m,
                x.segment(),
                packed,
                segment(epilogue.bias()),
                segment(epilogue.addend()),
                epilogue.activation(),
                y.segment());
    }

    @Override
    public void linearBackward(LinearShape shape, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        matmul(shape.weightGradient(), dy, x, Epilogue.NONE, dw);
        elementwise.sum(dy, 1, shape.m(), shape.n(), 1, db);
    }
}
