package tessera.distill.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;

class IntervalTest {
    /** As SciPy gives them. */
    @ParameterizedTest
    @CsvSource({
        "1, 12.7062047362", "2, 4.30265272975", "3, 3.18244630528", "4, 2.77644510520", "5, 2.57058183564",
        "6, 2.44691185114", "7, 2.36462425159", "9, 2.26215716280", "19, 2.09302405441", "29, 2.04522964213",
        "30, 2.04227245630", "100, 1.98397151852", "1000, 1.96233908083"
    })
    void quantilesAreThoseOfTables(int freedom, double expected) {
        Close.within(Interval.quantile(.975, freedom), expected, 1e-10 * expected, "t.975 of " + freedom);
    }

    @Test
    void otherQuantilesAreThoseOfTables() {
        Close.within(Interval.quantile(.95, 2), 2.91998558036, 1e-9, "t.95 of 2");
        Close.within(Interval.quantile(.995, 4), 4.60409487135, 1e-9, "t.995 of 4");
        // One degree of freedom is the Cauchy distribution, whose upper quartile is 1.
        Close.within(Interval.quantile(.75, 1), 1, 1e-12, "Cauchy");
    }

    @Test
    void seedsGiveAnIntervalOfT() {
        // Mean 62, deviation 2, so 4.3027 * 2 / sqrt(3).
        Interval three = Interval.overSeeds(.60, .62, .64);
        Close.within(three.mean(), .62, 1e-12, "mean");
        Close.within(three.half(), 4.30265272970 * .02 / Math.sqrt(3), 1e-11, "half width");
        assertEquals("62.00 ± 4.97", three.toString());
        Interval one = Interval.overSeeds(.5);
        assertTrue(Double.isNaN(one.half()), "one seed tells no interval");
        assertEquals("50.00", one.toString());
        Close.within(Interval.overSeeds(.4, .4, .4).half(), 0, 1e-15, "equal seeds");
    }

    @Test
    void clipsGiveAStandardError() {
        Interval share = Interval.overClips(.36, 100);
        Close.within(share.half(), .048, 1e-12, "sqrt(p (1 - p) / n)");
        assertEquals("36.00 ± 4.80", share.toString());
        assertEquals(share, new Share(36, 100).interval());
    }

    @Test
    void badInputIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Interval.overSeeds());
        assertThrows(IllegalArgumentException.class, () -> Interval.overClips(1.5, 3));
        assertThrows(IllegalArgumentException.class, () -> Interval.overClips(.5, 0));
        assertThrows(IllegalArgumentException.class, () -> Interval.overClips(Double.NaN, 5));
        assertThrows(IllegalArgumentException.class, () -> Interval.quantile(.5, 3));
        assertThrows(IllegalArgumentException.class, () -> Interval.quantile(.975, 0));
    }
}
