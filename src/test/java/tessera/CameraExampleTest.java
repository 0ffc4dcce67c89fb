package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Smoothing;
import tessera.nn.inference.StreamPredictor;
import tessera.nn.inference.StreamPredictor.Options;

class CameraExampleTest {
    // example
    /** Says four times a second what the last two seconds showed; one {@code add} brings a picture. */
    static StreamPredictor watch(Predictor predictor, Consumer<String> say) {
        Options options = Options.seconds(2, .25).withSmoothing(Smoothing.mean(4));
        return new StreamPredictor(predictor, options, (window, seen) -> {
            double sure = 100 * window.smoothed().probability();
            String label = window.smoothed().label();
            say.accept(String.format(Locale.ROOT, "until %.2f s: %s %.0f %%", window.end(), label, sure));
        });
    }
    // end

    @Test
    void aCameraOfThreeSeconds(@TempDir Path folder) {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        TinyStudent.write(student, head);
        List<String> said = Collections.synchronizedList(new ArrayList<>());
        try (Predictor predictor = Predictor.open(student, head);
                StreamPredictor camera = watch(predictor, said::add)) {
            for (int i = 0; i < 30; i++) {
                camera.add(new BufferedImage(64, 48, BufferedImage.TYPE_INT_RGB), i / 10.0);
            }
            camera.finish(3);
            assertEquals(5, camera.statistics().windows() + camera.statistics().dropped());
        }
        assertEquals("until 3.00 s: pour 75 %", said.getLast());
        assertTrue(said.stream().allMatch(line -> line.endsWith("pour 75 %")), said.toString());
    }
}
