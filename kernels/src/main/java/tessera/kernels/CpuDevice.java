package tessera.kernels;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** The processor: host memory and a fixed set of worker threads. Nobody outside this package can extend it. */
public non-sealed class CpuDevice extends Device {
    private static @Nullable CpuDevice shared;

    private final Workers workers;
    private final Kernels kernels;
    private final HostMemory memory = new HostMemory();

    CpuDevice(int threads) {
        this.workers = new Workers(threads);
        this.kernels = CpuKernels.create(workers, memory);
    }

    /** How many threads a kernel may use. */
    public int threads() {
        return workers.threads();
    }

    @Override
    public boolean computes(DType dtype) {
        return dtype == DType.F32 || dtype == DType.F64;
    }

    @Override
    public Kernels kernels() {
        return kernels;
    }

    @Override
    public Buffer allocate(DType dtype, long length) {
        if (length < 0) {
            throw new IllegalArgumentException("cannot allocate " + length + " elements");
        }
        return Buffer.owned(this, dtype, length, memory.allocate(Math.multiplyExact(length, (long) dtype.bytes())));
    }

    /**
     * Wraps memory of the caller without a copy. The caller keeps ownership and must keep the segment alive while the
     * buffer is used.
     *
     * @throws IllegalArgumentException if the segment is on the heap, misaligned for the type or no multiple of its size
     */
    public Buffer wrap(DType dtype, MemorySegment segment) {
        if (!segment.isNative()) {
            throw new IllegalArgumentException(
                    "only off-heap memory can be used without a copy; allocate the segment from an Arena or copy the array");
        }
        if (segment.byteSize() % dtype.bytes() != 0 || segment.address() % dtype.bytes() != 0) {
            throw new IllegalArgumentException("a segment of " + segment.byteSize() + " bytes at address "
                    + Long.toHexString(segment.address()) + " is no aligned array of " + dtype);
        }
        return Buffer.wrapped(this, dtype, segment.byteSize() / dtype.bytes(), segment);
    }

    @Override
    public MemoryUse memory() {
        return memory.use();
    }

    @Override
    public void trim() {
        memory.trim();
    }

    @Override
    public String toString() {
        return "cpu";
    }

    /** The device of the whole process, made on first use. */
    static synchronized CpuDevice shared() {
        CpuDevice device = shared;
        if (device == null) {
            int threads =
                    Integer.getInteger("tessera.threads", Runtime.getRuntime().availableProcessors());
            if (threads < 1) {
                throw new IllegalArgumentException("-Dtessera.threads=" + threads
                        + " leaves no thread to compute; pass 1 or more, or leave it away");
            }
            device = new CpuDevice(threads);
            shared = device;
        }
        return device;
    }
}
