package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

/** Matrix products by oneDNN in f32, each call on one thread; f64, which oneDNN does not have on CPUs, goes to Java. */
final class OneDnnGemm extends Gemm {
    private static final int F32 = OneDnnProducts.types(OneDnn.F32, OneDnn.F32, OneDnn.F32);

    /** Bytes of a block of rows that are still in the second-level cache when their GELU is computed. */
    private static final long GELU_BYTES = 1 << 18;
    /** Rows of a block; with fewer, products get slower. */
    private static final long LEAST_GELU_ROWS = 48;

    private final JavaGemm java;
    private final @Nullable Gelu gelu;

    /** @param gelu what products leave their GELU to, or null */
    OneDnnGemm(Workers workers, HostMemory memory, @Nullable Gelu gelu) {
        super(workers, memory);
        this.java = new JavaGemm(workers, memory);
        this.gelu = gelu;
    }

    @Override
    void multiply(Product product, long fromRow, long toRow, long fromColumn, long toColumn) {
        if (product.layout() == 0
                && (product.type() != DType.F32 || product.shape().k() == 0)) {
            java.multiply(product, fromRow, toRow, fromColumn, toColumn);
            return;
        }
        Gelu own = gelu;
        if (own == null || product.activation() != Activation.GELU) {
            OneDnnProducts.run(F32, product, product.activation(), fromRow, toRow, fromColumn, toColumn);
            return;
        }
        long columns = toColumn - fromColumn;
        long blocks = Blocks.ceilDiv(toRow - fromRow, Math.max(LEAST_GELU_ROWS, GELU_BYTES / (columns * Float.BYTES)));
        long each = Blocks.ceilDiv(toRow - fromRow, blocks);
        for (long row = fromRow; row < toRow; row += each) {
            long end = Math.min(toRow, row + each);
            OneDnnProducts.run(F32, product, Activation.NONE, row, end, fromColumn, toColumn);
            for (long r = row; r < end; r++) {
                own.of(product.c(), r * product.shape().ldc() + fromColumn, Math.toIntExact(columns));
            }
        }
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
