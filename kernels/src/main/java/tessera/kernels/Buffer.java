package tessera.kernels;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A contiguous run of elements of one type in the memory of one device.
 *
 * <p>A buffer either owns its memory (it came from {@link Device#allocate}) or is a slice or a wrapped segment that does
 * not. {@link #close()} gives owned memory back to the device's pool and does nothing otherwise. Device pointers are
 * plain {@code long}s: nothing on the host can dereference one by accident.
 *
 * <p>Not synchronised: a buffer may be read by many threads, but who writes or closes it must be the only user.
 */
public final class Buffer implements AutoCloseable {
    private final Device device;
    private final DType dtype;
    private final long length;
    private final long address;
    private final @Nullable MemorySegment segment;
    private final @Nullable Memory memory;
    private final boolean pinned;
    private boolean closed;

    Buffer(
            Device device,
            DType dtype,
            long length,
            long address,
            @Nullable MemorySegment segment,
            @Nullable Memory memory,
            boolean pinned) {
        this.device = device;
        this.dtype = dtype;
        this.length = length;
        this.address = address;
        this.segment = segment;
        this.memory = memory;
        this.pinned = pinned;
    }

    /** The device whose memory this is. */
    public Device device() {
        return device;
    }

    public DType dtype() {
        return dtype;
    }

    /** Number of elements. */
    public long length() {
        return length;
    }

    /** Number of bytes. */
    public long byteSize() {
        return length * dtype.bytes();
    }

    /** Address in the device's memory. */
    public long address() {
        return address;
    }

    /**
     * The memory itself, on the CPU.
     *
     * @throws IllegalStateException where the memory is not the host's
     * @throws DeviceException while the thread records a graph on this device: its kernels have not run
     */
    public MemorySegment segment() {
        if (segment == null) {
            throw new IllegalStateException("buffer on " + device + " has no host memory; copy it to the CPU first");
        }
        if (device.currentStream().recording()) {
            throw lookedAt();
        }
        return segment;
    }

    private DeviceException lookedAt() {
        return new DeviceException(
                DeviceException.Reason.FAILED,
                "the memory of " + this
                        + " cannot be looked at while a graph is recorded, because its kernels have not run;"
                        + " do so before or after, or run the work without recording",
                null);
    }

    /** Whether this is pinned host memory, which a GPU reads and writes by itself; see {@link Device#allocatePinned}. */
    public boolean pinned() {
        return pinned;
    }

    /**
     * Copies the elements into another buffer, on any device. On return memory of the host is complete and may be changed;
     * on a GPU the copy is in the order of the thread's stream.
     *
     * @throws IllegalArgumentException if types or lengths differ
     */
    public void copyTo(Buffer target) {
        if (dtype != target.dtype || length != target.length) {
            throw new IllegalArgumentException("copy: " + this + " does not fit " + target
                    + "; pass buffers of the same type and length, or convert with Elementwise.cast");
        }
        if (length > 0) {
            (target.device.isHost() ? device : target.device).copy(this, target);
        }
    }

    /** Elements {@code [offset, offset + count)} of this buffer, sharing its memory. */
    public Buffer slice(long offset, long count) {
        if (offset < 0 || count < 0 || offset + count > length) {
            throw new IndexOutOfBoundsException(
                    "slice [" + offset + ", " + (offset + count) + ") of a buffer of " + length + " elements");
        }
        if (offset == 0 && count == length && memory == null) {
            return this;
        }
        MemorySegment part = segment == null ? null : segment.asSlice(offset * dtype.bytes(), count * dtype.bytes());
        return new Buffer(device, dtype, count, address + offset * dtype.bytes(), part, null, pinned);
    }

    /** Gives owned memory back to its pool; a second call and a call on a slice do nothing. */
    @Override
    public void close() {
        if (memory != null && !closed) {
            closed = true;
            memory.free();
        }
    }

    /** What {@link #close()} gives back. */
    @FunctionalInterface
    public interface Memory {
        void free();
    }

    @Override
    public String toString() {
        return dtype + "[" + length + "] on " + device;
    }
}
