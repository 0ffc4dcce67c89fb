package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.natives.onednn.OneDnn;

/** Products of a u8 matrix with an s8 weight in s32, exact, by oneDNN, each call on the calling thread. */
public final class OneDnnInt8 {
    private static final int TYPES = OneDnnProducts.types(OneDnn.U8, OneDnn.S8, OneDnn.S32);
    private static final long ALIGNMENT = 64;

    private OneDnnInt8() {}

    /**
     * Whether oneDNN is there and this processor multiplies bytes in one instruction. Others have to make do with sums of
     * 16 bits, which overflow.
     */
    public static boolean usable() {
        return OneDnn.finding().usable() && OneDnn.hasInt8();
    }

    /** {@code y = x W^T} with x u8 {@code [m, k]}, W of positive sizes and y s32 {@code [m, n]}, without gaps. */
    public static void multiply(long m, MemorySegment x, Weight weight, MemorySegment y) {
        Gemm.Weight w = weight.packed;
        MatmulShape shape = new MatmulShape(false, false, m, w.n, w.k, w.k, w.n, w.n);
        OneDnnProducts.run(
                TYPES, new Gemm.Product(DType.F32, shape, x, w.data, w.layout, null, null, Activation.NONE, y));
    }

    /** An s8 weight {@code [n, k]} in oneDNN's layout, with the scale and the sum of each of its rows. */
    public static final class Weight implements PackedWeight {
        private final Gemm.Weight packed;
        private final MemorySegment scales;
        private final MemorySegment sums;

        /**
         * Packs a weight.
         *
         * @param w s8 {@code [n, k]} without gaps
         * @param scales f32 {@code [n]}, copied
         * @param sums s32 {@code [n]}, copied
         */
        public Weight(HostMemory memory, long n, long k, MemorySegment w, MemorySegment scales, MemorySegment sums) {
            boolean empty = n == 0 || k == 0;
            long layout = empty ? 0 : OneDnnProducts.favouriteLayout(TYPES, n, k);
            long bytes = empty ? 0 : OneDnn.memoryDescSize(layout);
            long table = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            packed = new Gemm.Weight(memory, DType.F32, n, k, table + 2 * n * Float.BYTES, layout);
            this.scales = packed.data.asSlice(table, n * Float.BYTES);
            this.sums = packed.data.asSlice(table + n * Float.BYTES, n * Integer.BYTES);
            this.scales.copyFrom(scales.asSlice(0, n * Float.BYTES));
            this.sums.copyFrom(sums.asSlice(0, n * Integer.BYTES));
            if (!empty) {
                OneDnnProducts.pack(OneDnn.S8, w, k, packed);
            }
        }

        @Override
        public long n() {
            return packed.n();
        }

        @Override
        public long k() {
            return packed.k();
        }

        /** Scale of each output channel, f32 {@code [n]}. */
        public MemorySegment scales() {
            return scales;
        }

        /** Sum of each output channel's quantised weights, s32 {@code [n]}. */
        public MemorySegment sums() {
            return sums;
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
