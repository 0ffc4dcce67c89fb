package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** What a distillation leaves alone, and how it ends when it fails. */
class DistillTest {
    private static final List<String> MODALITIES = List.of("rgb", "flow", "pose");

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void pretrain() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 3, "dark", "bright");
        for (String modality : MODALITIES) {
            Shell.succeed(OwnClips.pretraining(modality, data, folder.resolve(modality), 2));
        }
    }

    private static Object[] distilling(Path out, String... more) {
        List<Object> words = new ArrayList<>(List.of("distill", "--teachers"));
        words.add(
                "rgb=" + folder.resolve("rgb") + ",flow=" + folder.resolve("flow") + ",pose=" + folder.resolve("pose"));
        words.addAll(List.of("--target", data, "--batch=4", "--mask-ratio=0.5", "--threads=1", "--quiet"));
        words.addAll(List.of("--steps=4", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static byte[][] teachers() throws IOException {
        byte[][] files = new byte[MODALITIES.size()][];
        for (int m = 0; m < files.length; m++) {
            files[m] = Files.readAllBytes(folder.resolve(MODALITIES.get(m)).resolve("model.safetensors"));
        }
        return files;
    }

    private static List<String> names(Path run) throws IOException {
        try (var files = Files.list(run)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void teachersStayAsTheyAre() throws IOException {
        byte[][] before = teachers();
        Path out = folder.resolve("distilled");
        Shell.succeed(distilling(out));
        assertArrayEquals(before, teachers());
        for (String modality : MODALITIES) {
            assertEquals(List.of("metrics.jsonl", "model.safetensors"), names(folder.resolve(modality)));
        }
        try (SafetensorsFile teacher = Safetensors.open(folder.resolve("rgb").resolve("model.safetensors"));
                SafetensorsFile student = Safetensors.open(out.resolve("student.safetensors"))) {
            for (String norm : List.of("encoder.norm.weight", "encoder.blocks.0.norm1.bias")) {
                assertFalse(Arrays.equals(teacher.floats(norm), student.floats(norm)), norm + " was trained");
            }
        }
    }

    /** No weights are left, and the run starts afresh in the same folder by a rate that it can bear. */
    @Test
    void aLossThatIsNotFiniteEndsTheRun() throws IOException {
        byte[][] before = teachers();
        Path out = folder.resolve("diverged");
        Shell.Outcome outcome = Shell.run(distilling(out, "--lr=1e30"));
        assertEquals(1, outcome.code(), outcome.err());
        assertEquals("", outcome.out());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
        String expected = "tessera: error: IllegalStateException: the loss of step 1 is NaN; the last checkpoint in "
                + out + " is kept; lower the learning rate and start again";
        assertTrue(outcome.err().startsWith(expected), outcome.err());
        assertEquals(List.of("metrics.jsonl"), names(out));
        assertArrayEquals(before, teachers());
        Shell.succeed(distilling(out, "--lr=1e-3"));
        assertEquals(List.of("metrics.jsonl", "student.safetensors"), names(out));
        assertEquals(4, Files.readAllLines(out.resolve("metrics.jsonl")).size());
    }
}
