package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;

/** The second system's stages, killed in every part of their work and run again, give the bytes of an undisturbed run. */
class KilledRunsTest {
    private static final int KILLED = 128 + 9;
    private static final int TERMINATED = 128 + 15;
    private static final List<String> SWIN =
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2", "--drop-path=0.3");
    private static final List<String> VIDEOMAE =
            List.of("--arch=videomae", "--dim=16", "--depths=1", "--attention-heads=2", "--drop-path=0.3");

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void teach() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 4, "dark", "grey", "bright");
        Files.writeString(
                data.resolve("labels.csv"), "label,verb,noun\ndark,hide,wall\ngrey,hide,floor\nbright,show,wall\n");
        run(training("rgb", SWIN, 3, folder.resolve("rgb")));
        run(training("pose", VIDEOMAE, 3, folder.resolve("pose")));
    }

    private static List<String> training(String modality, List<String> model, int steps, Path out) {
        List<String> words = new ArrayList<>(List.of("train", "--modality=" + modality));
        words.addAll(model);
        return words(words, steps, out);
    }

    private static List<String> distilling(Path cache, Path out) {
        List<String> words = new ArrayList<>(List.of("distill", "--weighting=dataset", "--beta=0.5"));
        words.add("--teachers=rgb=" + folder.resolve("rgb") + ",pose=" + folder.resolve("pose"));
        words.addAll(List.of("--temperature=2", "--view-count=2", "--features=pose=0.5", "--cache=" + cache));
        words.addAll(SWIN);
        return words(words, 50, out);
    }

    private static List<String> words(List<String> words, int steps, Path out) {
        words.addAll(List.of("--clips=" + data, "--heads=verb,noun", "--hold-out=0.25", "--batch=4"));
        words.addAll(List.of("--threads=1", "--steps=" + steps, "--out=" + out));
        return words;
    }

    /** Runs a command to its end, in this process. */
    private static void run(List<String> words) {
        List<Object> quiet = new ArrayList<>(words);
        quiet.add("--quiet");
        Shell.succeed(quiet.toArray());
    }

    /** Runs a command in a process of its own, which a signal meets when it shows a line of progress for the n-th time. */
    private static void meet(String signal, int code, String line, int number, List<String> words) throws Exception {
        List<String> command = ChildJava.command(List.of(), KilledCommand.class.getName());
        command.addAll(List.of(signal, line, Integer.toString(number)));
        command.addAll(words);
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put(Progress.SECONDS, "0"); // a line for each percent
        Process process = builder.start();
        List<String> shown = process.inputReader().lines().toList();
        assertEquals(code, process.waitFor(), () -> String.join("\n", shown));
    }

    private static void kill(String line, int number, List<String> words) throws Exception {
        meet("KILL", KILLED, line, number, words);
    }

    private static Map<String, byte[]> files(Path run) throws IOException {
        Map<String, byte[]> files = new TreeMap<>();
        try (var list = Files.list(run)) {
            for (Path file : list.toList()) {
                files.put(String.valueOf(file.getFileName()), Files.readAllBytes(file));
            }
        }
        return files;
    }

    private static void assertSame(Path expected, Path actual) throws IOException {
        Map<String, byte[]> files = files(actual);
        Map<String, byte[]> whole = files(expected);
        assertEquals(whole.keySet(), files.keySet(), "no temporary file is left");
        whole.forEach((name, bytes) -> assertArrayEquals(bytes, files.get(name), name));
    }

    @Test
    void training() throws Exception {
        Path whole = folder.resolve("whole-training");
        run(training("flow", SWIN, 50, whole));
        Path cut = folder.resolve("cut-training");
        List<String> words = training("flow", SWIN, 50, cut);
        kill("load", 1, words);
        assertFalse(Files.exists(cut.resolve("metrics.jsonl")));
        kill("train flow", 9, words);
        assertTrue(Files.size(cut.resolve("metrics.jsonl")) > 0);
        meet("TERM", TERMINATED, "train flow", 11, words);
        Path checkpoint = cut.resolve("checkpoint.safetensors");
        byte[] kept = Files.readAllBytes(checkpoint);
        kill("train flow", 7, words); // the checkpoint stays; what was done since is done again
        assertArrayEquals(kept, Files.readAllBytes(checkpoint));
        meet("TERM", TERMINATED, "train flow", 5, words);
        assertNotEquals(-1, mismatch(kept, checkpoint), "the checkpoint is a later one");
        kill("train flow", 1, words);
        run(words);
        assertSame(whole, cut);
    }

    private static int mismatch(byte[] kept, Path file) throws IOException {
        return Arrays.mismatch(kept, Files.readAllBytes(file));
    }

    @Test
    void distillationByACacheAndWeightsOfTheDataSet() throws Exception {
        Path whole = folder.resolve("whole");
        Path wholeCache = folder.resolve("whole-cache");
        run(distilling(wholeCache, whole));
        Path cut = folder.resolve("cut");
        Path cache = folder.resolve("cut-cache");
        List<String> words = distilling(cache, cut);
        Path weights = cut.resolve("teacher-weights.json");
        kill("weigh teachers", 1, words);
        kill("weigh teachers", 2, words);
        assertFalse(Files.exists(weights), "half of the weights are none");
        kill("cache rgb", 1, words);
        byte[] weighed = Files.readAllBytes(weights);
        assertEquals(1, files(cache).size());
        kill("cache rgb", 2, words);
        kill("cache pose", 2, words);
        assertEquals(2, files(cache).size());
        kill("distill", 1, words);
        assertSame(wholeCache, cache);
        meet("TERM", TERMINATED, "distill", 3, words);
        assertTrue(Files.exists(cut.resolve("checkpoint.safetensors")));
        kill("distill", 20, words);
        assertFalse(Files.exists(cut.resolve("student.safetensors")));
        run(words);
        assertSame(whole, cut);
        assertSame(wholeCache, cache);
        assertArrayEquals(weighed, Files.readAllBytes(weights), "teachers were weighed once");
    }
}
