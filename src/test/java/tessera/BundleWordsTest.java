package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What {@code tessera bundle} refuses before it builds for minutes: its words are read by a script of the shell. */
@DisabledOnOs(OS.WINDOWS)
class BundleWordsTest {
    private static final Path HOME = Path.of("..", "..");

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--out|--out needs a value; pass for example --out bundle",
                "--out=|--out needs a value",
                "--out --page x|--out needs a value but '--page' is an option",
                "--out a --out=b|--out is given twice; give it once",
                "--out=a --architectures=90a,75|--architectures has '75'; pass some of 80,86,89,90a,100,120",
                "--out a --architectures 80,,90a|--architectures is '80,,90a'; pass some of 80,86,89,90a,100,120",
                "--page=x --out=a|--page prints a page and packs nothing; leave it, or --out and --architectures away",
                "--page=x|there is no x; pass a file that goals left",
                "a|unknown argument 'a' of bundle",
                "--output=a|unknown argument '--output' of bundle",
                "|bundle needs a folder for its archive; pass --out DIR",
            })
    void wrongWordsAreToldInALine(@Nullable String words, String expected) throws Exception {
        List<String> command = new ArrayList<>(
                List.of("sh", HOME.resolve("jmh/src/main/bundle/make.sh").toString()));
        command.addAll(List.of(HOME.toString(), System.getProperty("java.home")));
        if (words != null) {
            command.addAll(List.of(words.split(" ")));
        }
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(2, process.waitFor(), said);
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.startsWith("tessera: error: " + expected), said);
    }
}
