package tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class GoldenTest {
    @Test
    void readsShapesAndValues() {
        Golden golden = Golden.open("losses-schedules");
        assertArrayEquals(new long[] {500, 7}, golden.shape("ece.logits"));
        assertEquals(500 * 7, golden.floats("ece.logits").length);
        for (int label : golden.ints("ece.labels")) {
            assertTrue(label >= 0 && label < 7, "label " + label);
        }
        Close.within(golden.doubles("cosine.lr")[0], 1e-6, 1e-12, "warm-up start");
    }
}
