package tessera.distill.data;

import java.util.ArrayList;
import java.util.List;

/**
 * A change of the colours of pictures, the same for every frame of a clip: four steps, of which each takes what the one before it
 * gives, cut to the range of colours.
 *
 * @param brightness factor of every colour
 * @param contrast 1 keeps colours, 0 turns a frame into its mean grey
 * @param saturation 1 keeps colours, 0 turns each into its grey
 * @param hue turn of the colour circle, in rounds, in [-.5, .5]
 * @param order of the four steps, 0 to 23: which of their permutations
 */
public record Colour(double brightness, double contrast, double saturation, double hue, int order) {
    /** No change. */
    public static final Colour SAME = new Colour(1, 1, 1, 0, 0);

    static final int ORDERS = 24;

    public Colour {
        if (!(brightness >= 0 && contrast >= 0 && saturation >= 0 && Math.abs(hue) <= .5)
                || order < 0
                || order >= ORDERS) {
            throw new IllegalArgumentException("a change of colours by brightness " + brightness + ", contrast "
                    + contrast + ", saturation " + saturation + ", hue " + hue + " in order " + order
                    + "; pass factors of 0 or more, a hue in [-0.5, 0.5] and an order of 0 to 23");
        }
    }

    /** Changes a frame of colours in [0, 255], three numbers a pixel, in place. */
    void apply(float[] frame) {
        if (equals(SAME)) {
            return;
        }
        for (int i = 0; i < frame.length; i++) {
            frame[i] /= 255;
        }
        List<Integer> left = new ArrayList<>(List.of(0, 1, 2, 3));
        int rest = order;
        for (int n = 4; n > 0; n--) {
            int step = left.get(rest % n);
            left.removeIf(other -> other == step);
            switch (step) {
                case 0 -> scale(frame);
                case 1 -> blendWithMean(frame);
                case 2 -> blendWithGrey(frame);
                default -> turn(frame);
            }
            rest /= n;
        }
        for (int i = 0; i < frame.length; i++) {
            frame[i] *= 255;
        }
    }

    private void scale(float[] frame) {
        for (int i = 0; i < frame.length; i++) {
            frame[i] = unit(brightness * frame[i]);
        }
    }

    private void blendWithMean(float[] frame) {
        double sum = 0;
        for (int i = 0; i < frame.length; i += 3) {
            sum += grey(frame, i);
        }
        double mean = 3 * sum / frame.length;
        for (int i = 0; i < frame.length; i++) {
            frame[i] = unit(contrast * frame[i] + (1 - contrast) * mean);
        }
    }

    private void blendWithGrey(float[] frame) {
        for (int i = 0; i < frame.length; i += 3) {
            double grey = grey(frame, i);
            for (int c = i; c < i + 3; c++) {
                frame[c] = unit(saturation * frame[c] + (1 - saturation) * grey);
            }
        }
    }

    private static double grey(float[] frame, int at) {
        return .2989 * frame[at] + .587 * frame[at + 1] + .114 * frame[at + 2];
    }

    /** Turns hues, with value and saturation of the hexcone model (Smith, SIGGRAPH 1978) as they are. */
    private void turn(float[] frame) {
        if (hue == 0) {
            return;
        }
        for (int i = 0; i < frame.length; i += 3) {
            double r = frame[i];
            double g = frame[i + 1];
            double b = frame[i + 2];
            double most = Math.max(r, Math.max(g, b));
            double range = most - Math.min(r, Math.min(g, b));
            if (range > 0) {
                double sixths = most == r ? (g - b) / range : most == g ? 2 + (b - r) / range : 4 + (r - g) / range;
                double turned = sixths + 6 * hue;
                frame[i] = unit(most - range * lack(turned + 5));
                frame[i + 1] = unit(most - range * lack(turned + 3));
                frame[i + 2] = unit(most - range * lack(turned + 1));
            }
        }
    }

    /** How much of the range a colour lacks at a place of the circle, where it is full at 0 +- 1 after 2. */
    private static double lack(double sixths) {
        double place = ((sixths % 6) + 6) % 6;
        return Math.max(0, Math.min(1, Math.min(place, 4 - place)));
    }

    private static float unit(double value) {
        return (float) Math.clamp(value, 0, 1);
    }
}
