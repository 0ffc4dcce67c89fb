package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.PackedWeight;
import tessera.natives.onednn.OneDnn;

/** Products of a u8 matrix with an s8 weight by oneDNN, each call on the calling thread; the integer sums are exact. */
public final class OneDnnInt8 {
    private static final int TO_F32 = types(OneDnn.F32);
    private static final int TO_S32 = types(OneDnn.S32);

    private OneDnnInt8() {}

    private static int types(int result) {
        return OneDnnProducts.types(OneDnn.U8, OneDnn.S8, result) | (OneDnn.hasInt8() ? 0 : OneDnnProducts.POINTWISE);
    }

    /** Whether oneDNN is there and multiplies bytes faster than floats on this processor. */
    public static boolean usable() {
        return OneDnn.finding().usable() && (OneDnn.hasInt8() || OneDnn.hasInt8InPairs());
    }

    /**
     * The largest element of x with which sums are exact. Without VNNI, two products are added up in 16 bits, which saturate, before
     * they are widened.
     */
    public static int largestInput() {
        return OneDnn.hasInt8() ? Int8Kernels.LARGEST_INPUT : Int8Kernels.LARGEST_INPUT_IN_PAIRS;
    }

    /**
     * {@code y = scales * (x W^T)}, and with shifts added to each row, with x u8 {@code [m, k]} up to {@link #largestInput}, W of positive sizes and y f32 {@code [m, n]},
     * without gaps.
     *
     * @param fromX element of x where its rows begin, as {@code fromY} of y
     */
    public static void multiply(
            long m, MemorySegment x, long fromX, Weight weight, boolean shifted, MemorySegment y, long fromY) {
        try {
            OneDnnProducts.linear(
                    TO_F32,
                    m,
                    x.address() + fromX,
                    weight.packed,
                    weight.scales.address(),
                    shifted ? weight.shifts.address() : 0,
                    0,
                    Activation.NONE,
                    y.address() + fromY * Float.BYTES);
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(weight);
            Reference.reachabilityFence(y);
        }
    }

    /** The integer sums {@code y = x W^T}, s32 {@code [m, n]}. */
    static void sums(long m, MemorySegment x, Weight weight, MemorySegment y) {
        try {
            OneDnnProducts.linear(TO_S32, m, x.address(), weight.packed, 0, 0, 0, Activation.NONE, y.address());
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(weight);
            Reference.reachabilityFence(y);
        }
    }

    /** An s8 weight {@code [n, k]} in oneDNN's layout, with what belongs to each of its rows. */
    public static final class Weight implements PackedWeight, Workers.Held {
        private final Gemm.Weight packed;
        private final MemorySegment scales;
        private final MemorySegment shifts;
        private final int largestInput = OneDnnInt8.largestInput();
        private final float inputScale;
        private final int inputZero;

        /**
         * Packs a weight.
         *
         * @param w s8 {@code [n, k]} without gaps
         * @param scales f32 {@code [n]}, copied
         * @param sums of each row, scaled, f32 {@code [n]}; the shifts are made of them
         * @param input range of the inputs, or null where every row has its own scale
         */
        public Weight(
                HostMemory memory,
                long n,
                long k,
                MemorySegment w,
                MemorySegment scales,
                MemorySegment sums,
                @Nullable InputRange input) {
            long behind = 2 * n * Float.BYTES;
            packed = n == 0 || k == 0
                    ? new Gemm.Weight(memory, DType.F32, n, k, behind, 0)
                    : OneDnnProducts.packed(TO_F32, memory, DType.F32, n, k, behind, OneDnn.S8, w, k);
            long table = packed.layout == 0 ? 0 : OneDnnProducts.lines(OneDnn.memoryDescSize(packed.layout));
            this.scales = packed.data.asSlice(table, n * Float.BYTES);
            this.shifts = packed.data.asSlice(table + n * Float.BYTES, n * Float.BYTES);
            this.scales.copyFrom(scales.asSlice(0, n * Float.BYTES));
            inputScale = input == null ? 0 : input.scale(largestInput);
            inputZero = input == null ? Int8Kernels.zero(largestInput) : input.zero(largestInput);
            for (long i = 0; i < n; i++) {
                shifts.setAtIndex(
                        ValueLayout.JAVA_FLOAT, i, -inputZero * sums.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
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

        /** What is added to each output channel for the zero of its inputs, f32 {@code [n]}. */
        public MemorySegment shifts() {
            return shifts;
        }

        /** The largest byte of an input. */
        public int largestInput() {
            return largestInput;
        }

        /** The step of the input's bytes, or 0 where every row has its own. */
        public float inputScale() {
            return inputScale;
        }

        /** The byte of the input's 0. */
        public int inputZero() {
            return inputZero;
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
