package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.nn.Checkpoint;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Models that training starts from, whose sizes no option of the training tells. */
class StartsTest {
    /** So wide are the MLPs, not four times the width. */
    private static final int MLP = 10;

    @TempDir
    private Path folder;

    /** MLPs are as wide as the start's, in both stages and where classes are learned; a start that was fine-tuned lacks the norm of tokens. */
    @Test
    void widthsOfMlpsAreTheStarts() throws IOException {
        Path data = OwnClips.write(folder.resolve("data"), 4, "dark", "grey");
        Path whole = folder.resolve("whole");
        Shell.succeed(OwnClips.pretraining("rgb", data, whole, 2));
        Path narrow = folder.resolve("narrow.safetensors");
        try (Scope scope = Scope.open();
                Checkpoint model = Checkpoint.read(whole.resolve("model.safetensors"))) {
            Map<String, Tensor> weights = new LinkedHashMap<>(model.tensors());
            weights.replaceAll((name, weight) -> name.startsWith("encoder.") && name.contains(".mlp.fc1.")
                    ? weight.slice(0, 0, MLP).contiguous()
                    : name.startsWith("encoder.") && name.endsWith(".mlp.fc2.weight")
                            ? weight.slice(1, 0, MLP).contiguous()
                            : weight);
            Map<String, String> described = new LinkedHashMap<>(
                    VideoMaeConfig.fromMetadata(model.metadata()).withMlp(MLP).toMetadata());
            Checkpoint.write(narrow, weights, described);
        }
        Path fineTuned = folder.resolve("fine-tuned.safetensors");
        try (Scope scope = Scope.open();
                Checkpoint model = Checkpoint.read(narrow)) {
            Map<String, Tensor> weights = new LinkedHashMap<>(model.tensors());
            weights.keySet().removeIf(name -> name.startsWith("decoder.") || name.startsWith("encoder.norm."));
            Checkpoint.write(fineTuned, weights, Map.of());
        }
        Path again = folder.resolve("again");
        Shell.succeed(OwnClips.pretraining("rgb", data, again, 2, "--start=" + fineTuned));
        assertMlps(again.resolve("model.safetensors"));
        Path rgb = folder.resolve("rgb");
        Shell.succeed(OwnClips.pretraining("rgb", data, rgb, 2, "--start=" + narrow));
        assertMlps(rgb.resolve("model.safetensors"));
        // The model of another modality begins with the same blocks.
        Path flow = folder.resolve("flow");
        Shell.succeed(OwnClips.pretraining("flow", data, flow, 2, "--start=" + narrow));
        assertMlps(flow.resolve("model.safetensors"));
        Path student = folder.resolve("student");
        Shell.succeed(
                "distill",
                "--teachers=rgb=" + rgb + ",flow=" + whole(data),
                "--target=" + data,
                "--batch=2",
                "--steps=2",
                "--threads=1",
                "--quiet",
                "--out=" + student);
        assertMlps(student.resolve("student.safetensors"));
        Path classes = folder.resolve("classes");
        Shell.succeed(
                "train",
                "--modality=rgb",
                "--clips=" + data,
                "--arch=videomae",
                "--dim=16",
                "--depths=1",
                "--attention-heads=2",
                "--start=" + narrow,
                "--batch=2",
                "--steps=2",
                "--threads=1",
                "--quiet",
                "--out=" + classes);
        assertMlps(classes.resolve("model.safetensors"));
    }

    /** A teacher of flow whose MLPs are four times its width, as by default. */
    private Path whole(Path data) {
        Path flow = folder.resolve("whole-flow");
        Shell.succeed(OwnClips.pretraining("flow", data, flow, 2));
        return flow;
    }

    private static void assertMlps(Path file) {
        try (Checkpoint model = Checkpoint.read(file)) {
            assertEquals(MLP, VideoMaeConfig.fromMetadata(model.metadata()).mlpDim());
        }
    }
}
