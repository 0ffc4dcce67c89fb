package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.egosim.EgoSim;
import tessera.distill.train.Pretraining;
import tessera.nn.Checkpoint;
import tessera.tensor.Tensor;

/** Commands on the built-in benchmark: its version and seed are noted, and several domains are trained on. */
class EgoSimRunsTest {
    @TempDir
    private Path folder;

    @Test
    void aRunOnAnotherVersionOrSeedIsNotResumed() throws Exception {
        Path out = folder.resolve("run");
        pretrain(out);
        Path model = out.resolve(Pretraining.MODEL);
        try (Checkpoint saved = Checkpoint.read(model)) {
            Map<String, String> noted = new TreeMap<>(saved.metadata());
            assertEquals("version 2, seed 1", requireNonNull(noted.get(EgoSim.NOTED)));
            noted.put(EgoSim.NOTED, "version 1, seed 1");
            Map<String, Tensor> weights = saved.tensors();
            Files.delete(model);
            Checkpoint.write(model, weights, noted);
        }
        Shell.refuse(List.of("egosim was version 1, seed 1, is version 2, seed 1", "use another folder"), words(out));
        Shell.refuse(
                List.of("egosim was version 1, seed 1, is version 2, seed 5"), with(words(out), "--egosim-seed=5"));
        Shell.refuse(List.of("names a domain twice"), with(words(out), "--domain=kitchen,kitchen"));
    }

    private static void pretrain(Path out) {
        Shell.succeed(words(out));
    }

    private static Object[] words(Path out) {
        return new Object[] {
            "pretrain",
            "--modality=pose",
            "--egosim",
            "--domain=kitchen,workshop",
            "--per-class=1",
            "--out",
            out,
            "--dim=16",
            "--depth=1",
            "--heads=2",
            "--steps=2",
            "--batch=2"
        };
    }

    private static Object[] with(Object[] words, String last) {
        Object[] more = java.util.Arrays.copyOf(words, words.length + 1);
        more[words.length] = last;
        return more;
    }
}
