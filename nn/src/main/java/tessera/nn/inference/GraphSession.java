package tessera.nn.inference;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import tessera.kernels.Buffer;
import tessera.kernels.CudaDevice;
import tessera.kernels.CudaEvent;
import tessera.kernels.CudaGraph;
import tessera.kernels.CudaStream;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Passes of one shape on a GPU, each recorded once as a graph on a stream of the session's own. Clips and results go through
 * pinned memory. Any thread may use it, one at a time; closing it twice does no harm, using it afterwards is refused.
 */
final class GraphSession implements AutoCloseable {
    private final CudaDevice device;
    private final CudaStream stream;
    private final Buffer pinnedInput;
    private final Tensor input;
    private final Tensor clips;
    private final Map<String, Recorded> recorded = new HashMap<>();
    private boolean closed;

    /** Computes a result, f32, from clips on the device and a seed. */
    interface Pass {
        Tensor of(Tensor clips, long seed);
    }

    private record Recorded(CudaGraph graph, Buffer pinnedResult) {}

    /**
     * Opens a session for clips of a shape.
     *
     * @throws IllegalStateException if the thread is recording a graph
     */
    GraphSession(CudaDevice device, Shape shape) {
        if (device.currentStream().recording()) {
            throw new IllegalStateException("a session cannot be opened while a graph is recorded; open it before");
        }
        this.device = device;
        this.stream = device.newStream();
        Buffer pinned = null;
        try {
            pinned = device.allocatePinned(DType.U8, shape.count());
            this.pinnedInput = pinned;
            this.input = Scope.outside(() -> Tensor.wrap(Device.cpu(), pinnedInput.segment(), DType.U8, shape));
            // The weights may still be on their way, on another stream.
            for (CudaStream before : List.of(device.defaultStream(), device.currentStream())) {
                try (CudaEvent event = before.record()) {
                    stream.await(event);
                }
            }
            this.clips = Scope.outside(() -> onStream(() -> Tensor.empty(device, DType.U8, shape)));
        } catch (RuntimeException | Error e) {
            if (pinned != null) {
                pinned.close();
            }
            stream.close();
            throw e;
        }
    }

    /** The clips of the next call, in host memory. */
    Tensor input() {
        return input;
    }

    /** The result for the clips now in {@link #input}. */
    float[] run(String what, long seed, Pass pass) {
        if (closed) {
            throw new IllegalStateException("the session is closed; open another with Student.session");
        }
        return onStream(() -> {
            Recorded record = recorded.get(what);
            if (record == null) {
                record = record(pass);
                recorded.put(what, record);
            }
            record.graph.launch(CudaGraph.Variables.ofSeed(seed));
            stream.synchronize();
            float[] values = new float[Math.toIntExact(record.pinnedResult.length())];
            MemorySegment.ofArray(values).copyFrom(record.pinnedResult.segment());
            return values;
        });
    }

    private Recorded record(Pass pass) {
        long length;
        // Once for real: this loads kernels and chooses algorithms, which a recording cannot.
        try (Tensor first = pass.of(clips, 0)) {
            length = first.shape().count();
        }
        Buffer pinnedResult = device.allocatePinned(DType.F32, length);
        try {
            CudaGraph graph = CudaGraph.capture(device, () -> {
                CudaStream capturing = device.currentStream();
                capturing.copy(pinnedInput, clips.buffer());
                try (Tensor result = pass.of(clips, 0)) {
                    capturing.copy(result.buffer(), pinnedResult);
                }
            });
            return new Recorded(graph, pinnedResult);
        } catch (RuntimeException | Error e) {
            pinnedResult.close();
            throw e;
        }
    }

    private <T> T onStream(java.util.function.Supplier<T> body) {
        java.util.concurrent.atomic.AtomicReference<T> result = new java.util.concurrent.atomic.AtomicReference<>();
        device.on(stream, () -> result.set(body.get()));
        return result.get();
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        recorded.values().forEach(record -> {
            record.graph.close();
            record.pinnedResult.close();
        });
        recorded.clear();
        device.on(stream, clips::close);
        input.close();
        pinnedInput.close();
        stream.close();
    }
}
