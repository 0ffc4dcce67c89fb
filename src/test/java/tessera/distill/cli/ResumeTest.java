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
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;

/** Training in a process of its own that is stopped and killed gives the weights of an uninterrupted run, bit for bit. */
class ResumeTest {

    @TempDir
    private Path folder;

    @Test
    void stoppedAndKilledRunsResumeBitForBit() throws Exception {
        Path data = OwnClips.write(folder.resolve("data"), 4, "dark", "bright");

        Process whole = pretrain(data, "whole");
        List<String> shown = whole.errorReader().lines().toList();
        assertEquals(0, whole.waitFor(), () -> String.join("\n", shown));

        // What Ctrl-C does too: the process is asked to end, writes a checkpoint and says so. Recomputing changes no
        // weight.
        Process stopped = pretrain(data, "cut", "--recompute");
        Shell.awaitSteps(stopped);
        stopped.toHandle().destroy();
        List<String> last = stopped.errorReader().lines().toList();
        assertNotEquals(0, stopped.waitFor());
        Path checkpoint = folder.resolve("cut").resolve("checkpoint.safetensors");
        assertTrue(Files.exists(checkpoint), () -> String.join("\n", last));
        assertFalse(Files.exists(folder.resolve("cut").resolve("model.safetensors")));

        // This one gets no chance to say goodbye: what it did since the checkpoint is done again.
        Process killed = pretrain(data, "cut");
        Shell.awaitSteps(killed);
        killed.destroyForcibly();
        assertNotEquals(0, killed.waitFor());

        Process resumed = pretrain(data, "cut");
        List<String> end = resumed.errorReader().lines().toList();
        assertEquals(0, resumed.waitFor(), () -> String.join("\n", end));
        assertArrayEquals(result("whole", "model.safetensors"), result("cut", "model.safetensors"));
        assertArrayEquals(result("whole", "metrics.jsonl"), result("cut", "metrics.jsonl"));
        assertFalse(Files.exists(checkpoint));
        assertEquals(List.of("metrics.jsonl", "model.safetensors"), names("cut"), "no temporary file is left");

        // Other settings are refused before clips are read, of which one is broken now.
        Files.write(data.resolve("rgb/dark/broken.npy"), new byte[] {1});
        List<Object> words =
                new ArrayList<>(List.of((Object[]) line(data, "cut").split(" ")));
        words.add("--steps=300");
        Shell.refuse(
                List.of(
                        folder.resolve("cut").resolve("model.safetensors") + " was trained with other settings (",
                        "steps was 200, is 300",
                        "; use another folder, or delete this one to start again"),
                words.toArray());
    }

    private Process pretrain(Path data, String out, String... more) throws IOException {
        List<String> command = ChildJava.command(List.of(), Main.class.getName());
        command.addAll(List.of((line(data, out) + " --steps 200").split(" ")));
        command.addAll(List.of(more));
        ProcessBuilder builder = new ProcessBuilder(command).redirectOutput(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put(Progress.SECONDS, "0"); // a line for each percent
        return builder.start();
    }

    private String line(Path data, String out) {
        return "pretrain --modality rgb --dim 16 --depth 2 --heads 2 --grid 2 --batch 2 --mask-ratio 0.5 --threads 1"
                + " --clip-norm 0.5 --drop-path 0.3 --source " + data + " --target " + data
                + " --out " + folder.resolve(out);
    }

    private byte[] result(String run, String name) throws IOException {
        return Files.readAllBytes(folder.resolve(run).resolve(name));
    }

    private List<String> names(String run) throws IOException {
        try (var files = Files.list(folder.resolve(run))) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }
}
