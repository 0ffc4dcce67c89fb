package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The README and the texts beside it show the examples exactly as they are tested, and their links lead somewhere. */
class ReadmeTest {
    private static final Pattern LINK = Pattern.compile("\\]\\(([^)#:]*)(?:#([^)]*))?\\)");

    @ParameterizedTest
    @CsvSource({
        "README.md, example/Recognise",
        "README.md, tessera/CameraExampleTest",
        "tensor/extending.md, tessera/UserOpExampleTest",
        "tensor/extending.md, tessera/JCudaExampleTest"
    })
    void showsTheTestedText(String page, String test) throws IOException {
        Path root = SourceTree.root();
        String source = Files.readString(root.resolve("src/test/java/" + test + ".java"));
        String example = source.substring(
                        source.indexOf("// example\n") + "// example\n".length(), source.indexOf("// end"))
                .stripIndent()
                .strip();
        assertTrue(
                Files.readString(root.resolve(page)).contains("```java\n" + example + "\n```"),
                () -> page + " does not show the example of " + test + ":\n" + example);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "README.md",
                "CONTRIBUTING.md",
                "distill/demo.md",
                "distill/motion.md",
                "nn/masks.md",
                "tensor/extending.md",
                "jmh/results/README.md"
            })
    void linksLeadToFilesAndHeadings(String page) throws IOException {
        Path file = SourceTree.root().resolve(page);
        Matcher link = LINK.matcher(Files.readString(file));
        while (link.find()) {
            String target = link.group(1);
            String heading = link.group(2);
            Path there = target.isEmpty() ? file : file.resolveSibling(target).normalize();
            assertTrue(Files.exists(there), () -> page + " links to " + target + ", which is not there");
            assertTrue(
                    heading == null || headings(there).contains(heading),
                    () -> page + " links to #" + heading + ", which is no heading of " + there);
        }
    }

    /** As links name them. */
    private static Set<String> headings(Path file) throws IOException {
        return Files.readAllLines(file).stream()
                .filter(line -> line.startsWith("#"))
                .map(line -> line.replaceFirst("^#+ ", "")
                        .toLowerCase(Locale.ROOT)
                        .replaceAll("[^\\w -]", "")
                        .replace(' ', '-'))
                .collect(Collectors.toSet());
    }
}
