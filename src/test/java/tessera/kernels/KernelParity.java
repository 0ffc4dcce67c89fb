package tessera.kernels;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.Kernels.AttentionShape;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.PatchGeometry;
import tessera.kernels.Kernels.Strides;
import tessera.kernels.Kernels.UnaryOp;

/**
 * Calls of every primitive in many sizes, on inputs that are the same for every device and type; who extends this compares the
 * results with those of the plain kernels in f64.
 */
abstract class KernelParity {
    private static final CpuDevice HOST = new CpuDevice(2);
    static final Kernels REFERENCE = new ScalarKernels(new Workers(1));

    static final int[] SIZES = {0, 1, 3, 7, 15, 16, 17, 31, 33, 131, 392};

    /** Relative tolerance of f32 on a CPU. */
    private static final double TOLERANCE = 2e-6;

    /** A call with the inputs and outputs that {@code memory} hands out. */
    interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /**
     * Compares a call with the f64 reference.
     *
     * @param tolerance relative error that f32 on a CPU keeps
     */
    abstract void check(String what, double tolerance, Call call);

    private void check(String what, Call call) {
        check(what, TOLERANCE, call);
    }

    /** Makes the same random inputs every time, in one floating type, and remembers the outputs. */
    static final class Memory implements AutoCloseable {
        private final Device device;
        private final DType type;
        private final DType single;
        private final boolean rounded;
        private final int offset;
        private final Random random = new Random(7);
        private final List<Buffer> made = new ArrayList<>();
        private final List<Buffer> outputs = new ArrayList<>();

        /**
         * Memory of a device.
         *
         * @param type of data; what is f32 beside bf16 data, such as statistics, is f32 then and of this type else
         * @param rounded whether data are rounded to bf16, so that all types start from the same
         * @param offset elements by which every buffer misses its natural alignment
         */
        Memory(Device device, DType type, boolean rounded, int offset) {
            this.device = device;
            this.type = type;
            this.single = type == DType.BF16 ? DType.F32 : type;
            this.rounded = rounded;
            this.offset = offset;
        }

        Buffer make(DType dtype, long n) {
            Buffer whole = device.allocate(dtype, n + offset);
            made.add(whole);
            return whole.slice(offset, n);
        }

        /** Fills on the host and moves to the device. */
        private Buffer upload(DType dtype, double[] values) {
            Buffer x = make(dtype, values.length);
            try (Buffer host = HOST.allocate(dtype, values.length)) {
                for (int i = 0; i < values.length; i++) {
                    if (dtype == DType.I32) {
                        Elements.setInt(host, i, (int) values[i]);
                    } else if (dtype == DType.U8) {
                        host.segment().set(ValueLayout.JAVA_BYTE, i, (byte) (int) values[i]);
                    } else {
                        Elements.set(host, i, values[i]);
                    }
                }
                host.copyTo(x);
            }
            return x;
        }

        private double round(double value) {
            return rounded ? Elements.fromBf16(Elements.toBf16(value)) : (float) value;
        }

        private double[] draw(long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.setAll(values, i -> (float) random.nextGaussian());
            return values;
        }

        /** Normal data. */
        Buffer normal(long n) {
            double[] values = draw(n);
            Arrays.setAll(values, i -> round(values[i]));
            return upload(type, values);
        }

        /** Normal values that stay f32 beside bf16 data. */
        Buffer single(long n) {
            return upload(single, draw(n));
        }

        Buffer values(double... values) {
            double[] rounded = values.clone();
            Arrays.setAll(rounded, i -> round(values[i]));
            return upload(type, rounded);
        }

        Buffer bytes(int n) {
            double[] values = new double[n];
            Arrays.setAll(values, i -> random.nextInt(256));
            return upload(DType.U8, values);
        }

        Buffer indices(int n, int bound) {
            double[] values = new double[n];
            Arrays.setAll(values, i -> random.nextInt(bound));
            return upload(DType.I32, values);
        }

        /** Holds NaN until it is written. */
        Buffer output(long n) {
            return written(unwritten(type, n));
        }

