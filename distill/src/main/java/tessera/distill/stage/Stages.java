package tessera.distill.stage;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Philox;
import tessera.nn.AdamW;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Tensor;

/** What the stages do alike. */
final class Stages {
    private Stages() {}

    /**
     * One random resized crop and flip for each clip of u8 pictures {@code [B, T, S, S, 3]}, in place, as a function of the
     * seed and the step.
     */
    static void augment(Tensor clips, long seed, long step) {
        int batch = (int) clips.size(0);
        int frames = (int) clips.size(1);
        int side = (int) clips.size(2);
        int length = frames * side * side * 3;
        MemorySegment pixels = clips.segment();
        IntStream.range(0, batch).parallel().forEach(i -> {
            byte[] clip = new byte[length];
            MemorySegment.copy(pixels, ValueLayout.JAVA_BYTE, (long) i * length, clip, 0, length);
            long draw = Philox.word(seed, step, i);
            byte[] changed = ImageOps.trainTransform(new VideoClip(frames, side, side, clip), side, draw)
                    .pixels();
            MemorySegment.copy(changed, 0, pixels, ValueLayout.JAVA_BYTE, (long) i * length, length);
        });
    }

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
                throw new CheckpointException(file + " was trained with other settings ("
                        + differences(checkpoint.metadata(), settings)
                        + "); use another folder, or delete this one to start again");
            }
        }
        return true;
    }

    /** What must be equal for a run to be resumed: a run in f32 goes on in f32, on the same clips. */
    static Map<String, String> settings(Map<String, String> settings, RunContext context) {
        Map<String, String> all = new LinkedHashMap<>(settings);
        if (context.compute() != DType.F32) {
            all.put("tessera.compute", context.compute().toString());
        }
        all.putAll(context.origin());
        return all;
    }

    /** The entries in which settings differ, as text. */
    static String differences(Map<String, String> stored, Map<String, String> wanted) {
        Set<String> names = new TreeSet<>(stored.keySet());
        names.addAll(wanted.keySet());
        names.removeIf(name -> Objects.equals(stored.get(name), wanted.get(name)));
        return names.stream()
                .map(name -> name + ": " + stored.getOrDefault(name, "none") + " instead of "
                        + wanted.getOrDefault(name, "none"))
                .collect(Collectors.joining("; "));
    }

    static Tensor labels(ClipSet clips, int[] indices) {
        int[] labels = new int[indices.length];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = clips.label(indices[i]);
        }
        return Tensor.of(labels);
    }

    /** Where clips that a stage changes on the CPU, by {@link #augment}, are made before they go to a device. */
    static Device host(Device device) {
        return device.isHost() ? device : Device.cpu();
    }

    /** Lets an optimiser clip gradients, unless the norm is 0. */
    static void clip(AdamW optimiser, double norm) {
        if (norm > 0) {
            optimiser.clipNorm(norm);
        }
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
