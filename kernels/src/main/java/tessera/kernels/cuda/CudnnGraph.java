package tessera.kernels.cuda;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.kernels.Attention.Strides;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.Cudnn;

/**
 * A graph of cuDNN operations: tensors of four axes, operations in the order in which they are added, and the plans made from
 * it. Closing it destroys all of them: plans refer to what they were made from, so it stays open as long as one is used. Not
 * thread-safe.
 */
final class CudnnGraph implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger("tessera");
    private static final int MOST_CONFIGURATIONS = 8;

    private final List<Long> made = new ArrayList<>();
    private final List<Long> operations = new ArrayList<>();
    private long nextId = 1 << 20;

    /** A tensor in memory, by whose id a plan's execution finds it. */
    long tensor(long id, int type, long[] dims, long... strides) {
        return tensor(id, type, false, false, dims, strides);
    }

    /** The same with the strides of rows of contiguous values. */
    long tensor(long id, long[] dims, Strides strides) {
        return tensor(id, Cudnn.BFLOAT16, dims, strides.batch(), strides.head(), strides.row(), 1);
    }

    /** An f32 number in the host's memory. */
    long scalar(long id) {
        return tensor(id, Cudnn.FLOAT, false, true, new long[] {1, 1, 1, 1}, new long[] {1, 1, 1, 1});
    }

    /** A contiguous tensor that is never in memory. */
    long virtual(int type, long... dims) {
        return virtual(type, dims, new long[] {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1});
    }

    long virtual(int type, long[] dims, long[] strides) {
        return tensor(nextId++, type, true, false, dims, strides);
    }

    private long tensor(long id, int type, boolean virtual, boolean byValue, long[] dims, long[] strides) {
        long tensor = create(Cudnn.TENSOR_DESCRIPTOR);
        Cudnn.setEnum(tensor, Cudnn.TENSOR_DATA_TYPE, Cudnn.TYPE_DATA_TYPE, type);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_DIMENSIONS, Cudnn.TYPE_INT64, dims);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_STRIDES, Cudnn.TYPE_INT64, strides);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_UNIQUE_ID, Cudnn.TYPE_INT64, id);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_BYTE_ALIGNMENT, Cudnn.TYPE_INT64, 16);
        Cudnn.setBoolean(tensor, Cudnn.TENSOR_IS_VIRTUAL, virtual);
        Cudnn.setBoolean(tensor, Cudnn.TENSOR_IS_BY_VALUE, byValue);
        Cudnn.finalizeDescriptor(tensor);
        return tensor;
    }

    /** {@code y = mode(x)}. */
    void pointwise(int mode, long x, long y) {
        pointwise(mode, x, 0, y);
    }

    /** {@code y = mode(x, b)}, b broadcast where its axes are 1; without b where it is 0. */
    void pointwise(int mode, long x, long b, long y) {
        long operation = create(Cudnn.OPERATION_POINTWISE_DESCRIPTOR);
        long description = create(Cudnn.POINTWISE_DESCRIPTOR);
        Cudnn.setEnum(description, Cudnn.POINTWISE_MODE, Cudnn.TYPE_POINTWISE_MODE, mode);
        describe(operation, Cudnn.OPERATION_POINTWISE_PW_DESCRIPTOR, description, Cudnn.POINTWISE_MATH_PREC);
        set(operation, Cudnn.OPERATION_POINTWISE_XDESC, x);
        if (b != 0) {
            set(operation, Cudnn.OPERATION_POINTWISE_BDESC, b);
        }
        set(operation, Cudnn.OPERATION_POINTWISE_YDESC, y);
        add(operation);
    }

    /** The same with an f32 result of some dimensions that is never in memory. */
    long pointwise(int mode, long x, long b, long[] dims) {
        long y = virtual(Cudnn.FLOAT, dims);
        pointwise(mode, x, b, y);
        return y;
    }

    /** {@code c = a b} over the last two axes, accumulated in f32. */
    void matmul(long a, long b, long c) {
        long operation = create(Cudnn.OPERATION_MATMUL_DESCRIPTOR);
        long description = create(Cudnn.MATMUL_DESCRIPTOR);
        describe(operation, Cudnn.OPERATION_MATMUL_DESC, description, Cudnn.MATMUL_COMP_TYPE);
        set(operation, Cudnn.OPERATION_MATMUL_ADESC, a);
        set(operation, Cudnn.OPERATION_MATMUL_BDESC, b);
        set(operation, Cudnn.OPERATION_MATMUL_CDESC, c);
        add(operation);
    }

    /** The same with an f32 result of some dimensions that is never in memory. */
    long matmul(long a, long b, long[] dims) {
        long c = virtual(Cudnn.FLOAT, dims);
        matmul(a, b, c);
        return c;
    }

    /** Sums over the axes of x that are 1 in y. */
    void sum(long x, long y) {
        long operation = create(Cudnn.OPERATION_REDUCTION_DESCRIPTOR);
        long description = create(Cudnn.REDUCTION_DESCRIPTOR);
        Cudnn.setEnum(description, Cudnn.REDUCTION_OPERATOR, Cudnn.TYPE_REDUCTION_OPERATOR, Cudnn.REDUCE_TENSOR_ADD);
        describe(operation, Cudnn.OPERATION_REDUCTION_DESC, description, Cudnn.REDUCTION_COMP_TYPE);
        set(operation, Cudnn.OPERATION_REDUCTION_XDESC, x);
        set(operation, Cudnn.OPERATION_REDUCTION_YDESC, y);
        add(operation);
    }

    /** Reads x by y's axes: a transposition where the strides say so. */
    void reshape(long x, long y) {
        long operation = create(Cudnn.OPERATION_RESHAPE_DESCRIPTOR);
        set(operation, Cudnn.OPERATION_RESHAPE_XDESC, x);
        set(operation, Cudnn.OPERATION_RESHAPE_YDESC, y);
        add(operation);
    }

    /** {@code out = softmax(scale q k^T) v} in one operation; {@code stats} is 0 where not wanted. */
    void attention(long q, long k, long v, long scale, long out, long stats) {
        long operation = create(Cudnn.OPERATION_SDPA_FWD_DESCRIPTOR);
        set(operation, Cudnn.OPERATION_SDPA_FWD_QDESC, q);
        set(operation, Cudnn.OPERATION_SDPA_FWD_KDESC, k);
        set(operation, Cudnn.OPERATION_SDPA_FWD_VDESC, v);
        set(operation, Cudnn.OPERATION_SDPA_FWD_ODESC, out);
        set(operation, Cudnn.OPERATION_SDPA_FWD_SCALEDESC, scale);
        if (stats != 0) {
            set(operation, Cudnn.OPERATION_SDPA_FWD_STATSDESC, stats);
        }
        add(operation);
    }

    /**
     * The engines that may execute the graph on the device of a handle, the best first: what the heuristics advise, then what they
     * fall back on. Completes the graph.
     */
    long[] engines(long handle) {
        long graph = create(Cudnn.OPERATIONGRAPH_DESCRIPTOR);
        Cudnn.setLongs(
                graph,
                Cudnn.OPERATIONGRAPH_OPS,
                Cudnn.TYPE_BACKEND_DESCRIPTOR,
                operations.stream().mapToLong(Long::longValue).toArray());
        Cudnn.setLongs(graph, Cudnn.OPERATIONGRAPH_HANDLE, Cudnn.TYPE_HANDLE, handle);
        Cudnn.finalizeDescriptor(graph);
        List<Long> engines = new ArrayList<>();
        for (int mode : new int[] {Cudnn.HEUR_MODE_A, Cudnn.HEUR_MODE_FALLBACK}) {
            try {
                for (long engine : engines(graph, mode)) {
                    engines.add(engine);
                }
            } catch (CudaException e) {
                LOG.log(Level.DEBUG, "heuristics of mode " + mode + ": " + e.getMessage());
            }
        }
        if (engines.isEmpty()) {
            throw new NativeLibraryException("cuDNN " + Cudnn.version() + " has no engine for this shape");
        }
        return engines.stream().mapToLong(Long::longValue).toArray();
    }

    private long[] engines(long graph, int mode) {
        long heuristic = create(Cudnn.ENGINEHEUR_DESCRIPTOR);
        set(heuristic, Cudnn.ENGINEHEUR_OPERATION_GRAPH, graph);
        Cudnn.setEnum(heuristic, Cudnn.ENGINEHEUR_MODE, Cudnn.TYPE_HEUR_MODE, mode);
        Cudnn.finalizeDescriptor(heuristic);
        long[] configurations = new long[MOST_CONFIGURATIONS];
        for (int i = 0; i < configurations.length; i++) {
            configurations[i] = create(Cudnn.ENGINECFG_DESCRIPTOR);
        }
        int found = Cudnn.getDescriptors(heuristic, Cudnn.ENGINEHEUR_RESULTS, configurations);
        return Arrays.copyOf(configurations, found);
    }

    /**
     * A plan to execute the graph by one of its engines; this compiles kernels.
     *
     * @throws CudaException if the engine does not support the graph after all
     */
    long plan(long handle, long engine) {
        long plan = create(Cudnn.EXECUTION_PLAN_DESCRIPTOR);
        set(plan, Cudnn.EXECUTION_PLAN_ENGINE_CONFIG, engine);
        Cudnn.setLongs(plan, Cudnn.EXECUTION_PLAN_HANDLE, Cudnn.TYPE_HANDLE, handle);
        Cudnn.finalizeDescriptor(plan);
        return plan;
    }

    /** Finishes the description of an operation that computes in f32. */
    private static void describe(long operation, int attribute, long description, int precision) {
        Cudnn.setEnum(description, precision, Cudnn.TYPE_DATA_TYPE, Cudnn.FLOAT);
        Cudnn.finalizeDescriptor(description);
        set(operation, attribute, description);
    }

    private long create(int type) {
        long descriptor = Cudnn.createDescriptor(type);
        made.add(descriptor);
        return descriptor;
    }

    private void add(long operation) {
        Cudnn.finalizeDescriptor(operation);
        operations.add(operation);
    }

    private static void set(long descriptor, int attribute, long value) {
        Cudnn.setLongs(descriptor, attribute, Cudnn.TYPE_BACKEND_DESCRIPTOR, value);
    }

    @Override
    public void close() {
        for (long descriptor : made.reversed()) {
            try {
                Cudnn.destroyDescriptor(descriptor);
            } catch (CudaException e) {
                LOG.log(Level.DEBUG, "a descriptor stays: " + e.getMessage());
            }
        }
    }
}
