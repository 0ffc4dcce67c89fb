package tessera.tensor.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
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
        AtomicFile.requireNewFiles(directory);
        assertEquals(List.of(".tessera.tmp", "ours"), files());
        Files.writeString(directory.resolve(".tessera-1.tmp"), "left again");
        write("ours");
        assertEquals(List.of(".tessera.tmp", "ours"), files());
    }

    /** Results may be on another disk than the name that a user gives them; the link stays one. */
    @Test
    void linksAreWrittenThrough() throws IOException {
        Path there = Files.createDirectory(directory.resolve("there"));
        for (String name : List.of("new", "old")) {
            Path link = Files.createSymbolicLink(directory.resolve(name), Path.of("there", name));
            if (name.equals("old")) {
                Files.writeString(there.resolve(name), "long before");
            }
            write(name);
            assertTrue(Files.isSymbolicLink(link));
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(there.resolve(name)));
        }
        assertEquals(List.of("new", "old", "there"), files());
        Files.createSymbolicLink(directory.resolve("lost"), Path.of("nowhere", "lost"));
        String told = String.valueOf(
                assertThrows(TensorFileException.class, () -> write("lost")).getMessage());
        assertTrue(told.contains("nowhere does not exist"), told);
        Files.createSymbolicLink(directory.resolve("round"), Path.of("round"));
        assertThrows(UncheckedIOException.class, () -> write("round"));
    }

    private static void together(Path folder, String... texts) {
        AtomicFile.writeTogether(folder, List.of("weights", "more", "config"), hidden -> {
            try {
                Files.writeString(hidden.resolve("weights"), texts[0]);
                Files.writeString(hidden.resolve("config"), texts[1]);
                if (texts.length > 2) {
                    Files.writeString(hidden.resolve("more"), texts[2]);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    @Test
    void filesThatBelongTogetherChangeTogether() throws IOException {
        Path folder = directory.resolve("a").resolve("b");
        together(folder, "w1", "c1", "m1");
        Files.writeString(folder.resolve("notes"), "another's");
        assertThrows(ArrayIndexOutOfBoundsException.class, () -> together(folder, "w2"));
        assertEquals("w1", Files.readString(folder.resolve("weights")), "a failure changes nothing");
        assertEquals("c1", Files.readString(folder.resolve("config")));
        together(folder, "w3", "c3");
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(
                    List.of("config", "notes", "weights"),
                    left.map(file -> file.getFileName().toString()).sorted().toList(),
                    "nothing hidden, and nothing of what was there before");
        }
        assertEquals("w3", Files.readString(folder.resolve("weights")));
        try (FolderLock held = FolderLock.hold(folder)) {
            assertThrows(IllegalArgumentException.class, () -> together(held.folder(), "w4", "c4"));
        }
    }

    @Test
    void manyWritersOfOneFileLeaveOneWhole() throws Exception {
        Path file = directory.resolve("result");
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<?>> all = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                byte[] bytes = new byte[100_000];
                Arrays.fill(bytes, (byte) i);
                all.add(threads.submit(() -> AtomicFile.write(file, out -> out.write(bytes))));
            }
            for (Future<?> each : all) {
                each.get();
            }
        }
        byte[] found = Files.readAllBytes(file);
        byte[] whole = new byte[100_000];
        Arrays.fill(whole, found[0]);
        assertArrayEquals(whole, found);
        assertEquals(List.of("result"), files());
    }

    /** An interrupted thread writes too, and stays interrupted. */
    @Test
    void anInterruptSpoilsNothing() throws IOException {
        Thread.currentThread().interrupt();
        write("calm");
        together(directory.resolve("folder"), "w", "c");
        assertTrue(Thread.interrupted());
        assertEquals(List.of("calm", "folder"), files());
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
