package tessera.kernels.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Work recorded once and launched many times at the price of one launch.
 *
 * <p>The graph uses the addresses it saw: buffers made before the capture must outlive it, and change their contents, not
 * their place, between launches. Buffers made during the capture live in memory of the graph's own, which every launch uses
 * again and {@link #close()} frees; those that are still open then are freed when they are closed. A buffer made before and
 * closed during the capture is freed as outside of one.
 *
 * <p>Launches of one graph run one after another, on whichever streams. Thread-safe. The maker closes it; a launch after that is
 * refused, and so is one while its thread records another graph: graphs do not nest.
 */
public final class CudaGraph implements AutoCloseable {
    private static final int VARIABLE_BYTES = 32;

    private final CudaDevice device;
    private final Buffer variables;
    private final CudaEvent finished;
    private final CudaOptimiser.Betas betas;
    private final MemorySegment staged = Arena.ofAuto().allocate(VARIABLE_BYTES, 16);
    private final CudaMemory.Pool pool;
    private final long exec;
    private final long nodes;
    private boolean closed;

    /**
     * What differs from launch to launch.
     *
     * @param seed added to the seed of every mask, dropout and random number that was recorded
     * @param stream added to their stream
     * @param lr learning rate of a recorded optimiser step, in place of the recorded one
     * @param step number of that step, 1 for the first
     */
    public record Variables(long seed, long stream, double lr, long step) {
        /** For a graph without an optimiser. */
        public static Variables ofSeed(long seed) {
            return new Variables(seed, 0, 0, 1);
        }
    }

    private CudaGraph(
            CudaDevice device,
            Buffer variables,
            CudaEvent finished,
            CudaOptimiser.Betas betas,
            CudaMemory.Pool pool,
            long exec,
            long nodes) {
        this.device = device;
        this.betas = betas;
        this.variables = variables;
        this.finished = finished;
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
            Buffer variables = null;
            CudaEvent finished = null;
            try {
                // Of the graph's memory, which does not come in the order of any stream: launches may go to all.
                variables = Buffer.owned(device, DType.U8, VARIABLE_BYTES, pool.allocate(VARIABLE_BYTES));
                finished = new CudaEvent(device, false);
                long graph = record(device, stream, variables, pool, body);
                try {
                    long nodes = CudaDriver.graphNodes(graph);
                    long exec = CudaDriver.graphInstantiate(graph, 0);
                    try {
                        CudaDriver.graphUpload(exec, stream.handle());
                    } catch (CudaException e) {
                        device.quietly(() -> CudaDriver.graphExecDestroy(exec));
                        throw e;
                    }
                    return new CudaGraph(device, variables, finished, stream.recordedBetas(), pool, exec, nodes);
                } finally {
                    device.quietly(() -> CudaDriver.graphDestroy(graph));
                }
            } catch (RuntimeException | Error e) {
                pool.close();
                if (variables != null) {
                    variables.close();
                }
                if (finished != null) {
                    finished.close();
                }
                if (e instanceof CudaException failure) {
                    device.failed(failure);
                }
                throw e;
            }
        }
    }

    private static long record(
            CudaDevice device, CudaStream stream, Buffer variables, CudaMemory.Pool pool, Runnable body) {
        // Others may go on allocating and waiting for streams meanwhile: only this stream records.
        // Marked first: a trim on another thread leaves streams alone that record.
        stream.beginRecording(pool, variables.address(), device.currentStream());
        device.recording(1);
        boolean done = false;
        try {
            CudaDriver.streamBeginCapture(stream.handle(), CudaDriver.CAPTURE_RELAXED);
            device.on(stream, body);
            done = true;
            return CudaDriver.streamEndCapture(stream.handle());
        } finally {
            if (!done) {
                device.quietly(() -> {
                    long graph = CudaDriver.streamEndCapture(stream.handle());
                    if (graph != 0) {
                        CudaDriver.graphDestroy(graph);
                    }
                });
            }
            device.recording(-1);
            stream.endRecording();
        }
    }

    /** Enqueues the whole graph on the thread's current stream, with the seeds that were recorded. */
    public void launch() {
        launch(Variables.ofSeed(0));
    }

    /**
     * Enqueues the whole graph on the thread's current stream.
     *
     * @throws IllegalStateException if the graph is closed, or while the thread records another
     */
    public synchronized void launch(Variables values) {
        if (closed) {
            throw new IllegalStateException(
                    "a graph of " + device + " is launched after it was closed; capture it again");
        }
        device.requireAlive();
        CudaThread thread = CudaThread.get();
        if (thread.stream(device).recording()) {
            throw new IllegalStateException(
                    "a graph of " + device + " cannot be launched while another is recorded; launch"
                            + " one after the other, or record the work of both in one");
        }
        thread.use(device);
        // In the order of struct Variables in tessera.cuh.
        staged.set(ValueLayout.JAVA_LONG, 0, values.seed);
        staged.set(ValueLayout.JAVA_LONG, 8, values.stream);
        staged.set(ValueLayout.JAVA_FLOAT, 16, (float) values.lr);
        staged.set(ValueLayout.JAVA_FLOAT, 20, CudaOptimiser.correction1(betas.beta1(), values.step));
        staged.set(ValueLayout.JAVA_FLOAT, 24, CudaOptimiser.correction2(betas.beta2(), values.step));
        CudaStream stream = thread.stream(device);
        try {
            // The launch before, which may be on another stream, still reads the variables.
            stream.await(finished);
            // The driver has read pageable memory when this returns.
            CudaDriver.memcpyHtoDAsync(variables.address(), staged.address(), VARIABLE_BYTES, stream.handle());
            CudaDriver.graphLaunch(exec, stream.handle());
            finished.record(stream);
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

    /** Waits for the launches and frees the graph and its memory; a second call does nothing. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        device.quietly(finished::synchronize);
        device.quietly(() -> {
            CudaThread.get().use(device);
            CudaDriver.graphExecDestroy(exec);
        });
        pool.close();
        variables.close();
        finished.close();
    }
}
