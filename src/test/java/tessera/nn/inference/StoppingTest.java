package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.Device;
import tessera.nn.inference.Stopping.Measure;

class StoppingTest {
    private static final double[] P = {.1, .6, .3};

    @Test
    void surenessIsTheHighestOrItsDistanceToTheSecond() {
        Close.within(Stopping.at(.5).sureness(P), .6, 1e-12, "confidence");
        Close.within(new Stopping(.5, Measure.MARGIN, 1).sureness(P), .3, 1e-12, "margin");
        // By hand: the roots of .1, .6, .3 are .316228, .774597, .547723 with the sum 1.638547.
        Close.within(new Stopping(.5, Measure.CONFIDENCE, 2).sureness(P), .774597 / 1.638547, 1e-6, "at T = 2");
        Close.within(new Stopping(.5, Measure.MARGIN, 2).sureness(P), (.774597 - .547723) / 1.638547, 1e-6, "T = 2");
        assertTrue(new Stopping(.5, Measure.CONFIDENCE, .5).sureness(P) > .75, "a low temperature is surer");
    }

    @Test
    void zeroIsAlwaysEnoughAndMoreThanOneNever() {
        double[] certain = {0, 1};
        assertTrue(Stopping.at(0).isEnough(new double[] {.5, .5}));
        assertTrue(Stopping.at(.6).isEnough(P));
        assertFalse(Stopping.at(.61).isEnough(P));
        assertTrue(Stopping.at(1).isEnough(certain));
        assertFalse(Stopping.at(1.001).isEnough(certain));
        assertFalse(Stopping.at(0).isEnough(new double[] {Double.NaN, .5}), "a NaN is not sure of anything");
    }

    @Test
    void numbersThatMeanNothingAreRefused() {
        for (double bad : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
            String message = assertThrows(
                            IllegalArgumentException.class, () -> new Stopping(.5, Measure.CONFIDENCE, bad))
                    .getMessage();
            assertEquals(
                    "adaptive masks: threshold 0.5 at temperature " + bad
                            + "; pass a finite threshold and a temperature over 0",
                    message);
        }
        assertThrows(IllegalArgumentException.class, () -> Stopping.at(Double.NaN));
    }

    @Test
    void headsRememberTheirRule(@TempDir Path folder) {
        Path file = folder.resolve("head.safetensors");
        Stopping rule = new Stopping(.8125, Measure.MARGIN, 1.7);
        Head plain = Toy.head(1, "cut", "pour");
        Head ruled = plain.stoppingAt(rule).named("verb");
        ruled.save(file);
        assertEquals(Optional.of(rule), Head.load(file).stopping());
        plain.save(file);
        assertEquals(Optional.empty(), Head.load(file).stopping());
        String message = assertThrows(IllegalArgumentException.class, () -> Stopping.learned(plain))
                .getMessage();
        assertTrue(String.valueOf(message).startsWith("head 'action' was learned without a threshold"), message);

        Path with = folder.resolve("with.safetensors");
        try (Student student = Student.load(Toy.student(folder.resolve("s"), Toy.CONFIG, 5), Device.cpu())) {
            student.withHead(ruled).save(with);
        }
        try (Student student = Student.load(with, Device.cpu())) {
            assertEquals(Optional.of(rule), student.heads().getFirst().stopping());
        }
    }
}
