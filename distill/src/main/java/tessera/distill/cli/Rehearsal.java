package tessera.distill.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tessera.distill.train.WarmStart;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/**
 * What the launcher lets Java do once, to archive the classes that a start needs: the command line from its help to predictions, on a
 * small student of random weights and on the one that comes with Tessera, and on a video of a few grey frames, in a temporary folder.
 * Nothing is shown, and what cannot be done here, such as decoding where there is no FFmpeg, is left out.
 */
final class Rehearsal {
    private static final int FRAMES = 4;
    private static final int SIZE = 32;
    private static final int WIDTH = 32;

    private Rehearsal() {}

    /** Runs once and ends normally, so that Java writes the archive; needs no arguments. */
    public static void main(String[] args) throws IOException {
        Path folder = Files.createTempDirectory("tessera");
        try {
            run(folder);
        } finally {
            remove(folder);
        }
    }

    /** Rehearses in a folder, which exists. */
    static void run(Path folder) throws IOException {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        Path video = folder.resolve("video.y4m");
        write(student, head);
        Files.write(video, video());
        say("--help");
        say("predict", "--student", student, "--head", head, "--video", video);
        say("predict", "--json", "--student", student, "--head", head, "--video", video);
        Path carried = folder.resolve("carried.safetensors");
        try (Student own = Student.load(WarmStart.file())) {
            head(own.featureWidth()).save(carried);
        } catch (UncheckedIOException | IllegalStateException leftOut) {
            return; // a cache that cannot be written, or a build without it: a prediction that needs it says so
        }
        say("predict", "--head", carried, "--video", video, "--mask-ratio", .75, "--ensemble", 2, "--timing");
    }

    private static Head head(int width) {
        return Head.of(new double[2][width], new double[2], List.of("this", "that"));
    }

    private static void say(Object... words) {
        PrintWriter nowhere = new PrintWriter(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8);
        Main.run(Arrays.stream(words).map(Object::toString).toList(), nowhere, nowhere);
    }

    private static void write(Path student, Path head) {
        double[] half = {.5, .5, .5};
        VideoMaeConfig config = new VideoMaeConfig(
                new Patches(3, 2, 8, 1 / 255.0, half, half),
                FRAMES,
                SIZE,
                SIZE,
                WIDTH,
                1,
                2,
                WIDTH,
                1,
                2,
                1e-5,
                1e-5,
                true,
                false);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new VideoMaeClassifier(params, config, 0).close();
            Student.save(student, params.all(), config, Map.of());
            head(WIDTH).save(head);
        }
    }

    /** Two seconds of uncompressed grey (YUV4MPEG2, 4:2:0). */
    private static byte[] video() {
        byte[] header =
                ("YUV4MPEG2 W" + SIZE + " H" + SIZE + " F4:1 Ip A1:1 C420\n").getBytes(StandardCharsets.US_ASCII);
        byte[] mark = "FRAME\n".getBytes(StandardCharsets.US_ASCII);
        int frame = mark.length + SIZE * SIZE * 3 / 2;
        byte[] file = Arrays.copyOf(header, header.length + 8 * frame);
        Arrays.fill(file, header.length, file.length, (byte) 128);
        for (int i = 0; i < 8; i++) {
            System.arraycopy(mark, 0, file, header.length + i * frame, mark.length);
        }
        return file;
    }

    private static void remove(Path folder) throws IOException {
        try (Stream<Path> filesFirst = Files.walk(folder).sorted(Comparator.reverseOrder())) {
            for (Path file : filesFirst.toList()) {
                Files.delete(file);
            }
        }
    }
}
