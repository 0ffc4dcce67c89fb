package tessera.distill.stage;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import tessera.distill.data.ClipSet;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** What the stages do alike. */
final class Stages {
    static final Augmentation AUGMENTATION = (clips, seed, step) -> {};

    private Stages() {}

    /**
     * Whether a file is the finished result of a stage with these settings.
     *
     * @throws CheckpointException if it is the result of others
     */
    static boolean isFinished(Path file, Map<String, String> settings) {
        if (!Files.exists(file)) {
            return false;
        }
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            if (!checkpoint.metadata().equals(settings)) {
                throw new CheckpointException(file + " was trained with other settings (" + checkpoint.metadata()
                        + " instead of " + settings + "); use another folder, or delete this one to start again");
            }
        }
        return true;
    }

    static Tensor labels(Device device, ClipSet clips, int[] indices) {
        int[] labels = new int[indices.length];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = clips.label(indices[i]);
        }
        Tensor tensor = Tensor.empty(device, DType.I32, Shape.of(labels.length));
        MemorySegment.copy(MemorySegment.ofArray(labels), 0, tensor.segment(), 0, tensor.byteSize());
        return tensor;
    }

    /** Removes the checkpoint of a stage that is finished. */
    static void deleteCheckpoint(Path folder) {
        try {
            Files.deleteIfExists(folder.resolve("checkpoint.safetensors"));
        } catch (IOException e) {
            throw new UncheckedIOException("cannot delete the checkpoint in " + folder, e);
        }
    }
}
