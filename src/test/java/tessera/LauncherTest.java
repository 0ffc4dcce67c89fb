package tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.distill.cli.Main;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** The script that starts Java, in a folder of its own: with the module path of a real run, or with stand-ins that say what they were told. */
class LauncherTest {
    private static final Path GOLDEN =
            Path.of("resources", "golden", "fewshot-logistic.safetensors").toAbsolutePath();

    /** A launcher with what a build leaves behind, for tests that run it in earnest. */
    @TempDir
    private static Path built;

    @TempDir
    private Path folder;

    @BeforeAll
    static void layOut() throws IOException {
        copyLauncher(built, built.resolve("no-gpu"));
        Path lib = built.resolve("distill").resolve("target").resolve("lib");
        for (Path place : ModulePath.of("tessera.distill", "org.jspecify")) {
            copy(place, Files.createDirectories(lib.resolve("modules")));
        }
        for (Path carrier : ModulePath.carriers()) {
            copy(carrier, Files.createDirectories(lib.resolve("natives")));
        }
        Files.writeString(lib.resolve("built"), "off\n");
    }

    /** A jar as it is, or a folder of classes as a jar, which is what a build makes of it. */
    private static void copy(Path place, Path target) throws IOException {
        if (Files.isRegularFile(place)) {
            Files.copy(place, target.resolve(place.getFileName()));
            return;
        }
        String jar = target.resolve("module" + place.hashCode() + ".jar").toString();
        JdkTool.run("jar", "--create", "--no-compress", "--file", jar, "-C", place, ".");
    }

    private static void copyLauncher(Path home, Path gpu) throws IOException {
        Path root = SourceTree.root();
        String script = Files.readString(root.resolve("tessera"));
        String own = script.replaceFirst("\ngpu_signs=\".*\"\n", "\ngpu_signs=\"" + gpu + "\"\n");
        assertFalse(own.equals(script), "the launcher names what shows a GPU");
        Files.writeString(home.resolve("tessera"), own);
    }

    private record Outcome(int code, String out, String err) {}

    private Outcome launch(Path home, String jdk, Object... words) throws Exception {
        List<String> command =
                new ArrayList<>(List.of("sh", home.resolve("tessera").toString()));
        for (Object word : words) {
            command.add(word.toString());
        }
        return start(command, jdk);
    }

    private Outcome start(List<String> command, String jdk) throws Exception {
        Path out = folder.resolve("out");
        Path err = folder.resolve("err");
        Process process = prepare(command, jdk)
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        process.destroyForcibly();
        assertTrue(ended, () -> command + " does not end");
        return new Outcome(process.exitValue(), Files.readString(out), Files.readString(err));
    }

    private ProcessBuilder prepare(List<String> command, String jdk) {
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().put("TESSERA_JAVA_HOME", jdk);
        builder.environment().put("PATH", folder.resolve("bin") + ":" + System.getenv("PATH"));
        builder.environment().remove("TESSERA_JAVA_OPTS");
        return builder;
    }

    // ----------------------------------------------------------------------------------------------- the module path

    private String succeed(Object... words) throws Exception {
        Outcome outcome = launch(built, System.getProperty("java.home"), words);
        assertEquals(0, outcome.code(), outcome::toString);
        assertEquals(
                "WARNING: Using incubator modules: jdk.incubator.vector",
                outcome.err().strip());
        return outcome.out();
    }

    @Test
    void helpListsEveryCommand() throws Exception {
        String help = succeed();
        for (String command : List.of("demo", "pretrain", "predict", "doctor", "bench", "bundle")) {
            assertTrue(help.contains("\n  " + command + " "), command + " in:\n" + help);
        }
        assertEquals(help, succeed("--help"));
    }

    @Test
    void doctorFindsWhatTheModulePathCarries() throws Exception {
        String report = succeed("doctor");
        assertFalse(report.contains("(on the class path)"), report);
        assertTrue(report.contains("\nvector api   readable\n"), report);
        assertTrue(report.contains("\nmachine code "), report);
        if (!ModulePath.carriers().isEmpty()) {
            assertTrue(report.lines().anyMatch(line -> line.matches("oneDNN +/.*libdnnl.*")), report);
        }
    }

