package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;

/** The FFmpeg that a jar carries, as processes find it that have no home, no FFmpeg of their own, or the jar's files in a folder. */
class CarriedProgramTest {
    @TempDir
    private Path temp;

    /** What the process under test runs: which program reads videos, or why none. */
    static final class Asks {
        private Asks() {}

        public static void main(String[] arguments) {
            try {
                System.out.println("program " + VideoReader.program());
            } catch (VideoException e) {
                System.out.println("refused " + e.getMessage());
            }
        }
    }

    private static Path carrier() {
        List<Path> jars = ModulePath.carriers().stream()
                .filter(jar -> String.valueOf(jar.getFileName()).startsWith("ffmpeg-"))
                .toList();
        Assumptions.assumeFalse(jars.isEmpty(), "no jar for this platform");
        return jars.getFirst();
    }

    private String ask(String classPath, String cache, String... options) throws Exception {
        Path out = temp.resolve("out");
        List<String> command = new ArrayList<>();
        command.add(ChildJava.JAVA);
        command.addAll(List.of(options));
        command.addAll(List.of("-cp", classPath, Asks.class.getName()));
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(out.toFile());
        builder.environment().put("PATH", temp.toString());
        builder.environment().remove("XDG_CACHE_HOME");
        if (!cache.isEmpty()) {
            builder.environment().put("XDG_CACHE_HOME", cache);
        }
        Process process = builder.start();
        boolean ended = process.waitFor(120, TimeUnit.SECONDS);
        process.destroyForcibly();
        assertTrue(ended && process.exitValue() == 0, () -> command + " fails");
        return Files.readString(out);
    }

    /** As those do who unpack all jars into one folder of classes. */
    private static void unpack(Path jar, Path folder) throws IOException {
        try (JarFile file = new JarFile(jar.toFile())) {
            for (JarEntry entry :
                    file.stream().filter(entry -> !entry.isDirectory()).toList()) {
                Path target = folder.resolve(entry.getName());
                Files.createDirectories(target.resolveSibling(""));
                try (InputStream in = file.getInputStream(entry)) {
                    Files.copy(in, target);
                }
            }
        }
    }

    @Test
    void aFolderOfClassesCarriesItTooAndNoHomeIsNeeded() throws Exception {
        Path carrier = carrier();
        Path classes = Files.createDirectory(temp.resolve("classes %20 #1"));
        unpack(carrier, classes);
        String others = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> !Path.of(entry).equals(carrier))
                .collect(Collectors.joining(File.pathSeparator));
        String answer = ask(others + File.pathSeparator + classes, "", "-Duser.home=?", "-Djava.io.tmpdir=" + temp);
        Path own = temp.resolve("tessera-" + Files.getAttribute(temp, "unix:uid"));
        assertTrue(answer.startsWith("program " + own + "/ffmpeg-") && answer.contains("(carried by "), answer);
    }

    @Test
    void aCacheThatOneUserFilledServesOthers() throws Exception {
        carrier();
        Path cache = Files.createDirectory(temp.resolve("cache"));
        assertTrue(ask(System.getProperty("java.class.path"), cache.toString()).startsWith("program " + cache));
        try (Stream<Path> files = Files.walk(cache)) {
            List<Path> programs = files.filter(file -> file.endsWith("ffmpeg") || file.endsWith("ffprobe"))
                    .toList();
            assertEquals(2, programs.size(), programs::toString);
            for (Path program : programs) {
                assertTrue(
                        Files.getPosixFilePermissions(program).contains(PosixFilePermission.OTHERS_EXECUTE),
                        program::toString);
            }
        }
    }

    @Test
    void aCacheThatCannotBeWrittenIsToldWithItsVariable() throws Exception {
        carrier();
        Path file = Files.createFile(temp.resolve("file"));
        String answer = ask(System.getProperty("java.class.path"), file.toString());
        assertTrue(
                answer.startsWith("refused reading videos: no FFmpeg program: the carried program cannot be"), answer);
        assertTrue(answer.contains(file.toString()) && answer.contains("; set XDG_CACHE_HOME to "), answer);
        assertEquals(1, answer.lines().count(), answer);
    }
}
