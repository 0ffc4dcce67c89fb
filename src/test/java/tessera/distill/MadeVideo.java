package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.VideoClip;

/** Videos made by the program that reads them. */
public final class MadeVideo {
    private MadeVideo() {}

    /** Writes a file by the program's own words, parted by single spaces. */
    public static Path write(Path file, String arguments) {
        String program = VideoReader.program().replaceFirst(" \\(carried.*", "");
        List<String> command = new ArrayList<>(List.of(program, "-nostdin", "-v", "error"));
        command.addAll(List.of(arguments.split(" ")));
        command.add(file.toString());
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        Path home = requireNonNull(Path.of(program).toAbsolutePath().getParent());
        builder.environment().put("LD_LIBRARY_PATH", home + ":" + home + "-devices");
        try {
            Process process = builder.start();
            String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertEquals(0, process.waitFor(), said);
            return file;
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        } catch (InterruptedException interruption) {
            throw new IllegalStateException(interruption);
        }
    }

    /** So many frames per second, for so long, each {@code 5 * (N mod 40)} brighter than the first. */
    public static String ramp(String size, double rate, double seconds) {
        return "-f lavfi -i color=black:s=" + size + ":r=" + rate + ":d=" + seconds
                + ",format=yuv420p,geq=lum=20+5*mod(N\\,40):cb=128:cr=128";
    }

    /** The numbers of a ramp's frames, by how bright they are. */
    public static int[] numbers(VideoClip clip) {
        int[] numbers = new int[clip.frames()];
        for (int frame = 0; frame < numbers.length; frame++) {
            int middle = clip.pixels()[frame * clip.frameLength() + clip.frameLength() / 2] & 0xFF;
            numbers[frame] = (int) Math.round((middle * 219 / 255.0 + 16 - 20) / 5);
        }
        return numbers;
    }
}