    /** The archive of classes is made by the first start; who cannot use one that lies there starts without it and says nothing. */
    @Test
    void startsFromAnArchiveOfClassesOrWithoutIt() throws Exception {
        String help = succeed();
        Path archive = archive();
        assertTrue(Files.size(archive) > 0, "it was made");
        byte[] made = Files.readAllBytes(archive);
        try {
            Files.write(archive, Arrays.copyOf(made, made.length / 2));
            assertEquals(help, succeed(), "a damaged one");
            Files.write(archive, new byte[0]);
            assertEquals(help, succeed(), "none to be had");
        } finally {
            Files.write(archive, made);
        }
    }

    private static Path archive() throws IOException {
        try (Stream<Path> files = Files.walk(built.resolve(".tessera"))) {
            return files.filter(file -> file.toString().endsWith(".jsa"))
                    .findFirst()
                    .orElseThrow();
        }
    }

    @Test
    void inspectReadsAFile() throws Exception {
        assertTrue(succeed("inspect", "--json", GOLDEN).startsWith("{\"path\":"));
    }

    @Test
    void featuresAreThoseOfTheClassPath() throws Exception {
        Path student = folder.resolve("student.safetensors");
        TinyStudent.write(student, folder.resolve("head.safetensors"));
        byte[] pixels = new byte[TinyStudent.FRAMES * TinyStudent.SIZE * TinyStudent.SIZE * 3];
        new Random(3).nextBytes(pixels);
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", pixels, 1, TinyStudent.FRAMES, TinyStudent.SIZE, TinyStudent.SIZE, 3));
        List<String> words = List.of(
                "features",
                "--student",
                student.toString(),
                "--clips",
                clips.toString(),
                "--device=cpu",
                "--threads=1",
                "--quiet",
                "--out");
        Path here = folder.resolve("here.npy");
        Path there = folder.resolve("there.npy");
        List<String> local = new ArrayList<>(words);
        local.add(here.toString());
        StringWriter err = new StringWriter();
        assertEquals(0, Main.run(local, new PrintWriter(new StringWriter()), new PrintWriter(err)), err.toString());
        List<String> remote = new ArrayList<>(words);
        remote.add(there.toString());
        succeed(remote.toArray());
        assertArrayEquals(Files.readAllBytes(here), Files.readAllBytes(there));
    }

    /** Twice, because the first start leaves something for the next. */
    @ParameterizedTest
    @ValueSource(strings = {"with space", "50%off #1", "a!b pl+us & 'q'", "ünï カ"})
    void anyFolderWillDo(String name) throws Exception {
        Path script = folder.resolve("script");
        String quoted = "'" + folder + "/" + name.replace("'", "'\\''") + "'";
        program(
                script,
                "set -eu",
                "cp -rl '" + built + "' " + quoted + " || cp -r '" + built + "' " + quoted,
                "rm -rf " + quoted + "/.tessera",
                "cd " + quoted,
                "sh ./tessera inspect '" + GOLDEN + "'",
                "exec sh ./tessera inspect '" + GOLDEN + "'");
        Outcome outcome = start(List.of("sh", script.toString()), System.getProperty("java.home"));
        assertEquals(0, outcome.code(), outcome::toString);
        String incubator = "WARNING: Using incubator modules: jdk.incubator.vector\n";
        assertEquals(incubator + incubator, outcome.err());
        List<String> lines = outcome.out().lines().toList();
        assertEquals(lines.subList(0, lines.size() / 2), lines.subList(lines.size() / 2, lines.size()));
    }

