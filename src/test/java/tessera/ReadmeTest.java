package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The README's code is code that a test compiles and runs. */
class ReadmeTest {
    private static final String START = "// example\n";
    private static final String END = "// end\n";

    @ParameterizedTest
    @ValueSource(classes = {EmbedderExampleTest.class, UserOpExampleTest.class})
    void holdsTheExampleOf(Class<?> test) throws IOException {
        Path root = root();
        String source =
                Files.readString(root.resolve("src/test/java/" + test.getName().replace('.', '/') + ".java"));
        int start = source.indexOf(START);
        int end = source.indexOf(END);
        assertTrue(start >= 0 && end > start, test + " has no lines between '// example' and '// end'");
        String example =
                source.substring(start + START.length(), end).stripTrailing().stripIndent();
        String readme = Files.readString(root.resolve("README.md"));
        assertTrue(
                readme.contains("```java\n" + example + "\n```\n"),
                "README.md differs from " + test + "; it has to hold\n" + example);
    }

    private static Path root() {
        Path folder = Path.of("").toAbsolutePath();
        while (!Files.isRegularFile(folder.resolve("README.md"))) {
            folder = folder.getParent();
        }
        return folder;
    }
}
