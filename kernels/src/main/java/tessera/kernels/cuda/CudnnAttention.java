package tessera.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.Cudnn;

/**
 * cuDNN as a second provider of attention: bf16, no bias and no regions, rows that allow 16-byte accesses.
 *
 * <p>It computes where it is installed and {@code attention.providers}, a table that the kernel benchmark writes, names it for
 * the shape; the property {@value #PROPERTY} ({@code own}, {@code cudnn}, or {@code auto} for the table) overrides the table.
 * Where it refuses a shape, that is logged once and our own kernels compute.
 *
 * <p>The backward pass is the graph of products and element-wise operations that cuDNN fuses on Hopper. It may add dQ across
 * blocks in any order: the table may name it only where the benchmark has seen results repeat.
 *
 * <p>Plans are kept per shape. Thread-safe; calls from several threads take turns while they are enqueued.
 */
final class CudnnAttention {
    static final String PROPERTY = "tessera.cuda.attention";

    private static final System.Logger LOG = System.getLogger("tessera");
    private static final String TABLE = "attention.providers";
    private static final int FIRST_THAT_CLEARS_DQ = 90600;

    private static final long Q = 1;
    private static final long K = 2;
    private static final long V = 3;
    private static final long OUT = 4;
    private static final long STATS = 5;
    private static final long SCALE = 6;
    private static final long ONE = 7;
    private static final long DOUT = 8;
    private static final long DQ = 9;
    private static final long DK = 10;
    private static final long DV = 11;
    private static final long MEANS = 12;
    private static final long DQ_SUM = 13;

    private static final long[] INFERENCE_IDS = {SCALE, Q, K, V, OUT};
    private static final long[] FORWARD_IDS = {SCALE, Q, K, V, OUT, STATS};
    private static final long[] BACKWARD_IDS = {SCALE, Q, K, V, OUT, STATS, DOUT, DQ, DK, DV, MEANS, DQ_SUM, ONE};

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
    private long handle;

    CudnnAttention(CudaDevice device) {
        this.device = device;
    }

    private record Key(AttentionShape shape, Pass pass) {}

    /** A finalised plan, for as long as the process lives, and its numbers in host memory: the scale and 1. */
    private record Plan(Pass pass, long descriptor, long workspace, MemorySegment numbers) {}

    /** Enqueues the forward pass, or returns false where our own kernels must or had better do it. */
    boolean forward(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        Plan plan = find(shape, logSumExp == null ? Pass.INFERENCE : Pass.FORWARD);
        if (plan == null) {
            return false;
        }
        if (logSumExp == null) {
            execute(plan, in, out);
        } else {
            execute(plan, in, out, logSumExp);
        }
        return true;
    }

    /** Enqueues the backward pass, or returns false where our own kernels must or had better do it. */
    boolean backward(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients) {
        Plan plan = find(shape, Pass.BACKWARD);
        if (plan == null) {
            return false;
        }
        long rows = shape.batch() * shape.heads() * shape.queries();
        try (Buffer means = device.allocate(DType.F32, rows);
                Buffer sums = device.allocate(DType.F32, rows * shape.headDim())) {
            if (Cudnn.version() < FIRST_THAT_CLEARS_DQ) {
                device.clear(sums);
            }
            execute(plan, in, out, logSumExp, dout, gradients.q(), gradients.k(), gradients.v(), means, sums);
        }
        return true;
    }