    /** Written down in a script, because this Java itself may be unable to say the names. */
    @ParameterizedTest
    @ValueSource(strings = {"", "C", "xx_YY.UTF-8"})
    void namesBeyondAsciiNeedNoLocale(String locale) throws Exception {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        TinyStudent.write(student, head);
        Path script = folder.resolve("script");
        Path video = Path.of("resources", "video", "ramp.mp4").toAbsolutePath();
        program(
                script,
                "set -eu",
                "unset LC_ALL LC_CTYPE LANG",
                locale.isEmpty() ? "" : "export LANG=" + locale,
                "tessera='sh " + built.resolve("tessera") + "'",
                "mkdir '" + folder + "/Tür öffnen'",
                "cd '" + folder + "/Tür öffnen'",
                "cp " + head + " tête.safetensors",
                "cp " + video + " カップ.mp4",
                "$tessera predict --student " + student + " --head tête.safetensors --video カップ.mp4",
                "mkdir -p clips/Schlüssel clips/カップ",
                "cp " + video + " clips/Schlüssel/é.mp4",
                "cp " + video + " clips/カップ/ü.mp4",
                "$tessera learn --quiet --student " + student + " --clips clips --out Köpfe.safetensors",
                "test -s Köpfe.safetensors",
                "$tessera inspect Köpfe.safetensors");
        Outcome outcome = start(List.of("sh", script.toString()), System.getProperty("java.home"));
        assertEquals(0, outcome.code(), outcome::toString);
        assertTrue(outcome.out().contains("Köpfe.safetensors: 2 labels learned"), outcome::toString);
        assertTrue(outcome.out().contains("Schlüssel"), outcome::toString);
    }

    // ----------------------------------------------------------------------------------------------------- the build

