package tessera.kernels.cpu.device;

import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
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
    /** One thread at a time records. */
    private final ReentrantLock recorders = new ReentrantLock();

    private volatile @Nullable Recording recording;

    /** A graph that a thread is recording, and the kernels that note for it what they are asked. */
    private record Recording(
            Thread thread, HostGraph graph, Kernels kernels, Optional<Int8Kernels> int8, Optional<Bf16Kernels> bf16) {}

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

    /** What this thread records, or null. */
    private @Nullable Recording recordingHere() {
        Recording now = recording;
        return now != null && now.thread.equals(Thread.currentThread()) ? now : null;
    }

    boolean recordsHere() {
        return recordingHere() != null;
    }

    @Override
    public Kernels kernels() {
        Recording now = recordingHere();
        return now == null ? kernels : now.kernels;
    }

    @Override
    public Optional<Int8Kernels> int8() {
        Recording now = recordingHere();
        return now == null ? int8 : now.int8;
    }

    @Override
    public Optional<Bf16Kernels> bf16() {
        Recording now = recordingHere();
        return now == null ? bf16 : now.bf16;
    }

    @Override
    public Buffer allocate(DType dtype, long length) {
        Recording now = recordingHere();
        HostMemory.Block block = now == null
                ? memory.allocate(bytes(dtype, length))
                : now.graph.memory().allocate(bytes(dtype, length));
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
    public void resetPeak() {
        memory.resetPeak();
    }

    @Override
    public void trim() {
        memory.trim();
    }

    @Override
    protected void copy(Buffer from, Buffer to) {
        Recording now = recordingHere();
        if (now != null) {
            now.graph.note(values -> copy(from, to));
            return;
        }
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
        return true;
    }

    @Override
    public Graph record(Runnable body) {
        if (recordsHere()) {
            throw new IllegalStateException("a graph of " + this
                    + " cannot be recorded while another is; record one after the other, or the work of both in one");
        }
        recorders.lock();
        HostGraph graph = new HostGraph(this, memory.reserve());
        boolean done = false;
        try {
            recording = new Recording(
                    Thread.currentThread(),
                    graph,
                    graph.noting(kernels, workers),
                    int8.map(layers -> graph.noting(Int8Kernels.class, layers)),
                    bf16.map(layers -> graph.noting(Bf16Kernels.class, layers)));
            body.run();
            done = true;
            return graph;
        } finally {
            recording = null;
            recorders.unlock();
            if (!done) {
                graph.close();
            }
        }
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
