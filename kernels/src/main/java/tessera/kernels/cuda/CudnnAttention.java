package tessera.kernels.cuda;

import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.cpu.Elements;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.Cudnn;

/**
 * cuDNN as a second provider of attention: bf16, no bias and no regions, rows that allow 16-byte accesses. It computes where it
 * is installed and {@link AttentionProviders} names it.
 *
 * <p>The first call of a shape makes a plan, runs it and our own kernels, waits, and keeps the plan if both results agree and the
 * plan's repeat bit for bit; else the next engine is tried, and our own kernels compute that shape from then on where none
 * does. They also do where a plan fails later, and in a graph that is recorded before a shape was computed for the first time.
 *
 * <p>The backward pass is the graph of products and element-wise operations that cuDNN fuses on Hopper; it adds up dQ in any order
 * in one form and repeats in the other.
 *
 * <p>Thread-safe; calls from several threads take turns while they are enqueued.
 */
final class CudnnAttention {
    private static final System.Logger LOG = System.getLogger("tessera");
    private static final int FIRST_THAT_CLEARS_DQ = 90600;
    /** Up to this version the backward pass is wrong where the keys do not fill tiles, unless they are said to be padded. */
    private static final int LAST_WITH_WHOLE_TILES = 91500;

    private static final int TILE = 128;
    /** Engines tried for each form of a pass; to make a plan takes half a second. */
    private static final int MOST_TRIES = 3;

    private static final int REPETITIONS = 2;
    /** Pairs of a sample and a head whose results are compared. */
    private static final int COMPARED = 4;

    /** Differences of results, as norms: some roundings of the probabilities and of the result to bf16. */
    private static final double FORWARD_TOLERANCE = 0.01;

    private static final double BACKWARD_TOLERANCE = 0.02;

    /** What a plan computes. */
    enum Pass {
        /** Out alone. */
        INFERENCE,
        /** Out and the logarithms of the sums. */
        FORWARD,
        BACKWARD
    }

    private final CudaDevice device;
    private final Map<Key, Optional<Plan>> plans = new ConcurrentHashMap<>();
    private final Object first = new Object();
    private long handle;

    CudnnAttention(CudaDevice device) {
        this.device = device;
    }

    private record Key(AttentionShape shape, Pass pass) {}

    /** A plan, what it was made from, and its numbers in host memory: the scale and 1. */
    private record Plan(
            CudnnGraph graph, long descriptor, long[] ids, boolean sums, long workspace, MemorySegment numbers) {}

    /** A tensor that a pass writes: element (b, h, row, i) lies where the strides say. */
    private record Result(long id, Buffer buffer, Strides strides, int rows, int width) {
        /** Elements up to the last. */
        long extent(AttentionShape shape) {
            return (shape.batch() - 1) * strides.batch()
                    + (shape.heads() - 1) * strides.head()
                    + (rows - 1) * strides.row()
                    + width;
        }

        Result in(Buffer other) {
            return new Result(id, other, strides, rows, width);
        }
    }

    /** Buffers of one call; those that the pass does not have are null. */
    private record Call(
            AttentionShape shape,
            Pass pass,
            AttentionTensors in,
            @Nullable Buffer out,
            @Nullable Buffer stats,
            @Nullable Buffer dout,
            List<Result> results) {}

    /**
     * Enqueues the forward pass, or returns false where our own kernels must or had better do it.
     *
     * @param own enqueues the same by our own kernels
     */
    boolean forward(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp, Runnable own) {
        if (AttentionProviders.of(device, false, shape) != AttentionProviders.Provider.CUDNN) {
            return false;
        }
        List<Result> results = new ArrayList<>();
        results.add(new Result(CudnnAttentionGraph.OUT, out, shape.out(), shape.queries(), shape.headDim()));
        if (logSumExp != null) {
            Strides rows = new Strides((long) shape.heads() * shape.queries(), shape.queries(), 1);
            results.add(new Result(CudnnAttentionGraph.STATS, logSumExp, rows, shape.queries(), 1));
        }
        Pass pass = logSumExp == null ? Pass.INFERENCE : Pass.FORWARD;
        return computed(new Call(shape, pass, in, null, null, null, results), own);
    }

    /** Enqueues the backward pass, or returns false where our own kernels must or had better do it. */
    boolean backward(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients,
            Runnable own) {
        if (AttentionProviders.of(device, true, shape) != AttentionProviders.Provider.CUDNN) {
            return false;
        }
        int d = shape.headDim();
        List<Result> results = List.of(
                new Result(CudnnAttentionGraph.DQ, gradients.q(), shape.q(), shape.queries(), d),
                new Result(CudnnAttentionGraph.DK, gradients.k(), shape.k(), shape.keys(), d),
                new Result(CudnnAttentionGraph.DV, gradients.v(), shape.v(), shape.keys(), d));
        return computed(new Call(shape, Pass.BACKWARD, in, out, logSumExp, dout, results), own);
    }

