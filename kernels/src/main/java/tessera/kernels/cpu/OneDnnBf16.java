package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.natives.onednn.OneDnn;

/** Products of two bf16 matrices that are added up in f32, by oneDNN, each call on the calling thread. */
public final class OneDnnBf16 {
    private static final int TO_F32 = OneDnnProducts.types(OneDnn.BF16, OneDnn.BF16, OneDnn.F32);
    private static final int TO_BF16 = OneDnnProducts.types(OneDnn.BF16, OneDnn.BF16, OneDnn.BF16);

    private OneDnnBf16() {}

    /** Whether oneDNN is there and this processor multiplies bf16 in one instruction; others convert and are slower than f32. */
    public static boolean usable() {
        return OneDnn.finding().usable() && OneDnn.hasBf16();
    }

    /**
     * {@code y = act(x W^T + bias + addend)} with x {@code [m, depth]} and y {@code [m, n]}, without gaps; m and n are positive.
     *
     * @param x bf16
     * @param bias f32 {@code [n]}, or null
     * @param addend of y's type and shape, y itself or apart from it, or null
     * @param type of y: f32, or bf16, to which it is rounded at the end
     */
    public static void multiply(
            long m,
            MemorySegment x,
            Weight weight,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            DType type,
            MemorySegment y) {
        Gemm.Weight w = weight.packed;
        MatmulShape shape = new MatmulShape(false, false, m, w.n, w.k, w.k, w.n, w.n);
        OneDnnProducts.run(
                type == DType.BF16 ? TO_BF16 : TO_F32,
                new Gemm.Product(type, shape, x, w.data, w.layout, bias, addend, activation, y));
    }

    /**
     * {@code C = act(op(A) op(B) + bias + addend)} of positive sizes.
     *
     * @param a bf16, as b
     * @param bias f32 {@code [n]}, or null
     * @param addend f32, c itself or a matrix laid out as it, or null
     * @param c f32
     */
    public static void multiply(
            MatmulShape shape,
            MemorySegment a,
            MemorySegment b,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment c) {
        OneDnnProducts.run(TO_F32, new Gemm.Product(DType.F32, shape, a, b, 0, bias, addend, activation, c));
    }

    /** A bf16 weight {@code [n, k]} in oneDNN's layout. */
    public static final class Weight implements PackedWeight {
        private final Gemm.Weight packed;
        private final long k;

        /**
         * Packs a weight.
         *
         * @param w f32 {@code [n, k]} without gaps
         */
        public Weight(HostMemory memory, long n, long k, MemorySegment w) {
            this.k = k;
            long depth = Math.max(1, k);
            long layout = n == 0 ? 0 : OneDnnProducts.favouriteLayout(TO_F32, n, depth);
            long bytes = n == 0 ? 0 : OneDnn.memoryDescSize(layout);
            packed = new Gemm.Weight(memory, DType.BF16, n, depth, bytes, layout);
            if (n == 0) {
                return;
            }
            if (k == 0) {
                packed.data.fill((byte) 0);
            } else {
                OneDnnProducts.pack(OneDnn.F32, w, k, packed);
            }
        }

        @Override
        public long n() {
            return packed.n();
        }

        @Override
        public long k() {
            return k;
        }

        /** Columns that a factor has: k, or 1 column of zeros where k is 0. */
        public long depth() {
            return packed.k();
        }

        /** Keeps the memory until {@link #release}; refused once it is closed. */
        public void acquire() {
            packed.acquire();
        }

        /** Ends what {@link #acquire} began. */
        public void release() {
            packed.release();
        }

        /** Gives the memory back, after the last call that uses it; a second close does nothing. */
        @Override
        public void close() {
            packed.close();
        }
    }
}
