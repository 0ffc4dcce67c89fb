package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.List;
import tessera.distill.report.ReliabilityDiagram;

/**
 * How well confidences are accuracies: samples in equal bins of their confidence, the highest probability of each (Guo et al., "On
 * Calibration of Modern Neural Networks", ICML 2017).
 *
 * @param bins from 0 to 1
 * @param samples number of samples, at least 1
 */
public record Reliability(List<Bin> bins, int samples) {
    /** The usual number of bins. */
    public static final int BINS = 15;

    /**
     * The samples whose confidence is in {@code (from, to]}; a confidence of 0 counts in the first bin.
     *
     * @param count number of samples
     * @param hits of which the likeliest class is right
     * @param confidences their sum
     */
    public record Bin(double from, double to, int count, int hits, double confidences) {
        /** Share of samples that are right, in [0, 1]; NaN of an empty bin. */
        public double accuracy() {
            return (double) hits / count;
        }

        /** Mean confidence, in [0, 1]; NaN of an empty bin. */
        public double confidence() {
            return confidences / count;
        }
    }

    public Reliability {
        bins = List.copyOf(bins);
    }

    /** In {@value #BINS} bins; see {@link #of(double[][], int[], int)}. */
    public static Reliability of(double[][] probabilities, int[] labels) {
        return of(probabilities, labels, BINS);
    }

    /**
     * Puts samples into bins.
     *
     * @param probabilities {@code [n][classes]}, each in [0, 1]
     * @param labels {@code [n]}
     * @throws IllegalArgumentException if the arrays do not fit together, {@code bins} is under 1 or a number is no probability
     */
    public static Reliability of(double[][] probabilities, int[] labels, int bins) {
        Classification.check("calibration_error", probabilities, labels);
        if (bins < 1) {
            throw new IllegalArgumentException("calibration_error: " + bins + " bins given; pass at least 1");
        }
        double[] confidences = new double[bins];
        int[] hits = new int[bins];
        int[] counts = new int[bins];
        for (int i = 0; i < probabilities.length; i++) {
            double confidence = 0;
            for (double p : probabilities[i]) {
                if (!(p >= 0 && p <= 1 + 1e-6)) {
                    throw new IllegalArgumentException("calibration_error: sample " + i + " has probability " + p
                            + "; pass softmax outputs, not logits");
                }
                confidence = Math.max(confidence, p);
            }
            int bin = Math.clamp((int) Math.ceil(confidence * bins) - 1, 0, bins - 1);
            counts[bin]++;
            confidences[bin] += confidence;
            hits[bin] += Classification.rank(probabilities[i], labels[i]) == 0 ? 1 : 0;
        }
        List<Bin> filled = new ArrayList<>();
        for (int b = 0; b < bins; b++) {
            filled.add(new Bin((double) b / bins, (b + 1.0) / bins, counts[b], hits[b], confidences[b]));
        }
        return new Reliability(filled, probabilities.length);
    }

    /** Expected calibration error, in [0, 1]: the mean over samples of |accuracy - confidence| of their bin. */
    public double expectedCalibrationError() {
        double gap = 0;
        for (Bin bin : bins) {
            gap += Math.abs(bin.hits - bin.confidences);
        }
        return gap / samples;
    }

    /** Share of all samples that are right, in [0, 1]. */
    public double accuracy() {
        return (double) bins.stream().mapToInt(Bin::hits).sum() / samples;
    }

    /** Mean confidence of all samples, in [0, 1]. */
    public double confidence() {
        return bins.stream().mapToDouble(Bin::confidences).sum() / samples;
    }

    /**
     * The diagram for a report, an SVG element.
     *
     * @param title what it shows, read out by screen readers
     */
    public String diagram(String title) {
        ReliabilityDiagram diagram = new ReliabilityDiagram(title);
        for (Bin bin : bins) {
            diagram.bin(bin.from, bin.to, bin.accuracy(), bin.confidence(), (double) bin.count / samples);
        }
        return diagram.svg();
    }
}
