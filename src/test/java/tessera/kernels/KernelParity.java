package tessera.kernels;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Optimiser.Clip;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.Tokens.DecoderShape;
import tessera.kernels.Tokens.TokenIndices;
import tessera.kernels.Tokens.TokenShape;

/**
 * Calls of every primitive in many sizes, on inputs that are the same for every device and type; who extends this compares the
 * results with those of the plain kernels in f64.
 */
public abstract class KernelParity extends NormProductParity {
    @ParameterizedTest
    @EnumSource(UnaryOp.class)
    protected void unary(UnaryOp op) {
        for (int n : sizesAnd(40_000)) {
            check(op + " " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                if (op == UnaryOp.SQRT || op == UnaryOp.LOG) {
                    kernels.elementwise().unary(UnaryOp.ABS, x, x);
                }
                kernels.elementwise().unary(op, x, memory.output(n));
                Buffer dy = memory.normal(n);
                kernels.elementwise().unaryBackward(op, x, dy, memory.output(n));
                kernels.elementwise().unaryBackward(op, x, dy, memory.written(dy));
                kernels.elementwise().unary(op, x, memory.written(x));
            });
        }
    }

    @ParameterizedTest
    @EnumSource(BinaryOp.class)
    protected void binary(BinaryOp op) {
        for (int n : sizesAnd(40_000)) {
            long[] shape = {n};
            checkBinary(op + " of scalars " + n, op, shape, 1, new long[1], 1, new long[1]);
            checkBinary(op + " same shape " + n, op, shape, n, new long[] {1}, n, new long[] {1});
        }
        for (int n : SIZES) {
            long[] shape = {2, 5, n};
            long[] full = {5L * n, n, 1};
            long all = 10L * n;
            checkBinary(op + " row " + n, op, shape, all, full, n, new long[] {0, 0, 1});
            checkBinary(op + " row first " + n, op, shape, n, new long[] {0, 0, 1}, all, full);
            checkBinary(op + " column " + n, op, shape, all, full, 10, new long[] {5, 1, 0});
            checkBinary(op + " middle " + n, op, shape, all, full, 2L * n, new long[] {n, 0, 1});
            checkBinary(op + " transposed " + n, op, shape, all, full, all, new long[] {1, 2, 10});
            checkBinary(op + " scalar " + n, op, shape, all, full, 1, new long[3]);
        }
    }

    /** On two buffers of so many elements, whole and as views that begin within. */
    private void checkBinary(
            String what, BinaryOp op, long[] shape, long aLength, long[] aStrides, long bLength, long[] bStrides) {
        long count = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
        check(what, (kernels, memory) -> {
            Strided a = new Strided(memory.normal(aLength), 0, aStrides);
            Strided b = new Strided(memory.normal(bLength), 0, bStrides);
            kernels.elementwise().binary(op, a, b, memory.output(count), shape);
            Strided later = new Strided(memory.normal(aLength + 3), 3, aStrides);
            Strided last = new Strided(memory.normal(bLength + 2), 2, bStrides);
            kernels.elementwise().binary(op, later, last, memory.output(count), shape);
        });
    }

    @Test
    protected void arithmetic() {
        for (int n : sizesAnd(70_000)) {
            check("arithmetic " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                kernels.elementwise().affine(x, 1.5, -0.25, memory.output(n));
                kernels.elementwise().affine(x, 2, 1, memory.written(x));
                kernels.elementwise().axpy(-0.75, memory.normal(n), memory.written(memory.normal(n)));
                kernels.elementwise().scaleBy(x, memory.values(0.3), memory.output(n));
                kernels.elementwise().fill(memory.output(n), 2.5);
                kernels.random().dropout(new RandomStream(3, 5), x, 0.4, memory.output(n));
                kernels.elementwise().cast(x, memory.singleOutput(n));
                kernels.elementwise().cast(memory.single(n), memory.output(n));
                kernels.elementwise().cast(memory.single(n), memory.integerOutput(n));
                kernels.elementwise().cast(memory.bytes(n), memory.output(n));
            });
        }
    }

    @Test
    protected void sums() {
        for (int n : sizesAnd(50_000)) {
            check(
                    "sum of rows " + n,
                    (kernels, memory) ->
                            kernels.elementwise().sum(memory.normal(3L * n), 3, n, 1, 0.5, memory.output(3)));
            check(
                    "sum " + n,
                    (kernels, memory) -> kernels.elementwise().sum(memory.normal(n), 1, n, 1, 2, memory.output(1)));
        }
        for (int inner : SIZES) {
            for (int reduced : new int[] {0, 1, 65, 300}) {
                check(
                        "sum of columns " + reduced + " x " + inner,
                        (kernels, memory) -> kernels.elementwise()
                                .sum(
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
    protected void layerNorm(int cols) {
        for (int rows : new int[] {0, 1, 5, 130}) {
            // A row of one element has no variance: the outputs are 0 up to rounding, so only longer rows are compared.
            check("layer norm " + rows + " x " + cols, 5e-6, (kernels, memory) -> {
                Buffer x = memory.normal((long) rows * cols);
                Buffer gamma = memory.single(cols);
                Buffer mean = memory.singleOutput(rows);
                Buffer rstd = memory.singleOutput(rows);
                kernels.norms()
                        .layerNorm(
                                new RowShape(rows, cols),
                                x,
                                new NormParameters(gamma, memory.single(cols), 1e-3),
                                memory.output((long) rows * cols),
                                new NormStatistics(mean, rstd));
                Buffer dy = memory.normal((long) rows * cols);
                Buffer dx = memory.output(cols == 1 ? 0 : (long) rows * cols);
                kernels.norms()
                        .layerNormBackward(
                                new RowShape(rows, cols),
                                x,
                                gamma,
                                new NormStatistics(mean, rstd),
                                dy,
                                new NormGradients(
                                        null,
                                        cols == 1 ? null : dx,
                                        cols == 1 ? null : memory.singleOutput(cols),
                                        memory.singleOutput(cols)));
                Buffer addend = memory.written(memory.normal((long) rows * cols));
                Buffer sum = memory.output((long) rows * cols);
                kernels.norms()
                        .layerNormBackward(
                                new RowShape(rows, cols),
                                x,
                                gamma,
                                new NormStatistics(mean, rstd),
                                dy,
                                new NormGradients(addend, sum, null, null));
            });
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 16, 33, 130})
    protected void linearBackward(int rows) {
        for (int n : new int[] {0, 1, 15, 16, 67}) {
            for (int k : new int[] {0, 1, 7, 24}) {
                check("linear backward " + rows + " x " + n + " x " + k, 1e-5, (kernels, memory) -> {
                    Buffer x = memory.normal((long) rows * k);
                    Buffer dy = memory.normal((long) rows * n);
                    long weights = (long) n * k;
                    kernels.matmul()
                            .linearBackward(
                                    new LinearShape(rows, n, k), dy, x, memory.output(weights), memory.output(n));
                    kernels.matmul()
                            .linearBackward(
                                    new LinearShape(rows, n, k),
                                    dy,
                                    x,
                                    memory.singleOutput(weights),
                                    memory.singleOutput(n));
                });
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    protected void softmax(boolean log) {
        for (int cols : SIZES) {
            if (cols > 1) {
                check("softmax " + cols, (kernels, memory) -> {
                    Buffer x = memory.normal(131L * cols);
                    Buffer y = memory.output(131L * cols);
                    kernels.norms().softmax(new RowShape(131, cols), x, log, y);
                    Buffer dy = memory.normal(131L * cols);
                    kernels.norms().softmaxBackward(new RowShape(131, cols), y, dy, log, memory.output(131L * cols));
                    kernels.norms().softmaxBackward(new RowShape(131, cols), y, dy, log, memory.written(dy));
                    kernels.norms().softmax(new RowShape(131, cols), x, log, memory.written(x));
                });
            }
        }
    }

    @Test
    protected void attention() {
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

    /** As Swin: many windows with one bias, some of which have several regions. */
    @Test
    protected void attentionInWindows() {
        for (int n : new int[] {1, 5, 17, 70}) {
            checkAttention(6, 2, n, n, 16, 1, 3);
            checkAttention(9, 1, n, n, 7, 1, 1);
            checkAttention(4, 2, n, n, 32, 4, 2);
            checkAttention(2, 1, n, n, 24, 0, 2);
        }
        checkAttention(0, 2, 9, 9, 8, 1, 1);
        checkAttention(6, 3, 392, 392, 32, 1, 2);
        checkAttention(1, 1, 2100, 2100, 8, 1, 1);
    }

    /** More keys than one tile holds. */
    @Test
    protected void attentionOverManyKeys() {
        checkAttention(1, 2, 9, 5000, 16, 0);
        checkAttention(1, 1, 9, 2100, 16, 1);
    }

    @Test
    protected void patches() {
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

    protected final void checkPatches(PatchGeometry g, boolean bytes) {
        int length = (int) (g.batch() * g.strideB());
        int vector = g.patchLength();
        check("patches " + g, 1e-5, (kernels, memory) -> {
            Buffer video = bytes ? memory.bytes(length) : memory.single(length);
            kernels.patches().gatherPatches(g, video, null, g.patches(), memory.output(2L * g.patches() * vector));
            Buffer indices = memory.indices(10, g.patches());
            kernels.patches().gatherPatches(g, video, indices, 5, memory.output(10L * vector));
            for (boolean normalise : new boolean[] {false, true}) {
                Buffer prediction = memory.normal(10L * vector);
                kernels.patches()
                        .reconstructionLoss(
                                new PatchTarget(g, 5, 1e-6, normalise),
                                video,
                                indices,
                                prediction,
                                memory.singleOutput(1),
                                memory.output(10L * vector));
                kernels.patches()
                        .reconstructionLoss(
                                new PatchTarget(g, 5, 1e-6, normalise),
                                video,
                                indices,
                                prediction,
                                memory.singleOutput(1),
                                null);
            }
        });
    }

    @Test
    protected void tokens() {
        for (int d : SIZES) {
            check("tokens of " + d, (kernels, memory) -> {
                Buffer indices = memory.indices(3 * 9, 11);
                Buffer x = memory.normal(3L * 9 * d);
                kernels.tokens().scatterRows(new TokenShape(3, 11, 9, d), x, indices, memory.output(3L * 11 * d));
                kernels.tokens()
                        .gatherRows(
                                new TokenShape(3, 11, 9, d),
                                memory.normal(3L * 11 * d),
                                indices,
                                memory.output(3L * 9 * d));
                Buffer table = memory.normal(11L * d);
                kernels.tokens().addRows(new TokenShape(3, 11, 9, d), x, table, null, memory.output(3L * 9 * d));
                kernels.tokens().addRows(new TokenShape(3, 11, 9, d), x, table, indices, memory.written(x));
                kernels.tokens()
                        .assembleDecoder(
                                new DecoderShape(3, 4, 6, d),
                                memory.normal(3L * 4 * d),
                                new TokenIndices(memory.indices(3 * 4, 11), memory.indices(3 * 6, 11)),
                                memory.normal(d),
                                table,
                                memory.output(3L * 10 * d));
            });
        }
    }

    /** One index list for all samples, with holes, rows that nothing names and rows that are named many times. */
    @Test
    protected void sharedRows() {
        for (int d : SIZES) {
            check("shared rows of " + d, (kernels, memory) -> {
                Buffer index = memory.holes(300, 11, 7);
                TokenShape shape = new TokenShape(3, 11, 300, d);
                kernels.tokens().selectRows(shape, memory.normal(3L * 11 * d), index, memory.output(3L * 300 * d));
                kernels.tokens().sumRows(shape, memory.normal(3L * 300 * d), index, memory.output(3L * 11 * d));
                TokenShape none = new TokenShape(2, 4, 0, d);
                kernels.tokens().sumRows(none, memory.normal(0), memory.indices(0, 1), memory.output(8L * d));
            });
        }
    }

    @Test
    protected void losses() {
        for (int n : sizesAnd(40_000)) {
            check("losses " + n, (kernels, memory) -> {
                Buffer a = memory.normal(n);
                Buffer b = memory.normal(n);
                kernels.losses().meanSquaredError(a, b, memory.singleOutput(1), memory.output(n));
                kernels.losses().meanSquaredError(a, b, memory.singleOutput(1), null);
                kernels.losses()
                        .featureLoss(
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
                    kernels.elementwise().affine(logits, 3, 40, logits);
                    Buffer gradient = memory.output(logits.length());
                    kernels.losses()
                            .crossEntropy(
                                    new RowShape(rows, cols),
                                    logits,
                                    labels,
                                    smoothing,
                                    memory.singleOutput(1),
                                    gradient);
                    kernels.losses()
                            .crossEntropy(
                                    new RowShape(rows, cols), logits, labels, smoothing, memory.singleOutput(1), null);
                });
            }
        }
    }

    @Test
    protected void featuresOfEightModalities() {
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
                kernels.losses()
                        .featureLoss(
                                projected,
                                targets,
                                weights,
                                memory.singleOutput(sizes.length),
                                memory.singleOutput(1),
                                wanted);
            }
        });
    }

    @Test
    protected void adamW() {
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
                kernels.elementwise().unary(UnaryOp.SQUARE, v[i], memory.written(v[i]));
                decay[i] = i % 2 == 0 ? 0.05 : 0;
            }
            Buffer norm = memory.singleOutput(1);
            kernels.optimiser().globalNorm(g, norm);
            Clip clip = largest == 0 ? null : new Clip(norm, largest);
            for (int step = 3; step < 6; step++) {
                kernels.optimiser()
                        .adamW(
                                new AdamWTensors(p, g, m, v, null, decay),
                                new AdamWStep(1e-3, 0.9, 0.95, 1e-8, step, clip));
            }
        });
    }

    /** Of nothing, of empty tensors, of gradients of two types, of more tensors than go into one launch. */
    @Test
    protected void globalNorm() {
        int[] sizes = {0, 1, 7, 4096, 4097, 0, 384, 70_001, 12_288, 0};
        for (int tensors : new int[] {0, 1, 4, sizes.length, 161, 345}) {
            check("norm of " + tensors, (kernels, memory) -> {
                Buffer[] gradients = new Buffer[tensors];
                for (int i = 0; i < tensors; i++) {
                    int n = tensors > sizes.length ? i % 9 : sizes[i];
                    gradients[i] = i % 3 == 0 ? memory.single(n) : memory.normal(n);
                }
                kernels.optimiser().globalNorm(gradients, memory.singleOutput(1));
            });
        }
    }

    @Test
    protected void dropPath() {
        for (int n : sizesAnd(9_000)) {
            check("drop path " + n, (kernels, memory) -> {
                Buffer x = memory.normal(7L * n);
                Buffer residual = memory.normal(7L * n);
                kernels.random().dropPath(new RandomStream(3, 5), residual, x, 0.4, 7, memory.output(7L * n));
                kernels.random().dropPath(new RandomStream(3, 6), null, x, 0.4, 7, memory.output(7L * n));
                kernels.random().dropPath(new RandomStream(3, 5), residual, x, 0, 1, memory.output(7L * n));
                kernels.random().dropPath(new RandomStream(-3, 5), residual, x, 0.7, 7L * n, memory.written(residual));
            });
        }
    }

    @Test
    protected void stridedCopies() {
        for (int n : SIZES) {
            check("strided copy " + n, (kernels, memory) -> {
                Buffer x = memory.normal(10L * n + 3);
                long[] shape = {2, 5, n};
                Buffer y = memory.written(memory.normal(10L * n + 4));
                kernels.elementwise()
                        .copyStrided(new Strided(x, 3, 5L * n, n, 1), new Strided(y, 4, 5L * n, n, 1), shape);
                kernels.elementwise()
                        .copyStrided(
                                new Strided(x, 0, 1, 2, 10),
                                new Strided(memory.output(10L * n), 0, 5L * n, n, 1),
                                shape);
                kernels.elementwise()
                        .copyStrided(
                                new Strided(x, 1, 0, 0, 1),
                                new Strided(memory.output(10L * n), 0, 5L * n, n, 1),
                                shape);
            });
        }
    }

    @Test
    protected void random() {
        for (int n : sizesAnd(10_001)) {
            check("random " + n, (kernels, memory) -> {
                kernels.random().randomUniform(new RandomStream(5, 9), -1, 3, memory.output(n));
                kernels.random().randomNormal(new RandomStream(1L << 40, -3), 2, 0.5, memory.output(n));
            });
        }
    }

    @Test
    protected void masks() {
        for (int plane : new int[] {1, 3, 33, 196, 700}) {
            for (boolean tube : new boolean[] {false, true}) {
                for (int masked : new int[] {0, plane / 2, plane}) {
                    check(
                            "mask " + masked + " of " + plane,
                            (kernels, memory) -> kernels.random()
                                    .randomMask(
                                            new RandomStream(11, 5),
                                            new MaskShape(3, 4, plane, masked, tube),
                                            memory.integerOutput(3L * 4 * (plane - masked)),
                                            memory.integerOutput(3L * 4 * masked)));
                }
            }
        }
    }

    @Test
    protected void patchTargetsAndGradients() {
        for (int patch : new int[] {1, 4, 16}) {
            for (boolean channelLast : new boolean[] {true, false}) {
                PatchGeometry g = geometry(patch, 3, channelLast, 1 / 255.0);
                int length = (int) (g.batch() * g.strideB());
                check("targets " + g, 1e-5, (kernels, memory) -> {
                    Buffer video = memory.bytes(length);
                    Buffer indices = memory.indices(10, g.patches());
                    for (boolean normalise : new boolean[] {false, true}) {
                        Buffer target = memory.output(10L * g.patchLength());
                        kernels.patches()
                                .reconstructionTarget(new PatchTarget(g, 5, 1e-6, normalise), video, indices, target);
                    }
                });
                PatchGeometry plain = geometry(patch, 3, channelLast, 1);
                check("scattered patches " + g, 1e-5, (kernels, memory) -> {
                    Buffer gradient = memory.written(memory.single(length));
                    kernels.elementwise().fill(gradient, 0);
                    Buffer dout = memory.normal(g.batch() * g.patches() * g.patchLength());
                    kernels.patches().scatterPatches(plain, dout, null, g.patches(), gradient);
                });
            }
        }
    }

    @Test
    protected void decoderGradients() {
        for (int d : SIZES) {
            check(
                    "decoder gradients " + d,
                    (kernels, memory) -> kernels.tokens()
                            .assembleDecoderBackward(
                                    new DecoderShape(3, 4, 6, d),
                                    memory.normal(3L * 10 * d),
                                    memory.output(3L * 4 * d),
                                    memory.output(d)));
        }
    }

    @Test
    protected void distillation() {
        for (int cols : new int[] {1, 2, 16, 33, 97, 204, 1500}) {
            for (int teachers : new int[] {1, 3, 8}) {
                for (boolean perSample : new boolean[] {false, true}) {
                    check("distillation " + cols + " from " + teachers, 1e-5, (kernels, memory) -> {
                        Buffer[] logits = new Buffer[teachers];
                        Arrays.setAll(logits, t -> memory.normal(7L * cols));
                        Buffer student = memory.normal(7L * cols);
                        Buffer weights = memory.single(perSample ? 7L * teachers : teachers);
                        kernels.losses()
                                .distillationLoss(
                                        new RowShape(7, cols),
                                        student,
                                        new Ensemble(logits, weights, perSample, 4, 1, 0),
                                        null,
                                        memory.singleOutput(1),
                                        null);
                        kernels.losses()
                                .distillationLoss(
                                        new RowShape(7, cols),
                                        student,
                                        new Ensemble(logits, weights, perSample, 2, 0.7, 0.3),
                                        memory.indices(7, cols),
                                        memory.singleOutput(1),
                                        cols == 1 ? null : memory.output(7L * cols));
                    });
                }
            }
        }
    }

    @Test
    protected void products() {
        int[][] shapes = {
            {1, 1, 1}, {3, 5, 7}, {16, 16, 16}, {33, 31, 65}, {130, 67, 200}, {0, 4, 3}, {4, 0, 3}, {4, 3, 0}
        };
        for (int[] shape : shapes) {
            int m = shape[0];
            int n = shape[1];
            int k = shape[2];
            for (int transposes = 0; transposes < 4; transposes++) {
                boolean ta = (transposes & 1) != 0;
                boolean tb = (transposes & 2) != 0;
                check("product " + m + " x " + n + " x " + k + " " + transposes, 1e-5, (kernels, memory) -> {
                    int lda = (ta ? m : k) + 3;
                    int ldb = (tb ? k : n) + 1;
                    int ldc = n + 2;
                    MatmulShape spread = new MatmulShape(ta, tb, m, n, k, lda, ldb, ldc);
                    Buffer a = memory.normal((long) (ta ? k : m) * lda);
                    Buffer b = memory.normal((long) (tb ? n : k) * ldb);
                    Buffer bias = memory.normal(n);
                    Buffer addend = memory.normal((long) m * ldc);
                    for (Activation activation : Activation.values()) {
                        for (Buffer row : new Buffer[] {null, bias}) {
                            for (Buffer added : new Buffer[] {null, addend}) {
                                Buffer c = memory.written(memory.normal((long) m * ldc));
                                kernels.matmul().matmul(spread, a, b, new Epilogue(row, added, activation), c);
                            }
                            Buffer sum = memory.written(memory.normal((long) m * ldc));
                            kernels.matmul().matmul(spread, a, b, new Epilogue(row, sum, activation), sum);
                        }
                    }
                    memory.written(addend);
                });
            }
        }
    }

    @Test
    protected void batchedProducts() {
        for (int n : new int[] {1, 7, 16, 33}) {
            check("batched product " + n, 1e-5, (kernels, memory) -> {
                Buffer a = memory.normal(4L * 5 * n);
                Buffer b = memory.normal(4L * n * n);
                long square = (long) n * n;
                for (boolean transpose : new boolean[] {false, true}) {
                    MatmulShape shape = MatmulShape.of(false, transpose, 5, n, n);
                    kernels.matmul()
                            .matmulBatched(shape, new Batch(4, 5L * n, square, 5L * n), a, b, memory.output(20L * n));
                }
                MatmulShape inner = MatmulShape.of(true, false, n, n, 5);
                kernels.matmul()
                        .matmulBatched(inner, new Batch(4, 5L * n, 5L * n, square), a, a, memory.output(4 * square));
            });
        }
    }

    @Test
    protected void linearLayers() {
        for (int n : new int[] {1, 7, 16, 65}) {
            check("linear " + n, 1e-5, (kernels, memory) -> {
                Buffer x = memory.normal(9L * 24);
                Buffer bias = memory.normal(n);
                try (PackedWeight weight = kernels.matmul().pack(memory.normal(24L * n), n, 24)) {
                    for (Activation activation : Activation.values()) {
                        kernels.matmul()
                                .linear(9, x, weight, new Epilogue(bias, null, activation), memory.output(9L * n));
                    }
                    Buffer sum = memory.written(memory.normal(9L * n));
                    kernels.matmul().linear(9, x, weight, new Epilogue(null, sum, Activation.NONE), sum);
                    kernels.matmul()
                            .linear(9, x, weight, new Epilogue(bias, sum, Activation.NONE), memory.output(9L * n));
                }
            });
        }
    }
}
