package tessera.distill.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Accuracy against confidence in bins (Niculescu-Mizil and Caruana, 2005; Guo et al., 2017): a bar of each bin's accuracy, the gap
 * from there to its mean confidence, and above it how many of the samples it holds. Bars of a calibrated model end on the dashed
 * diagonal; where confidence is too high, the gap stands on the bar.
 */
public final class ReliabilityDiagram {
    private static final double LABEL_WIDTH = 30;

    private record Bin(double from, double to, double accuracy, double confidence, double share) {}

    private final String title;
    private final List<Bin> bins = new ArrayList<>();

    /**
     * An empty diagram.
     *
     * @param title what it shows, read out by screen readers
     */
    public ReliabilityDiagram(String title) {
        this.title = title;
    }

    /**
     * Adds a bin.
     *
     * @param from lower edge of its confidences, in [0, 1]
     * @param to upper edge
     * @param accuracy in [0, 1]; NaN of an empty bin, which is not drawn
     * @param confidence mean of its confidences, in [0, 1]
     * @param share of all samples that it holds, in [0, 1]
     */
    public ReliabilityDiagram bin(double from, double to, double accuracy, double confidence, double share) {
        bins.add(new Bin(from, to, accuracy, confidence, share));
        return this;
    }

    /** The diagram as an SVG element. */
    public String svg() {
        Scale.Range percent = new Scale.Range(false);
        percent.include(0);
        percent.include(100);
        Frame frame = new Frame(
                title, List.of("accuracy", "gap to the mean confidence"), Axis.linear("accuracy (%)"), percent);
        Scale x = frame.drawX(Axis.linear("confidence (%)"), percent, 0);
        Scale y = frame.y;
        List<Bin> filled = bins.stream()
                .filter(bin -> Double.isFinite(bin.accuracy) && Double.isFinite(bin.confidence))
                .toList();
        filled.forEach(bin -> draw(frame.svg, bin, x, y));
        frame.svg.dashedLine(x.at(0), y.at(0), x.at(100), y.at(100));
        filled.forEach(bin -> label(frame.svg, bin, x, y));
        frame.drawBaseLine();
        frame.drawLegend();
        return frame.svg.finish();
    }

    private static void draw(Svg svg, Bin bin, Scale x, Scale y) {
        double left = x.at(100 * bin.from) + 1;
        double width = x.at(100 * bin.to) - 1 - left;
        double accuracy = y.at(100 * bin.accuracy);
        double confidence = y.at(100 * bin.confidence);
        double top = Math.min(accuracy, confidence);
        svg.rect(left, accuracy, width, y.at(0) - accuracy, Svg.colour(0));
        svg.rect(left + width / 4, top, width / 2, Math.abs(accuracy - confidence), Svg.colour(1));
    }

    private static void label(Svg svg, Bin bin, Scale x, Scale y) {
        if (x.at(100 * bin.to) - x.at(100 * bin.from) >= LABEL_WIDTH) {
            String share = String.format(Locale.ROOT, bin.share < .1 ? "%.1f %%" : "%.0f %%", 100 * bin.share);
            double middle = x.at(50 * (bin.from + bin.to));
            double top = y.at(100 * Math.max(bin.accuracy, bin.confidence));
            svg.label(middle - Svg.textWidth(share) / 2, Math.max(top - 5, y.at(100) + Svg.FONT), share);
        }
    }
}
