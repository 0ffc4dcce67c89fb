package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;

class EmbedderExampleTest {
    static Prediction recognise(Path student, Path head, List<BufferedImage> pictures) {
        try (Predictor predictor = Predictor.open(student, head)) { // loads both, so open it once and keep it
            Prediction prediction = predictor.predict(pictures); // any number of pictures of any size
            for (Prediction.Score score : prediction.top(3)) {
                System.out.printf("%s %.1f %%%n", score.label(), 100 * score.probability());
            }
            return prediction;
        }
    }

    @Test
    void recognisesAClip(@TempDir Path folder) {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        TinyStudent.write(student, head);
        List<BufferedImage> pictures = new ArrayList<>();
        for (int t = 0; t < 20; t++) {
            pictures.add(new BufferedImage(64, 48, BufferedImage.TYPE_INT_RGB));
        }
        Prediction prediction = recognise(student, head, pictures);
        assertEquals(2, prediction.top(3).size());
        assertEquals("pour", prediction.label());
        Close.within(prediction.probability(), .75, 1e-6, "probability of pour");
    }
}
