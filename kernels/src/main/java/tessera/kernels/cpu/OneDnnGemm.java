package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import tessera.kernels.DType;
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
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            MemorySegment a,
            long fromA,
            long lda,
            MemorySegment b,
            long fromB,
            long ldb,
            boolean add,
            MemorySegment c,
            long fromC,
            long ldc) {
        try {
            OneDnnProducts.tile(
                    F32,
                    transposeA,
                    transposeB,
                    m,
                    n,
                    k,
                    a.address() + fromA * Float.BYTES,
                    lda,
                    b.address() + fromB * Float.BYTES,
                    ldb,
                    add,
                    c.address() + fromC * Float.BYTES,
                    ldc);
        } finally {
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(c);
        }
    }

    @Override
    Weight packed(HostMemory target, DType type, long n, long k, MemorySegment w, long ldw) {
        if (type != DType.F32 || n == 0 || k == 0) {
            return java.packed(target, type, n, k, w, ldw);
        }
        long layout = OneDnnProducts.favouriteLayout(F32, n, k);
        Weight weight = new Weight(target, type, n, k, OneDnn.memoryDescSize(layout), layout);
        OneDnnProducts.pack(OneDnn.F32, w, ldw, weight);
        return weight;
    }
}
