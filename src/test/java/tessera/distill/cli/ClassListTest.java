package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Lists of classes as Kinetics, UCF-101, Something-Something and others hand them out. */
class ClassListTest {
    @TempDir
    private Path folder;

    private List<String> read(String name, String text) throws IOException {
        return ClassList.read(Files.writeString(folder.resolve(name), text));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "open door\ncut, slowly\n\"pour\"\n",
                "\uFEFFopen door\r\ncut, slowly\r\n\"pour\"\r\n\r\n",
                "id,name\n0,open door\n1,\"cut, slowly\"\n2,\"\"\"pour\"\"\"\n",
                "1 open door\n2 cut, slowly\n3 \"\"\"pour\"\"\"",
                "0; open door\n1; cut, slowly\n2; \"\"\"pour\"\"\"",
                "0\topen door\n1\tcut, slowly\n2\t\"\"\"pour\"\"\"\n",
                "[\n  \"open door\", \"cut, slowly\", \"\\\"pour\\\"\"]",
                "{\"1\": \"cut, slowly\", \"0\": \"open door\", \"2\": \"\\\"pour\\\"\"}",
                "{\"open door\": \"0\", \"cut, slowly\": \"1\", \"\\\"pour\\\"\": \"2\"}",
                "{\"\\\"pour\\\"\": 3, \"open door\": 1, \"cut, slowly\": 2}",
            })
    void namesClassesInTheirOrder(String text) throws IOException {
        assertEquals(List.of("open door", "cut, slowly", "\"pour\""), read("labels.txt", text));
    }

    /** Numbers that do not count are parts of labels. */
    @Test
    void whatOnlyLooksLikeNumbersStays() throws IOException {
        for (String text : List.of("3 cups\n4 cups", "0\n1\n2", "1 cup\ncups", "10 a\n11 b", "1 cup", "0 a\n2 b")) {
            assertEquals(text.lines().toList(), read("labels.txt", text), text);
        }
    }

    @Test
    void whatNamesNoneIsRefused() throws IOException {
        refused("a\n\nb\n".getBytes(StandardCharsets.UTF_8), "line 2 is empty; pass a label a line");
        refused("{\"a\": 0, \"b\": 2}".getBytes(StandardCharsets.UTF_8), "is JSON but neither a list of labels nor");
        refused("{\"a\": 0, \"b\": 0}".getBytes(StandardCharsets.UTF_8), "is JSON but neither");
        refused("{\"a\": {}}".getBytes(StandardCharsets.UTF_8), "is JSON but neither");
        refused("{\"a\": ".getBytes(StandardCharsets.UTF_8), "is no JSON; pass a text file with a label a line");
        refused(new byte[] {'a', (byte) 0xE9, '\n'}, "is no text in UTF-8; pass a text file");
    }

    private void refused(byte[] bytes, String words) throws IOException {
        Path file = Files.write(folder.resolve("bad"), bytes);
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> ClassList.read(file))
                .getMessage());
        assertTrue(message.startsWith("--labels " + file) && message.contains(words), message);
        assertEquals(1, message.lines().count(), message);
    }
}
