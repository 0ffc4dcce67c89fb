package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.Attention;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.KernelParity;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.NarrowKernels;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.device.CpuKernels;

/** The loops of a recorded kernel, run again on other contents, give the bits of the call, in every size that parity is tested in. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ReplayedKernelsTest extends KernelParity {
    @BeforeAll
    static void theVectorApi() {
        RandomRuns.endFirstRuns();
    }

    /** What passes of models are made of; where one of these is called, its loops are all that it does. */
    private static final Set<String> RECORDED = Set.of(
            "Attention.attention",
            "Bf16Kernels.linear",
            "Bf16Kernels.mlp",
            "Elementwise.binary",
            "Elementwise.cast",
            "Elementwise.copyStrided",
            "Elementwise.fill",
            "Elementwise.sum",
            "Elementwise.unary",
            "Int8Kernels.linear",
            "Int8Kernels.mlp",
            "Matmul.linear",
            "Matmul.linearBackward",
            "Matmul.matmul",
            "Norms.layerNorm",
            "Norms.softmax",
            "Patches.gatherPatches",
            "Tokens.addRows",
            "Tokens.assembleDecoder",
            "Tokens.gatherRows",
            "Tokens.selectRows");

    private static final int[] ROWS = {1, 2, 5, 150};
    /** Outputs and inputs of layers. */
    private static final int[][] LAYERS = {{1, 1}, {3, 4}, {17, 5}, {33, 31}, {129, 100}, {16, 0}, {0, 7}};

    private final Device device = Device.cpu(2);
    private final Workers workers = new Workers(2);
    private final Replayed replayed = new Replayed();
    private final Kernels kernels = replayed.all(CpuKernels.create(workers, new HostMemory()));

    @Override
    protected void check(String what, double tolerance, Call call) {
        for (int offset = 0; offset < 2; offset++) {
            run(kernels, device, DType.F32, false, offset, call);
        }
    }

    @AfterAll
    void everyRecordedKernelWasRepeated() {
        workers.close();
        Set<String> missing = new TreeSet<>(replayed.made());
        missing.retainAll(RECORDED);
        missing.removeAll(replayed.repeated());
        assertEquals(Set.of(), missing, "were called, but never as loops that can be run again");
        Set<String> others = new TreeSet<>(replayed.repeated());
        others.removeAll(RECORDED);
        assertEquals(Set.of(), others, "are recorded as loops; name them here");
    }

    private Memory memory() {
        return new Memory(device, DType.F32, false, 0);
    }

    @Test
    void layersOfOddSizes() {
        Matmul matmul = kernels.matmul();
        for (int[] nk : LAYERS) {
            try (Memory memory = memory();
                    PackedWeight weight = matmul.pack(memory.normal((long) nk[0] * nk[1]), nk[0], nk[1])) {
                for (int m : ROWS) {
                    layer(memory, m, nk[1], nk[0], (x, epilogue, y) -> matmul.linear(m, x, weight, epilogue, y));
                    MatmulShape shape = MatmulShape.of(false, true, m, nk[0], nk[1]);
                    Buffer w = memory.normal((long) nk[0] * nk[1]);
                    layer(memory, m, nk[1], nk[0], (x, epilogue, y) -> matmul.matmul(shape, x, w, epilogue, y));
                }
            }
        }
    }

    private interface Layer {
        void run(Buffer x, Epilogue epilogue, Buffer y);
    }

    /** With every epilogue; the addend is the result and apart from it. */
    private static void layer(Memory memory, int m, int k, int n, Layer layer) {
        Buffer x = memory.normal((long) m * k);
        Buffer y = memory.normal((long) m * n);
        layer.run(x, Epilogue.NONE, y);
        layer.run(x, new Epilogue(memory.normal(n), y, Activation.NONE), y);
        layer.run(x, new Epilogue(memory.normal(n), memory.normal((long) m * n), Activation.NONE), y);
        layer.run(x, new Epilogue(memory.normal(n), null, Activation.GELU), y);
    }

    @Test
    void layersOnBf16() {
        Bf16Kernels own = device.bf16().orElse(null);
        assumeTrue(own != null, "this processor multiplies no bf16");
        Bf16Kernels bf16 = replayed.of(Bf16Kernels.class, own);
        narrowLayers(bf16, bf16::pack);
        narrowAttention(bf16.attention());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void layersOnBytes(boolean calibrated) {
        Int8Kernels own = device.int8().orElse(null);
        assumeTrue(own != null, "this processor multiplies no bytes");
        Int8Kernels int8 = replayed.of(Int8Kernels.class, own);
        InputRange range = calibrated ? new InputRange(-1.5f, 2) : null;
        narrowLayers(int8, (weight, n, k) -> int8.pack(weight, n, k, range));
        narrowAttention(int8.attention());
    }

    private interface Packing {
        PackedWeight pack(Buffer weight, long n, long k);
    }

    private void narrowLayers(NarrowKernels narrow, Packing packing) {
        for (int[] nk : LAYERS) {
            int n = nk[0];
            int k = nk[1];
            try (Memory memory = memory();
                    PackedWeight first = packing.pack(memory.normal((long) n * k), n, k);
                    PackedWeight second = packing.pack(memory.normal(3L * n), 3, n)) {
                for (int m : ROWS) {
                    layer(memory, m, k, n, (x, epilogue, y) -> narrow.linear(m, x, first, epilogue, y));
                    Buffer bias = memory.normal(n);
                    layer(memory, m, k, 3, (x, epilogue, y) -> narrow.mlp(m, x, first, bias, second, epilogue, y));
                }
            }
        }
    }

    private void narrowAttention(Attention attention) {
        for (int n : new int[] {1, 5, 17, 70, 150}) {
            for (int dim : new int[] {7, 16, 24}) {
                try (Memory memory = memory()) {
                    Strides rows = new Strides((long) n * 2 * dim, dim, 2L * dim);
                    AttentionShape shape = new AttentionShape(2, 2, n, n, dim, .25, rows, rows, rows, rows, 1);
                    long all = 4L * n * dim;
                    AttentionTensors in = new AttentionTensors(
                            memory.normal(all), memory.normal(all), memory.normal(all), memory.normal(2L * n * n));
                    attention.attention(shape, in, memory.output(all), memory.output(4L * n));
                }
            }
        }
    }

    /** The gradient of a bias of one column over many rows is summed outside of repeatable loops, the weight's inside. */
    @Test
    void aCallThatWorksBesideItsLoopsIsMadeAgain() {
        Replayed watched = new Replayed();
        Matmul matmul =
                watched.all(CpuKernels.create(workers, new HostMemory())).matmul();
        try (Memory memory = memory()) {
            int rows = 5000;
            matmul.linearBackward(
                    new LinearShape(rows, 1, 3),
                    memory.normal(rows),
                    memory.normal(3L * rows),
                    memory.output(3),
                    memory.output(1));
        }
        assertTrue(watched.made().contains("Matmul.linearBackward"));
        assertFalse(watched.repeated().contains("Matmul.linearBackward"));
    }
}
