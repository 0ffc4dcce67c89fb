package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.MovingVideo;
import tessera.distill.train.WarmStart;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Student;

/** Whoever names no student gets the one that comes with Tessera. */
class WarmStartTest {
    private static final long MOST_BYTES = 8L << 20;

    @TempDir
    Path folder;

    @Test
    void isASmallStudentOfFourMomentsOrMore() throws IOException {
        Path file = WarmStart.file();
        assertTrue(Files.size(file) <= MOST_BYTES, () -> file + " is too large");
        try (Student student = Student.load(file, Device.cpu(), DType.F32)) {
            assertEquals(3, student.config().input().channels());
            assertTrue(requireNonNull(student.config().grid()).slots() >= 4, "slots of time");
        }
    }

    @Test
    void aDamagedCopyIsReplaced() throws IOException {
        Path file = WarmStart.file();
        byte[] whole = Files.readAllBytes(file);
        Path kept = Files.copy(file, folder.resolve("kept"));
        Files.delete(file);
        Files.write(file, new byte[] {1, 2, 3});
        assertEquals(file, WarmStart.file());
        assertArrayEquals(whole, Files.readAllBytes(file));
        assertEquals(-1, Files.mismatch(kept, file));
    }

    @Test
    void learnAndPredictNeedNoStudent() throws IOException {
        Path labelled = folder.resolve("labelled");
        for (String name : List.of("a", "b", "c")) {
            int start = name.charAt(0) - 'a';
            MovingVideo.write(
                    labelled.resolve("right/" + name + ".avi"), 32, 96, MovingVideo.steady(1.5 + .2 * start, 0));
            MovingVideo.write(labelled.resolve("still/" + name + ".avi"), 32, 96, MovingVideo.steady(0, 0));
        }
        Path head = folder.resolve("head.safetensors");
        Shell.succeed("learn", "--clips", labelled, "--clip-seconds=0", "--quiet", "--out", head);
        Path moving = MovingVideo.write(folder.resolve("moving.avi"), 32, 96, MovingVideo.steady(1.6, 0));
        Path still = MovingVideo.write(folder.resolve("standing.avi"), 32, 96, MovingVideo.steady(0, 0));
        assertTrue(predicted(head, moving).startsWith(": right"), predicted(head, moving));
        assertTrue(predicted(head, still).startsWith(": still"), predicted(head, still));
        assertTrue(Shell.succeed("features", "--help").contains("comes with Tessera"));
    }

    private static String predicted(Path head, Path video) {
        String told = Shell.succeed("predict", "--head", head, "--video", video, "--clip-seconds=0");
        assertTrue(told.startsWith(video.toString()), told);
        return told.substring(video.toString().length());
    }

    @Test
    void adaptStartsThereUnlessToldOtherwise() {
        Shell.refuse(
                List.of("--start s and --random exclude each other"),
                "adapt",
                "--clips",
                folder,
                "--start=s",
                "--random",
                "--out",
                folder.resolve("run"));
    }
}
