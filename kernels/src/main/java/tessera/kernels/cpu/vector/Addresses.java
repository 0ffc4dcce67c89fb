package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.SPECIES;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.Objects;
import jdk.incubator.vector.FloatVector;
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
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
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
        long at = from * Float.BYTES;
        if (!x.isNative()) {
            throw new IllegalArgumentException("a segment on the heap has no address; give one of native memory");
        }
        Objects.checkFromIndexSize(at, count * Float.BYTES, x.byteSize());
        return x.address() + at;
    }

    /** The vector that begins at an element of a run. */
    static FloatVector load(long run, int element) {
        return FloatVector.fromMemorySegment(
                SPECIES, AddressSpace.ALL, (run & BITS) + (long) element * Float.BYTES, ORDER);
    }

    static void store(FloatVector v, long run, int element) {
        v.intoMemorySegment(AddressSpace.ALL, (run & BITS) + (long) element * Float.BYTES, ORDER);
    }
}
