package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.evaluation.Gflops;
import tessera.distill.report.Json;
import tessera.distill.sweep.SweepFolder;
import tessera.distill.train.Settings;
import tessera.kernels.Device;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/** The command that measures combinations of settings. */
class SweepTest {
    @TempDir
    private static Path folder;

    private static Path data;
    private static Path student;

    @BeforeAll
    static void make() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 6, "open", "cut", "pour");
        student = TinyStudent.write(folder.resolve("student.safetensors"), 16);
    }

    private static Object[] words(Path out, Object... more) {
        List<Object> words = new ArrayList<>(List.of(
                "sweep", "--student", student, "--clips", data, "--out", out, "--quiet", "--threads=1", "--rounds=1"));
        if (Stream.of(more).noneMatch(word -> word.toString().startsWith("--by="))) {
            words.addAll(List.of("--ways=3", "--shots=2", "--queries=3", "--episodes=5", "--fit=plain"));
        }
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Map<String, FileTime> cells(Path out) throws IOException {
        Map<String, FileTime> cells = new HashMap<>();
        try (Stream<Path> files = Files.list(out.resolve("cells"))) {
            for (Path file : files.toList()) {
                cells.put(file.getFileName().toString(), Files.getLastModifiedTime(file));
            }
        }
        return cells;
    }

    @Test
    void finishedCombinationsAreKeptAndOthersAdded() throws IOException {
        Path out = folder.resolve("kept");
        Map<String, @Nullable Object> first = Json.object(
                Shell.succeed(words(out, "--mask-ratios=0,0.5", "--ensembles=1,2", "--batches=1,3", "--json")));
        assertEquals(6L, first.get("combinations"));
        Map<String, FileTime> before = cells(out);
        assertEquals(6, before.size());
        for (String name : List.of("sweep.csv", "sweep.json", "report.html")) {
            assertTrue(Files.size(out.resolve(name)) > 0, name);
        }
        Files.delete(out.resolve("cells").resolve(before.keySet().iterator().next()));
        String text = Shell.succeed(
                words(out, "--mask-ratios=0,0.5", "--ensembles=1,2", "--batches=1,3", "--strategies=pairs,tube"));
        assertTrue(text.startsWith(out + ": 10 combinations, "), text);
        Map<String, FileTime> after = cells(out);
        assertEquals(10, after.size());
        long same = before.entrySet().stream()
                .filter(entry -> entry.getValue().equals(after.get(entry.getKey())))
                .count();
        assertEquals(5, same, "what was there is not measured again");
    }

    @Test
    void aSecondSweepInTheFolderIsRefused() throws IOException {
        Path out = folder.resolve("shared");
        String told = out + " is in use by another run (process "
                + ProcessHandle.current().pid() + "); wait until it has ended, or name another folder";
        try (SweepFolder held = SweepFolder.open(out, Settings.NONE)) {
            Object[] unread = words(out);
            unread[2] = folder.resolve("missing.safetensors");
            Shell.refuse(List.of("--out " + told), unread);
            assertEquals(
                    told,
                    assertThrows(IllegalArgumentException.class, () -> SweepFolder.open(out, Settings.NONE))
                            .getMessage());
            assertEquals(Map.of(), cells(out), "the held one is as it was");
        }
        Shell.refuse(List.of("holds a sweep with other settings"), words(out));
        Path other = folder.resolve("free");
        Shell.succeed(words(other, "--mask-ratios=0", "--ensembles=1", "--batches=1"));
        try (Stream<Path> files = Files.list(other)) {
            assertEquals(
                    List.of(),
                    files.filter(file -> file.getFileName().toString().startsWith("."))
                            .toList(),
                    "nothing of the lock stays");
        }
    }

    @Test
    void anotherStudentOrSettingIsRefused() throws IOException {
        Path out = folder.resolve("refused");
        Shell.succeed(words(out, "--mask-ratios=0", "--batches=1"));
        Object[] changed = words(out, "--mask-ratios=0", "--batches=1");
        changed[List.of(changed).indexOf("--episodes=5")] = "--episodes=6";
        Shell.refuse(
                List.of(out + " holds a sweep with other settings: episodes was 5, is 6; name another folder"),
                changed);
        Path other = folder.resolve("other");
        OwnClips.write(other, 7, "open", "cut", "pour");
        Object[] elsewhere = words(out, "--mask-ratios=0", "--batches=1");
        elsewhere[4] = other;
        Shell.refuse(List.of("other settings: clips was 18 clips ", ", is 21 clips "), elsewhere);
    }

    /** Without labels, and with what the library says by hand. */
    @Test
    void agreementIsThatWithTheUnmaskedStudent() throws IOException {
        Path out = folder.resolve("agreement");
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(
                words(out, "--by=agreement", "--mask-ratios=0,0.5", "--ensembles=2", "--batches=2", "--json")));
        assertEquals("clips with the same label", answer.get("measure"));
        Map<String, @Nullable Object> all = Json.object(Files.readString(out.resolve("sweep.json")));
        List<?> results = (List<?>) requireNonNull(all.get("results"));
        Map<?, ?> unmasked = measured(results, "0");
        Close.within(number(member(unmasked, "quality"), "cosine"), 1, 1e-9, "cosine of the reference");
        Close.within(number(member(member(unmasked, "quality"), "value"), "mean"), 1, 0, "its agreement");
        Map<?, ?> masked = measured(results, "0.5");
        assertTrue(number(member(masked, "quality"), "cosine") < 1 - 1e-6, "masks change features");
        try (Student loaded = Student.load(student, Device.cpu())) {
            var gflops = Gflops.of(loaded, Masking.of(.5, 2));
            Close.within(number(member(masked, "gflops"), "all"), gflops.all(), 1e-12, "GFLOPs");
        }
        assertTrue(number(masked, "callBytes") > 0 && number(masked, "weightBytes") > 0, "memory");
    }

    @Test
    void headsJudgeOnTheirLabels() throws IOException {
        Path out = folder.resolve("head");
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(
                words(out, "--by=head", "--mask-ratios=0", "--batches=2", "--precisions=f32,int8", "--json")));
        assertEquals("accuracy", answer.get("measure"));
        assertEquals(2L, answer.get("combinations"));
        assertTrue(Files.readString(out.resolve("sweep.csv")).contains("\nint8,none,0,1,2,"), "a line for int8");
    }

    @Test
    void settingsThatDoNotGoTogetherAreToldAndTheOthersMeasured() throws IOException {
        Path out = folder.resolve("together");
        String text = Shell.succeed(words(out, "--mask-ratios=0.5,0.9999999999", "--ensembles=1", "--batches=1"));
        assertTrue(text.contains("2 combinations"), text);
        String csv = Files.readString(out.resolve("sweep.csv"));
        assertTrue(csv.contains("mask ratio 0.9999999999 hides all 4 cells"), csv);
    }

    @Test
    void badWordsAreRefusedBeforeAnyWork() {
        Path out = folder.resolve("none");
        Shell.refuse(List.of("--strategies: mask strategy 'stripes' is none"), words(out, "--strategies=stripes"));
        Shell.refuse(List.of("--precisions has 'f16'"), words(out, "--precisions=f16"));
        Shell.refuse(List.of("--mask-ratios: mask ratio 1.0 is not in [0, 1)"), words(out, "--mask-ratios=1"));
        Shell.refuse(List.of("--ensembles is 0; pass 1 or more"), words(out, "--ensembles=0"));
        Shell.refuse(
                List.of("--ensembles is 2000 but a clip is seen through 1 to 1024"), words(out, "--ensembles=2000"));
        Shell.refuse(List.of("--batches has [1, 8, 1], one of them twice"), words(out, "--batches=1,8,1"));
        Shell.refuse(List.of("--head is for --by head or agreement"), words(out, "--head", student));
        assertFalse(Files.exists(out), "nothing is made");
    }

    private static Map<?, ?> measured(List<?> results, String ratio) {
        for (Object result : results) {
            Map<?, ?> words = member(member((Map<?, ?>) result, "cell"), "words");
            if (ratio.equals(words.get("ratio"))) {
                return member((Map<?, ?>) result, "measured");
            }
        }
        throw new AssertionError("no cell of ratio " + ratio);
    }

    private static Map<?, ?> member(Map<?, ?> object, String name) {
        return (Map<?, ?>) requireNonNull(object.get(name), name);
    }
}
