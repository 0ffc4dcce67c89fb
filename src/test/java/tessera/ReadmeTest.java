package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The README shows the examples exactly as they are tested. */
class ReadmeTest {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "example/Recognise",
                "tessera/CameraExampleTest",
                "tessera/UserOpExampleTest",
                "tessera/JCudaExampleTest"
            })
    void showsTheTestedText(String test) throws IOException {
        Path root = SourceTree.root();
        String source = Files.readString(root.resolve("src/test/java/" + test + ".java"));
        String example = source.substring(
                        source.indexOf("// example\n") + "// example\n".length(), source.indexOf("// end"))
                .stripIndent()
                .strip();
        assertTrue(
                Files.readString(root.resolve("README.md")).contains("```java\n" + example + "\n```"),
                () -> "README.md does not show the example of " + test + ":\n" + example);
    }
}
