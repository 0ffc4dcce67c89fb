package tessera.tensor.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** One run at a time in a folder: of threads, of processes, and after one that was killed. */
class FolderLockTest {
    @TempDir
    private Path temp;

    private static String refusal(Path folder) {
        return String.valueOf(assertThrows(IllegalArgumentException.class, () -> FolderLock.hold(folder))
                .getMessage());
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void aSecondOfTheSameProcessIsRefusedByWhateverPath() throws IOException {
        Path folder = temp.resolve("a").resolve("run");
        Path link = temp.resolve("link");
        try (FolderLock held = FolderLock.hold(folder)) {
            assertEquals(folder.toRealPath(), held.folder());
            Files.createSymbolicLink(link, folder);
            for (Path path : List.of(folder, link, folder.resolve("..").resolve("run"))) {
                assertEquals(
                        path + " is in use by another run (process "
                                + ProcessHandle.current().pid() + "); wait until it has ended, or name another folder",
                        refusal(path));
            }
        }
        assertEquals(List.of(), names(folder), "nothing stays");
        FolderLock.hold(link).close();
        FolderLock.requireFree(folder);
        FolderLock.requireFree(temp.resolve("none"));
        assertFalse(Files.exists(temp.resolve("none")), "to ask makes no folder");
    }

    @Test
    void aFileIsNoFolder() throws IOException {
        Path file = Files.createFile(temp.resolve("file"));
        UncheckedIOException told = assertThrows(UncheckedIOException.class, () -> FolderLock.hold(file));
        assertTrue(String.valueOf(told.getMessage()).startsWith(file + ": could not be written ("), told::toString);
    }

    /** All at once: one gets it, and it is free afterwards. */
    @Test
    void oneOfTwoHundredVirtualThreadsGetsIt() throws Exception {
        Path folder = temp.resolve("run");
        CountDownLatch tried = new CountDownLatch(200);
        List<Future<Boolean>> all = new ArrayList<>();
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 200; i++) {
                all.add(threads.submit(() -> {
                    try (FolderLock held = FolderLock.hold(folder)) {
                        tried.countDown();
                        tried.await();
                        return Files.isDirectory(held.folder());
                    } catch (IllegalArgumentException taken) {
                        tried.countDown();
                        return false;
                    }
                }));
            }
        }
        int held = 0;
        for (Future<Boolean> each : all) {
            held += each.get() ? 1 : 0;
        }
        assertEquals(1, held);
        assertEquals(List.of(), names(folder));
    }

    @Test
    void anInterruptedThreadHoldsItToo() {
        Path folder = temp.resolve("run");
        Thread.currentThread().interrupt();
        try (FolderLock held = FolderLock.hold(folder)) {
            assertTrue(refusal(held.folder()).contains("in use by another run"));
        }
        assertTrue(Thread.interrupted(), "the interrupt stays set");
    }

    @Test
    void aProcessHoldsItUntilItIsKilled() throws Exception {
        Path folder = temp.resolve("run");
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Holder.class.getName(),
                        folder.toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try {
            assertEquals("held", child.inputReader().readLine());
            String told = " is in use by another run (process " + child.pid() + "); ";
            assertTrue(refusal(folder).contains(told));
            assertThrows(IllegalArgumentException.class, () -> FolderLock.requireFree(folder));
            assertTrue(refusal(folder).contains(told), "asking takes nothing away");
        } finally {
            child.destroyForcibly().waitFor();
        }
        List<String> left = names(folder);
        assertEquals(2, left.size(), "left by the killed process");
        FolderLock.hold(folder).close();
        assertEquals(List.of(), names(folder));
        for (String name : left) {
            Files.createFile(folder.resolve(name));
        }
        FolderLock.removeAbandoned(folder);
        assertEquals(List.of(), names(folder));
        try (FolderLock held = FolderLock.hold(folder)) {
            FolderLock.removeAbandoned(held.folder());
            assertEquals(2, names(folder).size(), "of a living run nothing is removed");
        }
        FolderLock.removeAbandoned(temp.resolve("none"));
        assertFalse(Files.exists(temp.resolve("none")));
    }

    /** On a file system without locks the process's number tells as much as can be told on one machine. */
    @Test
    void theMarkOfALivingProcessIsEnough() throws Exception {
        Path folder = Files.createDirectory(temp.resolve("run"));
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Holder.class.getName(),
                        temp.resolve("other").toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try {
            assertEquals("held", child.inputReader().readLine());
            String mark = names(temp.resolve("other")).stream()
                    .filter(name -> name.startsWith(".tessera-run-"))
                    .findFirst()
                    .orElseThrow();
            Files.createFile(folder.resolve(mark));
            assertTrue(refusal(folder).contains("(process " + child.pid() + ")"));
            Files.createFile(folder.resolve(".tessera-run-" + child.pid() + "-1"));
            Files.delete(folder.resolve(mark));
            FolderLock.hold(folder).close();
            assertEquals(List.of(), names(folder), "another process had this number");
        } finally {
            child.destroyForcibly().waitFor();
        }
    }

    /** Holds a folder and waits. */
    static final class Holder {
        private Holder() {}

        public static void main(String[] args) throws IOException {
            try (FolderLock held = FolderLock.hold(Path.of(args[0]))) {
                System.out.write(
                        ("held" + (Files.exists(held.folder()) ? "\n" : "?\n")).getBytes(StandardCharsets.UTF_8));
                System.out.flush();
                System.in.read();
            }
        }
    }
}
