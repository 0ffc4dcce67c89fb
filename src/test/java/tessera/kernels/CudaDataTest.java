package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.PatchGeometry;
import tessera.kernels.Kernels.UnaryOp;

/** Element-wise functions, sums, copies, random numbers, masks, patches and tokens on a GPU against the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaDataTest {
    private static final double F32_ERROR = 3e-6;

    private interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /** Makes the same values on every device, and remembers the outputs. */
    private static final class Memory implements AutoCloseable {
        private final Device device;
        private final DType type;
        private final DType wide;
        private final DType rounding;
        private final int offset;
        private final Random random = new Random(11);
        private final List<Buffer> outputs = new ArrayList<>();
        private final List<Buffer> owned = new ArrayList<>();

        /**
         * @param type of data
         * @param wide of what stays f32 beside bf16 data
         * @param rounding to which data is rounded
         */
        Memory(Device device, DType type, DType wide, DType rounding, int offset) {
            this.device = device;
            this.type = type;
            this.wide = wide;
            this.rounding = rounding;
            this.offset = offset;
        }

        Buffer make(DType dtype, long n) {
            Buffer whole = device.allocate(dtype, n + offset);
            owned.add(whole);
            return whole.slice(offset, n);
        }

        Buffer fill(DType dtype, int n, IntToDoubleFunction value) {
            Buffer buffer = make(dtype, n);
            try (Buffer host = Device.cpu().allocate(dtype, n)) {
                for (int i = 0; i < n; i++) {
                    Elements.set(host, i, value.applyAsDouble(i));
                }
                host.copyTo(buffer);
            }
            return buffer;
        }

        Buffer data(int n, IntToDoubleFunction value) {
            return fill(type, n, i -> {
                float v = (float) value.applyAsDouble(i);
                return rounding == DType.BF16 ? Elements.fromBf16(Elements.toBf16(v)) : v;
            });
        }

        Buffer normal(int n) {
            return data(n, i -> random.nextGaussian());
        }

        Buffer positive(int n) {
            return data(n, i -> .01 + Math.abs(random.nextGaussian()));
        }

        Buffer bytes(int n) {
            return fill(DType.U8, n, i -> random.nextInt(256));
        }

        Buffer indices(int... values) {
            return fill(DType.I32, values.length, i -> values[i]);
        }

        Buffer output(Buffer buffer) {
            outputs.add(buffer);
            return buffer;
        }

        Buffer output(int n) {
            return output(make(type, n));
        }

        Buffer wideOutput(int n) {
            return output(make(wide, n));
        }

        @Override
        public void close() {
            owned.forEach(Buffer::close);
        }
    }

    private static double[] values(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(host);
            double[] values = new double[(int) host.length()];
            Elements.load(host, 0, values.length, values, 0);
            return values;
        }
    }

    private static List<double[]> run(Device device, DType type, DType wide, DType rounding, int offset, Call call) {
        try (Memory memory = new Memory(device, type, wide, rounding, offset)) {
            call.run(device.kernels(), memory);
            return memory.outputs.stream().map(CudaDataTest::values).toList();
        }
    }

    private static List<double[]> onGpu(DType type, int offset, Call call) {
        return run(Device.cuda(0), type, DType.F32, type, offset, call);
    }

    /** f32 close to f64; bf16 at most twice as far from it as its own rounding; aligned and not; three times the same bits. */
    private static void check(Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            List<double[]> expected = run(Device.cpu(), DType.F64, DType.F64, type, 0, call);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = onGpu(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    double tolerance = F32_ERROR + (type == DType.BF16 ? 2 * roundingError(expected.get(i)) : 0);
                    Close.relative(
                            actual.get(i), expected.get(i), tolerance, type + " output " + i + " offset " + offset);
                }
                for (int again = 0; again < 2; again++) {
                    List<double[]> repeated = onGpu(type, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        assertArrayEquals(actual.get(i), repeated.get(i));
                    }
                }
            }
        }
    }

    private static double roundingError(double[] values) {
        double error = 0;
        double norm = 0;
        for (double value : values) {
            double difference = Elements.fromBf16(Elements.toBf16(value)) - value;
            error += difference * difference;
            norm += value * value;
        }
        return norm == 0 ? 0 : Math.sqrt(error / norm);
    }

    /** The same bits as the CPU's for each type, aligned and not. */
    private static void checkExactly(List<DType> types, Call call) {
        for (DType type : types) {
            List<double[]> expected = run(Device.cpu(), type, type, type, 0, call);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = onGpu(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    assertArrayEquals(expected.get(i), actual.get(i), type + " output " + i + " offset " + offset);
                }
            }
        }
    }

    private static final List<DType> FLOATING = List.of(DType.F32, DType.BF16);
    private static final List<DType> ALL = List.of(DType.F32, DType.BF16, DType.I32, DType.U8);

    // ------------------------------------------------------------------------------------------------ fill, convert

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 16, 33, 9001})
    void fills(int n) {
        checkExactly(ALL, (kernels, memory) -> {
            for (double value : new double[] {0, 1.7, -3.2, 1e20, -1e20, 1e-3, Double.NaN}) {
                kernels.fill(memory.output(n), value);
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
                kernels.cast(x, memory.output(memory.make(to, n)));
            });
        }
    }

    @Test
    void f64IsRefused() {
        CudaDevice gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Buffer wide = gpu.allocate(DType.F64, 4);
                Buffer narrow = gpu.allocate(DType.F32, 4)) {
            List<Runnable> calls = List.of(
                    () -> kernels.fill(wide, 1),
                    () -> kernels.cast(wide, narrow),
                    () -> kernels.cast(narrow, wide),
                    () -> kernels.unary(UnaryOp.EXP, wide, wide),
                    () -> kernels.affine(wide, 1, 1, wide),
                    () -> kernels.randomUniform(1, 1, 0, 1, wide));
            for (Runnable call : calls) {
                IllegalArgumentException refusal = assertThrows(IllegalArgumentException.class, call::run);
                assertTrue(String.valueOf(refusal.getMessage()).contains("f64"), refusal.getMessage());
            }
            IllegalArgumentException refusal =
                    assertThrows(IllegalArgumentException.class, () -> kernels.axpy(1, wide, narrow));
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
                kernels.unary(op, values, memory.output(x.length));
                kernels.unaryBackward(op, values, ones, memory.output(x.length));
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
                    kernels.binary(op, x, a, y, b, memory.output(rows * cols), new long[] {rows, cols});
                }
            }
            for (BinaryOp op : ops) {
                kernels.binary(op, x, full, y, full, memory.output(rows * cols), new long[] {rows, cols});
            }
        });
    }

    @Test
    void functionsOfTwoArgumentsOfHigherRank() {
        long[] shape = {3, 1, 4, 5, 8};
        check((kernels, memory) -> {
            Buffer a = memory.normal(480);
            Buffer b = memory.normal(480);
            kernels.binary(
                    BinaryOp.MUL,
                    a,
                    new long[] {160, 0, 40, 8, 1},
                    b,
                    new long[] {0, 0, 8, 0, 1},
                    memory.output(480),
                    shape);
            kernels.binary(
                    BinaryOp.SUB,
                    a,
                    new long[] {0, 0, 0, 0, 0},
                    b,
                    new long[] {0, 0, 8, 0, 1},
                    memory.output(480),
                    shape);
            kernels.binary(BinaryOp.ADD, a, new long[0], b, new long[0], memory.output(1), new long[0]);
            kernels.binary(
                    BinaryOp.ADD, a, new long[] {1, 1}, b, new long[] {1, 1}, memory.output(0), new long[] {0, 3});
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 31, 4096, 4101})
    void scaledSums(int n) {
        check((kernels, memory) -> {
            Buffer x = memory.normal(n);
            Buffer y = memory.normal(n);
            kernels.affine(x, -1.25, .5, memory.output(n));
            kernels.axpy(.75, x, memory.output(y));
            kernels.scaleBy(x, memory.normal(1), memory.output(n));
            kernels.scaleBy(x, memory.fill(memory.wide, 1, i -> 1.5), memory.output(x));
        });
    }

    @Test
    void gradientsInBf16AreAddedToF32() {
        check((kernels, memory) -> {
            Buffer y = memory.fill(memory.wide, 1003, i -> i * .25);
            kernels.axpy(.5, memory.normal(1003), memory.output(y));
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
                kernels.copyStrided(x, 0, from, memory.output(n), 0, to, shape);
                kernels.copyStrided(x, 0, to, memory.output(n), 0, from, shape);
            }
        });
    }

    @Test
    void slicesBroadcastsAndManyAxesAreCopied() {
        checkExactly(ALL, (kernels, memory) -> {
            Buffer x = memory.fill(memory.type, 4096, i -> i % 241);
            // A slice of columns into a slice of columns.
            Buffer y = memory.output(memory.fill(memory.type, 4096, i -> 7));
            kernels.copyStrided(x, 16, new long[] {64, 1}, y, 8, new long[] {128, 1}, new long[] {20, 32});
            kernels.copyStrided(x, 3, new long[] {64, 1}, y, 69, new long[] {128, 1}, new long[] {20, 31});
            // One row, one column, one value for all.
            long[] to = {48, 1};
            long[] shape = {32, 48};
            kernels.copyStrided(x, 5, new long[] {0, 1}, memory.output(1536), 0, to, shape);
            kernels.copyStrided(x, 0, new long[] {1, 0}, memory.output(1536), 0, to, shape);
            kernels.copyStrided(x, 9, new long[] {0, 0}, memory.output(1536), 0, to, shape);
            // Eight axes that cannot be merged.
            int[] order = {7, 0, 5, 2, 4, 1, 6, 3};
            long[] twos = new long[8];
            Arrays.fill(twos, 2);
            long[] from = Arrays.stream(order).mapToLong(i -> 1L << i).toArray();
            long[] straight = IntStream.range(0, 8).mapToLong(i -> 128 >> i).toArray();
            kernels.copyStrided(x, 1, from, memory.output(256), 0, straight, twos);
            // Nothing, and a single value.
            kernels.copyStrided(x, 0, new long[] {1, 1}, memory.output(3), 3, new long[] {1, 1}, new long[] {0, 3});
            kernels.fill(memory.outputs.getLast(), 1);
            kernels.copyStrided(x, 40, new long[0], memory.output(1), 0, new long[0], new long[0]);
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
            kernels.sum(x, outer, reduced, inner, .25, memory.output(outer * inner));
            kernels.sum(x, outer, reduced, inner, 1, memory.wideOutput(outer * inner));
        });
    }

    // ------------------------------------------------------------------------------------------------------- random

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3, 4, 9, 1027, 5000})
    void uniformNumbersAreTheSameOnEveryDevice(int n) {
        checkExactly(FLOATING, (kernels, memory) -> {
            kernels.randomUniform(5, 3, 0, 1, memory.output(n));
            kernels.randomUniform(-1L << 40 | 7, Long.MIN_VALUE + 9, -.3, Math.PI, memory.output(n));
            kernels.randomUniform(1, 2, 1, Math.nextUp(1f), memory.output(n));
        });
    }

    @ParameterizedTest
    @CsvSource({"0,.5", "1,.5", "7,.1", "4099,.9", "4096,0", "9001,.3"})
    void dropoutKeepsTheSameElementsOnEveryDevice(int n, double p) {
        check((kernels, memory) -> {
            Buffer x = memory.data(n, i -> 1 + Math.abs(memory.random.nextGaussian()));
            kernels.dropout(x, p, 17, 4, memory.output(n));
            kernels.dropout(x, p, 17, 5, memory.output(x));
        });
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,0",
        "1,1,1,1",
        "2,3,7,3",
        "3,8,196,176",
        "2,2,196,98",
        "1,2,4096,3000",
        "1,1,5000,1234",
        "2,2,300,300",
        "0,2,9,3",
        "1,4,257,256"
    })
    void masksAreTheSameOnEveryDevice(int batch, int slots, int plane, int masked) {
        checkExactly(List.of(DType.I32), (kernels, memory) -> {
            for (boolean tube : new boolean[] {true, false}) {
                Buffer visible = memory.output(batch * slots * (plane - masked));
                Buffer hidden = memory.output(batch * slots * masked);
                kernels.randomMask(99, 6, batch, slots, plane, masked, tube, visible, hidden);
                Buffer alone = memory.output(batch * slots * (plane - masked));
                kernels.randomMask(99, 6, batch, slots, plane, masked, tube, alone, null);
            }
        });
    }

    // ------------------------------------------------------------------------------------------------------ patches

    /** A video as a tensor [B, C, T, H, W] or as frames [B, T, H, W, C]. */
    private static PatchGeometry geometry(
            int batch, int slots, int high, int wide, int channels, int patch, boolean last) {
        int tubelet = 2;
        int frames = slots * tubelet;
        int height = high * patch;
        int width = wide * patch;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        for (int c = 0; c < channels; c++) {
            mean[c] = .4 + .05 * c;
            std[c] = .2 + .03 * c;
        }
        long pixel = last ? channels : 1;
        long row = width * pixel;
        long frame = height * row;
        return new PatchGeometry(
                batch,
                frames,
                height,
                width,
                channels,
                tubelet,
                patch,
                (long) frames * height * width * channels,
                frame,
                row,
                pixel,
                last ? 1 : frames * frame,
                1 / 255.,
                mean,
                std);
    }

    private static Buffer video(Memory memory, PatchGeometry g, boolean bytes) {
        int n = Math.toIntExact(g.batch() * g.strideB());
        return bytes
                ? memory.bytes(n)
                : memory.fill(memory.wide, n, i -> (float) (128 + 60 * memory.random.nextGaussian()));
    }

    private static Buffer somePatches(Memory memory, PatchGeometry g, int count) {
        int n = Math.toIntExact(g.batch() * count);
        return memory.fill(DType.I32, n, i -> memory.random.nextInt(g.patches()));
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1,1,1",
        "2,2,2,3,3,16",
        "1,1,2,2,3,8",
        "2,1,2,1,2,5",
        "1,2,1,2,4,4",
        "3,1,1,2,1,12",
        "1,1,1,1,16,3"
    })
    void patches(int batch, int slots, int high, int wide, int channels, int patch) {
        for (boolean last : new boolean[] {false, true}) {
            PatchGeometry g = geometry(batch, slots, high, wide, channels, patch, last);
            int length = g.patchLength();
            for (boolean bytes : new boolean[] {false, true}) {
                check((kernels, memory) -> {
                    Buffer video = video(memory, g, bytes);
                    kernels.gatherPatches(g, video, null, g.patches(), memory.output(batch * g.patches() * length));
                    Buffer some = somePatches(memory, g, 5);
                    kernels.gatherPatches(g, video, some, 5, memory.output(batch * 5 * length));
                    for (boolean normalise : new boolean[] {false, true}) {
                        Buffer target = memory.output(batch * 5 * length);
                        kernels.reconstructionTarget(g, video, some, 5, 1e-6, normalise, target);
                    }
                });
            }
            check((kernels, memory) -> {
                Buffer all = memory.fill(memory.wide, (int) (batch * g.strideB()), i -> i % 7);
                kernels.scatterPatches(
                        g, memory.normal(batch * 6 * length), somePatches(memory, g, 6), 6, memory.output(all));
                Buffer some = memory.fill(memory.wide, (int) (batch * g.strideB()), i -> -i % 5);
                Buffer dout = memory.normal(batch * g.patches() * length);
                kernels.scatterPatches(g, dout, null, g.patches(), memory.output(some));
            });
        }
    }

    @Test
    void patchesWithMoreThan512PixelsAChannel() {
        PatchGeometry g = geometry(1, 1, 1, 2, 3, 20, true);
        check((kernels, memory) -> {
            Buffer target = memory.output(2 * g.patchLength());
            kernels.reconstructionTarget(g, video(memory, g, true), memory.indices(1, 0), 2, 1e-6, true, target);
        });
    }

    // ------------------------------------------------------------------------------------------------------- tokens

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
                kernels.gatherRows(x, memory.indices(picked), batch, n, m, d, memory.output(batch * m * d));
            });
            check((kernels, memory) -> {
                Buffer chosen = memory.indices(picked);
                Buffer rows = memory.normal(batch * m * d);
                kernels.scatterRows(rows, chosen, batch, n, m, d, memory.output(batch * n * d));
                Buffer table = memory.normal(n * d);
                kernels.addRows(rows, table, chosen, batch, m, d, memory.output(batch * m * d));
                kernels.addRows(rows, table, null, batch, m, d, memory.output(rows));
            });
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1,1,1", "2,3,5,7", "3,8,20,16", "2,0,4,8", "2,4,0,8", "0,3,3,8", "2,20,180,192"})
    void theDecodersInput(int batch, int visible, int masked, int d) {
        int tokens = visible + masked;
        int[] seen = indices(batch, visible, tokens, true);
        int[] hidden = indices(batch, masked, tokens, true);
        check((kernels, memory) -> {
            kernels.assembleDecoder(
                    memory.normal(batch * visible * d),
                    memory.indices(seen),
                    memory.indices(hidden),
                    memory.normal(d),
                    memory.normal(tokens * d),
                    batch,
                    visible,
                    masked,
                    d,
                    memory.output(batch * tokens * d));
            Buffer dy = memory.normal(batch * tokens * d);
            Buffer dvisible = memory.output(batch * visible * d);
            kernels.assembleDecoderBackward(dy, batch, visible, masked, d, dvisible, memory.output(d));
            kernels.assembleDecoderBackward(dy, batch, visible, masked, d, dvisible, memory.wideOutput(d));
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 4, Integer.MAX_VALUE})
    void anIndexOutOfRangeIsNotFollowed(int index) {
        CudaDevice gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0)) {
            followsNoIndexOutOfRange(kernels, memory, index);
        }
    }

    private static void followsNoIndexOutOfRange(Kernels kernels, Memory memory, int index) {
        Buffer x = memory.normal(4 * 8);
        Buffer indices = memory.indices(1, index);
        kernels.gatherRows(x, indices, 1, 4, 2, 8, memory.output(16));
        kernels.addRows(x.slice(0, 16), x, indices, 1, 2, 8, memory.output(16));
        kernels.assembleDecoder(
                x.slice(0, 8),
                indices.slice(0, 1),
                indices.slice(1, 1),
                x.slice(8, 8),
                x,
                1,
                1,
                1,
                8,
                memory.output(16));
        PatchGeometry g = geometry(1, 1, 2, 2, 1, 2, false);
        Buffer video = video(memory, g, false);
        kernels.gatherPatches(g, video, indices, 2, memory.output(16));
        kernels.reconstructionTarget(g, video, indices, 2, 1e-6, true, memory.output(16));
        for (Buffer output : memory.outputs) {
            double[] values = values(output);
            assertTrue(Arrays.stream(values, 0, 8).allMatch(Double::isFinite), "the good row");
            assertTrue(Arrays.stream(values, 8, 16).allMatch(Double::isNaN), "the bad row");
        }
        Buffer dx = memory.make(DType.F32, 32);
        kernels.scatterRows(x.slice(0, 16), indices, 1, 4, 2, 8, dx);
        double[] scattered = values(dx);
        assertArrayEquals(Arrays.copyOf(values(x), 8), Arrays.copyOfRange(scattered, 8, 16));
        assertTrue(Arrays.stream(scattered, 16, 32).allMatch(v -> v == 0), "nothing from the bad row");
    }

    @Test
    void shorterInputsAndMixedTypesAreRefused() {
        CudaDevice gpu = Device.cuda(0);
        Kernels kernels = gpu.kernels();
        try (Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0)) {
            refusesWrongBuffers(kernels, memory);
        }
    }

    private static void refusesWrongBuffers(Kernels kernels, Memory memory) {
        Buffer x = memory.normal(8);
        Buffer y = memory.make(DType.F32, 9);
        refused("unary: an input has 8 elements but the result has 9", () -> kernels.unary(UnaryOp.EXP, x, y));
        refused("cast: 8 elements were given for 9", () -> kernels.cast(x, y));
        refused(
                "random_mask: cannot mask 5 of 4 cells",
                () -> kernels.randomMask(1, 1, 1, 1, 4, 5, true, memory.indices(0), null));
        Buffer narrow = memory.make(DType.BF16, 9);
        refused("must have one type", () -> kernels.gatherRows(x, memory.indices(0), 1, 1, 1, 8, narrow));
        refused("sum on cuda:0 was given i32", () -> kernels.sum(x, 1, 8, 1, 1, memory.make(DType.I32, 1)));
        PatchGeometry g = geometry(1, 1, 1, 1, 33, 1, false);
        Buffer video = video(memory, g, false);
        refused("33 channels were given", () -> kernels.gatherPatches(g, video, null, 1, memory.make(DType.F32, 66)));
    }

    private static void refused(String text, Runnable call) {
        @Nullable
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(String.valueOf(message).contains(text), message);
    }
}
