package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/** Programs of the JDK, run in the test's process. */
final class JdkTool {
    private JdkTool() {}

    /** Runs one that must succeed, such as {@code javac}; what it says is shown where it fails. */
    static void run(String name, Object... words) {
        StringWriter said = new StringWriter();
        PrintWriter writer = new PrintWriter(said);
        int code = ToolProvider.findFirst(name)
                .orElseThrow()
                .run(writer, writer, Stream.of(words).map(Object::toString).toArray(String[]::new));
        assertEquals(0, code, said::toString);
    }
}
