package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;

/**
 * A linear layer whose weight is laid out for the device's fastest matmul; for inference only.
 *
 * <p>Immutable and safe to use from many threads. It copies the weight but may refer to the bias, which must outlive it.
 */
public final class PackedLinear implements AutoCloseable {
    private final PackedWeight weight;
    private final @Nullable Tensor bias;
    private final DType dtype;
    private final boolean ownBias;

    /** Packs a layer that computes in its weight's type. */
    public PackedLinear(Tensor weight, @Nullable Tensor bias) {
        this(weight, bias, weight.dtype());
    }

    /**
     * Packs a layer.
     *
     * @param weight {@code [out, in]}
     * @param bias {@code [out]} of the weight's type, or null
     * @param dtype what the layer computes in, that of its inputs and outputs: f32, or on a GPU bf16
     */
    public PackedLinear(Tensor weight, @Nullable Tensor bias, DType dtype) {
        this.dtype = dtype;
        try (Scope scope = Scope.open()) {
            this.ownBias = bias != null && bias.dtype() != dtype;
            Tensor kept =
                    bias != null && ownBias ? Scope.outside(() -> bias.detach().to(dtype)) : bias;
            this.bias = kept;
            try {
                this.weight =
                        weight.kernels().matmul().pack(Op.buffer(weight.to(dtype)), weight.size(0), weight.size(1));
            } catch (RuntimeException | Error e) {
                if (kept != null && ownBias) {
                    kept.close();
                }
                throw e;
            }
        }
    }

    /** {@code act(x W^T + bias)} over the last axis of x. */
    public Tensor apply(Tensor x, Activation activation) {
        return Op.apply(new MatmulOps.PackedProduct(this, activation), x);
    }

    /** Adds {@code x W^T + bias} to {@code sum} in place and returns it. */
    public Tensor accumulate(Tensor x, Tensor sum) {
        return Op.apply(new MatmulOps.PackedAccumulate(this), x, sum);
    }

    PackedWeight weight() {
        return weight;
    }

    DType dtype() {
        return dtype;
    }

    long byteSize() {
        return weight.n() * weight.k() * dtype.bytes();
    }

    void run(Tensor x, @Nullable Tensor addend, Activation activation, Tensor y) {
        Op.check(
                x.dtype() == dtype && x.size(-1) == weight.k(),
                "linear",
                () -> "the packed weight takes " + dtype + "[.., " + weight.k() + "] but x is " + x.describe());
        x.kernels()
                .matmul()
                .linear(
                        x.shape().rows(),
                        x.buffer(),
                        weight,
                        new Epilogue(Op.bufferOrNull(bias), Op.bufferOrNull(addend), activation),
                        y.buffer());
    }

    @Override
    public void close() {
        weight.close();
        if (ownBias && bias != null) {
            bias.close();
        }
    }
}