    /** @param rest all other buffers in the order of the pass's ids */
    private void execute(Plan plan, AttentionTensors in, Buffer... rest) {
        long[] ids = switch (plan.pass) {
            case INFERENCE -> INFERENCE_IDS;
            case FORWARD -> FORWARD_IDS;
            case BACKWARD -> BACKWARD_IDS;
        };
        long[] pointers = new long[ids.length];
        pointers[0] = plan.numbers.address();
        pointers[1] = in.q().address();
        pointers[2] = in.k().address();
        pointers[3] = in.v().address();
        for (int i = 0; i < rest.length; i++) {
            pointers[4 + i] = rest[i].address();
        }
        if (plan.pass == Pass.BACKWARD) {
            pointers[ids.length - 1] = plan.numbers.address() + Float.BYTES;
        }
        CudaThread.get().use(device);
        try (Buffer workspace = device.allocate(DType.U8, Math.max(1, plan.workspace))) {
            synchronized (this) {
                Cudnn.setStream(handle, device.currentStream().handle());
                long pack = Cudnn.createDescriptor(Cudnn.VARIANT_PACK_DESCRIPTOR);
                try {
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_UNIQUE_IDS, Cudnn.TYPE_INT64, ids);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_DATA_POINTERS, Cudnn.TYPE_VOID_PTR, pointers);
                    Cudnn.setLongs(pack, Cudnn.VARIANT_PACK_WORKSPACE, Cudnn.TYPE_VOID_PTR, workspace.address());
                    Cudnn.finalizeDescriptor(pack);
                    Cudnn.execute(handle, plan.descriptor, pack);
                } finally {
                    Cudnn.destroyDescriptor(pack);
                }
            }
        } catch (CudaException | NativeLibraryException e) {
            throw device.failed(e);
        }
    }

    /** A plan, or null; none is made while a graph is recorded, because that loads code. */
    private @Nullable Plan find(AttentionShape shape, Pass pass) {
        if (!Providers.prefersCudnn(device.capability(), pass, shape)) {
            return null;
        }
        Key key = new Key(shape, pass);
        if (device.currentStream().recording() && !plans.containsKey(key)) {
            return null;
        }
        return plans.computeIfAbsent(key, this::plan).orElse(null);
    }

    private Optional<Plan> plan(Key key) {
        CudaThread.get().use(device);
        try {
            synchronized (this) {
                if (handle == 0) {
                    handle = Cudnn.create();
                }
                MemorySegment numbers = Arena.ofAuto().allocate(2 * Float.BYTES, Float.BYTES);
                numbers.set(ValueLayout.JAVA_FLOAT, 0, (float) key.shape.scale());
                numbers.set(ValueLayout.JAVA_FLOAT, Float.BYTES, 1);
                long plan = plan(key.shape, key.pass, handle);
                try {
                    long workspace = Cudnn.getLong(plan, Cudnn.EXECUTION_PLAN_WORKSPACE_SIZE);
                    return Optional.of(new Plan(key.pass, plan, workspace, numbers));
                } catch (CudaException e) {
                    Cudnn.destroyDescriptor(plan);
                    throw e;
                }
            }
        } catch (CudaException | NativeLibraryException e) {
            LOG.log(Level.INFO, "attention on {0} is computed by our own kernels: {1}", device, e.getMessage());
            return Optional.empty();
        }
    }

    /** See {@link CudnnGraph#plan}. */
    private static long plan(AttentionShape shape, Pass pass, long handle) {
        try (CudnnGraph graph = new CudnnGraph()) {
            long b = shape.batch();
            long h = shape.heads();
            long n = shape.queries();
            long m = shape.keys();
            long d = shape.headDim();
            long[] queries = {b, h, n, d};
            long[] keys = {b, h, m, d};
            long[] rows = {b, h, n, 1};
            long q = graph.tensor(Q, queries, shape.q());
            long out = graph.tensor(OUT, queries, shape.out());
            long scale = graph.scalar(SCALE);
            long stats = pass == Pass.INFERENCE ? 0 : graph.tensor(STATS, Cudnn.FLOAT, rows, h * n, n, 1, 1);
            if (pass == Pass.BACKWARD) {
                long[] scores = {b, h, n, m};
                long[] transposed = {b, h, m, n};
                long[] transposedStrides = {h * m * n, m * n, 1, m};
                long kTransposed = transposed(graph, K, shape.k(), keys);
                long vTransposed = transposed(graph, V, shape.v(), keys);
                long dout = graph.tensor(DOUT, queries, shape.out());

                // D = rowsum(dO O)
                long products = graph.pointwise(Cudnn.POINTWISE_MUL, dout, out, queries);
                long sums = graph.virtual(Cudnn.FLOAT, rows);
                graph.sum(products, sums);
                long means = graph.tensor(MEANS, Cudnn.FLOAT, rows, h * n, n, 1, 1);
                graph.pointwise(Cudnn.POINTWISE_MUL, sums, graph.scalar(ONE), means);

                // P = exp(scale Q K^T - L), dV = P^T dO
                long s = graph.matmul(q, kTransposed, scores);
                long scaled = graph.pointwise(Cudnn.POINTWISE_MUL, s, scale, scores);
                long shifted = graph.pointwise(Cudnn.POINTWISE_SUB, scaled, stats, scores);
                long p = graph.pointwise(Cudnn.POINTWISE_EXP, shifted, 0, scores);
                long pTransposed = graph.virtual(Cudnn.BFLOAT16, transposed, transposedStrides);
                graph.reshape(p, pTransposed);
                graph.matmul(pTransposed, dout, graph.tensor(DV, keys, shape.v()));

                // dS = scale P (dO V^T - D), dK = dS^T Q, dQ = dS K
                long dp = graph.matmul(dout, vTransposed, scores);
                long centred = graph.pointwise(Cudnn.POINTWISE_SUB, dp, means, scores);
                long weighted = graph.pointwise(Cudnn.POINTWISE_MUL, centred, p, scores);
                long ds = graph.virtual(Cudnn.BFLOAT16, scores);
                graph.pointwise(Cudnn.POINTWISE_MUL, weighted, scale, ds);
                long dsTransposed = graph.virtual(Cudnn.BFLOAT16, transposed, transposedStrides);
                graph.reshape(ds, dsTransposed);
                graph.matmul(dsTransposed, q, graph.tensor(DK, keys, shape.k()));
                Strides kStrides = shape.k();
                long[] strides = {kStrides.batch(), kStrides.head(), kStrides.row(), 1};
                long k = graph.virtual(Cudnn.BFLOAT16, keys, strides);
                graph.reshape(kTransposed, k);
                long dqSum = graph.tensor(DQ_SUM, Cudnn.FLOAT, queries, h * n * d, n * d, d, 1);
                graph.matmul(ds, k, dqSum);
                graph.pointwise(Cudnn.POINTWISE_IDENTITY, dqSum, graph.tensor(DQ, queries, shape.q()));
            } else {
                long k = graph.tensor(K, keys, shape.k());
                long v = graph.tensor(V, keys, shape.v());
                graph.attention(q, k, v, scale, out, stats);
            }
            return graph.plan(handle);
        }
    }

    private static long transposed(CudnnGraph graph, long id, Strides strides, long[] dims) {
        long[] swapped = {dims[0], dims[1], dims[3], dims[2]};
        return graph.tensor(id, Cudnn.BFLOAT16, swapped, strides.batch(), strides.head(), 1, strides.row());
    }

    /** Who computes which shape. */
    private static final class Providers {
        private static final String CHOICE = System.getProperty(PROPERTY, "auto");
        private static final Set<Line> CUDNN = read();

        /** One line of the table: cuDNN is faster in this direction for these lengths and this head dim. */
        private record Line(int capability, boolean backward, int queries, int keys, int headDim) {}

        static boolean prefersCudnn(int capability, Pass pass, AttentionShape shape) {
            return switch (CHOICE) {
                case "auto" ->
                    !CUDNN.isEmpty()
                            && CUDNN.contains(new Line(
                                    capability, pass == Pass.BACKWARD, shape.queries(), shape.keys(), shape.headDim()))
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
                String table = new String(stream.readAllBytes(), StandardCharsets.UTF_8);
                for (String line : table.lines().toList()) {
                    String[] words = line.strip().split("\\s+", -1);
                    if (words.length == 6 && !line.startsWith("#") && words[5].equals("cudnn")) {
                        lines.add(new Line(
                                Integer.parseInt(words[0]),
                                words[1].equals("backward"),
                                Integer.parseInt(words[2]),
                                Integer.parseInt(words[3]),
                                Integer.parseInt(words[4])));
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return lines;
        }
    }
}
