package tessera.nn.videomae;

import static java.util.Objects.requireNonNull;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Reconstruction of pixels that are normalised over each channel of each clip. */
class ClipReconstructionTest {
    private static final int CLIPS = 3;
    private static final int VALUES = 4 * 8 * 8 * 3;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.4, .5, .6}, new double[] {.2, .25, .3}),
            4,
            8,
            8,
            16,
            1,
            2,
            8,
            1,
            2,
            1e-6,
            1e-6,
            true,
            false);

    private Scope scope;
    private VideoMaePretraining model;
    private TokenMask mask;

    @BeforeEach
    void open() {
        scope = Scope.open();
        model = new VideoMaePretraining(Params.random(Device.cpu(), DType.F32, 1), CONFIG, 0);
        mask = MaskStrategy.perSlot()
                .draw(new MaskContext(Device.cpu(), CLIPS, CONFIG.grid(), .5, 1, 2, 0, null, null));
    }

    @AfterEach
    void close() {
        model.close();
        scope.close();
    }

    private static byte[] pixels() {
        byte[] pixels = new byte[CLIPS * VALUES];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i / VALUES * 40 + i * 7919 % 97);
        }
        return pixels;
    }

    private static Tensor video(byte[] pixels) {
        return Tensor.of(pixels, CLIPS, 4, 8, 8, 3);
    }

    /** Pixels with mean 0 and deviation 1 in each channel of each clip, by hand. */
    private static double[] byHand(byte[] pixels) {
        double[] values = new double[pixels.length];
        for (int channel = 0; channel < 3 * CLIPS; channel++) {
            int first = channel / 3 * VALUES + channel % 3;
            int last = (channel / 3 + 1) * VALUES;
            double sum = 0;
            double squares = 0;
            for (int i = first; i < last; i += 3) {
                values[i] = pixels[i] & 255;
                sum += values[i];
                squares += values[i] * values[i];
            }
            int count = VALUES / 3;
            double mean = sum / count;
            double deviation = Math.sqrt(squares / count - mean * mean);
            for (int i = first; i < last; i += 3) {
                values[i] = (values[i] - mean) / deviation;
            }
        }
        return values;
    }

    @Test
    void everyChannelOfEveryClipIsNormalisedByItself() {
        Close.relative(
                VideoMaePretraining.normalised(video(pixels())).toDoubles(), byHand(pixels()), 1e-5, "normalised");
    }

    @Test
    void aConstantClipIsNothing() {
        byte[] grey = new byte[CLIPS * VALUES];
        Arrays.fill(grey, (byte) 200);
        Close.relative(VideoMaePretraining.normalised(video(grey)).toDoubles(), new double[grey.length], 0, "constant");
    }

    @Test
    void theLossIsTheErrorOfTheMaskedPixels() {
        Tensor video = video(pixels());
        float[] values = new float[pixels().length];
        double[] normalised = byHand(pixels());
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) normalised[i];
        }
        double[] target = Patches.plain(3, 2, 4)
                .reconstructionTarget(Tensor.of(values, CLIPS, 4, 8, 8, 3), mask.masked(), 0, false)
                .toDoubles();
        Tensor prediction = Tensor.normal(
                        Device.cpu(), DType.F32, Shape.of(CLIPS, mask.masked().size(1), 96), 1, 0, 0, 1)
                .requiresGrad(true);
        double[] said = prediction.toDoubles();
        double sum = 0;
        double[] slopes = new double[said.length];
        for (int i = 0; i < said.length; i++) {
            double difference = said[i] - target[i];
            sum += difference * difference / said.length;
            slopes[i] = 2 * difference / said.length;
        }
        Tensor loss = model.clipReconstructionLoss(prediction, video, mask);
        Close.within(loss.item(), sum, 1e-5, "loss");
        loss.backward();
        Close.relative(requireNonNull(prediction.grad()).toDoubles(), slopes, 1e-5, "gradient");
    }

    /** Neither light nor contrast changes what is to be said. */
    @Test
    void lightAndContrastDoNotCount() {
        byte[] brighter = pixels();
        byte[] darker = pixels();
        for (int i = 0; i < brighter.length; i++) {
            int value = (pixels()[i] & 255) / 4;
            darker[i] = (byte) value;
            brighter[i] = (byte) (3 * value + 20);
        }
        Close.relative(
                VideoMaePretraining.normalised(video(brighter)).toDoubles(),
                VideoMaePretraining.normalised(video(darker)).toDoubles(),
                1e-5,
                "light");
    }
}
