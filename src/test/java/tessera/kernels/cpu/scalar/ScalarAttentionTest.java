package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;

/** Attention in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarAttentionTest extends PlainFamilies {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "attention_b1h1n1d1",
                "attention_b1h2n160d64",
                "attention_b1h3n131d32",
                "attention_b2h3n5d16",
                "attention_b2h6n49d64",
                "attention_bias_b2h2n32d16"
            })
    void attentionMatches(String name) {
        long[] s = OPS.shape(name + "/in.q");
        boolean biased = OPS.keys().contains(name + "/in.bias");
        Buffer bias = biased ? in(name, "bias") : null;
        Strides strides = new Strides(s[1] * s[2] * s[3], s[2] * s[3], s[3]);
        AttentionShape shape = new AttentionShape(
                s[0],
                (int) s[1],
                (int) s[2],
                (int) s[2],
                (int) s[3],
                1 / Math.sqrt((double) s[3]),
                strides,
                strides,
                strides,
                strides,
                biased ? 1 : 0);
        Buffer q = in(name, "q");
        Buffer k = in(name, "k");
        Buffer v = in(name, "v");
        Buffer out = like(q);
        Buffer logSumExp = f64(s[0] * s[1] * s[2]);
        KERNELS.attention().attention(shape, new AttentionTensors(q, k, v, bias), out, logSumExp);
        assertGolden(out, name + "/out");
        Buffer dq = like(q);
        Buffer dk = like(k);
        Buffer dv = like(v);
        Buffer dbias = bias == null ? null : like(bias);
        KERNELS.attention()
                .attentionBackward(
                        shape,
                        new AttentionTensors(q, k, v, bias),
                        out,
                        logSumExp,
                        cotangent(name),
                        new AttentionTensors(dq, dk, dv, dbias));
        if (s[2] > 1) {
            assertGradient(dq, name, "q");
            assertGradient(dk, name, "k");
        } else {
            Close.within(doubles(dq)[0], 0, 1e-15, "softmax of one score has no gradient");
        }
        assertGradient(dv, name, "v");
        if (dbias != null) {
            assertGradient(dbias, name, "bias");
        }
    }

    @Test
    void attentionReadsPackedInputs() {
        String name = "attention_b2h3n5d16";
        int batch = 2;
        int heads = 3;
        int n = 5;
        int d = 16;
        double[][] separate = {doubles(in(name, "q")), doubles(in(name, "k")), doubles(in(name, "v"))};
        double[] packed = new double[3 * separate[0].length];
        double[] expected = new double[separate[0].length];
        double[] golden = OPS.doubles(name + "/out");
        for (int b = 0; b < batch; b++) {
            for (int row = 0; row < n; row++) {
                for (int h = 0; h < heads; h++) {
                    int from = ((b * heads + h) * n + row) * d;
                    for (int part = 0; part < 3; part++) {
                        System.arraycopy(separate[part], from, packed, (((b * n + row) * 3 + part) * heads + h) * d, d);
                    }
                    System.arraycopy(golden, from, expected, ((b * n + row) * heads + h) * d, d);
                }
            }
        }
        Buffer qkv = f64(packed);
        int width = heads * d;
        Strides in = new Strides((long) n * 3 * width, d, 3L * width);
        Strides to = new Strides((long) n * width, d, width);
        AttentionShape shape = new AttentionShape(batch, heads, n, n, d, 0.25, in, in, in, to, 0);
        Buffer out = f64(expected.length);
        long rest = packed.length - 2L * width;
        KERNELS.attention()
                .attention(
                        shape,
                        new AttentionTensors(
                                qkv.slice(0, rest), qkv.slice(width, rest), qkv.slice(2L * width, rest), null),
                        out,
                        null);
        Close.relative(doubles(out), expected, TOLERANCE, "packed attention");
    }

    @Test
    void biasOfEachSampleHasItsOwnGradient() {
        int n = 4;
        int d = 3;
        Strides strides = new Strides((long) n * d, (long) n * d, d);
        AttentionShape one = new AttentionShape(1, 1, n, n, d, 0.7, strides, strides, strides, strides, 1);
        AttentionShape two = new AttentionShape(2, 1, n, n, d, 0.7, strides, strides, strides, strides, 2);
        Buffer q = noise(2 * n * d, 1);
        Buffer k = noise(2 * n * d, 2);
        Buffer v = noise(2 * n * d, 3);
        Buffer bias = noise(2 * n * n, 4);
        Buffer dout = noise(2 * n * d, 5);
        Buffer out = like(q);
        Buffer logSumExp = f64(2L * n);
        KERNELS.attention().attention(two, new AttentionTensors(q, k, v, bias), out, logSumExp);
        Buffer dbias = like(bias);
        KERNELS.attention()
                .attentionBackward(
                        two,
                        new AttentionTensors(q, k, v, bias),
                        out,
                        logSumExp,
                        dout,
                        new AttentionTensors(like(q), like(k), like(v), dbias));
        Buffer second = f64((long) n * n);
        int half = n * d;
        KERNELS.attention()
                .attentionBackward(
                        one,
                        new AttentionTensors(
                                q.slice(half, half),
                                k.slice(half, half),
                                v.slice(half, half),
                                bias.slice((long) n * n, (long) n * n)),
                        out.slice(half, half),
                        logSumExp.slice(n, n),
                        dout.slice(half, half),
                        new AttentionTensors(f64(half), f64(half), f64(half), second));
        assertArrayEquals(doubles(second), Arrays.copyOfRange(doubles(dbias), n * n, 2 * n * n));
    }
}
