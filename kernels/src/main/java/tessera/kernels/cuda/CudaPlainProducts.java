package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.MatmulShape;

/** Products by a kernel of our own that takes every layout and alignment; slow, for what the library refuses. See {@code matmul.cu}. */
final class CudaPlainProducts {
    private static final int EDGE = 16;
    private static final Batch ONE = new Batch(1, 0, 0, 0);

    private final CudaFunction f32;
    private final CudaFunction bf16;
    private final CudaFunction mixed;

    CudaPlainProducts(CudaDevice device) {
        CudaModule module = new CudaModule(device, "matmul");
        this.f32 = module.function("plain_product_f32");
        this.bf16 = module.function("plain_product_bf16");
        this.mixed = module.function("plain_product_bf16_to_f32");
    }

    /** {@code C = op(A) op(B) + bias + addend}, each of which may be null; C may be the addend. */
    void run(MatmulShape shape, Buffer a, Buffer b, @Nullable Buffer bias, @Nullable Buffer addend, Buffer c) {
        run(shape, ONE, a, b, bias, addend, c);
    }

    void run(
            MatmulShape shape,
            Batch batch,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Buffer c) {
        CudaFunction kernel = a.dtype() == DType.F32 ? f32 : c.dtype() == DType.F32 ? mixed : bf16;
        kernel.begin()
                .buffers(a, b, bias, addend)
                .buffer(c)
                .i64(shape.m(), shape.n(), shape.k())
                .i64(shape.transposeA() ? 1 : shape.lda(), shape.transposeA() ? shape.lda() : 1)
                .i64(shape.transposeB() ? 1 : shape.ldb(), shape.transposeB() ? shape.ldb() : 1)
                .i64(shape.ldc())
                .i64(batch.strideA(), batch.strideB(), batch.strideC())
                .launch(batch.count() * Math.ceilDiv(shape.m(), EDGE) * Math.ceilDiv(shape.n(), EDGE), EDGE * EDGE, 0);
    }
}
