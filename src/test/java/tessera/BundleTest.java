package tessera;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tessera.distill.report.Json;

/**
 * The archive for machines with a GPU: {@code make.sh} of jmh/src/main/bundle packs it, with stand-ins for what takes long (Maven,
 * {@code jlink}, {@code jar} and {@code xz}), and {@code run.sh} runs from what was unpacked, on the fake CUDA.
 */
@Tag(FakeCuda.TAG)
class BundleTest {
    /** So long a program may hang before a test fails. */
    private static final int PATIENCE_SECONDS = 120;

    /** All jars together, stored; packed with the runtime they have to fit into 64 MiB. */
    private static final long LARGEST_LIBRARIES = 96L << 20;

    @TempDir
    private static Path shared;

    /** What was unpacked, in a folder whose name has to be quoted. */
    private static Path bundle = Path.of("");

    /** The classes of the parity suite and how they are run, as packed. */
    private static List<String> suite = List.of();

    @TempDir
    private Path folder;

    @BeforeAll
    static void pack() throws Exception {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        Path home = Files.createDirectory(shared.resolve("the home"));
        Path root = SourceTree.root();
        Files.copy(root.resolve("tessera"), home.resolve("tessera"));
        link(home.resolve("jmh/src"), root.resolve("jmh/src"));
        link(home.resolve("src/test/java"), root.resolve("src/test/java"));
        Path made = shared.resolve("made");
        classPath(made);
        Path programs = shared.resolve("programs");
        program(
                programs.resolve("mvn"),
                "mkdir -p '" + home + "/src/test/target/bundle' '" + home + "/jmh/target/lib'",
                "cp -P '" + made + "'/tests.jar '" + home + "/src/test/target/tessera-test-tests.jar'",
                "cp -P '" + made + "'/classes/* '" + home + "/jmh/target/lib/'",
                "cp -P '" + made + "'/others/* '" + home + "/src/test/target/bundle/'");
        program(programs.resolve("xz"), "exec cat");
        Map<String, String> environment = Map.of(
                "TESSERA_JAVA_HOME", jdk().toString(), "PATH", programs + File.pathSeparator + System.getenv("PATH"));
        Path out = shared.resolve("out of it");
        Ended packed =
                start(shared, environment, "sh", home.resolve("tessera").toString(), "bundle", "--out", out.toString());
        assertEquals(0, packed.code, packed.text);
        assertEquals(List.of("tessera-bundle.tar.xz"), names(out), packed.text);
        Path place = Files.createDirectory(shared.resolve("un packed 'here' $1"));
        Ended unpacked = start(
                place,
                Map.of(),
                "tar",
                "-xf",
                out.resolve("tessera-bundle.tar.xz").toString());
        assertEquals(0, unpacked.code, unpacked.text);
        assertEquals(List.of("tessera-bundle"), names(place));
        bundle = place.resolve("tessera-bundle");
        suite = Files.readAllLines(bundle.resolve("tests"));
        // Nothing else is needed from here on.
        Ended gone = start(shared, Map.of(), "rm", "-rf", home.toString(), made.toString(), out.toString());
        assertEquals(0, gone.code, gone.text);
    }

