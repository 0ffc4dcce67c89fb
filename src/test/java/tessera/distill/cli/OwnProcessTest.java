package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.MovingVideo;
import tessera.nn.inference.Head;

/** What a process meets that is started anew, or with others: caches that are empty, full or closed, Java's options, another order of sets. */
class OwnProcessTest {
    @TempDir
    private Path folder;

    private Path student;
    private Path video;

    @BeforeEach
    void write() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        video = ramp(folder.resolve("ramp.mp4"));
    }

    private static Path ramp(Path file) throws IOException {
        Files.createDirectories(requireNonNull(file.getParent()));
        try (InputStream ramp = requireNonNull(OwnProcessTest.class.getResourceAsStream("/video/ramp.mp4"))) {
            Files.copy(ramp, file);
        }
        return file;
    }

    private Object[] predict() {
        return new Object[] {"predict", "--student", student, "--video", video, "--threads=1"};
    }

    /** Without an FFmpeg of its own. */
    private OwnJava own(Path cache) {
        return new OwnJava(folder).with("XDG_CACHE_HOME", cache.toString()).with("PATH", folder.toString());
    }

    private static List<String> names(Path cache) throws IOException {
        try (Stream<Path> entries = Files.walk(cache, 3)) {
            return entries.map(entry -> cache.relativize(entry).toString()).toList();
        }
    }

    // ------------------------------------------------------------------------------------------------------- the cache

    @Test
    void threeStartsAtOnceFillOneCache() throws Exception {
        Path cache = Files.createDirectory(folder.resolve("cache"));
        List<OwnJava.Running> starts = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            starts.add(own(cache).start(predict()));
        }
        List<String> answers = new ArrayList<>();
        for (OwnJava.Running start : starts) {
            Shell.Outcome outcome = start.end();
            assertEquals(0, outcome.code(), outcome::toString);
            assertEquals("", outcome.err(), "nothing to complain of");
            answers.add(outcome.out());
        }
        assertTrue(answers.getFirst().startsWith(video + ": "), answers::toString);
        assertEquals(1, answers.stream().distinct().count(), answers::toString);
        List<String> left = names(cache);
        assertTrue(left.stream().noneMatch(name -> name.contains("/.")), () -> "unfinished: " + left);
        long programs = left.stream().filter(name -> name.endsWith("/ffprobe")).count();
        assertTrue(programs <= 1, left::toString);
    }

    /** Runs a prediction whose cache is a file system of its own, with some options; it goes with the process. */
    private Shell.Outcome predictOn(String options) throws Exception {
        Path cache = Files.createDirectory(folder.resolve("cache"));
        String mount = "mount -t tmpfs -o " + options + " none '" + cache + "'";
        Process possible = new ProcessBuilder("unshare", "-rm", "sh", "-c", mount)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("mount.log").toFile())
                .start();
        Assumptions.assumeTrue(possible.waitFor() == 0, "this user may mount nothing");
        // What is left is told behind what the command says.
        String left = "code=$?; PATH=/usr/bin:/bin; find '" + cache + "' -name '.*' >&2; exit $code";
        String unshare = "unshare";
        return new OwnJava(folder)
                .with("XDG_CACHE_HOME", cache.toString())
                .startedBy(List.of(
                        unshare,
                        "-rm",
                        "sh",
                        "-c",
                        mount + " && { PATH='" + folder + "' \"$@\"; " + left + "; }",
                        "sh"))
                .run(predict());
    }

    /** Beside a warning of what goes without. */
    private static void assertToldInALine(Shell.Outcome outcome, String... parts) {
        assertEquals(2, outcome.code(), outcome::toString);
        assertEquals("", outcome.out());
        List<String> lines = outcome.err()
                .lines()
                .filter(line ->
                        !line.startsWith("WARNING: matrix products run in plain Java: ") && !line.contains("$Fallback"))
                .toList();
        assertEquals(1, lines.size(), outcome.err());
        assertTrue(lines.getFirst().startsWith("tessera: error: reading videos: no FFmpeg program: "), outcome.err());
        for (String part : parts) {
            assertTrue(lines.getFirst().contains(part), outcome.err());
        }
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void aCacheWithoutProgramsIsToldWithItsVariable() throws Exception {
        assertToldInALine(
                predictOn("noexec,size=400m"), "denied", "; set XDG_CACHE_HOME to a folder with 250 MB of room");
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void aFullDiskIsToldWithItsVariableAndNothingIsLeft() throws Exception {
        assertToldInALine(
                predictOn("size=20m"), "No space left", "; set XDG_CACHE_HOME to a folder with 250 MB of room");
    }

    // ------------------------------------------------------------------------------------------- options of Java's own

    /** Java can only be told before it starts. What works without is done, with one warning that says which option is missing. */
    @Test
    void whereNativeAccessIsDeniedTheOptionIsNamed() throws Exception {
        Shell.Outcome outcome =
                new OwnJava(folder).withOptions("--illegal-native-access=deny").run(predict());
        assertEquals(0, outcome.code(), outcome::toString);
        assertTrue(outcome.out().startsWith(video + ": "), outcome::toString);
        List<String> warnings =
                outcome.err().lines().filter(line -> line.startsWith("WARNING")).toList();
        assertEquals(1, warnings.size(), outcome.err());
        assertTrue(warnings.getFirst().contains("start Java with --enable-native-access="), outcome.err());
    }

    @Test
    void flowWithoutNativeAccessNamesTheOption() throws Exception {
        Path videos = requireNonNull(ramp(folder.resolve("videos/a.mp4")).getParent());
        Shell.Outcome outcome = new OwnJava(folder)
                .withOptions("--illegal-native-access=deny")
                .run(
                        "extract",
                        "--videos",
                        videos,
                        "--unlabelled",
                        "--flow",
                        "--size=32",
                        "--frames=4",
                        "--quiet",
                        "--out",
                        folder.resolve("out"));
        assertTrue(outcome.code() != 0, outcome::toString);
        List<String> errors = outcome.err()
                .lines()
                .filter(line -> line.startsWith("tessera: error: "))
                .toList();
        assertEquals(1, errors.size(), outcome.err());
        assertTrue(errors.getFirst().contains("--enable-native-access="), outcome.err());
    }

    // ------------------------------------------------------------------------------------------------------- the same
    // again

    @Test
    void aNameOfTwoLinesIsPrintedInOne() throws IOException {
        Path odd = Files.move(video, folder.resolve("two\nlines\u001b[31m.mp4"));
        String answer = Shell.succeed("predict", "--student", student, "--video", odd, "--threads=1");
        assertTrue(answer.startsWith(folder.resolve("two") + "\\nlines\\u001b[31m.mp4: "), answer);
    }

    private Object[] learn(Path clips, Path head, Object... more) {
        List<Object> words = new ArrayList<>(List.of("learn", "--student", student, "--clips", clips, "--out", head));
        words.add("--quiet");
        words.addAll(Arrays.asList(more));
        return words.toArray();
    }

    private Path twoLabels() throws IOException {
        ramp(folder.resolve("clips/pour/a.mp4"));
        try (InputStream turned = requireNonNull(OwnProcessTest.class.getResourceAsStream("/video/turned.mp4"))) {
            Files.createDirectories(folder.resolve("clips/cut"));
            Files.copy(turned, folder.resolve("clips/cut/a.mp4"));
        }
        return folder.resolve("clips");
    }

    /** Names that look like options, patterns and formats, or end a line. */
    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void labelsHaveAnyNameThatAFolderHas() throws IOException {
        Path clips = folder.resolve("clips");
        MovingVideo.write(clips.resolve("-rf/-i.mp4"), 32, 32, MovingVideo.steady(2, 0));
        ramp(clips.resolve("a b%d/x%03d.mp4"));
        ramp(clips.resolve("two\nlines/[a-z]*?.mp4"));
        Path head = folder.resolve("head.safetensors");
        String learned = Shell.succeed(learn(clips, head, "--mask-ratio=0", "--threads=1"));
        assertTrue(learned.contains("3 labels"), learned);
        assertEquals(List.of("-rf", "a b%d", "two\nlines"), Head.load(head).labels());
        Object[] predict = {"predict", "--student", student, "--head", head, "--mask-ratio=0", "--threads=1"};
        Object[] words = Arrays.copyOf(predict, predict.length + 2);
        words[predict.length] = "--video";
        words[predict.length + 1] = clips.resolve("-rf/-i.mp4");
        String answer = Shell.succeed(words);
        assertTrue(answer.startsWith(clips.resolve("-rf/-i.mp4") + ": -rf "), answer);
        words[predict.length + 1] = clips.resolve("two\nlines/[a-z]*?.mp4");
        answer = Shell.succeed(words);
        // The same recording under two labels.
        String twice = Pattern.quote(clips + "/two\\nlines/[a-z]*?.mp4: a b%d ") + "([0-9.]+ %), "
                + Pattern.quote("two\\nlines ") + "\\1, -rf .*";
        assertTrue(answer.lines().toList().getFirst().matches(twice), answer);
    }

    /** Six processes, since the order of Java's sets is another one in each. */
    @Test
    void theSameLearningGivesTheSameBytes() throws Exception {
        Path clips = twoLabels();
        byte[] first = null;
        for (int i = 0; i < 6; i++) {
            Path head = folder.resolve("head" + i + ".safetensors");
            Object[] words = learn(clips, head, "--mask-ratio=0.5", "--threads=" + (1 + i % 2));
            // The smallest machine: one processor and 256 MiB.
            OwnJava java = i == 0
                    ? new OwnJava(folder)
                            .withOptions("--enable-native-access=ALL-UNNAMED", "-XX:ActiveProcessorCount=1")
                            .withHeap("256m")
                    : new OwnJava(folder);
            Shell.Outcome outcome = java.run(words);
            assertEquals(0, outcome.code(), outcome::toString);
            byte[] bytes = Files.readAllBytes(head);
            first = first == null ? bytes : first;
            assertTrue(Arrays.equals(first, bytes), "run " + i + " wrote other bytes");
        }
    }

    @Test
    void oneRecordingUnderTwoLabelsIsEitherAndOneLabelIsNone() throws IOException {
        ramp(folder.resolve("clips/pour/a.mp4"));
        Shell.refuse(
                List.of("holds videos of one label, pour", "two or more"),
                learn(folder.resolve("clips"), folder.resolve("head.safetensors")));
        ramp(folder.resolve("clips/cut/a.mp4"));
        Path head = folder.resolve("head.safetensors");
        // One view of each clip: with masks of its own each would be another example.
        Shell.succeed(learn(folder.resolve("clips"), head, "--mask-ratio=0", "--threads=1"));
        String answer = Shell.succeed(
                "predict", "--student", student, "--head", head, "--video", video, "--mask-ratio=0", "--threads=1");
        assertTrue(answer.contains("cut 50.0 %, pour 50.0 %"), answer);
    }
}