        /** An output that is f32 beside bf16 data. */
        Buffer singleOutput(long n) {
            return written(unwritten(single, n));
        }

        Buffer integerOutput(long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.fill(values, -7);
            return written(upload(DType.I32, values));
        }

        private Buffer unwritten(DType dtype, long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.fill(values, Double.NaN);
            return upload(dtype, values);
        }

        /** Also an input. */
        Buffer written(Buffer y) {
            outputs.add(y);
            return y;
        }

        List<Buffer> outputs() {
            return outputs;
        }

        /** The outputs' values, in the order in which they were made. */
        List<double[]> results() {
            List<double[]> results = new ArrayList<>();
            for (Buffer y : outputs) {
                double[] values = new double[Math.toIntExact(y.length())];
                try (Buffer host = HOST.allocate(y.dtype(), y.length())) {
                    y.copyTo(host);
                    for (int i = 0; i < values.length; i++) {
                        values[i] = y.dtype() == DType.I32 ? Elements.getInt(host, i) : Elements.get(host, i);
                    }
                }
                results.add(values);
            }
            return results;
        }

        @Override
        public void close() {
            made.forEach(Buffer::close);
        }
    }

    /** What the plain kernels compute in f64 from the same inputs. */
    static List<double[]> reference(boolean rounded, Call call) {
        return run(REFERENCE, HOST, DType.F64, rounded, 0, call);
    }

    static List<double[]> run(Kernels kernels, Device device, DType type, boolean rounded, int offset, Call call) {
        try (Memory memory = new Memory(device, type, rounded, offset)) {
            call.run(kernels, memory);
            return memory.results();
        }
    }

