package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** A Java process of its own, for settings that a process reads once. */
public final class ChildJava {
    private ChildJava() {}

    /** Runs the main method of a class of the tests and returns all that it printed. */
    public static String run(Path temp, String option, Class<?> main) throws Exception {
        Path log = temp.resolve("child.log");
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        option,
                        "-cp",
                        System.getProperty("java.class.path"),
                        main.getName())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        process.destroyForcibly();
        String output = Files.readString(log);
        assertTrue(ended && process.exitValue() == 0, output);
        return output;
    }
}