    private boolean computed(Call call, Runnable own) {
        Key key = new Key(call.shape, call.pass);
        Optional<Plan> known = plans.get(key);
        if (known == null) {
            return !device.currentStream().recording() && first(key, call, own);
        }
        if (known.isEmpty()) {
            return false;
        }
        try {
            execute(known.get(), call, call.results);
            return true;
        } catch (CudaException | NativeLibraryException | DeviceException e) {
            alive(e);
            if (!(e instanceof DeviceException)) {
                plans.put(key, Optional.empty());
            }
            told(e.getMessage());
            return false;
        }
    }

    /** Makes the plan for a shape and enqueues the pass by it or by our own kernels. */
    private boolean first(Key key, Call call, Runnable own) {
        synchronized (first) {
            if (plans.containsKey(key)) {
                return computed(call, own);
            }
            Plan plan = null;
            try {
                plan = plan(call, own);
            } catch (CudaException | NativeLibraryException | DeviceException e) {
                alive(e);
                told(e.getMessage());
            }
            plans.put(key, Optional.ofNullable(plan));
            if (plan == null) {
                own.run();
            }
            return true;
        }
    }

    /** Throws a failure after which nothing can be computed. */
    private void alive(RuntimeException e) {
        if (e instanceof CudaException failure && failure.deviceLost()) {
            throw device.failed(failure);
        }
        if (e instanceof DeviceException failure && failure.deviceLost()) {
            throw failure;
        }
    }

    private void told(@Nullable String why) {
        LOG.log(Level.INFO, "attention on {0} is computed by our own kernels: {1}", device, why);
    }

    /** A plan whose results, which the call's buffers then hold, agree with those of our own kernels; null where there is none. */
    private @Nullable Plan plan(Call call, Runnable own) {
        if (call.pass == Pass.BACKWARD && Cudnn.version() <= LAST_WITH_WHOLE_TILES && call.shape.keys() % TILE != 0) {
            told("cuDNN " + Cudnn.version() + " needs keys that fill tiles of " + TILE);
            return null;
        }
        own.run();
        List<double[]> expected = values(call, call.results);
        String fault = "cuDNN has no engine";
        for (boolean sums : call.pass == Pass.BACKWARD ? new boolean[] {true, false} : new boolean[] {false}) {
            CudnnGraph graph = new CudnnGraph();
            Plan kept = null;
            int tries = 0;
            try {
                for (long engine : engines(graph, call, sums)) {
                    if (tries++ == MOST_TRIES) {
                        break;
                    }
                    try {
                        Plan plan = plan(graph, engine, call, sums);
                        fault = fault(plan, call, expected);
                        if (fault.isEmpty()) {
                            kept = plan;
                            return plan;
                        }
                    } catch (CudaException e) {
                        alive(e);
                        fault = String.valueOf(e.getMessage());
                    }
                    LOG.log(Level.DEBUG, "an engine of cuDNN is not used for " + call.shape + ": " + fault);
                }
            } catch (CudaException | NativeLibraryException e) {
                alive(e);
                fault = String.valueOf(e.getMessage());
            } finally {
                if (kept == null) {
                    device.quietly(device.currentStream()::synchronize);
                    graph.close();
                }
            }
        }
        told(fault);
        return null;
    }

    private synchronized long[] engines(CudnnGraph graph, Call call, boolean sums) {
        CudaThread.get().use(device);
        if (handle == 0) {
            handle = Cudnn.create();
        }
        CudnnAttentionGraph.describe(graph, call.shape, call.pass, sums);
        return graph.engines(handle);
    }

    private synchronized Plan plan(CudnnGraph graph, long engine, Call call, boolean sums) {
        CudaThread.get().use(device);
        MemorySegment numbers = Arena.ofAuto().allocate(2 * Float.BYTES, Float.BYTES);
        numbers.set(ValueLayout.JAVA_FLOAT, 0, (float) call.shape.scale());
        numbers.set(ValueLayout.JAVA_FLOAT, Float.BYTES, 1);
        long plan = graph.plan(handle, engine);
        long workspace = Cudnn.getLong(plan, Cudnn.EXECUTION_PLAN_WORKSPACE_SIZE);
        return new Plan(graph, plan, CudnnAttentionGraph.ids(call.pass, sums), sums, workspace, numbers);
    }

