package tessera.kernels.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;

/**
 * Pool of off-heap blocks in size classes, reused without zeroing.
 *
 * <p>An arena per tensor would cost more than most kernels. Here each block has its own long-lived arena, is handed out
 * again after {@link Block#free()}, and returns to the operating system only by {@link #trim()}. Size classes are the
 * powers of two and the three steps between them, so at most a fifth of a block is unused.
 *
 * <p>With the system property {@code tessera.memory.debug=true} freed memory is filled with NaN and every block ends in a
 * guard zone that is checked when it is freed.
 *
 * <p>Thread-safe.
 */
public final class HostMemory {
    public static final boolean DEBUG = Boolean.getBoolean("tessera.memory.debug");
    private static final long ALIGNMENT = 64;
    private static final long GUARD_BYTES = 64;
    private static final byte GUARD = (byte) 0xA5;
    private static final int SMALLEST = 6;
    /** No processor of today addresses more than 2^48 bytes. */
    private static final int LARGEST = 47;

    private static final int CLASSES = 4 * (LARGEST - SMALLEST) + 1;
    private static final long SLAB_BYTES = 1L << 20;

    private final List<ArrayDeque<Block>> free = new ArrayList<>(CLASSES);
    private final Arena slabs = Arena.ofAuto();
    private MemorySegment slab = MemorySegment.NULL;
    private long slabUsed;
    private long live;
    private long pooled;
    private long peak;
    private long liveBlocks;

    public HostMemory() {
        for (int i = 0; i < CLASSES; i++) {
            free.add(new ArrayDeque<>());
        }
    }

    /**
     * A block of at least so many bytes.
     *
     * @throws DeviceException that is {@link DeviceException#outOfMemory}
     */
    public Block allocate(long bytes) {
        return allocate(bytes, null);
    }

    private synchronized Block allocate(long bytes, @Nullable Reserve reserve) {
        if (bytes > (1L << LARGEST) - GUARD_BYTES) {
            throw exhausted(bytes, null);
        }
        int sizeClass = sizeClass(bytes + (DEBUG ? GUARD_BYTES : 0));
        Block reserved = reserve == null ? null : reserve.poll(sizeClass);
        if (reserved != null) {
            reserved.open(bytes);
            return reserved;
        }
        long size = classBytes(sizeClass);
        Block block = free.get(sizeClass).pollLast();
        if (block == null) {
            block = fresh(sizeClass, size, bytes);
        } else {
            pooled -= size;
        }
        live += size;
        liveBlocks++;
        peak = Math.max(peak, live);
        block.reserve = reserve;
        block.open(bytes);
        return block;
    }

    private Block fresh(int sizeClass, long size, long bytes) {
        Arena arena = null;
        try {
            if (size <= SLAB_BYTES / 16) {
                return new Block(fromSlab(size), sizeClass, null);
            }
            arena = Arena.ofShared();
            return new Block(arena.allocate(size, ALIGNMENT), sizeClass, arena);
        } catch (OutOfMemoryError e) {
            if (arena != null) {
                arena.close();
            }
            throw exhausted(bytes, e);
        }
    }

    private MemorySegment fromSlab(long size) {
        if (slab.byteSize() - slabUsed < size) {
            slab = slabs.allocate(SLAB_BYTES, ALIGNMENT);
            slabUsed = 0;
        }
        MemorySegment segment = slab.asSlice(slabUsed, size);
        slabUsed += size;
        return segment;
    }

    private DeviceException exhausted(long bytes, @Nullable Throwable cause) {
        return new DeviceException(
                DeviceException.Reason.OUT_OF_MEMORY,
                "cpu: cannot allocate " + bytes + " bytes; " + live + " bytes are live in " + liveBlocks
                        + " buffers and "
                        + pooled
                        + " bytes are pooled; close scopes earlier, use a smaller batch or call Device.trim()",
                cause);
    }