    /** A JDK with stand-ins for jlink, whose runtime is this Java, and for jar, which then need not pack anew what is packed. */
    private static Path jdk() throws IOException {
        Path jdk = shared.resolve("a jdk");
        Path bin = Files.createDirectories(jdk.resolve("bin"));
        Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"25\"\n");
        program(bin.resolve("java"), "exit 1");
        program(bin.resolve("javac"), "exit 1");
        program(
                bin.resolve("jlink"),
                "while [ \"$1\" != --output ]; do shift; done",
                "mkdir -p \"$2/bin\"",
                "exec cp '" + shared + "/runtime' \"$2/bin/java\"");
        program(
                shared.resolve("runtime"),
                "case \"$*\" in *' tessera.jmh.gpu.References '*)",
                "    for last; do :; done",
                "    echo references >\"$last\"",
                "    exit 0 ;;",
                "esac",
                "exec '" + ChildJava.JAVA + "' -XX:TieredStopAtLevel=1 \"$@\"");
        program(
                bin.resolve("jar"),
                "case $1 in",
                "    xf) exec ln -s \"$2\" stored ;;",
                "    cf0M) exec cp -L \"$4/stored\" \"$2\" ;;",
                "esac",
                "exit 1");
        return jdk;
    }

    /** The class path of the tests as a build leaves it: a jar of the tests, those of the rooms, and those of others. */
    private static void classPath(Path made) throws IOException {
        Path rooms = Files.createDirectories(made.resolve("classes"));
        Path others = Files.createDirectories(made.resolve("others"));
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
            if (entry.isEmpty()) { // ends the class path that Maven gives, and would be the current folder
                continue;
            }
            Path place = Path.of(entry).toAbsolutePath();
            if (Files.isRegularFile(place)) {
                Files.createSymbolicLink(others.resolve(requireNonNull(place.getFileName())), place);
            } else if (Files.isDirectory(place)) {
                boolean tests = Files.exists(place.resolve("tessera/BundleTest.class"));
                Path jar = tests
                        ? made.resolve("tests.jar")
                        : rooms.resolve("tessera-room" + names(rooms).size() + ".jar");
                JdkTool.run("jar", "--create", "--no-compress", "--file", jar, "-C", place, ".");
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ what is in
    // it

    @Test
    void theArchiveHoldsWhatTheSuiteNeedsAndNoMore() throws Exception {
        assertEquals(
                List.of("lib", "references", "revision", "run-class.sh", "run.sh", "runtime", "tests"), names(bundle));
        long bytes = 0;
        for (String name : names(bundle.resolve("lib"))) {
            bytes += Files.size(bundle.resolve("lib").resolve(name));
        }
        assertTrue(bytes < LARGEST_LIBRARIES, names(bundle.resolve("lib")) + ": " + bytes);
        assertTrue(suite.contains("exact tessera.kernels.cuda.CudaKernelsTest"), suite::toString);
        assertTrue(suite.contains("plain tessera.kernels.cuda.CudaSourcesTest"), suite::toString);
        assertTrue(suite.stream().noneMatch(line -> line.contains("Bundle")), suite::toString);
        for (String line : suite) {
            Class.forName(line.substring(line.indexOf(' ') + 1), false, BundleTest.class.getClassLoader());
        }
    }

    /** With nothing but the archive, in folders whose names have to be quoted. */
    @Test
    void smokeRunsFromTheArchiveAlone() throws Exception {
        Files.writeString(
                bundle.resolve("tests"),
                "plain tessera.kernels.cuda.AttentionProvidersTest\nexact tessera.kernels.cuda.CudaTokensTest\n");
        Path temporary = Files.createDirectory(folder.resolve("tem po\"rary"));
        Path out = folder.resolve("its 'own' results");
        Map<String, String> environment = Map.of(
                "TESSERA_JAVA_OPTS",
                "-Dfor.nothing=1 \"-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir") + "\"",
                "TESSERA_PYTHON",
                "none",
                "TMPDIR",
                temporary.toString());
        Ended ended = run(bundle, environment, "smoke", "--out", out, "--only", "parity", "--seconds", 110);
        assertEquals(0, ended.code, ended.text);
        assertEquals(List.of("parity.txt", "smoke.json"), names(out));
        assertEquals(List.of(), names(temporary), "what is temporary is gone");
        Map<String, @Nullable Object> smoke = Json.object(Files.readString(out.resolve("smoke.json")));
        Map<?, ?> parity = (Map<?, ?>) requireNonNull(smoke.get("parity"));
        assertEquals(2, number(parity, "classes_done"), smoke::toString);
        assertEquals(0, number(parity, "classes_failed"), smoke::toString);
        assertTrue(number(parity, "passed") > 20, smoke::toString);
        Map<?, ?> doctor = (Map<?, ?>) requireNonNull(smoke.get("doctor"));
        assertTrue(String.valueOf(doctor.get("cuda")).startsWith("used"), smoke::toString);
    }

    // ---------------------------------------------------------------------------------------------------------- its
    // words

    static Stream<String> wrongWords() {
        return """
            | '' is no command; pass smoke, which tests, or goals, which measures
            doctor | 'doctor' is no command; pass smoke, which tests, or goals, which measures
            smoke --seconds | --seconds needs a value; pass for example --out results --seconds 200
            smoke --seconds 0 | --seconds is '0'; pass a whole number from 1 to 99999
            goals --seconds 010 | --seconds is '010'; pass a whole number from 1 to 99999
            goals --seconds -5 | --seconds is '-5'; pass a whole number from 1 to 99999
            goals --seconds 1e3 | --seconds is '1e3'; pass a whole number from 1 to 99999
            goals --seconds 100000 | --seconds is '100000'; pass a whole number from 1 to 99999
            smoke --only models | --only has 'models', no step of smoke; pass some of parity racecheck synccheck memcheck, separated by commas
            smoke --only parity, | --only is 'parity,'; pass some of parity racecheck synccheck memcheck, separated by commas
            goals --only * | --only is '*'; pass some of attention products models kernels profile settings f32 rest, separated by commas
            goals --warm | --warm goes with smoke; leave it out, as goals lets PyTorch compile by itself
            smoke --tiny | --tiny goes with goals, or with smoke --warm; leave it out
            smoke --quick | '--quick' is unknown; pass --out DIR, --seconds N, --only LIST, --warm or --tiny
            goals --out run | run cannot be made or written; pass another folder as --out
            """.lines();
    }

    @ParameterizedTest
    @MethodSource("wrongWords")
    void wrongWordsAreRefusedInOneLine(String line) throws Exception {
        int bar = line.indexOf('|');
        String words = line.substring(0, bar).strip();
        String complaint = line.substring(bar + 2);
        Files.createFile(folder.resolve("run"));
        Ended ended = run(bundle, Map.of(), (Object[]) words.split(" ", -1));
        assertEquals("run.sh: error: " + complaint + "\n", ended.text);
        assertEquals(2, ended.code);
        assertEquals(List.of("run"), names(folder));
    }

    @Test
    void withoutAGpuItSaysSo() throws Exception {
        Path copy = scripts();
        program(copy.resolve("runtime/bin/java"), "echo '{\"cuda\":\"none\"}'");
        Ended ended = run(copy, Map.of(), "smoke", "--out", "results");
        assertEquals(2, ended.code, ended.text);
        assertTrue(ended.text.endsWith("run.sh: error: no GPU that can be used; doctor says above why\n"), ended.text);
    }

    // --------------------------------------------------------------------------------------------------- what is cut
    // short

    /** A benchmark that leaves a part of its results and then hangs is ended; what it left is kept. */
    @Test
    void goalsEndWithinTheirSecondsAndKeepWhatThereIs() throws Exception {
        Path copy = scripts();
        program(copy.resolve("runtime/bin/java"), partOfResults(), "exec sleep 1000");
        Ended ended = run(copy, Map.of(), "goals", "--seconds", 8, "--out", "results");
        assertEquals(1, ended.code, ended.text);
        assertPartIsKept();
        assertTrue(ended.text.contains("-some-card-goals.json"), ended.text);
    }

    @Test
    void killedGoalsKeepWhatThereIs() throws Exception {
        Path copy = scripts();
        Path begun = pipe();
        program(copy.resolve("runtime/bin/java"), partOfResults(), "echo >'" + begun + "'", "exec sleep 1000");
        killed(copy, begun, "goals");
        assertPartIsKept();
    }

    private static String partOfResults() {
        return "while [ \"$1\" != --out ]; do shift; done\n"
                + "echo '{\"device\":\"Some Card\",\"complete\":false}' >\"$2\"; echo kept >\"${2%/*}/products.table\"";
    }

    private void assertPartIsKept() throws IOException {
        Path results = folder.resolve("results");
        assertEquals(List.of("goals.json", "goals.txt", "products.table"), names(results));
        assertEquals(
                "Some Card",
                Json.object(Files.readString(results.resolve("goals.json"))).get("device"));
    }

    /** The second class hangs. */
    @Test
    void killedSmokeKeepsTheClassesThatEnded() throws Exception {
        Path copy = scripts();
        Path begun = pipe();
        Files.writeString(copy.resolve("tests"), "plain a.FirstTest\nplain a.SecondTest\n");
        program(
                copy.resolve("runtime/bin/java"),
                "case \"$*\" in",
                "    *doctor*) echo '{\"cuda\":\"used: cuda:0 (Some Card, 90)\"}' ;;",
                "    *a.FirstTest*) for last; do :; done; printf 'passed\\t1\\tone\\nfailed\\t2\\ttwo\\n' >\"$last\"; exit 1 ;;",
                "    *a.SecondTest*) for last; do :; done; until [ -e \"${last%/*}/a.FirstTest.json\" ]; do :; done",
                "        echo >'" + begun + "'; exec sleep 1000 ;;",
                "esac");
        killed(copy, begun, "smoke", "--only", "parity");
        Map<String, @Nullable Object> smoke =
                Json.object(Files.readString(folder.resolve("results").resolve("smoke.json")));
        assertEquals("Some Card", smoke.get("card"));
        Map<?, ?> parity = (Map<?, ?>) requireNonNull(smoke.get("parity"));
        assertEquals(1, number(parity, "passed"), smoke::toString);
        assertEquals(1, number(parity, "failed"), smoke::toString);
        assertTrue(smoke.toString().contains("failures=[two]"), smoke::toString);
        assertFalse(smoke.toString().contains("a.SecondTest"), smoke::toString);
    }

    /** Starts a run, ends it as a terminal or a time limit does once it says that it has begun, and waits for its end. */
    private void killed(Path copy, Path begun, Object... words) throws Exception {
        List<Object> all = new ArrayList<>(List.of(words));
        all.addAll(List.of("--out", "results"));
        Path temporary = Files.createDirectory(folder.resolve("temporary"));
        Path log = shared.resolve("log");
        ProcessBuilder builder =
                builder(folder, Map.of("TMPDIR", temporary.toString()), log, command(copy, all.toArray()));
        Process process = builder.start();
        try {
            assertEquals(1, Files.readAllBytes(begun).length); // waits
            process.destroy();
            assertTrue(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS), () -> all + " does not end");
        } finally {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
        assertEquals(1, process.exitValue(), Files.readString(log));
        assertEquals(List.of(), names(temporary), "what is temporary is gone");
    }

    // -------------------------------------------------------------------------------------------------------------
    // helpers

    /** The scripts of the archive, without jars, for a runtime that needs none. */
    private Path scripts() throws IOException {
        Path copy = Files.createDirectories(folder.resolve("a copy/lib")).resolveSibling("run.sh");
        Files.copy(bundle.resolve("run.sh"), copy);
        Files.copy(bundle.resolve("run-class.sh"), copy.resolveSibling("run-class.sh"));
        return requireNonNull(copy.getParent());
    }

    private Path pipe() throws Exception {
        Path pipe = folder.resolve("begun");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        return pipe;
    }

    private record Ended(int code, String text) {}

    private Ended run(Path copy, Map<String, String> environment, Object... words) throws Exception {
        return start(folder, environment, command(copy, words));
    }

    private static String[] command(Path copy, Object... words) {
        return Stream.concat(Stream.of("sh", copy.resolve("run.sh")), Stream.of(words))
                .map(Object::toString)
                .filter(word -> !word.isEmpty())
                .toArray(String[]::new);
    }

    private static ProcessBuilder builder(Path folder, Map<String, String> environment, Path log, String... command) {
        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile());
        builder.environment().keySet().removeIf(name -> name.startsWith("TESSERA_"));
        builder.environment().putAll(environment);
        return builder;
    }

    private static Ended start(Path folder, Map<String, String> environment, String... command) throws Exception {
        Path log = shared.resolve("log");
        Process process = builder(folder, environment, log, command).start();
        boolean ended = process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS);
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
        String text = Files.readString(log);
        assertTrue(ended, () -> List.of(command) + " does not end: " + text);
        return new Ended(process.exitValue(), text);
    }

    private static void program(Path file, String... lines) throws IOException {
        Files.createDirectories(requireNonNull(file.getParent()));
        Files.writeString(file, "#!/bin/sh\n" + String.join("\n", lines) + "\n");
        assertTrue(file.toFile().setExecutable(true, false));
    }

    private static void link(Path link, Path target) throws IOException {
        Files.createDirectories(requireNonNull(link.getParent()));
        Files.createSymbolicLink(link, target);
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> String.valueOf(file.getFileName()))
                    .sorted()
                    .toList();
        }
    }

    private static long number(Map<?, ?> entries, String name) {
        return ((Number) requireNonNull(entries.get(name))).longValue();
    }
}
