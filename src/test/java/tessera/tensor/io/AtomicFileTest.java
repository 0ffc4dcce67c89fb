package tessera.tensor.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;

/** Hidden files of killed processes are removed, those of living ones never. */
class AtomicFileTest {
    @TempDir
    Path directory;

    private List<String> files() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    private void write(String name) {
        AtomicFile.write(directory.resolve(name), out -> out.write(1));
    }

    @Test
    void filesOfTheSameProcessAreLeftAlone() throws IOException {
        AtomicFile.write(directory.resolve("outer"), out -> {
            out.write(1);
            write("inner");
            assertEquals(2, files().size());
        });
        assertEquals(List.of("inner", "outer"), files());
    }

    @Test
    void whatAKilledProcessLeftIsRemoved() throws Exception {
        Files.writeString(directory.resolve(".tessera-1.tmp"), "left by some earlier version");
        Files.writeString(directory.resolve(".tessera.tmp"), "another's");
        Process child = new ProcessBuilder(
                        ChildJava.JAVA,
                        "-cp",
                        System.getProperty("java.class.path"),
                        Writer.class.getName(),
                        directory.resolve("theirs").toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try {
            assertEquals("writing", child.inputReader().readLine());
            assertEquals(2, files().size(), "the child has removed what was left, and writes: " + files());
            write("ours");
            assertEquals(3, files().size(), "what a living process writes stays: " + files());
        } finally {
            child.destroyForcibly().waitFor();
        }
        assertTrue(files().getFirst().startsWith(".tessera-"), files().toString());
        write("ours");
        assertEquals(List.of(".tessera.tmp", "ours"), files());
    }

    /** Begins to write a file and waits. */
    static final class Writer {
        private Writer() {}

        public static void main(String[] args) {
            AtomicFile.write(Path.of(args[0]), out -> {
                out.write(new byte[100_000]);
                System.out.write("writing\n".getBytes(StandardCharsets.UTF_8));
                System.out.flush();
                System.in.read();
            });
        }
    }
}