    private synchronized void release(Block block) {
        Reserve reserve = block.reserve;
        if (reserve != null && !reserve.closed) {
            reserve.freed.add(block);
            return;
        }
        block.reserve = null;
        long size = classBytes(block.sizeClass);
        live -= size;
        liveBlocks--;
        pooled += size;
        free.get(block.sizeClass).addLast(block);
    }

    /** Gives free blocks back to the operating system. */
    public synchronized void trim() {
        for (ArrayDeque<Block> blocks : free) {
            blocks.removeIf(block -> {
                if (block.arena == null) {
                    return false;
                }
                pooled -= classBytes(block.sizeClass);
                block.arena.close();
                return true;
            });
        }
    }

    /** Lets the peak begin anew. */
    public synchronized void resetPeak() {
        peak = live;
    }

    public synchronized Device.MemoryUse use() {
        return new Device.MemoryUse(live, pooled, peak, liveBlocks);
    }

    /** The smallest class of blocks that have so many bytes. */
    public static int sizeClass(long bytes) {
        long size = Math.max(bytes, 1L << SMALLEST);
        int log = 63 - Long.numberOfLeadingZeros(size);
        long quarter = 1L << (log - 2);
        long steps = (size - (1L << log) + quarter - 1) / quarter;
        return (int) (4L * (log - SMALLEST) + steps);
    }

    /** Bytes of a block of a class. */
    public static long classBytes(int sizeClass) {
        int log = SMALLEST + sizeClass / 4;
        long bytes = (1L << log) + (sizeClass % 4) * (1L << (log - 2));
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** A part of the pool for one user, whose freed blocks only it gets again until it is closed. They count as live meanwhile. */
    public Reserve reserve() {
        return new Reserve();
    }

    /** See {@link #reserve}. Thread-safe. */
    public final class Reserve implements AutoCloseable {
        private final List<Block> freed = new ArrayList<>();
        private boolean closed;

        private Reserve() {}

        /** As {@link HostMemory#allocate}. */
        public Block allocate(long bytes) {
            return HostMemory.this.allocate(bytes, this);
        }

        private @Nullable Block poll(int sizeClass) {
            for (int i = freed.size() - 1; i >= 0; i--) {
                if (freed.get(i).sizeClass == sizeClass) {
                    return freed.remove(i);
                }
            }
            return null;
        }

        /** Gives the freed blocks to the pool, and those that are still open once they are freed. */
        @Override
        public void close() {
            synchronized (HostMemory.this) {
                closed = true;
                freed.forEach(HostMemory.this::release);
                freed.clear();
            }
        }
    }

    /** One block of the pool. */
    public final class Block implements Buffer.Memory {
        private final MemorySegment segment;
        private final int sizeClass;
        private final @Nullable Arena arena;
        private @Nullable Reserve reserve;
        private boolean open;
        private long requested;

        private Block(MemorySegment segment, int sizeClass, @Nullable Arena arena) {
            this.segment = segment;
            this.sizeClass = sizeClass;
            this.arena = arena;
        }

        public MemorySegment segment() {
            return segment;
        }

        private void open(long bytes) {
            open = true;
            requested = bytes;
            if (DEBUG) {
                fillNaN(segment);
                segment.asSlice(bytes).fill(GUARD);
            }
        }

        @Override
        public void free() {
            synchronized (HostMemory.this) {
                if (!open) {
                    return;
                }
                open = false;
            }
            if (DEBUG) {
                MemorySegment guard = segment.asSlice(requested);
                for (long i = 0; i < guard.byteSize(); i++) {
                    if (guard.get(ValueLayout.JAVA_BYTE, i) != GUARD) {
                        throw new IllegalStateException(
                                "a kernel wrote " + i + " bytes past the end of a buffer of " + requested + " bytes");
                    }
                }
                fillNaN(segment);
            }
            release(this);
        }
    }

    private static void fillNaN(MemorySegment segment) {
        // 0xFF in every byte is a NaN as f32, f64 and bf16, and an impossible index as i32.
        segment.fill((byte) 0xFF);
    }
}
