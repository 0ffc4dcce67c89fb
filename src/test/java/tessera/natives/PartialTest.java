package tessera.natives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;

/** What a process that was killed left in a cache is removed by the next; what others are making is not. */
class PartialTest {
    @TempDir
    private Path folder;

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> String.valueOf(file.getFileName()))
                    .sorted()
                    .toList();
        }
    }

    @Test
    void nothingStaysOfWhatIsMovedAwayOrNot() throws IOException {
        byte[] bytes = {1, 2, 3};
        try (Partial making = Partial.in(folder, "library");
                Partial other = Partial.in(folder, "library")) {
            assertNotEquals(making.path(), other.path());
            Files.write(making.path(), bytes);
            Files.createDirectories(other.path().resolve("inner"));
            Files.write(other.path().resolve("inner").resolve("file"), bytes);
            Files.move(making.path(), folder.resolve("library"));
        }
        assertEquals(List.of("library"), names());
        assertArrayEquals(bytes, Files.readAllBytes(folder.resolve("library")));
    }

    @Test
    void whatAKilledProcessLeftIsRemovedByTheNext() throws Exception {
        Process process = new ProcessBuilder(
                        ChildJava.JAVA,
                        "-cp",
                        System.getProperty("java.class.path"),
                        Maker.class.getName(),
                        folder.toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try (BufferedReader said = process.inputReader()) {
            assertEquals("made", said.readLine());
            List<String> making = names();
            assertEquals(2, making.size(), making::toString);
            Partial.in(folder, "library").close();
            assertEquals(making, names(), "another process makes it");
            Partial.in(folder, "other").close();
            process.destroyForcibly();
            process.waitFor();
            Partial.in(folder, "other").close();
            assertEquals(making, names(), "another maker's");
            Partial.in(folder, "library").close();
            assertEquals(List.of(), names());
        } finally {
            process.destroyForcibly();
        }
    }

    /** As earlier versions named it. */
    @Test
    void whatEarlierVersionsLeftIsRemovedToo() throws IOException {
        Files.write(folder.resolve(".library12345.part"), new byte[3]);
        Files.write(folder.resolve("library.part"), new byte[3]);
        try (Partial making = Partial.in(folder, "library")) {
            assertTrue(Files.notExists(making.path()));
        }
        assertEquals(List.of("library.part"), names());
    }

    /** Makes something and is killed meanwhile. */
    static final class Maker {
        private Maker() {}

        public static void main(String[] arguments) throws Exception {
            try (Partial making = Partial.in(Path.of(arguments[0]), "library")) {
                Files.createDirectories(making.path());
                Files.write(making.path().resolve("half"), new byte[5]);
                System.out.println("made");
                System.in.read();
            }
        }
    }
}
