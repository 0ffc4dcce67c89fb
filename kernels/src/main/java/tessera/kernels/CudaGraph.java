package tessera.kernels;

import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Work recorded once and launched many times at the price of one launch.
 *
 * <p>The graph uses the addresses it saw: buffers made before the capture must outlive it, and change their contents, not
 * their place, between launches. Buffers made during the capture live in memory of the graph's own, which every launch uses
 * again and {@link #close()} frees; those that are still open then are freed when they are closed.
 *
 * <p>Launches of one graph run one after another. Thread-safe, except that nobody may launch while it is closed.
 */
public final class CudaGraph implements AutoCloseable {
    private final CudaDevice device;
    private final CudaMemory.Pool pool;
    private final long exec;
    private final long nodes;
    private boolean closed;

    private CudaGraph(CudaDevice device, CudaMemory.Pool pool, long exec, long nodes) {
        this.device = device;
        this.pool = pool;
        this.exec = exec;
        this.nodes = nodes;
    }

    /**
     * Records what a body enqueues on its current stream, which is one of its own; nothing runs yet. The body may not wait
     * for the device, read results, or copy from host memory that is not pinned. Kernels and products that it uses should have
     * run once before, so that nothing is left to be loaded.
     *
     * @throws CudaException if something in the body cannot be recorded
     */
    public static CudaGraph capture(CudaDevice device, Runnable body) {
        try (CudaStream stream = device.newStream()) {
            CudaMemory.Pool pool = device.pool().newGraphPool(stream);
            try {
                long graph = record(device, stream, pool, body);
                try {
                    long nodes = CudaDriver.graphNodes(graph);
                    long exec = CudaDriver.graphInstantiate(graph, 0);
                    CudaDriver.graphUpload(exec, stream.handle());
                    return new CudaGraph(device, pool, exec, nodes);
                } finally {
                    device.quietly(() -> CudaDriver.graphDestroy(graph));
                }
            } catch (CudaException e) {
                pool.close();
                throw device.failed(e);
            } catch (RuntimeException | Error e) {
                pool.close();
                throw e;
            }
        }
    }

    private static long record(CudaDevice device, CudaStream stream, CudaMemory.Pool pool, Runnable body) {
        // Others may go on allocating and synchronising meanwhile: only this stream records.
        CudaDriver.streamBeginCapture(stream.handle(), CudaDriver.CAPTURE_RELAXED);
        stream.capture(pool);
        boolean done = false;
        try {
            device.on(stream, body);
            done = true;
        } finally {
            stream.endCapture();
            if (!done) {
                device.quietly(() -> {
                    long graph = CudaDriver.streamEndCapture(stream.handle());
                    if (graph != 0) {
                        CudaDriver.graphDestroy(graph);
                    }
                });
            }
        }
        return CudaDriver.streamEndCapture(stream.handle());
    }

    /** Enqueues the whole graph on the thread's current stream. */
    public void launch() {
        device.requireAlive();
        CudaThread thread = CudaThread.get();
        thread.use(device);
        try {
            CudaDriver.graphLaunch(exec, thread.stream(device).handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** How many launches, copies and fills were recorded. */
    public long nodes() {
        return nodes;
    }

    public CudaDevice device() {
        return device;
    }

    /** Waits for the device and frees the graph and its memory; a second call does nothing. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        CudaThread.get().use(device);
        device.quietly(CudaDriver::contextSynchronize);
        device.quietly(() -> CudaDriver.graphExecDestroy(exec));
        pool.close();
    }
}
