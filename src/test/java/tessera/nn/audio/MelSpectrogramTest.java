package tessera.nn.audio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.Golden;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Spectrograms against PyTorch's Fourier transform and resampling in f64. */
class MelSpectrogramTest {
    private static final Golden GOLDEN = Golden.open("mel-spectrogram");

    /** Decibels below the loudest point where f32 products still say something. */
    private static final double RANGE = 80;

    /** Decibels agree where they are within {@link #RANGE} of the loudest; what is quieter is as quiet here, but for 3 dB. */
    private static void close(double[] actual, double[] expected, String what) {
        double loudest = Double.NEGATIVE_INFINITY;
        for (double value : expected) {
            loudest = Math.max(loudest, value);
        }
        assertEquals(expected.length, actual.length);
        for (int i = 0; i < actual.length; i++) {
            boolean audible = expected[i] > loudest - RANGE;
            double floor = loudest - RANGE;
            Close.within(
                    Math.max(actual[i], floor), Math.max(expected[i], floor), audible ? .01 : .5, what + " at " + i);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"noise", "sine"})
    void picturesArePytorchs(String sound) {
        double[] seconds = GOLDEN.doubles("seconds");
        try (Scope scope = Scope.open()) {
            float[] waveform = GOLDEN.floats(sound + ".waveform");
            Tensor images = new MelSpectrogram(28).images(waveform, MelSpectrogram.RATE, seconds);
            assertArrayEquals(new long[] {3, 28, 28, 1}, images.shape().toArray());
            close(images.toDoubles(), GOLDEN.doubles(sound + ".db28"), sound);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"noise", "sine"})
    void everyBandAndColumnIsPytorchs(String sound) {
        double[] bands = GOLDEN.doubles(sound + ".db224x128");
        double[] square = new double[224 * 224];
        for (int row = 0; row < 224; row++) {
            System.arraycopy(bands, row * 128 / 224 * 224, square, row * 224, 224);
        }
        try (Scope scope = Scope.open()) {
            float[] waveform = GOLDEN.floats(sound + ".waveform");
            double second = GOLDEN.doubles("seconds")[1];
            Tensor image = new MelSpectrogram(224).images(waveform, MelSpectrogram.RATE, second);
            close(image.toDoubles(), square, sound);
        }
    }

    @Test
    void silenceIsTheLeastPower() {
        try (Scope scope = Scope.open()) {
            for (float value :
                    new MelSpectrogram(8).images(new float[500], 16000, 0, 3).toFloats()) {
                assertEquals(-100, value);
            }
        }
    }

    @Test
    void aLouderSoundIsBrighterByItsDecibels() {
        float[] noise = GOLDEN.floats("noise.waveform");
        float[] louder = noise.clone();
        for (int i = 0; i < louder.length; i++) {
            louder[i] *= 10;
        }
        MelSpectrogram spectrogram = new MelSpectrogram(16);
        try (Scope scope = Scope.open()) {
            float[] one = spectrogram.images(noise, 16000, .6).toFloats();
            float[] two = spectrogram.images(louder, 16000, .6).toFloats();
            for (int i = 0; i < one.length; i++) {
                Close.within(two[i] - one[i], one[i] > -80 ? 20 : 0, .01, "difference at " + i);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {24000, 44100, 8000})
    void resamplingIsPytorchs(int rate) {
        float[] resampled = Resampler.resample(GOLDEN.floats("resample.waveform"), rate, 16000);
        Close.relative(resampled, GOLDEN.floats("resample." + rate), 1e-6, rate + " Hz");
    }

    @Test
    void aResampledSineIsTheSineOfTheOtherRate() {
        float[] sine = new float[4800];
        for (int i = 0; i < sine.length; i++) {
            sine[i] = (float) Math.sin(2 * Math.PI * 1000 * i / 48000);
        }
        float[] resampled = Resampler.resample(sine, 48000, 16000);
        assertEquals(1600, resampled.length);
        for (int i = 50; i < 1550; i++) {
            Close.within(resampled[i], Math.sin(2 * Math.PI * 1000 * i / 16000), 2e-3, "sample " + i);
        }
    }

    @Test
    void anotherRateIsTheSameSound() {
        float[] sine = GOLDEN.floats("sine.waveform");
        MelSpectrogram spectrogram = new MelSpectrogram(16);
        try (Scope scope = Scope.open()) {
            float[] direct = spectrogram.images(sine, 16000, .6).toFloats();
            float[] doubled = Resampler.resample(sine, 16000, 32000);
            float[] back = spectrogram.images(doubled, 32000, .6).toFloats();
            for (int i = 0; i < direct.length; i++) {
                Close.within(Math.max(back[i], -40), Math.max(direct[i], -40), .5, "point " + i);
            }
        }
    }

    @Test
    void soundThatCannotBeIsRefused() {
        MelSpectrogram spectrogram = new MelSpectrogram(8);
        float[] sound = new float[400];
        refused(() -> spectrogram.images(sound, 0, 0), "rate of 0 Hz");
        refused(() -> spectrogram.images(new float[159], 16000, 0), "159 samples at 16000 Hz", "10 ms");
        refused(() -> spectrogram.images(sound, 48000, 0), "400 samples at 48000 Hz", "10 ms");
        refused(() -> spectrogram.images(sound, 16000, 1, -.5), "a frame at -0.5 s");
        refused(() -> spectrogram.images(sound, 16000, Double.NaN), "a frame at NaN s");
        refused(() -> Resampler.resample(sound, 16000, -1), "-1 Hz");
        refused(() -> new MelSpectrogram(0), "0 x 0");
        sound[17] = Float.POSITIVE_INFINITY;
        refused(() -> spectrogram.images(sound, 16000, 0), "sample 17 of 400 is Infinity");
    }

    private static void refused(Executable call, String... parts) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        for (String part : parts) {
            assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }
}
