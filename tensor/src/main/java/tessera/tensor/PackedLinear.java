package tessera.tensor;

import static java.util.Objects.requireNonNull;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
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
    /** What computes on bytes, or null for a weight of {@link #dtype}. */
    private final @Nullable Int8Kernels int8;

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
        this(weight, bias, dtype, null, null);
    }

    /**
     * Quantises a layer, see {@link Int8Kernels}: its weight is kept in bytes; inputs, outputs and the bias are f32.
     *
     * @param weight f32 {@code [out, in]}
     * @param bias f32 {@code [out]}, or null
     * @param input range of the layer's inputs, known beforehand; or null to look at every row
     * @throws IllegalArgumentException if the weight's device has no such layers
     */
    public static PackedLinear int8(Tensor weight, @Nullable Tensor bias, @Nullable InputRange input) {
        Int8Kernels int8 = weight.device()
                .int8()
                .orElseThrow(() -> new IllegalArgumentException("int8: the device " + weight.device()
                        + " multiplies no bytes faster than floats; compute in f32, or on a CPU with VNNI or AMX"));
        return new PackedLinear(weight, bias, DType.F32, int8, input);
    }

    private PackedLinear(
            Tensor weight, @Nullable Tensor bias, DType dtype, @Nullable Int8Kernels int8, @Nullable InputRange input) {
        this.dtype = dtype;
        this.int8 = int8;
        try (Scope scope = Scope.open()) {
            this.ownBias = bias != null && bias.dtype() != dtype;
            Tensor kept =
                    bias != null && ownBias ? Scope.outside(() -> bias.detach().to(dtype)) : bias;
            this.bias = kept;
            try {
                Buffer matrix = Op.buffer(weight.to(dtype));
                long n = weight.size(0);
                long k = weight.size(1);
                this.weight =
                        int8 == null ? weight.kernels().matmul().pack(matrix, n, k) : int8.pack(matrix, n, k, input);
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
        return Op.apply(new MatmulOps.PackedAccumulate(this, null), x, sum);
    }

    /**
     * Adds {@code gelu(first(x)) W^T + bias} to {@code sum} in place and returns it; the hidden values between two layers on
     * bytes never lie in memory as a whole.
     *
     * @throws IllegalArgumentException if one of the layers is not on bytes
     */
    public Tensor accumulateAfter(PackedLinear first, Tensor x, Tensor sum) {
        if (int8 == null || first.int8 == null) {
            throw new IllegalArgumentException("linear: two layers are joined on bytes alone; make both with int8");
        }
        return Op.apply(new MatmulOps.PackedAccumulate(this, first), x, sum);
    }

    /**
     * As {@link Tensor#selfAttention(int, Tensor, Tensor)}, for inference between layers on bytes: where the device has them, the
     * factors of the products may be rounded to bf16, see {@link Int8Kernels#attention}.
     */
    public static Tensor attention(Tensor qkv, int heads, @Nullable Tensor bias, @Nullable Tensor regions) {
        return AttentionOps.self(qkv, heads, bias, regions, true);
    }

    /** Whether the weight is kept in bytes. */
    public boolean isInt8() {
        return int8 != null;
    }

    PackedWeight weight() {
        return weight;
    }

    DType dtype() {
        return dtype;
    }

    long byteSize() {
        long scale = (long) Float.BYTES + Integer.BYTES;
        return int8 == null ? weight.n() * weight.k() * dtype.bytes() : weight.n() * (weight.k() + scale);
    }

    void run(Tensor x, @Nullable Tensor addend, Activation activation, Tensor y) {
        Op.check(
                x.dtype() == dtype && x.size(-1) == weight.k(),
                "linear",
                () -> "the packed weight takes " + dtype + "[.., " + weight.k() + "] but x is " + x.describe());
        Epilogue epilogue = new Epilogue(Op.bufferOrNull(bias), Op.bufferOrNull(addend), activation);
        long rows = x.shape().rows();
        if (int8 == null) {
            x.kernels().matmul().linear(rows, x.buffer(), weight, epilogue, y.buffer());
        } else {
            int8.linear(rows, x.buffer(), weight, epilogue, y.buffer());
        }
    }

    /** Adds the layer of the GELU of the first to sum. */
    void runAfter(PackedLinear first, Tensor x, Tensor sum) {
        Int8Kernels by = requireNonNull(int8, "layers that are joined are on bytes");
        Op.check(
                x.dtype() == DType.F32 && x.size(-1) == first.weight.k(),
                "linear",
                () -> "the packed weight takes f32[.., " + first.weight.k() + "] but x is " + x.describe());
        by.mlp(
                x.shape().rows(),
                x.buffer(),
                first.weight,
                Op.bufferOrNull(first.bias),
                weight,
                new Epilogue(Op.bufferOrNull(bias), sum.buffer(), Activation.NONE),
                sum.buffer());
    }

    @Override
    public void close() {
        weight.close();
        if (ownBias && bias != null) {
            bias.close();
        }
    }
}
