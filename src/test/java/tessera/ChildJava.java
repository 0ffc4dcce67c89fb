package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A Java process of its own, for settings that a process reads once. */
public final class ChildJava {
    /** The program: the Java that runs the tests. */
    public static final String JAVA =
            Path.of(System.getProperty("java.home"), "bin", "java").toString();

    private ChildJava() {}

    /**
     * The beginning of a command that runs a class of the tests or the project on whole models, compiled quickly rather than well.
     *
     * @param options of Java beside those that models need
     * @return a list that takes the program's words
     */
    public static List<String> command(List<String> options, String main) {
        List<String> command = new ArrayList<>(List.of(
                JAVA,
                "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1"));
        command.addAll(options);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
        return command;
    }

    /** Runs the main method of a class of the tests and returns all that it printed. */
    public static String run(Path temp, String option, Class<?> main) throws Exception {
        return run(temp, List.of(option), Map.of(), 60, main);
    }

    /**
     * The same with several options and environment variables.
     *
     * @param seconds after which the process is ended and the test fails
     */
    public static String run(
            Path temp,
            List<String> options,
            Map<String, String> environment,
            int seconds,
            Class<?> main,
            String... arguments)
            throws Exception {
        Path log = temp.resolve("child.log");
        List<String> command = new ArrayList<>();
        command.add(JAVA);
        command.add("--enable-native-access=ALL-UNNAMED");
        command.addAll(options);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        boolean ended = process.waitFor(seconds, TimeUnit.SECONDS);
        process.destroyForcibly();
        String output = Files.readString(log);
        assertTrue(ended && process.exitValue() == 0, output);
        return output;
    }

    /** The same for kernels on the fake CUDA of a folder, with memory of exactly the size asked for. */
    public static String runKernels(
            Path temp, Path cuda, Map<String, String> environment, Class<?> main, String... arguments)
            throws Exception {
        List<String> options = List.of(
                "-Xmx1g", "-Dtessera.cuda.dir=" + cuda, "-Dtessera.cuda.cache=" + temp, "-Dtessera.memory.debug=true");
        return run(temp, options, environment, 900, main, arguments);
    }
}
