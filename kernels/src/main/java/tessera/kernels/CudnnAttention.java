package tessera.kernels;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.AttentionShape;
import tessera.kernels.Kernels.Strides;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.Cudnn;

/**
 * cuDNN as a second provider of the forward pass of attention: bf16, no bias, rows that allow 16-byte accesses.
 *
 * <p>It computes where it is installed and {@code attention.providers}, a table that the kernel benchmark writes, names it for
 * the shape; the property {@value #PROPERTY} ({@code own}, {@code cudnn}, or {@code auto} for the table) overrides the table.
 * Where it refuses a shape, that is logged once and our own kernels compute. There is no backward pass: on Hopper cuDNN adds
 * dQ across blocks in any order, so its results would not repeat.
 *
 * <p>Plans are kept per shape. Thread-safe; calls from several threads take turns while they are enqueued.
 */
final class CudnnAttention {
    static final String PROPERTY = "tessera.cuda.attention";

    private static final System.Logger LOG = System.getLogger("tessera");
    private static final String TABLE = "cuda/attention.providers";
    private static final int MOST_CONFIGURATIONS = 8;

    private static final long Q = 1;
    private static final long K = 2;
    private static final long V = 3;
    private static final long OUT = 4;
    private static final long STATS = 5;
    private static final long SCALE = 6;

    private final CudaDevice device;
    private final Map<Key, Optional<Plan>> plans = new ConcurrentHashMap<>();
    private long handle;

    CudnnAttention(CudaDevice device) {
        this.device = device;
    }

    private record Key(AttentionShape shape, boolean stats) {}

    /** A finalised plan, for as long as the process lives. */
    private record Plan(long descriptor, long workspace, MemorySegment scale) {}

