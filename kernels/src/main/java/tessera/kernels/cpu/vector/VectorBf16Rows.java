package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.SPECIES;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.load;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Rounding of f32 to bf16: to the nearest, ties to even, NaN to a quiet NaN. */
final class VectorBf16Rows {
    /** Whether vectors are used; they are short ones otherwise, of which one more kind is not worth its code. */
    private static final boolean VECTORS = LANES == 8 || LANES == 16;

    private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
    private static final VectorSpecies<Short> SHORTS = LANES == 16 ? ShortVector.SPECIES_256 : ShortVector.SPECIES_128;
    private static final int HALF = 16;
    /** Just below half a step of bf16; a step's own last bit makes it half where that must be. */
    private static final int ALMOST_HALF = 0x7FFF;

    private static final int QUIET_NAN = 0x7FC0;

    private VectorBf16Rows() {}

    /**
     * Rounds {@code count} f32 values.
     *
     * @param at index of the first in x
     * @param y takes them from its start
     */
    static void narrow(MemorySegment x, long at, long count, MemorySegment y) {
        long end = VECTORS ? VectorMath.whole(count) : 0;
        for (long i = 0; i < end; i += LANES) {
            FloatVector v = load(x, at + i);
            IntVector bits = v.reinterpretAsInts();
            IntVector odd = bits.lanewise(VectorOperators.LSHR, HALF).and(1);
            IntVector rounded = bits.add(odd.add(ALMOST_HALF)).lanewise(VectorOperators.LSHR, HALF);
            VectorMask<Integer> nan = v.test(VectorOperators.IS_NAN).cast(INTS);
            ShortVector narrow =
                    (ShortVector) rounded.blend(QUIET_NAN, nan).convertShape(VectorOperators.I2S, SHORTS, 0);
            narrow.intoMemorySegment(y, i * Short.BYTES, ByteOrder.nativeOrder());
        }
        for (long i = end; i < count; i++) {
            y.set(ValueLayout.JAVA_SHORT_UNALIGNED, i * Short.BYTES, narrow(get(x, at + i)));
        }
    }

    /** The nearest bf16. */
    static short narrow(float value) {
        int bits = Float.floatToRawIntBits(value);
        int rounded = (bits + ALMOST_HALF + (bits >>> HALF & 1)) >>> HALF;
        return (short) (Float.isNaN(value) ? QUIET_NAN : rounded);
    }
}
