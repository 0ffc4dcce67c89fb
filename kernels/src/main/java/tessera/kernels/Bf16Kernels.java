package tessera.kernels;

import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;

/**
 * Products of f32 data whose factors are rounded to bf16, to the nearest, half to even, for devices that keep f32 data but
 * multiply bf16 faster: CPUs with AVX512_BF16 or AMX.
 *
 * <p>A product of two bf16 is exact in f32, and products are added up in f32. A row of a layer's result depends on nothing but the
 * same row of the input. Infinities stay what they are, as does NaN; a value that rounds to more than the largest bf16, 3.39e38,
 * becomes infinite. What is smaller than the smallest normal number, 1.2e-38, may count as 0. Thread-safe.
 */
public interface Bf16Kernels extends NarrowKernels {
    /**
     * Rounds the f32 weight {@code [n, k]} of a linear layer. The result is immutable, usable from many threads, and closed by the
     * caller; only this device's {@link #linear} and {@link #mlp} take it.
     *
     * @throws IllegalArgumentException if the weight is not f32
     */
    PackedWeight pack(Buffer weight, long n, long k);

    /**
     * {@code C = act(op(A) op(B) + bias + addend)} of f32 matrices without gaps between their rows, as {@link Matmul#matmul}.
     *
     * @throws IllegalArgumentException if rows have gaps or a buffer is not f32 or too short
     */
    void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c);
}
