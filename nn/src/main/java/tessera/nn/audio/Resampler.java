package tessera.nn.audio;

import java.math.BigInteger;

/**
 * Waveforms at another rate, by a windowed sinc (Smith, "Digital audio resampling", 2002) with the standard values of PyTorch's
 * audio library: the sinc's first 6 zeros on either side under a Hann window, and a cut-off at .99 of the lower rate's half.
 */
public final class Resampler {
    private static final int ZEROS = 6;
    private static final double ROLLOFF = .99;

    private Resampler() {}

    /**
     * The waveform at another rate; the waveform itself if the rates are equal. Sample n of the result lies at the time of sample
     * {@code n * from / to} of the given ones, beyond whose ends there is silence.
     *
     * @param from its samples of a second
     * @param to those of the result, which has {@code ceil(length * to / from)}
     * @throws IllegalArgumentException if a rate is not positive
     */
    public static float[] resample(float[] waveform, int from, int to) {
        if (from <= 0 || to <= 0) {
            throw new IllegalArgumentException("waveform: it cannot be taken from a rate of " + from + " Hz to one of "
                    + to + " Hz; pass positive rates");
        }
        if (from == to) {
            return waveform;
        }
        int divisor = BigInteger.valueOf(from).gcd(BigInteger.valueOf(to)).intValueExact();
        int given = from / divisor;
        int wanted = to / divisor;
        double cut = Math.min(given, wanted) * ROLLOFF;
        int width = (int) Math.ceil(ZEROS * given / cut);
        double[][] kernels = new double[wanted][];
        float[] result = new float[Math.toIntExact(Math.ceilDiv((long) waveform.length * wanted, given))];
        for (int n = 0; n < result.length; n++) {
            int phase = n % wanted;
            double[] kernel = kernels[phase];
            if (kernel == null) {
                kernel = kernel(phase, given, wanted, cut, width);
                kernels[phase] = kernel;
            }
            long first = (long) n * given / wanted - width;
            double sum = 0;
            for (int k = (int) Math.max(0, -first); k < kernel.length && first + k < waveform.length; k++) {
                sum += kernel[k] * waveform[(int) (first + k)];
            }
            result[n] = (float) sum;
        }
        return result;
    }

    /** Weights of the samples around sample {@code phase} of the result, from {@code width} before the one at or before it. */
    private static double[] kernel(int phase, int given, int wanted, double cut, int width) {
        double[] kernel = new double[2 * width + 2];
        long first = (long) phase * given / wanted - width;
        for (int k = 0; k < kernel.length; k++) {
            double t = cut * ((double) (first + k) / given - (double) phase / wanted);
            if (Math.abs(t) < ZEROS) {
                double window = Math.cos(Math.PI * t / (2 * ZEROS));
                double sinc = t == 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t);
                kernel[k] = cut / given * sinc * window * window;
            }
        }
        return kernel;
    }
}
