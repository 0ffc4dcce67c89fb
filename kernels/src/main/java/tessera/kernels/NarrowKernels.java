package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;

/**
 * Linear layers and attention whose factors are rounded to fewer bits than their data for the product alone: inputs, biases, addends and
 * results are f32, or of the type that {@link Int8Kernels#data} names, and the sum is no narrower. {@link Int8Kernels} and {@link Bf16Kernels} say how they round and pack the weights for it. Thread-safe.
 */
public interface NarrowKernels {
    /** {@code y = act(x W^T + bias + addend)} with x {@code [m, k]} and y {@code [m, n]}; the addend may be y. */
    void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y);

    /**
     * Two layers without their hidden values in memory: {@code y = act(gelu(x W1^T + bias1) W2^T + bias + addend)}. The hidden
     * values are rounded as every input is.
     *
     * @param first W1, {@code [h, k]}
     * @param firstBias {@code [h]}, or null
     * @param second W2, {@code [n, h]}
     * @param epilogue what follows the second layer; its addend may be y
     */
    void mlp(
            long m,
            Buffer x,
            PackedWeight first,
            @Nullable Buffer firstBias,
            PackedWeight second,
            Epilogue epilogue,
            Buffer y);

    /**
     * Attention of such data. Where the device has it ({@link Device#bf16}), queries, keys, values, probabilities and the gradients that are
     * multiplied with them are rounded to bf16 for the products; scores, the softmax, its sums, and the gradient of a bias are f32.
     */
    Attention attention();
}