    @ParameterizedTest
    @EnumSource(UnaryOp.class)
    void unary(UnaryOp op) {
        for (int n : sizesAnd(40_000)) {
            check(op + " " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                if (op == UnaryOp.SQRT || op == UnaryOp.LOG) {
                    kernels.unary(UnaryOp.ABS, x, x);
                }
                kernels.unary(op, x, memory.output(n));
                Buffer dy = memory.normal(n);
                kernels.unaryBackward(op, x, dy, memory.output(n));
                kernels.unaryBackward(op, x, dy, memory.written(dy));
                kernels.unary(op, x, memory.written(x));
            });
        }
    }

    @ParameterizedTest
    @EnumSource(BinaryOp.class)
    void binary(BinaryOp op) {
        for (int n : sizesAnd(40_000)) {
            checkScalars(op, n);
            check(op + " same shape " + n, (kernels, memory) -> {
                long[] one = {1};
                kernels.binary(op, memory.normal(n), one, memory.normal(n), one, memory.output(n), new long[] {n});
            });
        }
        for (int n : SIZES) {
            long[] shape = {2, 5, n};
            long[] full = {5L * n, n, 1};
            check(
                    op + " row " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(n),
                            new long[] {0, 0, 1},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " row first " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(n),
                            new long[] {0, 0, 1},
                            memory.normal(10L * n),
                            full,
                            memory.output(10L * n),
                            shape));
            check(
                    op + " column " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(10),
                            new long[] {5, 1, 0},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " middle " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(2L * n),
                            new long[] {n, 0, 1},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " transposed " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(10L * n),
                            new long[] {1, 2, 10},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " scalar " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(1),
                            new long[3],
                            memory.output(10L * n),
                            shape));
        }
    }

    private void checkScalars(BinaryOp op, int n) {
        check(
                op + " of scalars " + n,
                (kernels, memory) -> kernels.binary(
                        op, memory.normal(1), new long[1], memory.normal(1), new long[1], memory.output(n), new long[] {
                            n
                        }));
    }

    @Test
    void arithmetic() {
        for (int n : sizesAnd(70_000)) {
            check("arithmetic " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                kernels.affine(x, 1.5, -0.25, memory.output(n));
                kernels.affine(x, 2, 1, memory.written(x));
                kernels.axpy(-0.75, memory.normal(n), memory.written(memory.normal(n)));
                kernels.scaleBy(x, memory.values(0.3), memory.output(n));
                kernels.fill(memory.output(n), 2.5);
                kernels.dropout(x, 0.4, 3, 5, memory.output(n));
            });
        }
    }

    @Test
    void sums() {
        for (int n : sizesAnd(50_000)) {
            check(
                    "sum of rows " + n,
                    (kernels, memory) -> kernels.sum(memory.normal(3L * n), 3, n, 1, 0.5, memory.output(3)));
            check("sum " + n, (kernels, memory) -> kernels.sum(memory.normal(n), 1, n, 1, 2, memory.output(1)));
        }
        for (int inner : SIZES) {
            for (int reduced : new int[] {0, 1, 65, 300}) {
                check(
                        "sum of columns " + reduced + " x " + inner,
                        (kernels, memory) -> kernels.sum(
                                memory.normal(2L * reduced * inner),
                                2,
                                reduced,
                                inner,
                                0.5,
                                memory.output(2L * inner)));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 7, 15, 16, 17, 31, 33, 131, 384})
    void layerNorm(int cols) {
        for (int rows : new int[] {0, 1, 5, 130}) {
            // A row of one element has no variance: the outputs are 0 up to rounding, so only longer rows are compared.
            check("layer norm " + rows + " x " + cols, 5e-6, (kernels, memory) -> {
                Buffer x = memory.normal((long) rows * cols);
                Buffer gamma = memory.single(cols);
                Buffer mean = memory.singleOutput(rows);
                Buffer rstd = memory.singleOutput(rows);
                kernels.layerNorm(
                        x, gamma, memory.single(cols), 1e-3, rows, cols, memory.output((long) rows * cols), mean, rstd);
                Buffer dy = memory.normal((long) rows * cols);
                Buffer dx = memory.output(cols == 1 ? 0 : (long) rows * cols);
                kernels.layerNormBackward(
                        x,
                        gamma,
                        mean,
                        rstd,
                        dy,
                        rows,
                        cols,
                        null,
                        cols == 1 ? null : dx,
                        cols == 1 ? null : memory.singleOutput(cols),
                        memory.singleOutput(cols));
                Buffer addend = memory.written(memory.normal((long) rows * cols));
                Buffer sum = memory.output((long) rows * cols);
                kernels.layerNormBackward(x, gamma, mean, rstd, dy, rows, cols, addend, sum, null, null);
            });
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 16, 33, 130})
    void linearBackward(int rows) {
        for (int n : new int[] {0, 1, 15, 16, 67}) {
            for (int k : new int[] {0, 1, 7, 24}) {
                check("linear backward " + rows + " x " + n + " x " + k, 1e-5, (kernels, memory) -> {
                    Buffer x = memory.normal((long) rows * k);
                    Buffer dy = memory.normal((long) rows * n);
                    long weights = (long) n * k;
                    kernels.linearBackward(rows, n, k, dy, x, memory.output(weights), memory.output(n));
                    kernels.linearBackward(rows, n, k, dy, x, memory.singleOutput(weights), memory.singleOutput(n));
                });
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void softmax(boolean log) {
        for (int cols : SIZES) {
            if (cols > 1) {
                check("softmax " + cols, (kernels, memory) -> {
                    Buffer x = memory.normal(131L * cols);
                    Buffer y = memory.output(131L * cols);
                    kernels.softmax(x, 131, cols, log, y);
                    Buffer dy = memory.normal(131L * cols);
                    kernels.softmaxBackward(y, dy, 131, cols, log, memory.output(131L * cols));
                    kernels.softmaxBackward(y, dy, 131, cols, log, memory.written(dy));
                    kernels.softmax(x, 131, cols, log, memory.written(x));
                });
            }
        }
    }

    final void checkAttention(int batch, int heads, int queries, int keys, int dim, int biasBatch) {
        boolean packed = queries == keys;
        long width = (long) heads * dim;
        Strides q =
                packed ? new Strides(3 * width * queries, dim, 3 * width) : new Strides(width * queries, dim, width);
        Strides k = packed ? q : new Strides(width * keys, dim, width);
        Strides out = new Strides(width * queries, dim, width);
        AttentionShape shape =
                new AttentionShape(batch, heads, queries, keys, dim, 1 / Math.sqrt(dim), q, k, k, out, biasBatch);
        String what = "attention " + shape;
        check(what, 1e-5, (kernels, memory) -> {
            long rows = (long) batch * queries;
            Buffer qkv = memory.normal(packed ? 3 * width * rows : width * batch * (queries + 2L * keys));
            long kFrom = packed ? Math.min(qkv.length(), width) : width * rows;
            long vFrom = packed ? Math.min(qkv.length(), 2 * width) : kFrom + width * batch * keys;
            Buffer bias = biasBatch == 0 ? null : memory.normal((long) biasBatch * heads * queries * keys);
            Buffer y = memory.output(width * rows);
            Buffer logSumExp = memory.singleOutput(rows * heads);
            Buffer keyBuffer = qkv.slice(kFrom, qkv.length() - kFrom);
            Buffer valueBuffer = qkv.slice(vFrom, qkv.length() - vFrom);
            kernels.attention(shape, qkv, keyBuffer, valueBuffer, bias, y, logSumExp);
            Buffer gradient = memory.output(qkv.length());
            kernels.attentionBackward(
                    shape,
                    qkv,
                    keyBuffer,
                    valueBuffer,
                    bias,
                    y,
                    logSumExp,
                    memory.normal(width * rows),
                    gradient,
                    gradient.slice(kFrom, qkv.length() - kFrom),
                    gradient.slice(vFrom, qkv.length() - vFrom),
                    bias == null || keys == 1 ? null : memory.output(bias.length()));
        });
    }

    @Test
    void attention() {
        for (int n : new int[] {1, 3, 5, 16, 17, 33, 131}) {
            checkAttention(2, 3, n, n, 16, 0);
            checkAttention(2, 2, n, n, 7, 1);
            checkAttention(2, 2, n, n, 32, 2);
        }
        checkAttention(1, 6, 392, 392, 64, 0);
        checkAttention(2, 2, 65, 31, 24, 1);
        checkAttention(2, 2, 0, 9, 8, 0);
        checkAttention(0, 2, 9, 9, 8, 0);
    }

    /** More keys than one tile holds. */
    @Test
    void attentionOverManyKeys() {
        checkAttention(1, 2, 9, 5000, 16, 0);
        checkAttention(1, 1, 9, 2100, 16, 1);
    }

    static PatchGeometry geometry(int patch, int channels, boolean channelLast, double scale) {
        int frames = 4;
        int side = 3 * patch;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        for (int c = 0; c < channels; c++) {
            mean[c] = 0.1 * (c + 1);
            std[c] = 0.2 + 0.1 * c;
        }
        long plane = (long) side * side;
        return channelLast
                ? new PatchGeometry(
                        2,
                        frames,
                        side,
                        side,
                        channels,
                        2,
                        patch,
                        frames * plane * channels,
                        plane * channels,
                        (long) side * channels,
                        channels,
                        1,
                        scale,
                        mean,
                        std)
                : new PatchGeometry(
                        2,
                        frames,
                        side,
                        side,
                        channels,
                        2,
                        patch,
                        channels * frames * plane,
                        plane,
                        side,
                        1,
                        frames * plane,
                        scale,
                        mean,
                        std);
    }

    @Test
    void patches() {
        for (int patch : new int[] {1, 4, 16}) {
            for (int channels : new int[] {1, 2, 3, 21}) {
                for (boolean channelLast : new boolean[] {true, false}) {
                    checkPatches(geometry(patch, channels, channelLast, 1 / 255.0), true);
                    checkPatches(geometry(patch, channels, channelLast, 1), false);
                }
            }
        }
        // Rows of pixels that are no whole number of vectors, and more pixels than a block has threads.
        for (int patch : new int[] {5, 14, 40}) {
            checkPatches(geometry(patch, patch == 40 ? 1 : 3, true, 1 / 255.0), true);
            checkPatches(geometry(patch, 2, false, 1 / 255.0), true);
        }
        // A target that takes all of the 48 KiB of shared memory that a GPU's kernel has without asking, and one that
        // takes more.
        checkPatches(geometry(32, 6, true, 1 / 255.0), true);
        checkPatches(geometry(48, 3, true, 1 / 255.0), true);
    }

    final void checkPatches(PatchGeometry g, boolean bytes) {
        int length = (int) (g.batch() * g.strideB());
        int vector = g.patchLength();
        check("patches " + g, 1e-5, (kernels, memory) -> {
            Buffer video = bytes ? memory.bytes(length) : memory.single(length);
            kernels.gatherPatches(g, video, null, g.patches(), memory.output(2L * g.patches() * vector));
            Buffer indices = memory.indices(10, g.patches());
            kernels.gatherPatches(g, video, indices, 5, memory.output(10L * vector));
            for (boolean normalise : new boolean[] {false, true}) {
                Buffer prediction = memory.normal(10L * vector);
                kernels.reconstructionLoss(
                        g,
                        video,
                        indices,
                        5,
                        1e-6,
                        normalise,
                        prediction,
                        memory.singleOutput(1),
                        memory.output(10L * vector));
                kernels.reconstructionLoss(
                        g, video, indices, 5, 1e-6, normalise, prediction, memory.singleOutput(1), null);
            }
        });
    }

    @Test
    void tokens() {
        for (int d : SIZES) {
            check("tokens of " + d, (kernels, memory) -> {
                Buffer indices = memory.indices(3 * 9, 11);
                Buffer x = memory.normal(3L * 9 * d);
                kernels.scatterRows(x, indices, 3, 11, 9, d, memory.output(3L * 11 * d));
                kernels.gatherRows(memory.normal(3L * 11 * d), indices, 3, 11, 9, d, memory.output(3L * 9 * d));
                Buffer table = memory.normal(11L * d);
                kernels.addRows(x, table, null, 3, 9, d, memory.output(3L * 9 * d));
                kernels.addRows(x, table, indices, 3, 9, d, memory.written(x));
                kernels.assembleDecoder(
                        memory.normal(3L * 4 * d),
                        memory.indices(3 * 4, 11),
                        memory.indices(3 * 6, 11),
                        memory.normal(d),
                        table,
                        3,
                        4,
                        6,
                        d,
                        memory.output(3L * 10 * d));
            });
        }
    }

    @Test
    void losses() {
        for (int n : sizesAnd(40_000)) {
            check("losses " + n, (kernels, memory) -> {
                Buffer a = memory.normal(n);
                Buffer b = memory.normal(n);
                kernels.meanSquaredError(a, b, memory.singleOutput(1), memory.output(n));
                kernels.meanSquaredError(a, b, memory.singleOutput(1), null);
                kernels.featureLoss(
                        new Buffer[] {a, memory.normal(12)},
                        new Buffer[] {b, memory.normal(12)},
                        new double[] {0.5, 2},
                        memory.singleOutput(2),
                        memory.singleOutput(1),
                        new Buffer[] {memory.output(n), memory.output(12)});
            });
        }
        for (int cols : new int[] {2, 15, 16, 33, 204, 1500, 4099}) {
            int rows = cols > 204 ? 3 : 65;
            for (double smoothing : new double[] {0, 0.1}) {
                check("cross entropy " + cols, 1e-5, (kernels, memory) -> {
                    Buffer logits = memory.normal((long) rows * cols);
                    Buffer labels = memory.indices(rows, cols);
                    // Far from 0, where only what is left after subtracting the largest counts.
                    kernels.affine(logits, 3, 40, logits);
                    Buffer gradient = memory.output(logits.length());
                    kernels.crossEntropy(logits, labels, smoothing, rows, cols, memory.singleOutput(1), gradient);
                    kernels.crossEntropy(logits, labels, smoothing, rows, cols, memory.singleOutput(1), null);
                });
            }
        }
    }

    @Test
    void featuresOfEightModalities() {
        int[] sizes = {1, 384, 5000, 0, 17, 20_000, 8, 9};
        check("features", (kernels, memory) -> {
            Buffer[] projected = new Buffer[sizes.length];
            Buffer[] targets = new Buffer[sizes.length];
            Buffer[] gradients = new Buffer[sizes.length];
            double[] weights = new double[sizes.length];
            for (int m = 0; m < sizes.length; m++) {
                projected[m] = memory.normal(sizes[m]);
                targets[m] = memory.normal(sizes[m]);
                gradients[m] = memory.output(sizes[m]);
                weights[m] = m + .5;
            }
            for (Buffer[] wanted : new Buffer[][] {gradients, null}) {
                kernels.featureLoss(
                        projected, targets, weights, memory.singleOutput(sizes.length), memory.singleOutput(1), wanted);
            }
        });
    }

    @Test
    void adamW() {
        // The norm of these gradients is about 238.
        for (double largest : new double[] {0, 5, 1000}) {
            checkAdamW(largest, 1, 17, 40_000, 384, 0, 16_384);
        }
        // More tensors than go into one launch.
        checkAdamW(0, IntStream.range(0, 100).map(i -> i % 9).toArray());
    }

    private void checkAdamW(double largest, int... sizes) {
        check("adamW of " + sizes.length + " clipped to " + largest, (kernels, memory) -> {
            Buffer[] p = new Buffer[sizes.length];
            Buffer[] g = new Buffer[sizes.length];
            Buffer[] m = new Buffer[sizes.length];
            Buffer[] v = new Buffer[sizes.length];
            double[] decay = new double[sizes.length];
            for (int i = 0; i < sizes.length; i++) {
                p[i] = memory.written(memory.single(sizes[i]));
                g[i] = memory.single(sizes[i]);
                m[i] = memory.written(memory.single(sizes[i]));
                v[i] = memory.single(sizes[i]);
                kernels.unary(UnaryOp.SQUARE, v[i], memory.written(v[i]));
                decay[i] = i % 2 == 0 ? 0.05 : 0;
            }
            Buffer norm = memory.singleOutput(1);
            kernels.globalNorm(g, norm);
            Kernels.Clip clip = largest == 0 ? null : new Kernels.Clip(norm, largest);
            for (int step = 3; step < 6; step++) {
                kernels.adamW(p, g, m, v, null, decay, 1e-3, 0.9, 0.95, 1e-8, step, clip);
            }
        });
    }

    /** Of nothing, of empty tensors, of gradients of two types, of more tensors than go into one launch. */
    @Test
    void globalNorm() {
        int[] sizes = {0, 1, 7, 4096, 4097, 0, 384, 70_001, 12_288, 0};
        for (int tensors : new int[] {0, 1, 4, sizes.length, 161, 345}) {
            check("norm of " + tensors, (kernels, memory) -> {
                Buffer[] gradients = new Buffer[tensors];
                for (int i = 0; i < tensors; i++) {
                    int n = tensors > sizes.length ? i % 9 : sizes[i];
                    gradients[i] = i % 3 == 0 ? memory.single(n) : memory.normal(n);
                }
                kernels.globalNorm(gradients, memory.singleOutput(1));
            });
        }
    }

    @Test
    void dropPath() {
        for (int n : sizesAnd(9_000)) {
            check("drop path " + n, (kernels, memory) -> {
                Buffer x = memory.normal(7L * n);
                Buffer residual = memory.normal(7L * n);
                kernels.dropPath(residual, x, 0.4, 3, 5, 7, memory.output(7L * n));
                kernels.dropPath(null, x, 0.4, 3, 6, 7, memory.output(7L * n));
                kernels.dropPath(residual, x, 0, 3, 5, 1, memory.output(7L * n));
                kernels.dropPath(residual, x, 0.7, -3, 5, 7L * n, memory.written(residual));
            });
        }
    }

    static int[] sizesAnd(int large) {
        int[] sizes = Arrays.copyOf(SIZES, SIZES.length + 1);
        sizes[SIZES.length] = large;
        return sizes;
    }

    // ------------------------------------------------------------------------------------------ not elsewhere above

    @Test
    void stridedCopies() {
        for (int n : SIZES) {
            check("strided copy " + n, (kernels, memory) -> {
                Buffer x = memory.normal(10L * n + 3);
                long[] shape = {2, 5, n};
                Buffer y = memory.written(memory.normal(10L * n + 4));
                kernels.copyStrided(x, 3, new long[] {5L * n, n, 1}, y, 4, new long[] {5L * n, n, 1}, shape);
                kernels.copyStrided(
                        x, 0, new long[] {1, 2, 10}, memory.output(10L * n), 0, new long[] {5L * n, n, 1}, shape);
                kernels.copyStrided(
                        x, 1, new long[] {0, 0, 1}, memory.output(10L * n), 0, new long[] {5L * n, n, 1}, shape);
            });
        }
    }

    @Test
    void random() {
        for (int n : sizesAnd(10_001)) {
            check("random " + n, (kernels, memory) -> {
                kernels.randomUniform(5, 9, -1, 3, memory.output(n));
                kernels.randomNormal(1L << 40, -3, 2, 0.5, memory.output(n));
            });
        }
    }

    @Test
    void masks() {
        for (int plane : new int[] {1, 3, 33, 196, 700}) {
            for (boolean tube : new boolean[] {false, true}) {
                for (int masked : new int[] {0, plane / 2, plane}) {
                    check(
                            "mask " + masked + " of " + plane,
                            (kernels, memory) -> kernels.randomMask(
                                    11,
                                    5,
                                    3,
                                    4,
                                    plane,
                                    masked,
                                    tube,
                                    memory.integerOutput(3L * 4 * (plane - masked)),
                                    memory.integerOutput(3L * 4 * masked)));
                }
            }
        }
    }

    @Test
    void patchTargetsAndGradients() {
        for (int patch : new int[] {1, 4, 16}) {
            for (boolean channelLast : new boolean[] {true, false}) {
                PatchGeometry g = geometry(patch, 3, channelLast, 1 / 255.0);
                int length = (int) (g.batch() * g.strideB());
                check("targets " + g, 1e-5, (kernels, memory) -> {
                    Buffer video = memory.bytes(length);
                    Buffer indices = memory.indices(10, g.patches());
                    for (boolean normalise : new boolean[] {false, true}) {
                        Buffer target = memory.output(10L * g.patchLength());
                        kernels.reconstructionTarget(g, video, indices, 5, 1e-6, normalise, target);
                    }
                });
                PatchGeometry plain = geometry(patch, 3, channelLast, 1);
                check("scattered patches " + g, 1e-5, (kernels, memory) -> {
                    Buffer gradient = memory.written(memory.single(length));
                    kernels.fill(gradient, 0);
                    Buffer dout = memory.normal((long) g.batch() * g.patches() * g.patchLength());
                    kernels.scatterPatches(plain, dout, null, g.patches(), gradient);
                });
            }
        }
    }

    @Test
    void decoderGradients() {
        for (int d : SIZES) {
            check(
                    "decoder gradients " + d,
                    (kernels, memory) -> kernels.assembleDecoderBackward(
                            memory.normal(3L * 10 * d), 3, 4, 6, d, memory.output(3L * 4 * d), memory.output(d)));
        }
    }

    @Test
    void distillation() {
        for (int cols : new int[] {1, 2, 16, 33, 97, 204, 1500}) {
            for (int teachers : new int[] {1, 3, 8}) {
                for (boolean perSample : new boolean[] {false, true}) {
                    check("distillation " + cols + " from " + teachers, 1e-5, (kernels, memory) -> {
                        Buffer[] logits = new Buffer[teachers];
                        Arrays.setAll(logits, t -> memory.normal(7L * cols));
                        Buffer student = memory.normal(7L * cols);
                        Buffer weights = memory.single(perSample ? 7L * teachers : teachers);
                        kernels.distillationLoss(
                                student,
                                logits,
                                weights,
                                perSample,
                                null,
                                4,
                                1,
                                0,
                                7,
                                cols,
                                memory.singleOutput(1),
                                null);
                        kernels.distillationLoss(
                                student,
                                logits,
                                weights,
                                perSample,
                                memory.indices(7, cols),
                                2,
                                0.7,
                                0.3,
                                7,
                                cols,
                                memory.singleOutput(1),
                                cols == 1 ? null : memory.output(7L * cols));
                    });
                }
            }
        }
    }
}
