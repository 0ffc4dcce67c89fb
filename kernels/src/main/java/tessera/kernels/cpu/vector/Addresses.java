package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.SPECIES;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import tessera.natives.AddressSpace;

/**
 * Loads and stores of vectors by address, for loops that must be compiled alike in every process.
 *
 * <p>An access through a segment asks what kind of memory that is, and the second compiler hoists the question out of a loop by what it has
 * seen in the whole process: after an application has used memory of one thread ({@code Arena.ofConfined()}), loops over other memory are
 * compiled for that, and anew without anything hoisted once they meet their own. Here all accesses are to one constant segment, of which
 * there is nothing to ask.
 *
 * <p>So the caller checks the bounds of a whole run by {@link #of} and keeps the segment with
 * {@link java.lang.ref.Reference#reachabilityFence} until its loop is done. A segment that was
 * closed before is not noticed, as it is not where oneDNN is given addresses.
 */
final class Addresses {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, SPECIES.vectorShape());
    /** As many bytes as a vector has lanes; of vectors of 4 there is no such shape. */
    private static final VectorSpecies<Byte> BYTES =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, LANES * Byte.SIZE)));
    /** No address has more bits; told so, the compiler need not look whether a sum of two is negative. */
    private static final long BITS = Long.MAX_VALUE >> 1;

    /** Whether this module may do so. */
    static final boolean USABLE = AddressSpace.ALL.byteSize() > 0;

    private Addresses() {}

    /**
     * Address of the element {@code from} of f32 in native memory, with {@code count} there.
     *
     * @throws IndexOutOfBoundsException if x has fewer
     */
    static long of(MemorySegment x, long from, long count) {
        return ofBytes(x, from * Float.BYTES, count * Float.BYTES);
    }

    /** As {@link #of} for bytes. */
    static long ofBytes(MemorySegment x, long from, long count) {
        if (!x.isNative()) {
            throw new IllegalArgumentException("a segment on the heap has no address; give one of native memory");
        }
        Objects.checkFromIndexSize(from, count, x.byteSize());
        return x.address() + from;
    }

    /** The vector that begins at an element of a run. */
    static FloatVector load(long run, int element) {
        return FloatVector.fromMemorySegment(
                SPECIES, AddressSpace.ALL, (run & BITS) + (long) element * Float.BYTES, ORDER);
    }

    static float get(long run, int element) {
        return AddressSpace.ALL.get(FLOAT, (run & BITS) + (long) element * Float.BYTES);
    }

    static void set(long run, int element, float value) {
        AddressSpace.ALL.set(FLOAT, (run & BITS) + (long) element * Float.BYTES, value);
    }

    /** The unsigned byte at an address. */
    static int unsigned(long address) {
        return AddressSpace.ALL.get(ValueLayout.JAVA_BYTE, address & BITS) & 0xFF;
    }

    /** A vector of as many unsigned bytes, for vectors of at least 8. */
    static FloatVector unsignedBytes(long run, int element) {
        return (FloatVector) ByteVector.fromMemorySegment(BYTES, AddressSpace.ALL, (run & BITS) + element, ORDER)
                .convertShape(VectorOperators.ZERO_EXTEND_B2I, INTS, 0)
                .convert(VectorOperators.I2F, 0);
    }

    static void store(FloatVector v, long run, int element) {
        v.intoMemorySegment(AddressSpace.ALL, (run & BITS) + (long) element * Float.BYTES, ORDER);
    }
}
