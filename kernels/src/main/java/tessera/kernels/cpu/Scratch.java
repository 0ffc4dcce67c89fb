package tessera.kernels.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Off-heap working memory of one task at a time; it grows to what was needed most and is used again. */
public final class Scratch implements AutoCloseable {
    private static final long ALIGNMENT = 64;
    private static final Slots<Scratch> POOL = new Slots<>(Scratch::new, scratch -> {});

    private MemorySegment memory = MemorySegment.NULL;

    private Scratch() {}

    public static Scratch borrow() {
        return POOL.borrow();
    }

    /** {@code count} f32 with any content; a second call gives the same memory. */
    public MemorySegment floats(long count) {
        long bytes = count * Float.BYTES;
        if (memory.byteSize() < bytes) {
            memory = Arena.ofAuto().allocate(bytes, ALIGNMENT);
        }
        return memory;
    }

    /** Gives the memory back for the next task. */
    @Override
    public void close() {
        POOL.giveBack(this);
    }
}