    /** What Java was told by the launcher, with a stand-in for the JDK and for Maven, which write down what they were told. */
    private String told(Object... words) throws Exception {
        Path home = folder.resolve("home");
        Path jdk = folder.resolve("jdk");
        if (!Files.exists(jdk)) {
            copyLauncher(Files.createDirectory(home), folder.resolve("gpu"));
            Files.createDirectories(jdk.resolve("bin"));
            Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"25\"\n");
            program(jdk.resolve("bin").resolve("java"), "echo \"$@\"");
            program(jdk.resolve("bin").resolve("javac"), "exit 1");
            Files.createDirectories(folder.resolve("bin"));
            program(
                    folder.resolve("bin").resolve("mvn"),
                    "echo \"$@\" >" + folder.resolve("maven"),
                    "mkdir -p " + home.resolve("distill/target/lib") + " " + home.resolve("jmh/target/lib"));
        }
        Files.deleteIfExists(folder.resolve("maven"));
        Outcome outcome = launch(home, jdk.toString(), words);
        assertEquals(0, outcome.code(), outcome.err());
        return outcome.out().strip();
    }

    private static void program(Path file, String... lines) throws IOException {
        Files.writeString(file, "#!/bin/sh\n" + String.join("\n", lines) + "\n");
        assertTrue(file.toFile().setExecutable(true, false));
    }

    /** What Maven was told, or an empty text where it was not started. */
    private String maven() throws IOException {
        Path file = folder.resolve("maven");
        return Files.exists(file) ? Files.readString(file) : "";
    }

    @Test
    void machineCodeIsCompiledWhereAGpuIs() throws Exception {
        told("doctor");
        assertTrue(maven().contains(" -Dcuda.compile=off "), maven());
        told("doctor");
        assertEquals("", maven(), "nothing has changed");
        Files.createFile(folder.resolve("gpu"));
        told("doctor");
        assertTrue(maven().contains(" -Dcuda.compile=auto "), maven());
        told("doctor");
        assertEquals("", maven(), "the machine code is there");
        Files.delete(folder.resolve("gpu"));
        told("doctor");
        assertEquals("", maven(), "machine code does no harm");
    }

    @Test
    void helpOfTheBenchmarksIsThatOfJmh() throws Exception {
        assertTrue(told("bench", "--help").endsWith(" -h"));
        assertTrue(maven().contains(" -pl jmh "), maven());
        assertTrue(told("bench", "Encoder", "-f", "1").endsWith(" Encoder -f 1"));
        assertTrue(told("bench", "Encoder").contains(" org.openjdk.jmh.Main "));
        String binding = told("bench", "Binding", "-f", "1");
        assertTrue(binding.contains(" tessera.jmh.BindingBenchmark ") && binding.endsWith(" Binding -f 1"), binding);
        assertTrue(told("bench", "--shared", "3", ".75").endsWith(" tessera.jmh.SharedCores 3 .75"));
        assertTrue(told("predict", "--help")
                .endsWith(" --module tessera.distill/tessera.distill.cli.Main predict --help"));
    }

    /** The jars of the peers are fetched by their profile alone, and only where they are asked for. */
    @Test
    void peersAreBuiltWhenTheyAreAskedFor() throws Exception {
        told("bench", "-l");
        assertFalse(maven().contains("-Ppeers"), maven());
        assertTrue(told("bench", "--peers", "--quick").endsWith(" tessera.jmh.peers.PeerBenchmark --quick"));
        assertTrue(maven().contains(" -Ppeers "), maven());
        told("bench", "--peers");
        assertEquals("", maven(), "they are built");
        told("bench", "-l");
        assertEquals("", maven(), "they do no harm");
    }

    /** Java opens jars late, so what a build does to them must not reach a program that runs. */
    @Test
    void runsFromACopyThatNoBuildTouchesAndThatGoesWithItsUsers() throws Exception {
        told("doctor");
        Path home = folder.resolve("home");
        Path modules = Files.createDirectories(home.resolve("distill/target/lib/modules"));
        Path natives = Files.createDirectories(home.resolve("distill/target/lib/natives"));
        Path own = Files.writeString(modules.resolve("tessera-nn.jar"), "first");
        Path theirs = Files.writeString(natives.resolve("carrier.jar"), "library");
        Path first = copy(told("doctor"));
        assertEquals(first, copy(told("doctor")), "nothing has changed");
        Path user = Files.createFile(first.resolve("users")
                .resolve(Long.toString(ProcessHandle.current().pid())));

        Files.writeString(own, "second"); // in place, as Maven does
        Files.delete(theirs);
        Files.writeString(theirs, "library");
        Path second = copy(told("doctor"));
        assertEquals("first", Files.readString(first.resolve("modules/tessera-nn.jar")));
        assertEquals("library", Files.readString(first.resolve("natives/carrier.jar")));
        assertEquals("second", Files.readString(second.resolve("modules/tessera-nn.jar")));

        Files.delete(user);
        told("doctor");
        assertFalse(Files.exists(first), "nobody uses it");
        assertTrue(Files.exists(second));
    }

    /** A copy, often without its time stamps, that belongs to someone else or lies where nothing can be written. */
    @Test
    void whatIsBuiltIsRunWhereNothingCanBe() throws Exception {
        told("doctor");
        Path home = folder.resolve("home");
        String jdk = folder.resolve("jdk").toString();
        Path maven = folder.resolve("maven");
        Files.createDirectories(home.resolve("nn/src"));
        Files.setLastModifiedTime(
                home.resolve("nn/src"), FileTime.from(Instant.now().plusSeconds(60)));
        Files.deleteIfExists(maven);

        Outcome copied = launchWhereNothingCanBeWritten(home, jdk);
        assertEquals(0, copied.code(), copied.err());
        assertTrue(copied.out().endsWith("tessera.distill.cli.Main doctor\n"), copied.out());
        assertTrue(copied.err().startsWith("tessera: warning: " + home.toRealPath() + " seems newer"), copied.err());
        assertEquals(1, copied.err().lines().count(), copied.err());
        assertFalse(Files.exists(maven), "nothing was built");

        Files.delete(home.resolve("distill/target/lib/built"));
        Outcome unbuilt = launchWhereNothingCanBeWritten(home, jdk);
        assertEquals(2, unbuilt.code(), unbuilt.err());
        assertEquals(
                "tessera: error: tessera has to be built first, but " + home.toRealPath()
                        + " may not be written by this user; let its owner start it once, or make it writable",
                unbuilt.err().strip());
    }

    /** As another user where this one is the administrator, who may write everywhere. */
    private Outcome launchWhereNothingCanBeWritten(Path home, String jdk) throws Exception {
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
        List<String> command = new ArrayList<>();
        if (Files.getAttribute(folder, "unix:uid").equals(0)) {
            command.addAll(List.of("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"));
        }
        command.addAll(List.of("sh", home.resolve("tessera").toString(), "doctor"));
        List<Path> folders;
        try (Stream<Path> all = Files.walk(home)) {
            folders = all.filter(Files::isDirectory).toList();
        }
        for (Path each : folders) {
            Files.setPosixFilePermissions(each, PosixFilePermissions.fromString("r-xr-xr-x"));
        }
        try {
            return start(command, jdk);
        } finally {
            for (Path each : folders) {
                Files.setPosixFilePermissions(each, PosixFilePermissions.fromString("rwxr-xr-x"));
            }
        }
    }

    /**
     * Builds share folders, whatever they are for, and remove what others are about to read: who starts during one waits for it. The first
     * stand-in for Maven says when it has begun and ends when it is told to.
     */
    @Test
    @EnabledOnOs(OS.LINUX)
    void startsAtOnceDoNotTrampleOneAnother() throws Exception {
        told("doctor");
        Path home = folder.resolve("home");
        Files.delete(home.resolve("distill/target/lib/built"));
        Path begun = folder.resolve("begun");
        Path end = folder.resolve("end");
        assertEquals(
                0,
                new ProcessBuilder("mkfifo", begun.toString(), end.toString())
                        .start()
                        .waitFor());
        Path trampled = folder.resolve("trampled");
        program(
                folder.resolve("bin").resolve("mvn"),
                "mkdir " + folder.resolve("busy") + " || echo \"$@\" >>" + trampled,
                "echo \"$@\" >>" + folder.resolve("maven"),
                "if mkdir " + folder.resolve("first") + "; then echo begun >" + begun + "; cat " + end + "; fi",
                "for room in distill jmh; do",
                "    mkdir -p " + home + "/$room/target/lib && : >" + home + "/$room/target/lib/tessera-new.jar",
                "done",
                "rmdir " + folder.resolve("busy"));
        program(
                folder.resolve("jdk").resolve("bin").resolve("java"),
                "for copy in " + home + "/.tessera/*; do test -f $copy/tessera-new.jar || exit 7; done",
                "echo \"$@\"");
        Files.deleteIfExists(folder.resolve("maven"));

        List<Process> starts = new ArrayList<>();
        try {
            starts.add(begin(home, "bench", "-l"));
            starts.add(new ProcessBuilder("cat", begun.toString()).start());
            assertTrue(starts.get(1).waitFor(60, TimeUnit.SECONDS), "Maven was not started");
            for (List<String> words : List.of(List.of("doctor"), List.of("bench", "--peers"))) {
                Process start = begin(home, words.toArray(new String[0]));
                starts.add(start);
                String said = start.errorReader().readLine();
                assertEquals("tessera: waiting for another start, which is building ...", said, words::toString);
            }
            starts.add(new ProcessBuilder("sh", "-c", "echo end >" + end).start());
            for (Process start : starts) {
                assertTrue(start.waitFor(60, TimeUnit.SECONDS), "a start does not end");
                assertEquals(
                        0,
                        start.exitValue(),
                        () -> "a start failed: " + start.errorReader().lines().toList());
            }
        } finally {
            starts.forEach(Process::destroyForcibly);
        }
        assertFalse(Files.exists(trampled), "two builds at once");
        assertEquals(3, maven().lines().count(), maven());
    }

    private Process begin(Path home, String... words) throws IOException {
        List<String> command =
                new ArrayList<>(List.of("sh", home.resolve("tessera").toString()));
        command.addAll(List.of(words));
        return prepare(command, folder.resolve("jdk").toString()).start();
    }

    @Test
    void aColonInThePathIsTold() throws Exception {
        Path home = Files.createDirectory(folder.resolve("10:30 build"));
        copyLauncher(home, folder.resolve("gpu"));
        Outcome outcome = launch(home, System.getProperty("java.home"), "--version");
        assertEquals(2, outcome.code(), outcome::toString);
        assertEquals(1, outcome.err().lines().count(), outcome.err());
        assertTrue(
                outcome.err()
                        .startsWith("tessera: error: the folder " + home.toRealPath() + " has a colon in its name"),
                outcome.err());
    }

    /** The folder that Java was told to take its modules and libraries from. */
    private Path copy(String told) {
        List<String> words = List.of(told.split(" "));
        Path modules = Path.of(words.get(words.indexOf("--module-path") + 1));
        Path copy = Objects.requireNonNull(modules.getParent());
        assertEquals(copy + "/natives/*", words.get(words.indexOf("-cp") + 1));
        assertEquals(folder.resolve("home").resolve(".tessera"), copy.getParent());
        return copy;
    }
}
