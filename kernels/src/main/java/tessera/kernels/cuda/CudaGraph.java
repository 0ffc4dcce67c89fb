package tessera.kernels.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.kernels.Graph;
import tessera.natives.cuda.CudaDriver;

/** A graph of the driver's, with memory of its own and what its launches differ in. */
final class CudaGraph implements Graph {
    private static final int VARIABLE_BYTES = 32;

    private final CudaDevice device;
    private final CudaMemory.Block variables;
    private final CudaEvent finished;
    private final MemorySegment staged = Arena.ofAuto().allocate(VARIABLE_BYTES, 16);
    private final CudaMemory.Pool pool;
    private CudaOptimiser.Betas betas = CudaOptimiser.Betas.NONE;
    private long exec;
    private long nodes;
    private boolean closed;

    private CudaGraph(CudaDevice device, CudaStream stream) {
        this.device = device;
        this.finished = new CudaEvent(device, false);
        this.pool = device.pool().newPool(stream, true);
        try {
            // Of the graph's memory, which does not come in the order of any stream: launches may go to all.
            this.variables = pool.allocate(VARIABLE_BYTES);
        } catch (RuntimeException | Error e) {
            pool.close();
            finished.close();
            throw e;
        }
    }

    /** See {@link tessera.kernels.Device#record}. */
    static CudaGraph record(CudaDevice device, Runnable body) {
        try (CudaStream stream = device.newStream()) {
            CudaGraph graph = new CudaGraph(device, stream);
            try {
                device.run(() -> graph.instantiate(stream, body));
                return graph;
            } catch (RuntimeException | Error e) {
                graph.close();
                throw e;
            }
        }
    }

    private synchronized void instantiate(CudaStream stream, Runnable body) {
        long graph = capture(stream, body);
        try {
            nodes = CudaDriver.graphNodes(graph);
            exec = CudaDriver.graphInstantiate(graph, 0);
            CudaDriver.graphUpload(exec, stream.handle());
            betas = stream.recordedBetas();
        } finally {
            device.quietly(() -> CudaDriver.graphDestroy(graph));
        }
    }

    private long capture(CudaStream stream, Runnable body) {
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

    @Override
    public synchronized void launch(Variables values) {
        if (closed) {
            throw new IllegalStateException(
                    "a graph of " + device + " is launched after it was closed; record it again");
        }
        device.requireAlive();
        CudaStream stream = device.currentStream();
        if (stream.recording()) {
            throw new IllegalStateException(
                    "a graph of " + device + " cannot be launched while another is recorded; launch"
                            + " one after the other, or record the work of both in one");
        }
        // In the order of struct Variables in tessera.cuh.
        staged.set(ValueLayout.JAVA_LONG, 0, values.seed());
        staged.set(ValueLayout.JAVA_LONG, 8, values.stream());
        staged.set(ValueLayout.JAVA_FLOAT, 16, (float) values.lr());
        staged.set(ValueLayout.JAVA_FLOAT, 20, CudaOptimiser.correction1(betas.beta1(), values.step()));
        staged.set(ValueLayout.JAVA_FLOAT, 24, CudaOptimiser.correction2(betas.beta2(), values.step()));
        device.run(() -> {
            // The launch before, which may be on another stream, still reads the variables.
            stream.await(finished);
            // The driver has read pageable memory when this returns.
            CudaDriver.memcpyHtoDAsync(variables.address(), staged.address(), VARIABLE_BYTES, stream.handle());
            CudaDriver.graphLaunch(exec, stream.handle());
            finished.record(stream);
        });
    }

    @Override
    public synchronized long nodes() {
        return nodes;
    }

    @Override
    public CudaDevice device() {
        return device;
    }

    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (exec != 0) {
            device.quietly(finished::synchronize);
            device.quietly(() -> device.run(() -> CudaDriver.graphExecDestroy(exec)));
        }
        pool.close();
        variables.free();
        finished.close();
    }
}
