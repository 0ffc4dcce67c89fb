package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Graph;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * A graph of the driver's, with memory of its own and what its launches differ in.
 *
 * <p>A launch is two calls of the driver: a kernel of one thread, which gets the values as its parameters and writes them where
 * the graph's kernels read them, and the graph. Where no kernel of the graph reads them it is the graph alone.
 */
final class CudaGraph implements Graph {
    /**
     * System property, read whenever a graph is recorded, that lets each kernel of the graph be brought to the device while the
     * one before it still runs; for compute capability 9.0 and up. It is off: on an H100 a replay without and with it took 375 and 378 us (one
     * clip of ViT-S), 13.53 and 13.47 ms (a training step), 3.90 and 3.55 ms (64 clips, which took 3.49 ms without it in the same run
     * elsewhere), so no gain was told from the noise.
     */
    static final String PROGRAMMATIC_PROPERTY = "tessera.cuda.pdl";

    private static final int FIRST_PROGRAMMATIC = 90;
    private static final int VARIABLE_BYTES = 32;

    private final CudaDevice device;
    private final CudaMemory.Block variables;
    private final CudaEvent finished;
    private final CudaMemory.Pool pool;
    private CudaOptimiser.Betas betas = CudaOptimiser.Betas.NONE;
    private boolean readsVariables;
    private long exec;
    private long nodes;
    private @Nullable CudaStream last;
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
            readsVariables = stream.readsVariables();
        } finally {
            device.quietly(() -> CudaDriver.graphDestroy(graph));
        }
    }

    private long capture(CudaStream stream, Runnable body) {
        // Others may go on allocating and waiting for streams meanwhile: only this stream records.
        // Marked first: a trim on another thread leaves streams alone that record.
        boolean programmatic = Boolean.getBoolean(PROGRAMMATIC_PROPERTY)
                && device.capability() >= FIRST_PROGRAMMATIC
                && CudaDriver.launchesProgrammatically();
        stream.beginRecording(pool, variables.address(), programmatic, device.currentStream());
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
        CudaStream before = last;
        if (before != null && before != stream && !before.closed()) {
            // The launch before still reads the variables. On one stream it comes first anyway.
            finished.record(before);
            stream.await(finished);
        }
        last = stream;
        if (readsVariables) {
            write(values);
        }
        CudaThread.get().use(device);
        try {
            CudaDriver.graphLaunch(exec, stream.handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Puts the values where the kernels of the graph read them, in the order of struct Variables in tessera.cuh. */
    private void write(Variables values) {
        device.writeVariables()
                .begin()
                .address(variables.address())
                .i64(values.seed(), values.stream())
                .f32(values.lr())
                .f32(CudaOptimiser.correction1(betas.beta1(), values.step()))
                .f32(CudaOptimiser.correction2(betas.beta2(), values.step()))
                .f32(0)
                .launch(1, 1, 0);
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
            CudaStream stream = last;
            if (stream != null && !stream.closed()) {
                device.quietly(stream::synchronize);
            }
            device.quietly(() -> device.run(() -> CudaDriver.graphExecDestroy(exec)));
        }
        pool.close();
        variables.free();
        finished.close();
    }
}
