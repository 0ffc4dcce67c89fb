package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Kernels;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.Tokens.TokenShape;
import tessera.kernels.cpu.Workers;

/** The plain Java kernels of all families: nothing to do, and the number of threads. */
class ScalarKernelsTest extends PlainFamilies {
    @Test
    void nothingToDoIsDone() {
        Buffer none = f64(0);
        Buffer labels = DEVICE.allocate(DType.I32, 0);
        Buffer loss = f64(1);
        KERNELS.elementwise().fill(loss, 9);
        KERNELS.losses().crossEntropy(new RowShape(0, 5), none, labels, 0.1, loss, none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.elementwise().fill(loss, 9);
        KERNELS.losses().meanSquaredError(none, none, loss, none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.elementwise().fill(loss, 9);
        KERNELS.losses()
                .distillationLoss(
                        new RowShape(0, 5),
                        none,
                        new Ensemble(new Buffer[] {none}, none, true, 2, 1, 1),
                        labels,
                        loss,
                        none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.elementwise().fill(loss, 9);
        KERNELS.matmul().matmul(MatmulShape.of(false, false, 1, 1, 0), none, none, Epilogue.NONE, loss);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.elementwise().fill(loss, 9);
        KERNELS.elementwise().sum(none, 1, 0, 1, 1, loss);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.norms()
                .layerNorm(
                        new RowShape(0, 0),
                        none,
                        new NormParameters(none, none, 1e-6),
                        none,
                        new NormStatistics(none, none));
        KERNELS.norms().softmax(new RowShape(3, 0), none, false, none);
        KERNELS.elementwise()
                .binary(
                        BinaryOp.ADD,
                        new Strided(none, 0, new long[] {0, 1}),
                        new Strided(none, 0, new long[] {3, 1}),
                        none,
                        new long[] {0, 3});
        KERNELS.tokens().gatherRows(new TokenShape(2, 3, 0, 4), none, labels, none);
        KERNELS.random().randomMask(new RandomStream(1, 1), new MaskShape(2, 3, 0, 0, false), labels, labels);
        KERNELS.random().randomNormal(new RandomStream(1, 1), 0, 1, none);
        Strides strides = new Strides(0, 0, 2);
        Buffer out = f64(new double[] {9, 9});
        KERNELS.attention()
                .attention(
                        new AttentionShape(1, 1, 1, 0, 2, 1, strides, strides, strides, strides, 0),
                        new AttentionTensors(f64(2), none, none, null),
                        out,
                        null);
        assertArrayEquals(new double[] {0, 0}, doubles(out));
    }

    @Test
    void threadsDoNotChangeResults() {
        Kernels alone = PlainDevice.reference(new Workers(1));
        int n = 50_003;
        Buffer a = noise(n, 1);
        Buffer b = noise(n, 2);
        Buffer one = f64(1);
        Buffer three = f64(1);
        alone.losses().meanSquaredError(a, b, one, null);
        KERNELS.losses().meanSquaredError(a, b, three, null);
        assertArrayEquals(doubles(one), doubles(three));
        Buffer c = f64(200 * 200);
        Buffer d = f64(200 * 200);
        MatmulShape shape = MatmulShape.of(false, true, 200, 200, 250);
        alone.matmul().matmul(shape, a, b, Epilogue.NONE, c);
        KERNELS.matmul().matmul(shape, a, b, Epilogue.NONE, d);
        assertArrayEquals(doubles(c), doubles(d));
    }
}