    /** Runs a plan and tells what is wrong with its results; an empty text if nothing is. */
    private String fault(Plan plan, Call call, List<double[]> expected) {
        List<Result> results = new ArrayList<>();
        try {
            for (Result result : call.results) {
                Buffer scratch = device.allocate(result.buffer.dtype(), result.extent(call.shape));
                results.add(result.in(scratch));
                long stream = device.currentStream().handle();
                device.run(() -> CudaDriver.memsetD8Async(scratch.address(), (byte) 0xFF, scratch.byteSize(), stream));
            }
            execute(plan, call, results);
            List<double[]> found = values(call, results);
            for (int i = 0; i < found.size(); i++) {
                double error = error(found.get(i), expected.get(i));
                if (!(error <= (call.pass == Pass.BACKWARD ? BACKWARD_TOLERANCE : FORWARD_TOLERANCE))) {
                    return "cuDNN's result differs from ours by " + error + " of its norm (tensor "
                            + call.results.get(i).id + ")";
                }
            }
            for (int run = 0; run < REPETITIONS; run++) {
                execute(plan, call, call.results);
                List<double[]> again = values(call, call.results);
                for (int i = 0; i < found.size(); i++) {
                    if (!Arrays.equals(found.get(i), again.get(i))) {
                        return "cuDNN's results do not repeat bit for bit";
                    }
                }
            }
            return "";
        } finally {
            results.forEach(result -> result.buffer.close());
        }
    }

    /** Norm of the difference by that of what is expected; NaN passes no comparison. */
    private static double error(double[] found, double[] expected) {
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < found.length; i++) {
            difference += (found[i] - expected[i]) * (found[i] - expected[i]);
            norm += expected[i] * expected[i];
        }
        return difference == 0 ? 0 : Math.sqrt(difference / norm);
    }

    /** The values of some samples and heads, the first and the last among them; waits for them. */
    private List<double[]> values(Call call, List<Result> results) {
        AttentionShape shape = call.shape;
        long pairs = shape.batch() * shape.heads();
        int compared = (int) Math.min(COMPARED, pairs);
        List<double[]> all = new ArrayList<>();
        for (Result result : results) {
            Strides strides = result.strides;
            long span = (result.rows - 1) * strides.row() + result.width;
            double[] values = new double[compared * result.rows * result.width];
            int at = 0;
            try (Buffer host = Device.cpu().allocate(result.buffer.dtype(), span)) {
                for (int i = 0; i < compared; i++) {
                    long pair = compared == 1 ? 0 : i * (pairs - 1) / (compared - 1);
                    long start = pair / shape.heads() * strides.batch() + pair % shape.heads() * strides.head();
                    result.buffer.slice(start, span).copyTo(host);
                    for (int row = 0; row < result.rows; row++) {
                        for (int column = 0; column < result.width; column++) {
                            values[at++] = Elements.get(host, row * strides.row() + column);
                        }
                    }
                }
            }
            all.add(values);
        }
        return all;
    }

    /** @param results where to write, which may be others than the call's */
    private void execute(Plan plan, Call call, List<Result> results) {
        AttentionShape shape = call.shape;
        long rows = shape.batch() * shape.heads() * shape.queries();
        long sums = plan.sums ? rows * shape.headDim() : 0;
        try (Buffer scratch = device.allocate(DType.F32, call.pass == Pass.BACKWARD ? sums + rows : 0);
                Buffer workspace = device.allocate(DType.U8, Math.max(1, plan.workspace))) {
            if (plan.sums && Cudnn.version() < FIRST_THAT_CLEARS_DQ) {
                device.clear(scratch);
            }
            long[] pointers = new long[plan.ids.length];
            for (int i = 0; i < pointers.length; i++) {
                pointers[i] = pointer(plan, call, results, scratch.address(), sums, plan.ids[i]);
            }
            synchronized (this) {
                // A virtual thread may have changed its carrier while it waited for its turn.
                CudaThread.get().use(device);
                Cudnn.setStream(handle, device.currentStream().handle());
                long pack = Cudnn.createDescriptor(Cudnn.VARIANT_PACK_DESCRIPTOR);
                try {
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_UNIQUE_IDS, Cudnn.TYPE_INT64, plan.ids);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_DATA_POINTERS, Cudnn.TYPE_VOID_PTR, pointers);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_WORKSPACE, Cudnn.TYPE_VOID_PTR, workspace.address());
                    Cudnn.finalizeDescriptor(pack);
                    Cudnn.execute(handle, plan.descriptor, pack);
                } finally {
                    Cudnn.destroyDescriptor(pack);
                }
            }
        }
    }

    private static long pointer(Plan plan, Call call, List<Result> results, long scratch, long sums, long id) {
        for (Result result : results) {
            if (result.id == id) {
                return result.buffer.address();
            }
        }
        if (id == CudnnAttentionGraph.SCALE) {
            return plan.numbers.address();
        }
        if (id == CudnnAttentionGraph.ONE) {
            return plan.numbers.address() + Float.BYTES;
        }
        if (id == CudnnAttentionGraph.DQ_SUM) {
            return scratch;
        }
        if (id == CudnnAttentionGraph.MEANS) {
            return scratch + sums * Float.BYTES;
        }
        Buffer buffer = id == CudnnAttentionGraph.Q
                ? call.in.q()
                : id == CudnnAttentionGraph.K
                        ? call.in.k()
                        : id == CudnnAttentionGraph.V
                                ? call.in.v()
                                : id == CudnnAttentionGraph.OUT
                                        ? call.out
                                        : id == CudnnAttentionGraph.STATS ? call.stats : call.dout;
        return buffer == null ? 0 : buffer.address();
    }
}
