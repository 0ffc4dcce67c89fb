package tessera.kernels.cpu.scalar;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.Tokens.DecoderShape;
import tessera.kernels.Tokens.TokenIndices;
import tessera.kernels.Tokens.TokenShape;

/** Rows of tokens in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarTokensTest extends PlainFamilies {
    @Test
    void gatherTokensMatches() {
        Buffer indices = i32(OPS.ints("gather_tokens/in.idx"));
        Buffer y = f64(72);
        KERNELS.tokens().gatherRows(new TokenShape(3, 10, 6, 4), in("gather_tokens", "x"), indices, y);
        assertGolden(y, "gather_tokens/out");
        Buffer dx = f64(120);
        KERNELS.elementwise().fill(dx, 9);
        KERNELS.tokens().scatterRows(new TokenShape(3, 10, 6, 4), cotangent("gather_tokens"), indices, dx);
        assertGradient(dx, "gather_tokens", "x");
    }

    @Test
    void decoderInputIsAssembledWithPositions() {
        Buffer visible = f64(new double[] {1, 2, 3, 4});
        Buffer token = f64(new double[] {100, 200});
        Buffer table = f64(new double[] {0.1, 0.2, 0.3, 0.4, 0.5, 0.6});
        Buffer y = f64(12);
        KERNELS.tokens()
                .assembleDecoder(
                        new DecoderShape(2, 1, 2, 2),
                        visible,
                        new TokenIndices(i32(2, 1), i32(0, 1, 0, 2)),
                        token,
                        table,
                        y);
        double[] expected = {1.5, 2.6, 100.1, 200.2, 100.3, 200.4, 3.3, 4.4, 100.1, 200.2, 100.5, 200.6};
        Close.relative(doubles(y), expected, 1e-15, "decoder input");
        Buffer dvisible = f64(4);
        Buffer dtoken = f64(2);
        KERNELS.tokens().assembleDecoderBackward(new DecoderShape(2, 1, 2, 2), y, dvisible, dtoken);
        assertArrayEquals(new double[] {1.5, 2.6, 3.3, 4.4}, doubles(dvisible));
        Close.relative(doubles(dtoken), new double[] {401, 801.4}, 1e-14, "mask token");
    }

    @Test
    void addRowsPicksPositions() {
        Buffer x = f64(new double[] {1, 2, 3, 4});
        Buffer table = f64(new double[] {10, 20, 30});
        KERNELS.tokens().addRows(new TokenShape(2, 3, 2, 1), x, table, i32(2, 0, 1, 1), x);
        assertArrayEquals(new double[] {31, 12, 23, 24}, doubles(x));
        KERNELS.tokens().addRows(new TokenShape(2, 3, 2, 1), x, table, null, x);
        assertArrayEquals(new double[] {41, 32, 33, 44}, doubles(x));
    }

    @Test
    void indexOutsideIsRefused() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.tokens().gatherRows(new TokenShape(1, 4, 2, 1), f64(4), i32(0, 4), f64(2)));
        assertTrue(requireNonNull(e.getMessage()).contains("index 4 at position 1 is outside [0, 4)"), e.getMessage());
    }
}
