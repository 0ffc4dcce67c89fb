package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.Kernels.Activation;

/**
 * A linear layer whose weight is laid out for the device's fastest matmul; for inference only.
 *
 * <p>Immutable and safe to use from many threads. It copies the weight but refers to the bias, which must outlive it.
 */
public final class PackedLinear implements AutoCloseable {
    private final Kernels.PackedWeight weight;
    private final @Nullable Tensor bias;

    /**
     * Packs a layer.
     *
     * @param weight f32 {@code [out, in]}
     * @param bias {@code [out]}, or null
     */
    public PackedLinear(Tensor weight, @Nullable Tensor bias) {
        this.weight = weight.kernels().pack(Op.buffer(weight), weight.size(0), weight.size(1));
        this.bias = bias;
    }

    /** {@code act(x W^T + bias)} over the last axis of x. */
    public Tensor apply(Tensor x, Activation activation) {
        return Op.apply(new MatmulOps.PackedProduct(this, activation), x);
    }

    /** Adds {@code x W^T + bias} to {@code sum} in place and returns it. */
    public Tensor accumulate(Tensor x, Tensor sum) {
        return Op.apply(new MatmulOps.PackedAccumulate(this), x, sum);
    }

    Kernels.PackedWeight weight() {
        return weight;
    }

    long byteSize() {
        return weight.n() * weight.k() * DType.F32.bytes();
    }

    void run(Tensor x, Activation activation, boolean accumulate, Tensor y) {
        Op.check(
                x.dtype() == DType.F32 && x.size(-1) == weight.k(),
                "linear",
                () -> "the packed weight takes f32[.., " + weight.k() + "] but x is " + x.describe());
        x.kernels()
                .linear(
                        ReductionOps.rows(x),
                        x.buffer(),
                        weight,
                        bias == null ? null : bias.buffer(),
                        activation,
                        accumulate,
                        y.buffer());
    }

    @Override
    public void close() {
        weight.close();
    }
}
