package tessera.tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Event;
import tessera.kernels.Graph;
import tessera.kernels.Graph.Variables;
import tessera.kernels.Stream;

/**
 * Work of fixed shapes that is done many times: passes of inference, steps of training.
 *
 * <p>Where the device records ({@link Device#records}), the first call of a piece of work runs operation by operation, which loads
 * kernels and makes the memory that stays; the second is recorded as one {@link Graph}, from the copies of the inputs to those of the
 * results, and that graph is launched for it and for every further call. All of it goes to a stream of its own, and inputs and
 * results lie in memory that the device copies by itself. Elsewhere every call runs operation by operation on the inputs
 * themselves.
 *
 * <p>Any thread may use it, one at a time. A call that failed may be tried again, unless the work had run to its end on the host and only the
 * launch of its new graph or the device failed: what the host noted then would be noted twice. It owns its inputs and its graphs; closing it
 * twice does no harm, using it afterwards is refused.
 */
public final class RecordedCalls implements AutoCloseable {
    private final Device device;
    private final @Nullable Stream stream;
    private final List<Buffer> pinned = new ArrayList<>();
    /** In the host's memory. */
    private final List<Tensor> inputs = new ArrayList<>();
    /** Where the work reads them: the same tensors, or others on a device that records. */
    private final List<Tensor> read = new ArrayList<>();

    private final Map<String, Recorded> recorded = new HashMap<>();
    private boolean closed;

    /**
     * A piece of work. It draws random numbers only by the variables' seed and stream, plus constants, and looks at no value on the
     * host, or a replay would not follow.
     */
    @FunctionalInterface
    public interface Work {
        /**
         * Does the work on the thread's current stream.
         *
         * @param inputs those of {@link RecordedCalls#input}, on the device where it records
         * @return results by name, f32
         */
        Map<String, Tensor> run(List<Tensor> inputs, Variables variables);

        /** Called when a graph was launched to do the work instead: what the host has to note then. */
        default void replayed() {}
    }

    /** Type and shape of an input. */
    public record Input(DType dtype, Shape shape) {}

    /** What a piece of work left; the graph follows with its second call. */
    private static final class Recorded {
        private @Nullable Graph graph;
        private Variables at = Variables.NONE;
        private final Map<String, Buffer> results = new LinkedHashMap<>();

        void close() {
            if (graph != null) {
                graph.close();
                graph = null;
            }
            results.values().forEach(Buffer::close);
            results.clear();
        }
    }

    /**
     * Calls with inputs of these types and shapes.
     *
     * @param record whether calls are recorded where the device can; else they run operation by operation there too, on inputs in
     *     memory of the host
     * @throws IllegalStateException if the thread is recording a graph
     */
    public RecordedCalls(Device device, boolean record, List<Input> inputs) {
        if (device.currentStream().recording()) {
            throw new IllegalStateException("a session cannot be opened while a graph is recorded; open it before");
        }
        this.device = device;
        this.stream = record && device.records() ? device.newStream() : null;
        try {
            if (stream != null) {
                // Weights may still be on their way, on another stream.
                for (Stream before : List.of(device.defaultStream(), device.currentStream())) {
                    try (Event event = before.record()) {
                        stream.await(event);
                    }
                }
            }
            Scope.outside(() -> {
                inputs.forEach(this::addInput);
                return true;
            });
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    private void addInput(Input input) {
        Stream own = stream;
        if (own == null) {
            inputs.add(Tensor.empty(device.isHost() ? device : Device.cpu(), input.dtype(), input.shape()));
            read.add(inputs.getLast());
            return;
        }
        Buffer memory = device.allocatePinned(input.dtype(), input.shape().count());
        pinned.add(memory);
        inputs.add(Tensor.wrap(Device.cpu(), memory.segment(), input.dtype(), input.shape()));
        device.on(own, () -> read.add(Tensor.empty(device, input.dtype(), input.shape())));
    }

    /** An input in memory of the host, to be filled before each call; valid until this is closed. */
    public Tensor input(int index) {
        return inputs.get(index);
    }

    /**
     * Does the work on the inputs as they are now, and waits for it.
     *
     * @param name tells pieces of work apart; calls of one name do the same work
     * @return the values of the results by name, in their order
     */
    public Map<String, float[]> run(String name, Variables variables, Work work) {
        if (closed) {
            throw new IllegalStateException("these calls are closed; open a new session");
        }
        Stream own = stream;
        if (own == null) {
            return direct(variables, work);
        }
        Map<String, float[]> values = new LinkedHashMap<>();
        device.on(own, () -> values.putAll(onStream(name, variables, work)));
        return values;
    }

    private Map<String, float[]> direct(Variables variables, Work work) {
        try (Scope scope = Scope.open()) {
            Map<String, float[]> values = new LinkedHashMap<>();
            work.run(read, variables).forEach((name, result) -> values.put(name, result.toFloats()));
            return values;
        }
    }

    private Map<String, float[]> onStream(String name, Variables variables, Work work) {
        Recorded known = recorded.get(name);
        if (known == null) {
            for (int i = 0; i < read.size(); i++) {
                device.currentStream().copy(pinned.get(i), read.get(i).buffer());
            }
            Map<String, float[]> values = direct(variables, work);
            recorded.put(name, new Recorded());
            return values;
        }
        Graph graph = known.graph;
        boolean replay = graph != null;
        if (graph == null) {
            graph = record(known, variables, work);
        }
        graph.launch(new Variables(
                variables.seed() - known.at.seed(),
                variables.stream() - known.at.stream(),
                variables.lr(),
                variables.step()));
        if (replay) {
            work.replayed();
        }
        device.currentStream().synchronize();
        Map<String, float[]> values = new LinkedHashMap<>();
        known.results.forEach((result, memory) -> {
            float[] copy = new float[Math.toIntExact(memory.length())];
            MemorySegment.ofArray(copy).copyFrom(memory.segment());
            values.put(result, copy);
        });
        return values;
    }

    private Graph record(Recorded known, Variables variables, Work work) {
        try {
            Graph graph = device.record(() -> {
                Stream recording = device.currentStream();
                for (int i = 0; i < read.size(); i++) {
                    recording.copy(pinned.get(i), read.get(i).buffer());
                }
                try (Scope scope = Scope.open()) {
                    work.run(read, variables).forEach((name, result) -> {
                        Buffer values = result.detach().contiguous().buffer();
                        Buffer memory = device.allocatePinned(DType.F32, values.length());
                        known.results.put(name, memory);
                        recording.copy(values, memory);
                    });
                }
            });
            known.graph = graph;
            known.at = variables;
            return graph;
        } catch (RuntimeException | Error e) {
            known.close();
            throw e;
        }
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        recorded.values().forEach(Recorded::close);
        recorded.clear();
        Stream own = stream;
        if (own == null) {
            inputs.forEach(Tensor::close);
            return;
        }
        device.on(own, () -> read.forEach(Tensor::close));
        inputs.forEach(Tensor::close);
        pinned.forEach(Buffer::close);
        own.close();
    }
}
