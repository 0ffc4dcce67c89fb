package tessera.natives;

import java.lang.foreign.MemorySegment;

/** The memory of the process as one segment. */
public final class AddressSpace {
    /**
     * All of it, where the offset of a byte is its address; without a byte where the module may not call native code. It knows no bounds and
     * keeps nothing alive: whoever reads or writes through it has checked that the memory is there, and keeps it until the end.
     */
    public static final MemorySegment ALL = all();

    private AddressSpace() {}

    private static MemorySegment all() {
        try {
            return MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
        } catch (IllegalCallerException e) {
            return MemorySegment.NULL;
        }
    }
}
