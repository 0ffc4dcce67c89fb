package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import tessera.nn.TokenReduction.Sizes;

class TokenReductionTest {
    @Test
    void reductionsHaveWords() {
        assertEquals("none", TokenReduction.NONE.toString());
        assertEquals("merging 8", TokenReduction.merging(8).toString());
        assertEquals("run length 4.0", TokenReduction.runLengths(4).toString());
        assertEquals(
                "merging 8, sizes mean",
                TokenReduction.merging(8).withSizes(Sizes.MEAN).toString());
    }

    @Test
    void nothingIsTakenAwayByNone() {
        assertEquals(TokenReduction.NONE, TokenReduction.merging(0));
        assertTrue(TokenReduction.NONE.isNone());
        assertFalse(TokenReduction.merging(1).isNone());
        assertFalse(TokenReduction.runLengths(0).isNone());
    }

    @Test
    void whatCannotBeIsRefused() {
        refused(() -> TokenReduction.merging(-1), "token merging takes away -1 tokens a block; pass 0 for none");
        refused(() -> TokenReduction.runLengths(-.5), "the run length's threshold is -0.5; pass the mean difference");
        refused(() -> TokenReduction.runLengths(Double.NaN), "threshold is NaN");
        refused(() -> TokenReduction.runLengths(Double.POSITIVE_INFINITY), "threshold is Infinity");
        refused(() -> new TokenReduction(2, 1.0, Sizes.BOTH), "at once; pass one of them");
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
