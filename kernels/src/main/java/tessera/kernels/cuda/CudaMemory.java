package tessera.kernels.cuda;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.cpu.HostMemory;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Memory of one GPU in size classes, kept for reuse per stream.
 *
 * <p>Work of one stream runs in order, so what was freed on a stream may be handed out on it again at once, without asking
 * the driver. Memory that was freed on another stream than its own carries an event, for which its own stream waits before
 * the next use. New memory comes from a pool of the driver, where it has one, which keeps all it has until {@link #trim}.
 *
 * <p>With the system property {@code tessera.memory.debug=true} nothing is kept for reuse, blocks have exactly the size
 * asked for, and memory is filled with NaN when it is handed out and when it is freed.
 *
 * <p>Thread-safe.
 */
final class CudaMemory {
    private static final long SMALLEST = 512;

    private final CudaDevice device;
    private final long driverPool;
    private final List<Pool> pools = new ArrayList<>();
    private final ArrayDeque<CudaEvent> events = new ArrayDeque<>();
    private long live;
    private long pooled;
    private long peak;
    private long liveBlocks;

    CudaMemory(CudaDevice device, int handle) {
        this.device = device;
        this.driverPool = driverPool(device, handle);
    }

    /** A pool of the driver's that works, or 0 where there is none, as with some virtual GPUs. */
    private static long driverPool(CudaDevice device, int handle) {
        long pool = 0;
        try {
            if (CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_MEMORY_POOLS, handle) != 0) {
                pool = CudaDriver.memPoolCreate(handle);
                CudaDriver.memPoolSetAttribute(pool, CudaDriver.POOL_RELEASE_THRESHOLD, -1);
                CudaDriver.memFreeAsync(CudaDriver.memAllocFromPoolAsync(SMALLEST, pool, 0), 0);
            }
            return pool;
        } catch (CudaException e) {
            destroy(device, pool);
            if (!e.codeName().equals("CUDA_ERROR_NOT_SUPPORTED")) {
                throw e;
            }
            System.getLogger("tessera")
                    .log(System.Logger.Level.DEBUG, device + " has no memory pools, its memory is taken without: " + e);
            return 0;
        }
    }

    /** Gives the driver's pool back, for a device that could not be opened. */
    void destroy() {
        destroy(device, driverPool);
    }

    private static void destroy(CudaDevice device, long pool) {
        if (pool != 0) {
            device.quietly(() -> CudaDriver.memPoolDestroy(pool));
        }
    }

    /** The blocks of a stream, or of a graph that is being captured on it. */
    Pool newPool(CudaStream stream, boolean graph) {
        return new Pool(stream, graph);
    }

    /** Frees what no buffer uses, on the device too; waits for the streams that it belongs to. */
    void trim() {
        List<Pool> all;
        synchronized (this) {
            all = List.copyOf(pools);
        }
        for (Pool pool : all) {
            pool.trim();
        }
        if (driverPool != 0) {
            device.quietly(() -> CudaDriver.memPoolTrimTo(driverPool, 0));
        }
    }

    synchronized void resetPeak() {
        peak = live;
    }

    synchronized Device.MemoryUse use() {
        return new Device.MemoryUse(live, pooled, peak, liveBlocks);
    }

    private DeviceException outOfMemory(long bytes, CudaException e) {
        Device.MemoryUse use = use();
        String free;
        try {
            free = CudaDriver.freeMemory() + " of " + device.totalMemory() + " bytes of the device are free";
        } catch (CudaException unknown) {
            free = "the device has " + device.totalMemory() + " bytes";
        }
        String message = device + ": cannot allocate " + bytes + " bytes; " + use.live()
                + " bytes are live in " + use.liveBuffers() + " buffers, " + use.pooled() + " bytes are pooled, " + free
                + "; close scopes and sessions earlier, use a smaller batch, or see with nvidia-smi who else uses it";
        return new DeviceException(DeviceException.Reason.OUT_OF_MEMORY, message, e);
    }

    /** Memory for the work of one stream, or of one graph. */
    final class Pool {
        private final CudaStream stream;
        private final boolean graph;
        private final List<ArrayDeque<Block>> free = new ArrayList<>();
        private boolean closed;

        private Pool(CudaStream stream, boolean graph) {
            this.stream = stream;
            this.graph = graph;
            synchronized (CudaMemory.this) {
                pools.add(this);
            }
        }

        Block allocate(long bytes) {
            int sizeClass = HostMemory.sizeClass(Math.max(bytes, SMALLEST));
            long size = HostMemory.DEBUG ? Math.max(bytes, 1) : HostMemory.classBytes(sizeClass);
            Block block;
            synchronized (CudaMemory.this) {
                device.requireAlive();
                block = HostMemory.DEBUG || sizeClass >= free.size()
                        ? null
                        : free.get(sizeClass).pollLast();
                if (block == null) {
                    block = fresh(sizeClass, size, bytes);
                } else {
                    pooled -= size;
                }
                if (block.pending != null) {
                    try {
                        CudaThread.get().use(device);
                        stream.await(block.pending);
                    } catch (RuntimeException e) {
                        keep(block);
                        throw e;
                    }
                    events.addLast(block.pending);
                    block.pending = null;
                }
                live += size;
                liveBlocks++;
                peak = Math.max(peak, live);
                block.open = true;
            }
            if (HostMemory.DEBUG) {
                try {
                    fillNaN(block, stream);
                } catch (CudaException e) {
                    block.free();
                    throw device.failed(e);
                }
            }
            return block;
        }

        private Block fresh(int sizeClass, long size, long bytes) {
            CudaThread.get().use(device);
            for (boolean trimmed = false; ; trimmed = true) {
                try {
                    return new Block(this, obtain(size), size, sizeClass);
                } catch (CudaException e) {
                    if (!e.outOfMemory()) {
                        throw device.failed(e);
                    }
                    if (trimmed) {
                        throw outOfMemory(bytes, e);
                    }
                }
                CudaMemory.this.trim();
            }
        }

        /** Whether its memory comes from no pool of the driver's: a graph's must not become part of the graph itself. */
        private boolean direct() {
            return graph || driverPool == 0;
        }

        private long obtain(long size) {
            return direct()
                    ? CudaDriver.memAlloc(size)
                    : CudaDriver.memAllocFromPoolAsync(size, driverPool, stream.handle());
        }

        private void giveBack(Block block) {
            CudaEvent event = block.pending;
            if (event != null) {
                block.pending = null;
                if (!closed) {
                    device.quietly(() -> stream.await(event));
                }
                events.addLast(event);
            }
            if (direct()) { // which waits for all work of the device
                device.quietly(() -> CudaDriver.memFree(block.address));
            } else {
                CudaStream on = closed ? device.currentStream().running() : stream;
                device.quietly(() -> CudaDriver.memFreeAsync(block.address, on.handle()));
            }
        }

        private void release(Block block) {
            CudaThread thread = CudaThread.get();
            // Work on a stream that records does not run now, and what a graph uses must outlive it anyway.
            // So the last use to wait for is on the stream before.
            CudaStream current = thread.stream(device).running();
            device.quietly(() -> thread.use(device));
            if (HostMemory.DEBUG && !graph) {
                device.quietly(() -> fillNaN(block, current));
            }
            if (!graph && !closed && current != stream) {
                device.quietly(() -> markLastUse(block, current));
            }
            if (closed || (HostMemory.DEBUG && !graph)) {
                giveBack(block);
            } else {
                keep(block);
            }
        }

        /** Puts a block where allocations look for one. */
        private void keep(Block block) {
            while (free.size() <= block.sizeClass) {
                free.add(new ArrayDeque<>(4));
            }
            ArrayDeque<Block> blocks = free.get(block.sizeClass);
            if (block.pending != null) {
                // Taken last, the longest waiting first.
                blocks.addFirst(block);
            } else {
                blocks.addLast(block);
            }
            pooled += block.size;
        }

        /** Where no event can be had, waits for the use itself. */
        private void markLastUse(Block block, CudaStream current) {
            CudaEvent event = null;
            try {
                event = events.isEmpty() ? new CudaEvent(device, false) : events.removeLast();
                event.record(current);
                block.pending = event;
            } catch (DeviceException e) {
                if (event != null) {
                    event.close();
                }
                current.synchronize();
            }
        }

        private void trim() {
            if (graph || stream.recording()) {
                return;
            }
            synchronized (CudaMemory.this) {
                // Inside: a virtual thread may come back from waiting for the lock on another carrier.
                CudaThread.get().use(device);
                freeAll();
            }
            device.quietly(() -> CudaDriver.streamSynchronize(stream.handle()));
        }

        private void freeAll() {
            for (ArrayDeque<Block> blocks : free) {
                for (Block block : blocks) {
                    pooled -= block.size;
                    giveBack(block);
                }
                blocks.clear();
            }
        }

        /** Frees the blocks that no buffer uses now, and later ones when they are closed. */
        void close() {
            synchronized (CudaMemory.this) {
                device.quietly(() -> CudaThread.get().use(device));
                freeAll();
                closed = true;
                pools.remove(this);
            }
            if (!graph) {
                device.quietly(() -> CudaDriver.streamSynchronize(stream.handle()));
            }
        }
    }

    private static void fillNaN(Block block, CudaStream stream) {
        CudaDriver.memsetD8Async(block.address, (byte) 0xFF, block.size, stream.handle());
    }

    /** One piece of memory. */
    final class Block implements Buffer.Memory {
        private final Pool pool;
        private final long address;
        private final long size;
        private final int sizeClass;
        private @Nullable CudaEvent pending;
        private boolean open;

        private Block(Pool pool, long address, long size, int sizeClass) {
            this.pool = pool;
            this.address = address;
            this.size = size;
            this.sizeClass = sizeClass;
        }

        long address() {
            return address;
        }

        @Override
        public void free() {
            synchronized (CudaMemory.this) {
                if (!open) {
                    return;
                }
                open = false;
                live -= size;
                liveBlocks--;
                pool.release(this);
            }
        }
    }
}
