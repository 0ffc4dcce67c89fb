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
                // Numbers in any order, and behind the labels.
                "2 cut, slowly\n1 open door\n3 \"\"\"pour\"\"\"",
                "id,name\n2,\"\"\"pour\"\"\"\n0,open door\n1,\"cut, slowly\"\n",
                "\"cut, slowly\",1\nopen door,0\n\"\"\"pour\"\"\",2\n",
                "name\tid\ncut, slowly\t2\nopen door\t1\n\"\"\"pour\"\"\"\t3\n",
                "open door 0\ncut, slowly 1\n\"\"\"pour\"\"\" 2",
                // Tables with more columns, as EPIC-KITCHENS' two editions have them, one in a spreadsheet's way.
                "id,key,instances,category\n0,open door,\"['open', 'un,lock']\",a\n1,\"cut, slowly\",\"['cut']\",a\n2,\"\"\"pour\"\"\",[],a\n",
                "noun_id,class_key,nouns\r\n2,\"\"\"pour\"\"\",\"['a',\n 'b']\"\r\n1,\"cut, slowly\",[]\r\n0,open door,[]\r\n",
                "\uFEFFname;split;ID\n\"cut, slowly\";x;2\nopen door;x;1\n\"\"\"pour\"\"\";x;3\n",
                "[{\"id\": 2, \"name\": \"cut, slowly\"}, {\"id\": 1, \"name\": \"open door\"}, {\"id\": 3, \"name\": \"\\\"pour\\\"\"}]",
                "{\"model_type\": \"videomae\", \"id2label\": {\"1\": \"cut, slowly\", \"0\": \"open door\", \"2\": \"\\\"pour\\\"\"}}",
            })
    void namesClassesInTheirOrder(String text) throws IOException {
        assertEquals(List.of("open door", "cut, slowly", "\"pour\""), read("labels.txt", text));
    }

    /** Numbers that do not count are parts of labels. */
    @Test
    void whatOnlyLooksLikeNumbersStays() throws IOException {
        for (String text : List.of(
                "3 cups\n4 cups",
                "0\n1\n2",
                "1 cup\ncups",
                "10 a\n11 b",
                "1 cup",
                "0 a\n2 b",
                "cup 1\ncup 2",
                "b 1\nc 3",
                "1 a\n1 b",
                "x,y\nz,w")) {
            assertEquals(text.lines().toList(), read("labels.txt", text), text);
        }
    }

    @Test
    void whatNamesNoneIsRefused() throws IOException {
        refused("a\n\nb\n".getBytes(StandardCharsets.UTF_8), "line 2 is empty; pass a label a line");
        refused("{\"a\": 0, \"b\": 2}".getBytes(StandardCharsets.UTF_8), "is JSON but neither a list of labels nor");
        refused("{\"a\": 0, \"b\": 0}".getBytes(StandardCharsets.UTF_8), "is JSON but neither");
        refused("{\"a\": {}}".getBytes(StandardCharsets.UTF_8), "is JSON but neither");
        refused("id,name\n0,a\n0,b\n".getBytes(StandardCharsets.UTF_8), "line 3, has no id of its own with a name");
        refused(
                "id,name\n0,a\n2,b\n".getBytes(StandardCharsets.UTF_8),
                "the column id has not every number from 0 or 1 on");
        refused("id,name\n0,a\n1,\n".getBytes(StandardCharsets.UTF_8), "line 3, has no id of its own with a name");
        refused("[{\"id\": 1}]".getBytes(StandardCharsets.UTF_8), "is JSON but neither");
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
