package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ClipGroupsTest {
    private static final List<String> NAMES = List.of("cut/b_1", "cut/a_2", "pour/b_1", "pour/c_d_3");

    @TempDir
    private Path folder;

    private Path table(String text) throws IOException {
        return Files.writeString(folder.resolve("groups.csv"), text);
    }

    private static String refuse(Runnable call) {
        return requireNonNull(
                assertThrows(IllegalArgumentException.class, call::run).getMessage());
    }

    @Test
    void aPrefixIsWhatStandsBeforeTheFirstLine() {
        assertArrayEquals(new int[] {0, 1, 0, 2}, ClipGroups.ofPrefix(NAMES));
        assertTrue(refuse(() -> ClipGroups.ofPrefix(List.of("cut/a_1", "cut/plain")))
                .startsWith("clip cut/plain names no group"));
        assertTrue(refuse(() -> ClipGroups.ofPrefix(List.of("cut/_1"))).startsWith("clip cut/_1 names no group"));
    }

    @Test
    void aTableNamesGroups() throws IOException {
        Path file = table("name,group\nb_1, kitchen\na_2,hall\n\nc_d_3,kitchen\npour/b_1,garden\nother_9,hall\n");
        assertArrayEquals(new int[] {0, 1, 2, 0}, ClipGroups.ofTable(file, NAMES));
    }

    /** With the mark and the ends of lines of one system, or those of another, and labels with commas. */
    @Test
    void tablesOfSpreadsheetsAreRead() throws IOException {
        List<String> names = List.of("pour, then stop/a b", "cut/b", "say \"hi\"/c");
        String rows = "\"pour, then stop/a b\",\"hall, left\"%ncut/b,kitchen%n%n\"say \"\"hi\"\"/c\",\"hall, left\"%n";
        for (String end : List.of("\n", "\r\n", "\r")) {
            for (String start : List.of("", "\uFEFF", "\uFEFFname,group%n", "\"name\",\"group\"%n")) {
                Path file = table((start + rows).replace("%n", end));
                assertArrayEquals(new int[] {0, 1, 0}, ClipGroups.ofTable(file, names), start + end);
            }
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "b_1,x | names no group of clip cut/a_2; add a line cut/a_2,GROUP",
                "b_1 | line 1: 'b_1' is not name,group",
                "b_1,x,y | line 1: 'b_1,x,y' is not name,group",
                "b_1, | is not name,group",
                "b_1,x;b_1,y | line 2: clip b_1 is named twice",
            })
    void otherTablesAreRefused(String text, String expected) throws IOException {
        Path file = table(text.replace(';', '\n'));
        String message = refuse(() -> ClipGroups.ofTable(file, NAMES));
        assertTrue(message.startsWith(file.toString()) && message.contains(expected), message);
    }

    @Test
    void aFileThatIsNotThereIsRefused() {
        Path none = folder.resolve("none.csv");
        assertTrue(refuse(() -> ClipGroups.ofTable(none, NAMES)).contains("pass the word prefix, or a table"));
    }
}
