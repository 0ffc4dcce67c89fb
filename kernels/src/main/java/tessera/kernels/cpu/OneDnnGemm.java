package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import tessera.kernels.DType;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

/** Matrix products by oneDNN in f32, each call on one thread; f64, which oneDNN does not have on CPUs, goes to Java. */
final class OneDnnGemm extends Gemm {
    private static final int F32 = OneDnnProducts.types(OneDnn.F32, OneDnn.F32, OneDnn.F32);

    private final JavaGemm java;

    OneDnnGemm(Workers workers, HostMemory memory) {
        super(workers, memory);
        this.java = new JavaGemm(workers, memory);
    }

    @Override
    void multiply(Product product, long fromRow, long toRow, long fromColumn, long toColumn) {
        if (product.layout() == 0
                && (product.type() != DType.F32 || product.shape().k() == 0)) {
            java.multiply(product, fromRow, toRow, fromColumn, toColumn);
            return;
        }
        OneDnnProducts.run(F32, product, fromRow, toRow, fromColumn, toColumn);
    }

    @Override
    void multiplyTile(
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC) {
        OneDnnProducts.tile(F32, DType.F32, shape, a, fromA, b, fromB, add, c, fromC);
    }

    @Override
    Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw) {
        if (type != DType.F32 || n == 0 || k == 0) {
            return java.packed(target, type, n, k, w, ldw);
        }
        return OneDnnProducts.packed(F32, target, type, n, k, 0, OneDnn.F32, w, ldw);
    }
}
