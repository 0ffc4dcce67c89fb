package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Boxes as JSON. */
class BoxFileTest {
    @TempDir
    private Path folder;

    private List<float[]> read(String frames) throws IOException {
        return BoxFile.read(Files.writeString(
                folder.resolve("a.json"), "{\"width\": 100, \"height\": 50, \"frames\": " + frames + "}"));
    }

    @Test
    void cornersAreSharesAndWordsAreNumbers() throws IOException {
        List<float[]> frames = read("[[{\"box\": [10, 20, 30.5, 40], \"class\": \"object\"},"
                + " {\"box\": [-5, 0, 120, 50], \"class\": 2, \"score\": 0.5, \"side\": \"right\", \"state\": 3, \"id\": 7}],"
                + " []]");
        assertEquals(2, frames.size());
        float[] first = Arrays.copyOf(frames.getFirst(), 24);
        float[] expected = {
            .1f,
            .4f,
            .305f,
            .8f,
            1,
            Boxes.OBJECT,
            0,
            0,
            0,
            0,
            1,
            1,
            .5f,
            Boxes.HAND,
            Boxes.RIGHT,
            3,
            0,
            0,
            1e-9f,
            1e-9f,
            0,
            0,
            0,
            0
        };
        assertArrayEquals(expected, first);
        for (int box = 0; box < Boxes.PER_FRAME; box++) {
            assertArrayEquals(
                    new float[] {0, 0, 1e-9f, 1e-9f, 0, 0, 0, 0},
                    Arrays.copyOfRange(frames.get(1), 8 * box, 8 * box + 8));
        }
    }

    @Test
    void theHighestScoresAreTaken() throws IOException {
        String many = IntStream.range(0, 20)
                .mapToObj(i -> "{\"box\": [" + i + ", 0, 50, 50], \"class\": 1, \"score\": " + i % 10 / 10.0 + "}")
                .collect(Collectors.joining(",", "[[", "]]"));
        float[] boxes = read(many).getFirst();
        assertEquals(14 * 8, boxes.length);
        int[] left = IntStream.range(0, 14)
                .map(box -> Math.round(100 * boxes[8 * box]))
                .toArray();
        assertArrayEquals(new int[] {9, 19, 8, 18, 7, 17, 6, 16, 5, 15, 4, 14, 3, 13}, left);
    }

    @Test
    void whatIsWrongIsNamed() throws IOException {
        refused("has its corners exchanged in frame 1, box 0", "[[], [{\"box\": [9, 0, 5, 5], \"class\": 1}]]");
        refused("has no \"box\": [x1, y1, x2, y2] in frame 0, box 0", "[[{\"class\": 1}]]");
        refused("gives none as class of frame 0, box 0", "[[{\"box\": [1, 0, 5, 5]}]]");
        refused("gives foot as class of frame 0, box 0", "[[{\"box\": [1, 0, 5, 5], \"class\": \"foot\"}]]");
        refused("gives 1.5 as side of frame 0, box 0", "[[{\"box\": [1, 0, 5, 5], \"class\": 1, \"side\": 1.5}]]");
        refused("gives 2 as score of frame 0, box 0", "[[{\"box\": [1, 0, 5, 5], \"class\": 1, \"score\": 2}]]");
        refused("has no list of boxes for frame 0", "[7]");
        refused("has no list 'frames'", "7");
        refused("is no JSON object (Unexpected close marker '}': expected ']'); write", "[");
        Path file = Files.writeString(folder.resolve("a.json"), "{\"frames\": []}");
        Exception unsized = assertThrows(IllegalArgumentException.class, () -> BoxFile.read(file));
        assertTrue(
                requireNonNull(unsized.getMessage()).startsWith(file + " gives none as width"), unsized.getMessage());
    }

    private void refused(String text, String frames) {
        Exception refused = assertThrows(IllegalArgumentException.class, () -> read(frames));
        String message = requireNonNull(refused.getMessage());
        assertTrue(message.startsWith(folder.resolve("a.json") + " " + text), message);
        assertTrue(message.endsWith("; write it as the README's section on arrays says, or remove the clip"), message);
        assertEquals(1, message.lines().count(), message);
    }
}
