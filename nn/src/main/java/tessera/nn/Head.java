package tessera.nn;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import tessera.kernels.DType;
import tessera.tensor.Tensor;

/**
 * A linear classifier on a student's features, such as a few-shot head. Immutable and thread-safe.
 *
 * @param weight f32 {@code [classes, D]}
 * @param bias f32 {@code [classes]}
 * @param labels names of the classes, in order
 */
public record Head(Tensor weight, Tensor bias, List<String> labels) implements AutoCloseable {
    private static final String LABELS = "tessera.labels";

    public Head {
        labels = List.copyOf(labels);
        if (weight.rank() != 2
                || weight.dtype() != DType.F32
                || bias.dtype() != DType.F32
                || weight.size(0) != labels.size()
                || bias.shape().count() != labels.size()) {
            throw new IllegalArgumentException("head: weight " + weight.describe() + " and bias " + bias.describe()
                    + " do not fit " + labels.size() + " labels; pass f32[classes, width] and f32[classes]");
        }
    }

    /** A head from coefficients {@code [classes][D]} and intercepts. */
    public static Head of(double[][] coefficients, double[] intercepts, List<String> labels) {
        int classes = coefficients.length;
        int width = classes == 0 ? 0 : coefficients[0].length;
        float[] weight = new float[classes * width];
        float[] bias = new float[classes];
        for (int c = 0; c < classes; c++) {
            for (int j = 0; j < width; j++) {
                weight[c * width + j] = (float) coefficients[c][j];
            }
            bias[c] = (float) intercepts[c];
        }
        return new Head(Tensor.of(weight, classes, width), Tensor.of(bias, classes), labels);
    }

    /**
     * Reads a head that {@link #save} wrote.
     *
     * @throws IllegalArgumentException if the file is no head
     */
    public static Head load(Path file) {
        Checkpoint checkpoint = Checkpoint.read(file);
        try {
            Tensor weight = checkpoint.tensors().get("head.weight");
            Tensor bias = checkpoint.tensors().get("head.bias");
            String labels = checkpoint.metadata().get(LABELS);
            if (weight == null
                    || bias == null
                    || labels == null
                    || checkpoint.tensors().size() > 2) {
                throw new CheckpointException("it does not hold head.weight, head.bias and the labels alone");
            }
            return new Head(weight, bias, List.of(labels.split("\n", -1)));
        } catch (IllegalArgumentException e) {
            checkpoint.close();
            throw new CheckpointException(file + " is no head: " + e.getMessage() + "; make one with `tessera learn`");
        }
    }

    /** Writes a safetensors file: to a temporary name, then moved. */
    public void save(Path file) {
        Checkpoint.write(
                file, Map.of("head.weight", weight, "head.bias", bias), Map.of(LABELS, String.join("\n", labels)));
    }

    @Override
    public void close() {
        weight.close();
        bias.close();
    }
}
