package tessera.distill.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.TypeConversionException;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.SampleLayout;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.Int8Layers;
import tessera.nn.ModelConfig;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.SafetensorsShards;

/** What the commands that read clips do alike. */
final class Clips {
    private static final String FIRST_OF_MLP = "encoder.blocks.0.mlp.fc1.weight";

    private Clips() {}

    /** The modality that an option names. */
    static Modality modality(String name) {
        try {
            return Modality.of(name);
        } catch (IllegalArgumentException e) {
            throw new TypeConversionException(
                    "pass one of " + Modality.KNOWN.stream().map(Modality::id).collect(Collectors.joining(", ")));
        }
    }

    /** Clips for evaluation, with progress while they are read. */
    static ClipSet load(ModalityFolders folders, String title, RunContext context) {
        try (Task task = context.task(title, Task.Unit.CLIPS, folders.size())) {
            return folders.forEvaluation(task::advance, task::note);
        }
    }

    /** Clips for training, with progress while they are read; of those that are found broken later it is told too. */
    static ClipSet forTraining(ModalityFolders folders, String title, RunContext context) {
        try (Task task = context.task(title, Task.Unit.CLIPS, folders.size())) {
            return folders.forTraining(task::advance, task::note);
        }
    }

    /**
     * What a model sees, told by its channels.
     *
     * @throws IllegalArgumentException if it is no modality that clips have
     */
    static Modality modality(ClipShape input, Path file) {
        int channels = input.channels();
        return Modality.KNOWN.stream()
                .filter(modality -> modality.layout().channels() == channels)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(file + " is a model of " + channels
                        + " channels; pass one for rgb (3), flow (2), pose (21), boxes (8) or audio (1)"));
    }

    /** The clips that a model takes of one modality; the sizes of what it does not see mean nothing. */
    static Geometry geometry(int frames, int side, Modality modality) {
        if (modality.layout().grid() instanceof SampleLayout.Grid.Fixed) {
            return Geometry.SMALL.withFrames(frames);
        }
        boolean map = modality.layout().grid().equals(SampleLayout.Grid.MAP);
        return new Geometry(frames, map ? 4 * side : side, side);
    }

    /** Tokens per side of a picture by patches of 16 pixels, 8 below 112 pixels; for heat maps 4, and 2 below 28. */
    static int cells(Modality modality, Geometry geometry) {
        int side = geometry.side(modality);
        int patch =
                modality.layout().grid().equals(SampleLayout.Grid.MAP) ? (side < 28 ? 2 : 4) : (side < 112 ? 8 : 16);
        return side / patch;
    }

    /** Refuses a model that videos cannot feed. */
    static void requireRgb(ClipShape input, Path file) {
        Modality seen = modality(input, file);
        if (!seen.equals(Modality.RGB)) {
            throw new IllegalArgumentException(
                    file + " is a model of " + seen + " but videos hold pictures of 3 channels, and it takes "
                            + input.channels() + "; pass an rgb student");
        }
    }

    /** Refuses, before any work, a file of {@code --start} that no training starts from. */
    static void requireStart(@Nullable Path start) {
        requireStart("--start", start);
    }

    /** The same of a file that another option names. */
    static void requireStart(String option, @Nullable Path start) {
        if (start == null) {
            return;
        }
        if (!Files.exists(start)) {
            throw new IllegalArgumentException(
                    option + " " + start + " is no file; name a safetensors file, or the index of shards");
        }
        try (SafetensorsShards file = SafetensorsShards.open(start)) {
            if (Int8Layers.isInt8(file.metadata())) {
                throw new IllegalArgumentException(start + ": " + Int8Layers.NOT_TRAINED);
            }
        }
    }

    /**
     * A model that is trained from a start, whose MLPs are as wide as the start's, since no option tells that.
     *
     * @param start of a VideoMAE, or null
     */
    static ModelConfig asWide(ModelConfig config, @Nullable Path start) {
        return config instanceof VideoMaeConfig videoMae && start != null ? asWideAs(videoMae, start) : config;
    }

    /** As {@link #asWide}, of a start that is there. */
    static VideoMaeConfig asWideAs(VideoMaeConfig config, Path start) {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(start)) {
            Tensor first = VideoMaeNames.translate(checkpoint.tensors()).get(FIRST_OF_MLP);
            // What else does not fit is told where the weights are taken.
            return first == null || first.rank() != 2 || first.shape().count() == 0
                    ? config
                    : config.withMlp(Math.toIntExact(first.size(0)));
        } catch (CheckpointException e) {
            throw new CheckpointException(start + ": " + e.getMessage());
        }
    }

    /** A checksum of the bytes of a checkpoint, one file or shards. */
    static String checksum(Path checkpoint) {
        CRC32 checksum = new CRC32();
        for (Path file : SafetensorsShards.files(checkpoint)) {
            try (CheckedInputStream in = new CheckedInputStream(Files.newInputStream(file), checksum)) {
                in.transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
                throw new IllegalArgumentException(
                        file + " cannot be read (" + e.getMessage() + "); check its permissions", e);
            }
        }
        return "%08x".formatted(checksum.getValue());
    }
}
