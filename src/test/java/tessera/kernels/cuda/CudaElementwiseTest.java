package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.Tokens.TokenShape;

/** Element-wise functions, sums and copies on a GPU against the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaElementwiseTest extends OnGpuAndCpu {
    // ------------------------------------------------------------------------------------------------ fill, convert

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 16, 33, 9001})
    void fills(int n) {
        checkExactly(ALL, (kernels, memory) -> {
            for (double value : new double[] {0, 1.7, -3.2, 1e20, -1e20, 1e-3, Double.NaN}) {
                kernels.elementwise().fill(memory.output(n), value);
            }
        });
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16", "I32", "U8"})
    void casts(DType to) {
        double[] special = {
            0,
            -0.0,
            1,
            -1,
            .5,
            255,
            256,
            300.7,
            -.9,
            1e10,
            -1e10,
            3e38,
            2147483647,
            -2147483648,
            16777217,
            0x1.01p8,
            0x1.01fffep8,
            0x1.03p8,
            33554433,
            Double.NaN,
            Double.POSITIVE_INFINITY,
            Double.NEGATIVE_INFINITY
        };
        for (int n : new int[] {0, 1, 5, special.length, 4099}) {
            checkExactly(ALL, (kernels, memory) -> {
                Random random = new Random(3);
                Buffer x = memory.fill(
                        memory.type,
                        n,
                        i -> i < special.length ? special[i] : Math.scalb(random.nextGaussian(), random.nextInt(40)));
                kernels.elementwise().cast(x, memory.output(memory.make(to, n)));
            });
        }
    }

    @Test
    void f64IsRefused() {
        Device gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Buffer wide = gpu.allocate(DType.F64, 4);
                Buffer narrow = gpu.allocate(DType.F32, 4)) {
            List<Runnable> calls = List.of(
                    () -> kernels.elementwise().fill(wide, 1),
                    () -> kernels.elementwise().cast(wide, narrow),
                    () -> kernels.elementwise().cast(narrow, wide),
                    () -> kernels.elementwise().unary(UnaryOp.EXP, wide, wide),
                    () -> kernels.elementwise().affine(wide, 1, 1, wide),
                    () -> kernels.random().randomUniform(new RandomStream(1, 1), 0, 1, wide));
            for (Runnable call : calls) {
                IllegalArgumentException refusal = assertThrows(IllegalArgumentException.class, call::run);
                assertTrue(String.valueOf(refusal.getMessage()).contains("f64"), refusal.getMessage());
            }
            IllegalArgumentException refusal = assertThrows(
                    IllegalArgumentException.class, () -> kernels.elementwise().axpy(1, wide, narrow));
            assertEquals(
                    "axpy: buffers of f32 and f64 were given but must have one type; convert one of them",
                    refusal.getMessage());
        }
    }

    // ---------------------------------------------------------------------------------------------------- functions

    @Test
    void functionsAtTheirLimits() {
        double[] x = {0, -0.0, 1e-30, 90, -90, 1e4, -1e4, 1e30, -1e30};
        check((kernels, memory) -> {
            Buffer values = memory.data(x.length, i -> x[i]);
            Buffer ones = memory.data(x.length, i -> 1);
            for (UnaryOp op : List.of(UnaryOp.ABS, UnaryOp.TANH, UnaryOp.SIGMOID, UnaryOp.RELU)) {
                kernels.elementwise().unary(op, values, memory.output(x.length));
                kernels.elementwise().unaryBackward(op, values, ones, memory.output(x.length));
            }
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "1,33", "5,7", "3,24", "33,1", "7,1040", "70,136"})
    void functionsOfTwoArguments(int rows, int cols) {
        long[] full = {cols, 1};
        long[] row = {0, 1};
        long[] column = {1, 0};
        long[] single = {0, 0};
        long[] transposed = {1, rows};
        List<long[]> layouts = List.of(full, row, column, single, transposed);
        check((kernels, memory) -> {
            Buffer x = memory.normal(rows * cols);
            Buffer y = memory.positive(rows * cols);
            BinaryOp[] ops = BinaryOp.values();
            for (long[] a : layouts) {
                for (long[] b : layouts) {
                    BinaryOp op = ops[memory.outputs.size() % ops.length];
                    kernels.elementwise()
                            .binary(
                                    op,
                                    new Strided(x, 0, a),
                                    new Strided(y, 0, b),
                                    memory.output(rows * cols),
                                    new long[] {rows, cols});
                }
            }
            for (BinaryOp op : ops) {
                kernels.elementwise()
                        .binary(
                                op,
                                new Strided(x, 0, full),
                                new Strided(y, 0, full),
                                memory.output(rows * cols),
                                new long[] {rows, cols});
            }
        });
    }

    @Test
    void functionsOfTwoArgumentsOfHigherRank() {
        long[] shape = {3, 1, 4, 5, 8};
        check((kernels, memory) -> {
            Buffer a = memory.normal(480);
            Buffer b = memory.normal(480);
            kernels.elementwise()
                    .binary(
                            BinaryOp.MUL,
                            new Strided(a, 0, 160, 0, 40, 8, 1),
                            new Strided(b, 0, 0, 0, 8, 0, 1),
                            memory.output(480),
                            shape);
            kernels.elementwise()
                    .binary(
                            BinaryOp.SUB,
                            new Strided(a, 0, 0, 0, 0, 0, 0),
                            new Strided(b, 0, 0, 0, 8, 0, 1),
                            memory.output(480),
                            shape);
            kernels.elementwise()
                    .binary(BinaryOp.ADD, new Strided(a, 0), new Strided(b, 0), memory.output(1), new long[0]);
            kernels.elementwise()
                    .binary(
                            BinaryOp.ADD,
                            new Strided(a, 0, 1, 1),
                            new Strided(b, 0, 1, 1),
                            memory.output(0),
                            new long[] {0, 3});
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 31, 4096, 4101})
    void scaledSums(int n) {
        check((kernels, memory) -> {
            Buffer x = memory.normal(n);
            Buffer y = memory.normal(n);
            kernels.elementwise().affine(x, -1.25, .5, memory.output(n));
            kernels.elementwise().axpy(.75, x, memory.output(y));
            kernels.elementwise().scaleBy(x, memory.normal(1), memory.output(n));
            kernels.elementwise().scaleBy(x, memory.fill(memory.wide, 1, i -> 1.5), memory.output(x));
        });
    }

    @Test
    void gradientsInBf16AreAddedToF32() {
        check((kernels, memory) -> {
            Buffer y = memory.fill(memory.wide, 1003, i -> i * .25);
            kernels.elementwise().axpy(.5, memory.normal(1003), memory.output(y));
        });
    }

    // ------------------------------------------------------------------------------------------------------- copies

    @ParameterizedTest
    @CsvSource({"1,1,1", "2,3,5", "3,17,33", "2,70,130", "1,64,64", "4,16,48"})
    void permutedCopies(int a, int b, int c) {
        int n = a * b * c;
        long[] sizes = {a, b, c};
        long[] strides = {(long) b * c, c, 1};
        int[][] orders = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        checkExactly(ALL, (kernels, memory) -> {
            Buffer x = memory.fill(memory.type, n, i -> i % 251);
            for (int[] order : orders) {
                long[] shape = Arrays.stream(order).mapToLong(i -> sizes[i]).toArray();
                long[] from = Arrays.stream(order).mapToLong(i -> strides[i]).toArray();
                long[] to = {shape[1] * shape[2], shape[2], 1};
                kernels.elementwise().copyStrided(new Strided(x, 0, from), new Strided(memory.output(n), 0, to), shape);
                kernels.elementwise().copyStrided(new Strided(x, 0, to), new Strided(memory.output(n), 0, from), shape);
            }
        });
    }

    @Test
    void slicesBroadcastsAndManyAxesAreCopied() {
        checkExactly(ALL, (kernels, memory) -> {
            Buffer x = memory.fill(memory.type, 4096, i -> i % 241);
            // A slice of columns into a slice of columns.
            Buffer y = memory.output(memory.fill(memory.type, 4096, i -> 7));
            kernels.elementwise()
                    .copyStrided(new Strided(x, 16, 64, 1), new Strided(y, 8, 128, 1), new long[] {20, 32});
            kernels.elementwise()
                    .copyStrided(new Strided(x, 3, 64, 1), new Strided(y, 69, 128, 1), new long[] {20, 31});
            // One row, one column, one value for all.
            long[] to = {48, 1};
            long[] shape = {32, 48};
            kernels.elementwise().copyStrided(new Strided(x, 5, 0, 1), new Strided(memory.output(1536), 0, to), shape);
            kernels.elementwise().copyStrided(new Strided(x, 0, 1, 0), new Strided(memory.output(1536), 0, to), shape);
            kernels.elementwise().copyStrided(new Strided(x, 9, 0, 0), new Strided(memory.output(1536), 0, to), shape);
            // Eight axes that cannot be merged.
            int[] order = {7, 0, 5, 2, 4, 1, 6, 3};
            long[] twos = new long[8];
            Arrays.fill(twos, 2);
            long[] from = Arrays.stream(order).mapToLong(i -> 1L << i).toArray();
            long[] straight = IntStream.range(0, 8).mapToLong(i -> 128 >> i).toArray();
            kernels.elementwise()
                    .copyStrided(new Strided(x, 1, from), new Strided(memory.output(256), 0, straight), twos);
            // Nothing, and a single value.
            kernels.elementwise()
                    .copyStrided(new Strided(x, 0, 1, 1), new Strided(memory.output(3), 3, 1, 1), new long[] {0, 3});
            kernels.elementwise().fill(memory.outputs.getLast(), 1);
            kernels.elementwise().copyStrided(new Strided(x, 40), new Strided(memory.output(1), 0), new long[0]);
        });
    }

    // --------------------------------------------------------------------------------------------------------- sums

    @ParameterizedTest
    @CsvSource({
        "1,0,1",
        "1,1,1",
        "3,0,5",
        "1,7,1",
        "1,100000,1",
        "5,33,1",
        "9,2049,1",
        "2,20000,1",
        "1,5,7",
        "1,70,384",
        "1,2000,136",
        "3,129,40",
        "1,3000,3",
        "200,9,64",
        "0,4,4",
        "2,5,0",
        "20,300,136"
    })
    void sums(int outer, int reduced, int inner) {
        check((kernels, memory) -> {
            Buffer x = memory.data(outer * reduced * inner, i -> memory.random.nextGaussian() + .5);
            kernels.elementwise().sum(x, outer, reduced, inner, .25, memory.output(outer * inner));
            kernels.elementwise().sum(x, outer, reduced, inner, 1, memory.wideOutput(outer * inner));
        });
    }

    // ------------------------------------------------------------------------------------------------------ refusals

    @Test
    void shorterInputsAndMixedTypesAreRefused() {
        Device gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0)) {
            refusesWrongBuffers(kernels, memory);
        }
    }

    private static void refusesWrongBuffers(Kernels kernels, Memory memory) {
        Buffer x = memory.normal(8);
        Buffer y = memory.make(DType.F32, 9);
        refused(
                "unary: an input has 8 elements but the result has 9",
                () -> kernels.elementwise().unary(UnaryOp.EXP, x, y));
        refused("cast: 8 elements were given for 9", () -> kernels.elementwise().cast(x, y));
        refused(
                "random_mask: cannot mask 5 of 4 cells",
                () -> kernels.random()
                        .randomMask(new RandomStream(1, 1), new MaskShape(1, 1, 4, 5, true), memory.indices(0), null));
        Buffer narrow = memory.make(DType.BF16, 9);
        refused(
                "must have one type",
                () -> kernels.tokens().gatherRows(new TokenShape(1, 1, 1, 8), x, memory.indices(0), narrow));
        refused(
                "sum on cuda:0 was given i32",
                () -> kernels.elementwise().sum(x, 1, 8, 1, 1, memory.make(DType.I32, 1)));
        PatchGeometry g = geometry(1, 1, 1, 1, 33, 1, false);
        Buffer video = video(memory, g, false);
        refused(
                "33 channels were given",
                () -> kernels.patches().gatherPatches(g, video, null, 1, memory.make(DType.F32, 66)));
    }
}
