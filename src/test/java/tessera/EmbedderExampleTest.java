package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

class EmbedderExampleTest {
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            16,
            32,
            32,
            24,
            1,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    // example
    static Prediction recognise(Path student, Path head, List<BufferedImage> pictures) {
        try (Predictor predictor = Predictor.open(student, head)) { // loads both, so open it once and keep it
            Prediction prediction = predictor.predict(pictures); // any number of pictures of any size
            for (Prediction.Score score : prediction.top(3)) {
                System.out.printf("%s %.1f %%%n", score.label(), 100 * score.probability());
            }
            return prediction;
        }
    }
    // end

    @Test
    void recognisesAClip(@TempDir Path folder) {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(student, params.all(), CONFIG, Map.of());
            Head.of(new double[2][24], new double[] {Math.log(3), 0}, List.of("pour", "stir"))
                    .save(head);
        }
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