    /** Enqueues the forward pass, or returns false where our own kernels must or had better do it. */
    boolean forward(AttentionShape shape, Buffer q, Buffer k, Buffer v, Buffer out, @Nullable Buffer logSumExp) {
        if (!Providers.prefersCudnn(device.capability(), shape)
                || device.currentStream().capturing() && !known(shape, logSumExp)) {
            return false;
        }
        Plan plan = plans.computeIfAbsent(new Key(shape, logSumExp != null), this::plan)
                .orElse(null);
        if (plan == null) {
            return false;
        }
        CudaThread.get().use(device);
        try (Buffer workspace = device.allocate(DType.U8, Math.max(1, plan.workspace))) {
            synchronized (this) {
                Cudnn.setStream(handle, device.currentStream().handle());
                long pack = Cudnn.createDescriptor(Cudnn.VARIANT_PACK_DESCRIPTOR);
                try {
                    boolean stats = logSumExp != null;
                    long[] ids = stats ? new long[] {Q, K, V, OUT, SCALE, STATS} : new long[] {Q, K, V, OUT, SCALE};
                    long[] pointers = new long[ids.length];
                    pointers[0] = q.address();
                    pointers[1] = k.address();
                    pointers[2] = v.address();
                    pointers[3] = out.address();
                    pointers[4] = plan.scale.address();
                    if (logSumExp != null) {
                        pointers[5] = logSumExp.address();
                    }
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_UNIQUE_IDS, Cudnn.TYPE_INT64, ids);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_DATA_POINTERS, Cudnn.TYPE_VOID_PTR, pointers);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_WORKSPACE, Cudnn.TYPE_VOID_PTR, workspace.address());
                    Cudnn.finalizeDescriptor(pack);
                    Cudnn.execute(handle, plan.descriptor, pack);
                } finally {
                    Cudnn.destroyDescriptor(pack);
                }
            }
        } catch (CudaException e) {
            throw device.failed(e);
        }
        return true;
    }

    /** A plan is not made while a graph is recorded: making it loads code. */
    private boolean known(AttentionShape shape, @Nullable Buffer logSumExp) {
        return plans.containsKey(new Key(shape, logSumExp != null));
    }

    private Optional<Plan> plan(Key key) {
        CudaThread.get().use(device);
        try {
            synchronized (this) {
                if (handle == 0) {
                    handle = Cudnn.create();
                }
                MemorySegment scale = Arena.ofAuto().allocate(ValueLayout.JAVA_FLOAT);
                scale.set(ValueLayout.JAVA_FLOAT, 0, (float) key.shape.scale());
                long plan = plan(key.shape, key.stats, handle, 0);
                return Optional.of(new Plan(plan, Cudnn.getLong(plan, Cudnn.EXECUTION_PLAN_WORKSPACE_SIZE), scale));
            }
        } catch (CudaException | NativeLibraryException e) {
            LOG.log(Level.INFO, "attention on {0} is computed by our own kernels: {1}", device, e.getMessage());
            return Optional.empty();
        }
    }

    /**
     * Builds a plan for a device, given by a handle or, where there is none, by a descriptor of its properties.
     *
     * @throws CudaException if no engine supports the shape
     */
    static long plan(AttentionShape shape, boolean stats, long handle, long properties) {
        List<Long> made = new ArrayList<>();
        try {
            long operation = create(made, Cudnn.OPERATION_SDPA_FWD_DESCRIPTOR);
            long[] queries = {shape.batch(), shape.heads(), shape.queries(), shape.headDim()};
            long[] keys = {shape.batch(), shape.heads(), shape.keys(), shape.headDim()};
            set(operation, Cudnn.OPERATION_SDPA_FWD_QDESC, tensor(made, Q, queries, strides(shape.q())));
            set(operation, Cudnn.OPERATION_SDPA_FWD_KDESC, tensor(made, K, keys, strides(shape.k())));
            set(operation, Cudnn.OPERATION_SDPA_FWD_VDESC, tensor(made, V, keys, strides(shape.v())));
            set(operation, Cudnn.OPERATION_SDPA_FWD_ODESC, tensor(made, OUT, queries, strides(shape.out())));
            long[] one = {1, 1, 1, 1};
            set(operation, Cudnn.OPERATION_SDPA_FWD_SCALEDESC, tensor(made, SCALE, Cudnn.FLOAT, true, one, one));
            if (stats) {
                long[] rows = {shape.batch(), shape.heads(), shape.queries(), 1};
                long[] packed = {(long) shape.heads() * shape.queries(), shape.queries(), 1, 1};
                set(
                        operation,
                        Cudnn.OPERATION_SDPA_FWD_STATSDESC,
                        tensor(made, STATS, Cudnn.FLOAT, false, rows, packed));
            }
            Cudnn.finalizeDescriptor(operation);
            long graph = create(made, Cudnn.OPERATIONGRAPH_DESCRIPTOR);
            set(graph, Cudnn.OPERATIONGRAPH_OPS, operation);
            if (handle != 0) {
                Cudnn.setLongs(graph, Cudnn.OPERATIONGRAPH_HANDLE, Cudnn.TYPE_HANDLE, handle);
            }
            Cudnn.finalizeDescriptor(graph);
            long heuristic = create(made, Cudnn.ENGINEHEUR_DESCRIPTOR);
            set(heuristic, Cudnn.ENGINEHEUR_OPERATION_GRAPH, graph);
            Cudnn.setEnum(heuristic, Cudnn.ENGINEHEUR_MODE, Cudnn.TYPE_HEUR_MODE, Cudnn.HEUR_MODE_A);
            if (properties != 0) {
                set(heuristic, Cudnn.ENGINEHEUR_DEVICEPROP, properties);
            }
            Cudnn.finalizeDescriptor(heuristic);
            long[] configurations = new long[MOST_CONFIGURATIONS];
            for (int i = 0; i < configurations.length; i++) {
                configurations[i] = create(made, Cudnn.ENGINECFG_DESCRIPTOR);
            }
            int found = Cudnn.getDescriptors(heuristic, Cudnn.ENGINEHEUR_RESULTS, configurations);
            return firstPlan(configurations, found, handle, properties);
        } finally {
            made.reversed().forEach(Cudnn::destroyDescriptor);
        }
    }

    /** The first configuration that can be compiled; the library lists the best first. */
    private static long firstPlan(long[] configurations, int found, long handle, long properties) {
        CudaException refused = null;
        for (int i = 0; i < found; i++) {
            long plan = Cudnn.createDescriptor(Cudnn.EXECUTION_PLAN_DESCRIPTOR);
            try {
                set(plan, Cudnn.EXECUTION_PLAN_ENGINE_CONFIG, configurations[i]);
                if (handle != 0) {
                    Cudnn.setLongs(plan, Cudnn.EXECUTION_PLAN_HANDLE, Cudnn.TYPE_HANDLE, handle);
                }
                if (properties != 0) {
                    set(plan, Cudnn.EXECUTION_PLAN_DEVICEPROP, properties);
                }
                Cudnn.finalizeDescriptor(plan);
                return plan;
            } catch (CudaException e) {
                Cudnn.destroyDescriptor(plan);
                refused = e;
            }
        }
        if (refused != null) {
            throw refused;
        }
        throw new NativeLibraryException("cuDNN " + Cudnn.version() + " has no engine for this attention");
    }

    private static long create(List<Long> made, int type) {
        long descriptor = Cudnn.createDescriptor(type);
        made.add(descriptor);
        return descriptor;
    }

    private static void set(long descriptor, int attribute, long value) {
        Cudnn.setLongs(descriptor, attribute, Cudnn.TYPE_BACKEND_DESCRIPTOR, value);
    }

    private static long[] strides(Strides strides) {
        return new long[] {strides.batch(), strides.head(), strides.row(), 1};
    }

    private static long tensor(List<Long> made, long id, long[] dims, long[] strides) {
        return tensor(made, id, Cudnn.BFLOAT16, false, dims, strides);
    }

    private static long tensor(List<Long> made, long id, int type, boolean byValue, long[] dims, long[] strides) {
        long tensor = create(made, Cudnn.TENSOR_DESCRIPTOR);
        Cudnn.setEnum(tensor, Cudnn.TENSOR_DATA_TYPE, Cudnn.TYPE_DATA_TYPE, type);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_DIMENSIONS, Cudnn.TYPE_INT64, dims);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_STRIDES, Cudnn.TYPE_INT64, strides);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_UNIQUE_ID, Cudnn.TYPE_INT64, id);
        Cudnn.setLongs(tensor, Cudnn.TENSOR_BYTE_ALIGNMENT, Cudnn.TYPE_INT64, 16);
        Cudnn.setBoolean(tensor, Cudnn.TENSOR_IS_BY_VALUE, byValue);
        Cudnn.finalizeDescriptor(tensor);
        return tensor;
    }

    /** Who computes which shape. */
    private static final class Providers {
        private static final String CHOICE = System.getProperty(PROPERTY, "auto");
        private static final Set<Line> CUDNN = read();

        /** One line of the table: cuDNN is faster for these lengths and this head dim on this architecture. */
        private record Line(int capability, int queries, int keys, int headDim) {}

        static boolean prefersCudnn(int capability, AttentionShape shape) {
            return switch (CHOICE) {
                case "auto" ->
                    !CUDNN.isEmpty()
                            && CUDNN.contains(new Line(capability, shape.queries(), shape.keys(), shape.headDim()))
                            && CudaLibraries.cudnn().usable();
                case "cudnn" -> CudaLibraries.cudnn().usable();
                case "own" -> false;
                default ->
                    throw new IllegalArgumentException(
                            "property " + PROPERTY + " is '" + CHOICE + "'; set it to auto, own or cudnn");
            };
        }

        private static Set<Line> read() {
            Set<Line> lines = new HashSet<>();
            try (InputStream stream = CudnnAttention.class.getResourceAsStream(TABLE)) {
                if (stream == null) {
                    return lines;
                }
                BufferedReader reader = new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8));
                for (String line : reader.lines().toList()) {
                    String[] words = line.strip().split("\\s+");
                    if (words.length == 5 && !line.startsWith("#") && words[4].equals("cudnn")) {
                        lines.add(new Line(
                                Integer.parseInt(words[0]),
                                Integer.parseInt(words[1]),
                                Integer.parseInt(words[2]),
                                Integer.parseInt(words[3])));
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return lines;
        }
    }
}
