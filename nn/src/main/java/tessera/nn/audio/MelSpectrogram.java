package tessera.nn.audio;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Pictures of the sound around a video's frames: mel spectrograms in decibels, as "Multimodal distillation for egocentric action
 * recognition" (ICCV 2023) makes them with the standard values of PyTorch's audio library.
 *
 * <p>The sound is taken to {@value #RATE} Hz, since the authors' mel filters stand for that rate. The {@value #SECONDS} s around each frame
 * (silence beyond the ends, mirrored where a column needs more) become 224 columns, one each {@value #HOP} samples: the power of
 * the Fourier transform of {@value #FFT} points, of which a periodic Hann window of {@value #WINDOW} leaves that many, in {@value #MELS}
 * triangular bands of equal width on the mel scale (HTK's, 0 to 8000 Hz, height 1). Decibels are {@code 10 log10(max(power, 1e-10))}.
 * The picture is resized to a square by the nearest column and band: pixel i of S shows number {@code floor(i n / S)} of n. Its rows
 * are bands from the lowest, its columns times.
 *
 * <p>Immutable and thread-safe.
 */
public final class MelSpectrogram {
    /** Samples of a second that the pictures are made of. */
    public static final int RATE = 16000;

    /** Seconds of sound in a picture. */
    public static final double SECONDS = 1.116;

    /** Points of the Fourier transform. */
    public static final int FFT = 1024;

    /** Samples of a column. */
    public static final int WINDOW = 160;

    /** Samples from column to column. */
    public static final int HOP = 80;

    /** Bands. */
    public static final int MELS = 128;

    private static final int LENGTH = (int) Math.round(SECONDS * RATE);
    private static final int COLUMNS = LENGTH / HOP + 1;
    private static final int BINS = FFT / 2 + 1;
    private static final double LEAST_POWER = 1e-10;
    /** A time that is a whole number of samples but for rounding counts as that. */
    private static final double ROUNDING = 1e-6;

    private final int size;
    private final int[] columns;
    private final int[] columnOfPixel;
    private final int[] bandOfPixel;
    /** Windowed cosines, then sines, {@code [2 * BINS, WINDOW]}, in memory that goes with this object. */
    private final MemorySegment waves;
    /** Bands of the powers of cosines and of sines, {@code [bands, 2 * BINS]}. */
    private final MemorySegment bank;

    private final int bands;

    /**
     * Spectrograms of one size.
     *
     * @param size rows and columns of a picture, S
     * @throws IllegalArgumentException if it is not positive
     */
    public MelSpectrogram(int size) {
        if (size < 1) {
            throw new IllegalArgumentException(
                    "spectrogram: a picture of " + size + " x " + size + " is not possible; pass a positive size");
        }
        this.size = size;
        // Only what a pixel shows is computed.
        int[] nearestColumns = nearest(COLUMNS, size);
        columns = distinct(nearestColumns);
        columnOfPixel = places(nearestColumns);
        int[] nearestBands = nearest(MELS, size);
        int[] shown = distinct(nearestBands);
        bandOfPixel = places(nearestBands);
        bands = shown.length;
        waves = waves();
        bank = bank(shown);
    }

    private static int[] nearest(int count, int size) {
        int[] nearest = new int[size];
        for (int i = 0; i < size; i++) {
            nearest[i] = (int) ((long) i * count / size);
        }
        return nearest;
    }

    private static int[] distinct(int[] ascending) {
        return java.util.Arrays.stream(ascending).distinct().toArray();
    }

    /** Where each number is among the distinct ones. */
    private static int[] places(int[] ascending) {
        int[] places = new int[ascending.length];
        for (int i = 1; i < places.length; i++) {
            places[i] = places[i - 1] + (ascending[i] == ascending[i - 1] ? 0 : 1);
        }
        return places;
    }

    private static MemorySegment waves() {
        float[] values = new float[2 * BINS * WINDOW];
        for (int bin = 0; bin < BINS; bin++) {
            for (int n = 0; n < WINDOW; n++) {
                double window = .5 - .5 * Math.cos(2 * Math.PI * n / WINDOW);
                double angle = 2 * Math.PI * (bin * n % FFT) / FFT;
                values[bin * WINDOW + n] = (float) (window * Math.cos(angle));
                values[(BINS + bin) * WINDOW + n] = (float) (window * Math.sin(angle));
            }
        }
        return outside(values);
    }

    private static MemorySegment bank(int[] shown) {
        float[] values = new float[shown.length * 2 * BINS];
        for (int i = 0; i < shown.length; i++) {
            double low = hertz(shown[i]);
            double middle = hertz(shown[i] + 1);
            double high = hertz(shown[i] + 2);
            for (int bin = 0; bin < BINS; bin++) {
                double frequency = (double) bin * RATE / FFT;
                double height = Math.min((frequency - low) / (middle - low), (high - frequency) / (high - middle));
                float weight = (float) Math.max(0, height);
                values[i * 2 * BINS + bin] = weight;
                values[i * 2 * BINS + BINS + bin] = weight;
            }
        }
        return outside(values);
    }

    /** The frequency of one of the bands' corners, which divide the mel scale from 0 to half the rate evenly. */
    private static double hertz(int corner) {
        double highest = 2595 * Math.log10(1 + RATE / 2.0 / 700);
        return 700 * (Math.pow(10, corner * highest / (MELS + 1) / 2595) - 1);
    }

    private static MemorySegment outside(float[] values) {
        MemorySegment copy = Arena.ofAuto().allocate(ValueLayout.JAVA_FLOAT, values.length);
        return copy.copyFrom(MemorySegment.ofArray(values));
    }

    /** Rows and columns of a picture, S. */
    public int size() {
        return size;
    }

    /**
     * The sound around each frame.
     *
     * @param waveform one channel of sound, full scale in [-1, 1]
     * @param rate its samples of a second; another than {@value #RATE} is resampled, see {@link Resampler}
     * @param seconds when each frame is shown, from the waveform's begin
     * @return f32 {@code [T, S, S, 1]} in decibels, on the CPU; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if the rate is not positive, a sample or time is no finite number, a time is negative, or the
     *     waveform is shorter than a column, 10 ms
     */
    public Tensor images(float[] waveform, int rate, double... seconds) {
        check(waveform, rate, seconds);
        float[] sound = Resampler.resample(waveform, rate, RATE);
        Tensor images = Tensor.empty(Device.cpu(), DType.F32, Shape.of(seconds.length, size, size, 1));
        for (int i = 0; i < seconds.length; i++) {
            long centre = (long) Math.floor(seconds[i] * RATE + ROUNDING);
            draw(powers(sound, centre - LENGTH / 2), images.segment(), (long) i * size * size);
        }
        return images;
    }

    private static void check(float[] waveform, int rate, double[] seconds) {
        if (rate <= 0) {
            throw new IllegalArgumentException(
                    "waveform: a rate of " + rate + " Hz is not possible; pass its samples of a second");
        }
        if ((long) waveform.length * RATE < (long) WINDOW * rate) {
            throw new IllegalArgumentException("waveform: " + waveform.length + " samples at " + rate
                    + " Hz are shorter than the " + 1000 * WINDOW / RATE
                    + " ms of a column; pass the sound of the whole clip");
        }
        for (int i = 0; i < waveform.length; i++) {
            if (!Float.isFinite(waveform[i])) {
                throw new IllegalArgumentException("waveform: sample " + i + " of " + waveform.length + " is "
                        + waveform[i] + "; pass finite samples");
            }
        }
        for (double second : seconds) {
            if (!(second >= 0 && second < Long.MAX_VALUE / (double) RATE)) {
                throw new IllegalArgumentException(
                        "waveform: a frame at " + second + " s; pass times of 0 or more, counted from its begin");
            }
        }
    }

    /** Power in each shown band of each shown column, {@code [columns, bands]}, of the sound from a sample on. */
    private float[] powers(float[] sound, long from) {
        float[] windows = new float[columns.length * WINDOW];
        for (int c = 0; c < columns.length; c++) {
            for (int n = 0; n < WINDOW; n++) {
                int at = columns[c] * HOP - WINDOW / 2 + n;
                int mirrored = at < 0 ? -at : at < LENGTH ? at : 2 * (LENGTH - 1) - at;
                long sample = from + mirrored;
                windows[c * WINDOW + n] = sample >= 0 && sample < sound.length ? sound[(int) sample] : 0;
            }
        }
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor spectrum = Tensor.of(windows, columns.length, WINDOW)
                        .linear(Tensor.wrap(waves, DType.F32, 2 * BINS, WINDOW), null); // [columns, 2 * BINS]
                return spectrum.square()
                        .linear(Tensor.wrap(bank, DType.F32, bands, 2 * BINS), null)
                        .toFloats();
            }
        });
    }

    private void draw(float[] powers, MemorySegment images, long at) {
        float[] decibels = new float[powers.length];
        for (int i = 0; i < powers.length; i++) {
            decibels[i] = (float) (10 * Math.log10(Math.max(powers[i], LEAST_POWER)));
        }
        for (int row = 0; row < size; row++) {
            for (int column = 0; column < size; column++) {
                float value = decibels[columnOfPixel[column] * bands + bandOfPixel[row]];
                images.setAtIndex(ValueLayout.JAVA_FLOAT, at + (long) row * size + column, value);
            }
        }
    }
}
