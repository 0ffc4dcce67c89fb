package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
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
     * @param fromX element of x where its rows begin
     * @param bias f32 {@code [n]}, or null
     * @param addend of y's type, y itself or apart from it, or null; its rows begin where those of y do
     * @param type of y: f32, or bf16, to which it is rounded at the end
     * @param fromY element of y where its rows begin
     */
    public static void multiply(
            long m,
            MemorySegment x,
            long fromX,
            Weight weight,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            DType type,
            MemorySegment y,
            long fromY) {
        long at = fromY * type.bytes();
        try {
            OneDnnProducts.linear(
                    type == DType.BF16 ? TO_BF16 : TO_F32,
                    m,
                    x.address() + fromX * DType.BF16.bytes(),
                    weight.packed,
                    0,
                    bias == null ? 0 : bias.address(),
                    addend == null ? 0 : addend.address() + at,
                    activation,
                    y.address() + at);
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(bias);
            Reference.reachabilityFence(addend);
            Reference.reachabilityFence(y);
        }
    }

    /**
     * As {@link Gemm#tile} for bf16 matrices A and B, with an f32 matrix C.
     *
     * @throws IllegalArgumentException for a leading dimension below the row length, or a matrix that does not lie within its memory
     */
    public static void tile(
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            boolean add,
            MemorySegment c,
            long fromC) {
        Gemm.checkTile(DType.BF16, shape, a, fromA, b, fromB, DType.F32, c, fromC);
        OneDnnProducts.tile(TO_F32, DType.BF16, shape, a, fromA, b, fromB, add, c, fromC);
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
    public static final class Weight implements PackedWeight, Workers.Held {
        private final Gemm.Weight packed;
        private final long k;

        /**
         * Packs a weight.
         *
         * @param w f32 {@code [n, k]} without gaps
         */
        public Weight(HostMemory memory, long n, long k, MemorySegment w) {
            this.k = k;
            if (n == 0) {
                packed = new Gemm.Weight(memory, DType.BF16, n, Math.max(1, k), 0, 0);
            } else if (k > 0) {
                packed = packed(memory, n, k, w);
            } else {
                HostMemory.Block zeros = memory.allocate(n * Float.BYTES);
                try {
                    packed = packed(
                            memory,
                            n,
                            1,
                            zeros.segment().asSlice(0, n * Float.BYTES).fill((byte) 0));
                } finally {
                    zeros.free();
                }
            }
        }

        private static Gemm.Weight packed(HostMemory memory, long n, long k, MemorySegment w) {
            return OneDnnProducts.packed(TO_F32, memory, DType.BF16, n, k, 0, OneDnn.F32, w, k);
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

        @Override
        public void acquire() {
            packed.acquire();
        }

        @Override
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
