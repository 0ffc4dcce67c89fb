package tessera.kernels;

/**
 * Every numerical primitive of one device, on raw contiguous buffers, by family. A family is an interface of this package; each
 * backend has one class for it, and the CUDA sources one {@code .cu} file, of the same name.
 *
 * <p>All matrices are row-major. Each family says which types its buffers may have; indices and labels are i32. Sizes may be
 * zero. Callers have checked shapes: these methods check only what would otherwise corrupt memory. Outputs may not overlap
 * inputs except where a method says that it works in place.
 *
 * <p>Results are deterministic: the same inputs and the same number of threads give the same bits. Implementations are
 * thread-safe; each call returns when its outputs are complete (CPU) or enqueued in order (GPU).
 *
 * @param elementwise element-wise functions, copies, casts and sums
 * @param matmul matrix products
 * @param norms layer norm and softmax
 * @param attention scaled dot-product attention
 * @param patches patches of a video and what is reconstructed of them
 * @param tokens gathering, scattering and assembling of tokens
 * @param random masks, random numbers, dropout and stochastic depth
 * @param losses losses with their gradients
 * @param optimiser AdamW and the norm of gradients
 */
public record Kernels(
        Elementwise elementwise,
        Matmul matmul,
        Norms norms,
        Attention attention,
        Patches patches,
        Tokens tokens,
        RandomOps random,
        Losses losses,
        Optimiser optimiser) {}
