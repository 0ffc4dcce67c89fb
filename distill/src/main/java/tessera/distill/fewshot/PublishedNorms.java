package tessera.distill.fewshot;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Int8Layers;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeArchitecture;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * A VideoMAE student's norms as the published code of MM-CDFSL (ECCV 2024) has them when it tests: it reads the encoder's weights alone,
 * so that the norm of the feature, {@code fc_norm}, has weights 1 and biases 0 whatever was trained, and adds {@link #EPS} to the
 * variances of all norms.
 *
 * @param reset whether the norm of the feature starts afresh
 * @param eps what is added to variances, or null for what the student's file says
 */
public record PublishedNorms(boolean reset, @Nullable Double eps) {
    /** What the published test adds to variances. */
    public static final double EPS = 1e-5;

    /** The student's own norms. */
    public static final PublishedNorms OWN = new PublishedNorms(false, null);

    /** Those of the published test. */
    public static final PublishedNorms PAPER = new PublishedNorms(true, EPS);

    private static final String NORM = "fc_norm.";

    public PublishedNorms {
        if (eps != null && !(eps > 0 && eps < 1)) {
            throw new IllegalArgumentException(
                    "norms: " + eps + " cannot be added to variances; pass a small positive number such as " + EPS);
        }
    }

    /**
     * Loads a student with these norms and without heads, for these were learned with its own norms.
     *
     * @param compute f32, or bf16 where the device has it
     * @throws IllegalArgumentException if the file is no VideoMAE student in f32, or has no norm to reset
     */
    public Student load(Path file, Device device, DType compute) {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            Map<String, String> metadata = checkpoint.metadata();
            Architecture architecture = Architecture.of(metadata);
            if (!(architecture instanceof VideoMaeArchitecture)) {
                throw new CheckpointException("the student is of architecture '" + architecture.name()
                        + "' but the published norms are those of videomae; pass a VideoMAE student");
            }
            if (Int8Layers.isInt8(metadata)) {
                throw new CheckpointException("the student's weights are int8 but norms are changed in f32; pass the"
                        + " student that it was made from");
            }
            VideoMaeConfig own = VideoMaeConfig.fromMetadata(metadata);
            VideoMaeConfig config = eps == null ? own : own.withEps(eps, eps);
            Map<String, Tensor> weights = new LinkedHashMap<>();
            checkpoint.tensors().forEach((name, tensor) -> {
                if (architecture.keeps(name)) {
                    weights.put(name, tensor);
                }
            });
            if (reset) {
                if (!config.meanPooling()) {
                    throw new CheckpointException(
                            "the student's feature is its first token, which has no norm of its own to"
                                    + " reset; keep its norms");
                }
                weights.put(NORM + "weight", Tensor.ones(config.embedDim()));
                weights.put(NORM + "bias", Tensor.zeros(config.embedDim()));
            }
            return checkpoint.explaining(() -> Student.of(weights, config, device, compute));
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
    }
}
