package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;
import tessera.kernels.Tokens.DecoderShape;
import tessera.kernels.Tokens.TokenIndices;
import tessera.kernels.Tokens.TokenShape;

/** Rows of tokens on a GPU against the CPU, and indices that are out of range. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaTokensTest extends OnGpuAndCpu {
    private static int[] indices(int batch, int m, int n, boolean distinct) {
        Random random = new Random(5);
        int[] result = new int[batch * m];
        for (int b = 0; b < batch; b++) {
            List<Integer> order = new ArrayList<>(IntStream.range(0, n).boxed().toList());
            java.util.Collections.shuffle(order, random);
            for (int j = 0; j < m; j++) {
                result[b * m + j] = distinct ? order.get(j) : random.nextInt(n);
            }
        }
        return result;
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1",
        "2,5,3,7",
        "3,9,9,8",
        "2,40,13,33",
        "2,300,290,16",
        "1,8,3,384",
        "0,4,2,8",
        "2,4,0,8",
        "2,3,2,0"
    })
    void rowsOfTokens(int batch, int n, int m, int d) {
        for (boolean distinct : new boolean[] {true, false}) {
            int[] picked = indices(batch, m, n, distinct);
            checkExactly(List.of(DType.F32, DType.BF16, DType.I32, DType.U8), (kernels, memory) -> {
                Buffer x = memory.fill(memory.type, batch * n * d, i -> i % 253);
                kernels.tokens()
                        .gatherRows(
                                new TokenShape(batch, n, m, d),
                                x,
                                memory.indices(picked),
                                memory.output(batch * m * d));
            });
            check((kernels, memory) -> {
                Buffer chosen = memory.indices(picked);
                Buffer rows = memory.normal(batch * m * d);
                kernels.tokens()
                        .scatterRows(new TokenShape(batch, n, m, d), rows, chosen, memory.output(batch * n * d));
                Buffer table = memory.normal(n * d);
                kernels.tokens()
                        .addRows(new TokenShape(batch, n, m, d), rows, table, chosen, memory.output(batch * m * d));
                kernels.tokens().addRows(new TokenShape(batch, n, m, d), rows, table, null, memory.output(rows));
            });
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1",
        "2,5,3,7",
        "3,9,9,8",
        "2,40,33,33",
        "1,8,3,384",
        "1,20,600,3",
        "1,2,700,16",
        "2,70,300,24",
        "1,300,1500,12",
        "1,1000,6000,3",
        "0,4,2,8",
        "2,4,0,8",
        "2,3,2,0",
        "2,0,3,8"
    })
    void rowsByOneIndexForAllSamples(int batch, int n, int m, int d) {
        Random random = new Random(6);
        int[] picked =
                IntStream.generate(() -> random.nextInt(n + 1) - 1).limit(m).toArray();
        TokenShape shape = new TokenShape(batch, n, m, d);
        checkExactly(List.of(DType.F32, DType.BF16), (kernels, memory) -> {
            Buffer x = memory.fill(memory.type, batch * n * d, i -> i % 253);
            kernels.tokens().selectRows(shape, x, memory.indices(picked), memory.output(batch * m * d));
        });
        check((kernels, memory) -> kernels.tokens()
                .sumRows(shape, memory.normal(batch * m * d), memory.indices(picked), memory.output(batch * n * d)));
    }

    @ParameterizedTest
    @ValueSource(ints = {-2, 4, Integer.MAX_VALUE})
    void aSharedIndexOutOfRangeIsNotFollowed(int index) {
        Kernels kernels = Device.cuda(0).kernels();
        TokenShape shape = new TokenShape(1, 4, 3, 8);
        try (Memory memory = new Memory(Device.cuda(0), DType.F32, DType.F32, DType.F32, 0)) {
            Buffer x = memory.normal(4 * 8);
            Buffer indices = memory.indices(1, index, -1);
            kernels.tokens().selectRows(shape, x, indices, memory.output(24));
            double[] selected = values(memory.outputs.getFirst());
            assertArrayEquals(Arrays.copyOfRange(values(x), 8, 16), Arrays.copyOf(selected, 8));
            assertTrue(Arrays.stream(selected, 8, 16).allMatch(Double::isNaN), "the bad row");
            assertTrue(Arrays.stream(selected, 16, 24).allMatch(v -> v == 0), "the hole");
            Buffer dx = memory.make(DType.F32, 32);
            kernels.tokens().sumRows(shape, x.slice(0, 24), indices, dx);
            double[] expected = new double[32];
            System.arraycopy(values(x), 0, expected, 8, 8);
            assertArrayEquals(expected, values(dx), "nothing from the bad row and the hole");
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1,1,1", "2,3,5,7", "3,8,20,16", "2,0,4,8", "2,4,0,8", "0,3,3,8", "2,20,180,192"})
    void theDecodersInput(int batch, int visible, int masked, int d) {
        int tokens = visible + masked;
        int[] seen = indices(batch, visible, tokens, true);
        int[] hidden = indices(batch, masked, tokens, true);
        check((kernels, memory) -> {
            kernels.tokens()
                    .assembleDecoder(
                            new DecoderShape(batch, visible, masked, d),
                            memory.normal(batch * visible * d),
                            new TokenIndices(memory.indices(seen), memory.indices(hidden)),
                            memory.normal(d),
                            memory.normal(tokens * d),
                            memory.output(batch * tokens * d));
            Buffer dy = memory.normal(batch * tokens * d);
            Buffer dvisible = memory.output(batch * visible * d);
            kernels.tokens()
                    .assembleDecoderBackward(
                            new DecoderShape(batch, visible, masked, d), dy, dvisible, memory.output(d));
            kernels.tokens()
                    .assembleDecoderBackward(
                            new DecoderShape(batch, visible, masked, d), dy, dvisible, memory.wideOutput(d));
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 4, Integer.MAX_VALUE})
    void anIndexOutOfRangeIsNotFollowed(int index) {
        Device gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0)) {
            followsNoIndexOutOfRange(kernels, memory, index);
        }
    }

    private static void followsNoIndexOutOfRange(Kernels kernels, Memory memory, int index) {
        Buffer x = memory.normal(4 * 8);
        Buffer indices = memory.indices(1, index);
        kernels.tokens().gatherRows(new TokenShape(1, 4, 2, 8), x, indices, memory.output(16));
        kernels.tokens().addRows(new TokenShape(1, 4, 2, 8), x.slice(0, 16), x, indices, memory.output(16));
        kernels.tokens()
                .assembleDecoder(
                        new DecoderShape(1, 1, 1, 8),
                        x.slice(0, 8),
                        new TokenIndices(indices.slice(0, 1), indices.slice(1, 1)),
                        x.slice(8, 8),
                        x,
                        memory.output(16));
        PatchGeometry g = geometry(1, 1, 2, 2, 1, 2, false);
        Buffer video = video(memory, g, false);
        kernels.patches().gatherPatches(g, video, indices, 2, memory.output(16));
        kernels.patches().reconstructionTarget(new PatchTarget(g, 2, 1e-6, true), video, indices, memory.output(16));
        for (Buffer output : memory.outputs) {
            double[] values = values(output);
            assertTrue(Arrays.stream(values, 0, 8).allMatch(Double::isFinite), "the good row");
            assertTrue(Arrays.stream(values, 8, 16).allMatch(Double::isNaN), "the bad row");
        }
        Buffer dx = memory.make(DType.F32, 32);
        kernels.tokens().scatterRows(new TokenShape(1, 4, 2, 8), x.slice(0, 16), indices, dx);
        double[] scattered = values(dx);
        assertArrayEquals(Arrays.copyOf(values(x), 8), Arrays.copyOfRange(scattered, 8, 16));
        assertTrue(Arrays.stream(scattered, 16, 32).allMatch(v -> v == 0), "nothing from the bad row");
    }
}
