package tessera.tensor;

import static java.util.Objects.requireNonNull;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
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
 * results lie in memory that the device copies by itself. A CPU reads the inputs themselves; work that it cannot record, because it
 * looks at memory on the way, runs operation by operation there in every call, and so do {@link #fed} calls.
 *
 * <p>Any thread may use it, one at a time; a second one is refused. A call that failed may be tried again, unless the work had run to its end on the host and only the
 * launch of its new graph or the device failed: what the host noted then would be noted twice. It owns its inputs and its graphs; closing it
 * twice does no harm, using it afterwards is refused.
 *
 * <p>Inputs are filled between calls ({@link #input}), and the graph begins with their copies; or, of {@link #fed} calls, those of the
 * next call are sent while one runs, by another thread, and reach the device beside it.
 */
public final class RecordedCalls implements AutoCloseable {
    private final Device device;
    private final @Nullable Stream stream;
    private final List<Buffer> pinned = new ArrayList<>();
    /** In the host's memory; none of fed calls. */
    private final List<Tensor> inputs = new ArrayList<>();
    /** Where the work reads them on a device that records; else the inputs, or what of fed calls was taken last. */
    private final List<Tensor> read = new ArrayList<>();

    private final @Nullable InputFeed feed;

    private final Map<String, Recorded> recorded = new HashMap<>();
    /** Results of the last call, if it was done operation by operation. */
    private final Map<String, float[]> values = new LinkedHashMap<>();

    /** Held by a call and by closing: what a second thread does meanwhile is refused, as it would read memory that changes. */
    private final AtomicBoolean held = new AtomicBoolean();

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
        /** Whether the work was found to be none that can be recorded. */
        private boolean direct;

        private final Map<String, Buffer> results = new LinkedHashMap<>();
        /** The result, if there is one alone. */
        private @Nullable Buffer only;

        void close() {
            if (graph != null) {
                graph.close();
                graph = null;
            }
            only = null;
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
        this(device, record, inputs, false);
    }

    /**
     * Calls whose inputs are {@link #send sent} and {@link #take taken}, recorded where the device is a GPU.
     *
     * @throws IllegalStateException if the thread is recording a graph
     */
    public static RecordedCalls fed(Device device, List<Input> inputs) {
        return new RecordedCalls(device, true, inputs, true);
    }

    private RecordedCalls(Device device, boolean record, List<Input> inputs, boolean fed) {
        if (device.currentStream().recording()) {
            throw new IllegalStateException("a session cannot be opened while a graph is recorded; open it before");
        }
        this.device = device;
        this.stream = record && device.records() && !(fed && device.isHost()) ? device.newStream() : null;
        try {
            if (stream != null) {
                // Weights may still be on their way, on another stream.
                for (Stream before : List.of(device.defaultStream(), device.currentStream())) {
                    try (Event event = before.record()) {
                        stream.await(event);
                    }
                }
            }
            this.feed = fed ? Scope.outside(() -> newFeed(inputs)) : null;
            if (!fed) {
                Scope.outside(() -> {
                    inputs.forEach(this::addInput);
                    return true;
                });
            }
        } catch (RuntimeException | Error e) {
            free();
            throw e;
        }
    }

    private InputFeed newFeed(List<Input> inputs) {
        Stream own = stream;
        if (own != null) {
            inputs.forEach(input -> device.on(own, () -> read.add(Tensor.empty(device, input.dtype(), input.shape()))));
        }
        return new InputFeed(device, own, inputs);
    }

    private void addInput(Input input) {
        Stream own = stream;
        if (own == null || device.isHost()) {
            inputs.add(Tensor.empty(device.isHost() ? device : Device.cpu(), input.dtype(), input.shape()));
            read.add(inputs.getLast());
            return;
        }
        Buffer memory = device.allocatePinned(input.dtype(), input.shape().count());
        pinned.add(memory);
        inputs.add(Tensor.wrap(Device.cpu(), memory.segment(), input.dtype(), input.shape()));
        device.on(own, () -> read.add(Tensor.empty(device, input.dtype(), input.shape())));
    }

    /** An input in memory of the host, to be filled before each call; valid until this is closed. Fed calls have none. */
    public Tensor input(int index) {
        return inputs.get(index);
    }

    /**
     * Copies the inputs of a later call and begins to bring them to the device, beside whatever runs. Another thread than the one that
     * runs calls may do so, one at a time. At most one may be on its way that is not {@link #take taken} while a call
     * runs.
     *
     * @param values in memory of the host, of the inputs' types and shapes; done with when this returns
     * @return what {@link #take} is told
     */
    public int send(List<Tensor> values) {
        return requireFeed().send(values);
    }

    /** Makes what was {@link #send sent} the inputs of the calls that follow. */
    public void take(int sent) {
        requireOpen();
        List<Tensor> now = requireFeed().take(sent, read);
        if (stream == null) {
            read.clear();
            read.addAll(now);
        }
    }

    private InputFeed requireFeed() {
        InputFeed known = feed;
        if (known == null) {
            throw new IllegalStateException("these calls are not fed; fill their inputs, or make them by fed");
        }
        return known;
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("these calls are closed; open a new session");
        }
    }

    /**
     * Does the work on the inputs as they are now, and waits for it.
     *
     * @param name tells pieces of work apart; calls of one name do the same work
     * @return the values of the results by name, in their order
     */
    public Map<String, float[]> run(String name, Variables variables, Work work) {
        hold();
        try {
            Recorded done = runOrReplay(name, variables, work);
            if (done == null) {
                return new LinkedHashMap<>(values);
            }
            Map<String, float[]> results = new LinkedHashMap<>();
            done.results.forEach((result, memory) -> results.put(result, read(memory)));
            return results;
        } finally {
            held.set(false);
        }
    }

    private void hold() {
        if (held.getAndSet(true)) {
            throw new IllegalStateException(
                    "a call of another thread is running; give each thread a session of its own, and close one only"
                            + " when its call has ended");
        }
    }

    /**
     * As {@link #run(String, Variables, Work)} of work with one result, whose values are written into an array. On a CPU a
     * recorded call of a model in f32 or less, whose products oneDNN computes, allocates nothing on the Java heap but a few dozen bytes where
     * random numbers are drawn.
     *
     * @throws IllegalArgumentException if the work has not one result of the array's length
     */
    public void run(String name, Variables variables, Work work, float[] target) {
        hold();
        try {
            runInto(name, variables, work, target);
        } finally {
            held.set(false);
        }
    }

    private void runInto(String name, Variables variables, Work work, float[] target) {
        Recorded done = runOrReplay(name, variables, work);
        Buffer only = done == null ? null : done.only;
        if (only != null) {
            requireOne(name, 1, only.length(), target);
            MemorySegment.copy(only.segment(), ValueLayout.JAVA_FLOAT, 0, target, 0, target.length);
            return;
        }
        int results = done == null ? values.size() : done.results.size();
        float[] single =
                done == null && results == 1 ? values.values().iterator().next() : null;
        requireOne(name, results, single == null ? 0 : single.length, target);
        System.arraycopy(requireNonNull(single), 0, target, 0, target.length);
    }

    private static void requireOne(String name, int results, long length, float[] target) {
        if (results != 1 || length != target.length) {
            throw new IllegalArgumentException("'" + name + "' has " + results
                    + (results == 1 ? " result of " : " results, the first of ") + length + " values but an array of "
                    + target.length + " was given; pass one of " + length + " values");
        }
    }

    /**
     * Does the work in either way.
     *
     * @return where the results are if a graph did it; else null, and they are in {@link #values}
     */
    private @Nullable Recorded runOrReplay(String name, Variables variables, Work work) {
        requireOpen();
        values.clear();
        Stream own = stream;
        if (own == null) {
            direct(variables, work);
            return null;
        }
        if (device.isHost()) {
            return onStream(name, variables, work);
        }
        @Nullable Recorded[] done = new @Nullable Recorded[1];
        device.on(own, () -> done[0] = onStream(name, variables, work));
        return done[0];
    }

    private static float[] read(Buffer memory) {
        float[] copy = new float[Math.toIntExact(memory.length())];
        MemorySegment.ofArray(copy).copyFrom(memory.segment());
        return copy;
    }

    private void direct(Variables variables, Work work) {
        try (Scope scope = Scope.open()) {
            work.run(read, variables).forEach((name, result) -> values.put(name, result.toFloats()));
        }
    }

    private @Nullable Recorded onStream(String name, Variables variables, Work work) {
        Recorded known = recorded.get(name);
        // Costs are those of operations, which a replay has none of.
        boolean metered = device.isHost() && ThreadState.get().meter != null;
        if (known == null || known.direct || metered) {
            bringInputs();
            direct(variables, work);
            recorded.putIfAbsent(name, new Recorded());
            return null;
        }
        Graph graph = known.graph;
        boolean replay = graph != null;
        if (graph == null) {
            try {
                graph = record(known, variables, work);
            } catch (DeviceException e) {
                if (!device.isHost() || e.outOfMemory()) {
                    throw e;
                }
                known.direct = true;
                direct(variables, work);
                return null;
            }
        }
        graph.launch(variables);
        if (replay) {
            work.replayed();
        }
        device.currentStream().synchronize();
        return known;
    }

    /** Copies inputs that were filled to where the work reads them. */
    private void bringInputs() {
        for (int i = 0; i < pinned.size(); i++) {
            device.currentStream().copy(pinned.get(i), read.get(i).buffer());
        }
    }

    /** Records the work with seed and stream 0, to which every launch adds its own. */
    private Graph record(Recorded known, Variables variables, Work work) {
        Variables zero = new Variables(0, 0, variables.lr(), variables.step());
        try {
            Graph graph = device.record(() -> {
                Stream recording = device.currentStream();
                bringInputs();
                try (Scope scope = Scope.open()) {
                    work.run(read, zero).forEach((name, result) -> {
                        Buffer values = result.detach().contiguous().buffer();
                        Buffer memory = device.allocatePinned(DType.F32, values.length());
                        known.results.put(name, memory);
                        recording.copy(values, memory);
                    });
                }
            });
            known.graph = graph;
            known.only = known.results.size() == 1
                    ? known.results.values().iterator().next()
                    : null;
            return graph;
        } catch (RuntimeException | Error e) {
            known.close();
            throw e;
        }
    }

    /**
     * Frees everything.
     *
     * @throws IllegalStateException if a call of another thread is running; nothing is freed then
     */
    @Override
    public void close() {
        hold();
        try {
            closeNow();
        } finally {
            held.set(false);
        }
    }

    private void closeNow() {
        if (closed) {
            return;
        }
        closed = true;
        recorded.values().forEach(Recorded::close);
        recorded.clear();
        InputFeed fed = feed;
        if (fed != null) {
            fed.close();
        }
        free();
    }

    private void free() {
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
