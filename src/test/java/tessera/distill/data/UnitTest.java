package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Positions in pixels where shares are told, or the other way round, are refused: all of them would lie in a corner or outside. */
class UnitTest {
    @TempDir
    private Path folder;

    private Path write(String text) throws IOException {
        return Files.writeString(folder.resolve("a.json"), text);
    }

    private void refused(String words, Executable reading) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, reading).getMessage());
        assertTrue(message.startsWith(folder.resolve("a.json") + " " + words), message);
        assertEquals(1, message.lines().count(), message);
    }

    private Path boxes(String size, String corners) throws IOException {
        return write("{" + size + ", \"frames\": [[], [{\"box\": [" + corners + "], \"class\": 1}]]}");
    }

    private Path joints(String size, double scale) throws IOException {
        String joints = IntStream.range(0, 21)
                .mapToObj(j -> "[" + scale * j / 20 + ", " + scale / 2 + "]")
                .collect(Collectors.joining(", "));
        return write("{" + size + ", \"frames\": [[{\"joints\": [" + joints + "]}], []]}");
    }

    @Test
    void boxesAreInWhatTheySay() throws IOException {
        String pixels = "\"width\": 200, \"height\": 100";
        String shares = "\"width\": 1, \"height\": 1";
        Path wrong = boxes(pixels, "0.1, 0.2, 0.5, 0.75");
        refused(
                "has all its positions between 0 and 0.75, which are shares and no pixels of 200 x 100",
                () -> BoxFile.read(wrong));
        Path large = boxes(shares, "10, 20, 50, 75");
        refused("has a position at 75.0, which is no share", () -> BoxFile.read(large));
        assertEquals(2, BoxFile.read(boxes(shares, "0.1, 0.2, 0.5, 1.25")).size());
        assertEquals(2, BoxFile.read(boxes(pixels, "0, 0, 2, 1")).size());
        assertEquals(
                1, BoxFile.read(write("{" + pixels + ", \"frames\": [[]]}")).size(), "nothing was found");
    }

    @Test
    void jointsAreInWhatTheySay() throws IOException {
        String pixels = "\"width\": 200, \"height\": 100";
        String shares = "\"width\": 1, \"height\": 1";
        Path wrong = joints(pixels, 1);
        refused("has all its positions between 0 and 1.0, which are shares", () -> KeypointFile.read(wrong, 100, 200));
        Path large = joints(shares, 90);
        refused("has a position at 90.0, which is no share", () -> KeypointFile.read(large, 100, 200));
        assertEquals(2, KeypointFile.read(joints(shares, 1), 100, 200).frames().size());
        assertEquals(2, KeypointFile.read(joints(pixels, 90), 100, 200).frames().size());
    }
}
