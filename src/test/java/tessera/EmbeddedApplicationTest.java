package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The application of the README, compiled and run outside the project with the one dependency tessera-nn: on the class path,
 * on the module path, and in a runtime image of its own.
 */
class EmbeddedApplicationTest {
    private static final Path SOURCE = Path.of("java", "example", "Recognise.java");
    private static final String INCUBATOR = "WARNING: Using incubator modules: jdk.incubator.vector";
    private static final String PLAIN_JAVA = "matrix products run in plain Java";
    private static final String ANSWER = "pour 75.0 %\nstir 25.0 %\n";

    @TempDir
    private Path folder;

    private Path student;
    private Path head;
    private final List<Path> pictures = new ArrayList<>();

    @BeforeEach
    void writeInputs() throws Exception {
        student = folder.resolve("student.safetensors");
        head = folder.resolve("head.safetensors");
        TinyStudent.write(student, head);
        for (int t = 0; t < 20; t++) {
            Path picture = folder.resolve("picture" + t + ".png");
            ImageIO.write(new BufferedImage(64, 48, BufferedImage.TYPE_INT_RGB), "png", picture.toFile());
            pictures.add(picture);
        }
    }

    /** What a build with the one dependency has: tessera-nn and what comes with it. */
    private static List<Path> dependencies() {
        return ModulePath.of("tessera.nn", "org.jspecify");
    }

    @Test
    void onTheClassPath() throws Exception {
        Path classes = folder.resolve("classes");
        JdkTool.run("javac", "-Xlint:all", "-Werror", "-d", classes, "-cp", ModulePath.join(dependencies()), SOURCE);
        List<Path> path = new ArrayList<>(dependencies());
        path.add(classes);
        path.addAll(ModulePath.carriers());
        String log = recognise(
                ChildJava.JAVA,
                "--enable-native-access=ALL-UNNAMED",
                "--add-modules=jdk.incubator.vector",
                "-cp",
                ModulePath.join(path),
                "example.Recognise");
        assertFalse(log.contains(PLAIN_JAVA), log);
    }

    @Test
    void onTheModulePath() throws Exception {
        Path module = compileModule();
        List<Path> path = new ArrayList<>(dependencies());
        path.add(module);
        String log = recognise(
                ChildJava.JAVA,
                "--enable-native-access=tessera.natives",
                "--add-modules=jdk.incubator.vector",
                "--module-path",
                ModulePath.join(path),
                "-cp",
                ModulePath.join(ModulePath.carriers()),
                "--module",
                "example/example.Recognise");
        assertFalse(log.contains(PLAIN_JAVA), log);
    }

    /** The image holds neither Maven's jars nor the native libraries: their carrier lies beside it on the class path, or is left out. */
    @Test
    void inARuntimeImage() throws Exception {
        Path image = folder.resolve("image");
        List<Path> path = new ArrayList<>(ModulePath.of("tessera.nn"));
        path.add(compileModule());
        JdkTool.run(
                "jlink",
                "--module-path",
                ModulePath.join(path),
                "--add-modules",
                "example,jdk.incubator.vector",
                "--add-options=--enable-native-access=tessera.natives --add-modules=jdk.incubator.vector",
                "--strip-debug",
                "--no-header-files",
                "--no-man-pages",
                "--output",
                image);
        String java = image.resolve("bin").resolve("java").toString();
        String modules = run(List.of(java, "--list-modules")).out();
        assertTrue(modules.contains("tessera.nn") && !modules.contains("tessera.distill"), modules);
        String log =
                recognise(java, "-cp", ModulePath.join(ModulePath.carriers()), "--module", "example/example.Recognise");
        assertFalse(log.contains(PLAIN_JAVA), log);

        String alone = recognise(java, "--module", "example/example.Recognise");
        assertTrue(!alone.contains("using the CPU") || alone.contains(PLAIN_JAVA), alone);
    }

    /** The application as a module, compiled outside the project. */
    private Path compileModule() throws Exception {
        Path module = folder.resolve("module");
        Path descriptor = Files.createDirectory(folder.resolve("source")).resolve("module-info.java");
        Files.writeString(descriptor, "module example {\n    requires java.desktop;\n    requires tessera.nn;\n}\n");
        JdkTool.run("javac", "-d", module, "--module-path", ModulePath.join(dependencies()), descriptor, SOURCE);
        return module;
    }

    /** Runs the application, checks its answer, and returns what it said besides. */
    private String recognise(String... words) throws Exception {
        Outcome outcome = run(Stream.of(
                        Stream.of(words),
                        Stream.of(student, head).map(Path::toString),
                        pictures.stream().map(Path::toString))
                .flatMap(part -> part)
                .toList());
        assertEquals(ANSWER, outcome.out(), outcome.err());
        List<String> warnings =
                outcome.err().lines().filter(line -> line.contains("WARNING: ")).toList();
        assertTrue(
                warnings.stream().allMatch(line -> line.equals(INCUBATOR) || line.contains(PLAIN_JAVA)),
                warnings::toString);
        return outcome.err();
    }

    private record Outcome(String out, String err) {}

    private Outcome run(List<String> command) throws Exception {
        Path err = folder.resolve("err");
        Path out = folder.resolve("out");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
        builder.environment().put("LC_ALL", "C");
        Process process = builder.start();
        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        process.destroyForcibly();
        Outcome outcome = new Outcome(Files.readString(out), Files.readString(err));
        assertTrue(ended && process.exitValue() == 0, outcome::toString);
        return outcome;
    }
}
