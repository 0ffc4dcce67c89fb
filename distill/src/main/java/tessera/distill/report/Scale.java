package tessera.distill.report;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;

/**
 * Maps values to pixels and chooses round tick values.
 *
 * @param low value at {@code fromPixel}
 * @param high value at {@code toPixel}
 */
record Scale(boolean logarithmic, double low, double high, double fromPixel, double toPixel) {
    /** Range of the values that an axis is to show. */
    static final class Range {
        private final boolean logarithmic;
        private double min = Double.POSITIVE_INFINITY;
        private double max = Double.NEGATIVE_INFINITY;

        Range(boolean logarithmic) {
            this.logarithmic = logarithmic;
        }

        void include(double value) {
            if (Double.isFinite(value) && !(logarithmic && value <= 0)) {
                min = Math.min(min, value);
                max = Math.max(max, value);
            }
        }

        /** Widens by a share of the length on either side; a single value gets room around it. */
        Scale scale(double share, double fromPixel, double toPixel) {
            if (min > max) {
                return new Scale(logarithmic, logarithmic ? 1 : 0, logarithmic ? 10 : 1, fromPixel, toPixel);
            }
            if (logarithmic) {
                double room = max > min ? Math.pow(max / min, share) : 2;
                return new Scale(true, min / room, max * room, fromPixel, toPixel);
            }
            double room = max > min ? share * (max - min) : Math.max(Math.abs(max) / 2, 0.5);
            return new Scale(false, min - room, max + room, fromPixel, toPixel);
        }

        /** Ends at round values, and at 0 where the values come close to it. */
        Scale roundScale(int ticks, double fromPixel, double toPixel) {
            Scale tight = scale(logarithmic ? 0.03 : 0, fromPixel, toPixel);
            if (logarithmic) {
                return tight;
            }
            double low = tight.low > 0 && tight.low < 0.35 * tight.high ? 0 : tight.low;
            double step = step(low, tight.high, ticks);
            return new Scale(
                    false,
                    step * Math.floor(low / step + 1e-9),
                    step * Math.ceil(tight.high / step - 1e-9),
                    fromPixel,
                    toPixel);
        }
    }

    /** Whether the value has a place on the axis. */
    boolean shows(double value) {
        return Double.isFinite(value) && !(logarithmic && value <= 0);
    }

    double at(double value) {
        double share = logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
        return fromPixel + share * (toPixel - fromPixel);
    }

    /** Round values within the scale, about as many as wanted. */
    List<Double> ticks(int wanted) {
        return logarithmic && high / low >= 5 ? logTicks(wanted) : linearTicks(wanted);
    }

    private List<Double> linearTicks(int wanted) {
        double step = step(low, high, wanted);
        List<Double> ticks = new ArrayList<>();
        for (long i = (long) Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
            ticks.add(i * step);
        }
        return ticks;
    }

    /** Powers of ten with 2 and 5 times them where there is room, or every n-th power where there is not. */
    private List<Double> logTicks(int wanted) {
        double decades = Math.log10(high / low);
        double[] mantissas = 3 * decades <= 1.5 * wanted ? new double[] {1, 2, 5} : new double[] {1};
        int stride = (int) Math.max(1, Math.round(decades / wanted));
        List<Double> ticks = new ArrayList<>();
        for (int e = (int) Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
            if (Math.floorMod(e, stride) != 0) {
                continue;
            }
            for (double m : mantissas) {
                double tick = m * Math.pow(10, e);
                if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) {
                    ticks.add(tick);
                }
            }
        }
        return ticks;
    }

    /** 1, 2 or 5 times a power of ten. */
    private static double step(double low, double high, int wanted) {
        double rough = (high - low) / wanted;
        double power = Math.pow(10, Math.floor(Math.log10(rough)));
        double m = rough / power;
        return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
    }

    /** A tick as text: no more digits than it has, thousands as k and millions as M. */
    static String format(double tick) {
        double size = Math.abs(tick);
        if (size >= 1e6) {
            return plain(tick / 1e6) + "M";
        }
        if (size >= 1e4) {
            return plain(tick / 1e3) + "k";
        }
        return size != 0 && size < 1e-3 ? exponent(tick) : plain(tick);
    }

    private static String plain(double value) {
        BigDecimal rounded =
                new BigDecimal(value).setScale(6, RoundingMode.HALF_EVEN).stripTrailingZeros();
        return (rounded.scale() < 0 ? rounded.setScale(0, RoundingMode.UNNECESSARY) : rounded)
                .toPlainString()
                .replace('-', '−');
    }

    private static String exponent(double value) {
        int e = (int) Math.floor(Math.log10(Math.abs(value)) + 1e-9);
        return plain(value / Math.pow(10, e)) + "e−" + -e;
    }
}
