package tessera.kernels.cpu.device;

import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Event;
import tessera.kernels.Graph;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Kernels;
import tessera.kernels.Stream;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Workers;

/** The processor: host memory and a fixed set of worker threads. */
public final class CpuDevice extends Device {
    private final Workers workers;
    private final HostMemory memory;
    private final Kernels kernels;
    private final Set<DType> types;
    private final Optional<Int8Kernels> int8;
    private final Optional<Bf16Kernels> bf16;
    private final HostStream stream = new HostStream(this);

    /**
     * A CPU with given kernels.
     *
     * @param workers who run them
     * @param memory where they keep packed weights and buffers lie
     * @param types that they take
     * @param int8 layers on bytes, or empty
     * @param bf16 layers on bf16, or empty
     */
    public CpuDevice(
            Workers workers,
            HostMemory memory,
            Kernels kernels,
            Set<DType> types,
            Optional<Int8Kernels> int8,
            Optional<Bf16Kernels> bf16) {
        this.workers = workers;
        this.memory = memory;
        this.kernels = kernels;
        this.types = Set.copyOf(types);
        this.int8 = int8;
        this.bf16 = bf16;
    }

    /** A CPU with the fastest kernels there are. */
    static CpuDevice of(int threads) {
        Workers workers = new Workers(threads);
        HostMemory memory = new HostMemory();
        Kernels kernels = CpuKernels.create(workers, memory);
        return new CpuDevice(
                workers,
                memory,
                kernels,
                EnumSet.of(DType.F32, DType.F64),
                CpuKernels.int8(workers, memory, kernels.attention()),
                CpuKernels.bf16(workers, memory));
    }

    @Override
    public boolean isHost() {
        return true;
    }

    @Override
    public String name() {
        return System.getProperty("os.arch");
    }

    @Override
    public String architecture() {
        return name();
    }

    @Override
    public String describe() {
        return this + " (" + name() + ", " + threads() + (threads() == 1 ? " thread)" : " threads)");
    }

    @Override
    public int threads() {
        return workers.threads();
    }

    @Override
    public boolean computes(DType dtype) {
        return types.contains(dtype);
    }

    @Override
    public Kernels kernels() {
        return kernels;
    }

    @Override
    public Optional<Int8Kernels> int8() {
        return int8;
    }

    @Override
    public Optional<Bf16Kernels> bf16() {
        return bf16;
    }

    @Override
    public Buffer allocate(DType dtype, long length) {
        HostMemory.Block block = memory.allocate(bytes(dtype, length));
        MemorySegment segment = block.segment().asSlice(0, length * dtype.bytes());
        return buffer(dtype, length, segment.address(), segment, block);
    }

    @Override
    public Buffer allocatePinned(DType dtype, long length) {
        return allocate(dtype, length);
    }

    @Override
    public Buffer wrap(DType dtype, MemorySegment segment) {
        if (!segment.isNative()) {
            throw new IllegalArgumentException(
                    "only off-heap memory can be used without a copy; allocate the segment from an Arena or copy the"
                            + " array");
        }
        if (segment.byteSize() % dtype.bytes() != 0 || segment.address() % dtype.bytes() != 0) {
            throw new IllegalArgumentException("a segment of " + segment.byteSize() + " bytes at address "
                    + Long.toHexString(segment.address()) + " is no aligned array of " + dtype);
        }
        return buffer(dtype, segment.byteSize() / dtype.bytes(), segment.address(), segment, null);
    }

    @Override
    public Buffer wrap(DType dtype, long address, long length) {
        throw new IllegalArgumentException(
                "memory of the host is wrapped as a MemorySegment, whose bounds Java knows; pass one instead of an"
                        + " address");
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
    protected void copy(Buffer from, Buffer to) {
        MemorySegment.copy(from.segment(), 0, to.segment(), 0, from.byteSize());
    }

    @Override
    public Stream defaultStream() {
        return stream;
    }

    @Override
    public Stream currentStream() {
        return stream;
    }

    @Override
    public Stream newStream() {
        return new HostStream(this);
    }

    @Override
    public void on(Stream other, Runnable body) {
        if (other.device() != this) {
            throw new IllegalArgumentException("a stream of " + other.device() + " is no stream of this " + this
                    + "; make one with newStream() of this device");
        }
        body.run();
    }

    @Override
    public void synchronize() {}

    @Override
    public boolean records() {
        return false;
    }

    @Override
    public Graph record(Runnable body) {
        throw new UnsupportedOperationException(
                "the CPU records no graphs; ask Device.records() first and run the work itself");
    }

    @Override
    public Event newTimer() {
        return new HostEvent();
    }

    @Override
    public String toString() {
        return "cpu";
    }
}
