package example;

// example
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;

/** An application outside the project, with the one dependency tessera-nn. */
public final class Recognise {
    public static void main(String[] files) throws IOException { // STUDENT HEAD PICTURE...
        List<BufferedImage> frames = new ArrayList<>();
        for (String picture : List.of(files).subList(2, files.length)) {
            frames.add(ImageIO.read(new File(picture))); // any number, of any size
        }
        try (Predictor predictor = Predictor.open(Path.of(files[0]), Path.of(files[1]))) {
            for (Prediction.Score score : predictor.predict(frames).top(3)) {
                System.out.printf("%s %.1f %%%n", score.label(), 100 * score.probability());
            }
        }
    }
}
// end
