package tessera.tensor;

import static java.util.Objects.requireNonNull;

import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.NormProducts;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.NarrowKernels;
import tessera.kernels.Norms.NormParameters;

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
    /** What rounds the factors of f32 data, or null for a weight of {@link #dtype}. */
    private final @Nullable NarrowKernels narrow;

    /** What joins the layer with a norm before it, or null for a layer alone. */
    private final @Nullable NormProducts norms;

    private final Device device;

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
        this(weight, bias, dtype, null, null, weight.kernels().matmul()::pack);
    }

    /**
     * Quantises a layer, see {@link Int8Kernels}: its weight is kept in bytes; inputs, outputs and the bias are of its type of data.
     *
     * @param weight f32 {@code [out, in]}
     * @param bias {@code [out]}, or null
     * @param input range of the layer's inputs, known beforehand; or null to look at every row
     * @throws IllegalArgumentException if the weight's device has no such layers
     */
    public static PackedLinear int8(Tensor weight, @Nullable Tensor bias, @Nullable InputRange input) {
        Int8Kernels int8 = weight.device()
                .int8()
                .orElseThrow(
                        () -> new IllegalArgumentException(
                                "int8: the device " + weight.device()
                                        + " multiplies no bytes faster than floats; compute in f32, or on an x86 CPU with AVX2, VNNI or AMX"));
        return new PackedLinear(weight, bias, int8.data(), int8, null, (w, n, k) -> int8.pack(w, n, k, input));
    }

    /**
     * Packs a layer whose weight and inputs are rounded to bf16 for the products, see {@link Bf16Kernels}; inputs, outputs and the bias
     * are f32.
     *
     * @param weight f32 {@code [out, in]}
     * @param bias f32 {@code [out]}, or null
     * @throws IllegalArgumentException if the weight's device has no such layers
     */
    public static PackedLinear bf16(Tensor weight, @Nullable Tensor bias) {
        Bf16Kernels bf16 = Op.bf16("linear", weight);
        return new PackedLinear(weight, bias, DType.F32, bf16, null, bf16::pack);
    }

    /**
     * Packs a layer together with the layer norm before it, whose input it then takes, where the device spares a pass over memory by that
     * and is asked to or was measured to; see {@link NormProducts}. It is for {@link #apply} alone, and refers to none of these.
     *
     * @param weight {@code [out, in]}
     * @param bias {@code [out]}, or null
     * @param normWeight {@code [in]}
     * @param normBias {@code [in]}
     * @param dtype what the layer computes in, that of its inputs and outputs
     */
    public static Optional<PackedLinear> behindNorm(
            Tensor weight, @Nullable Tensor bias, Tensor normWeight, Tensor normBias, double eps, DType dtype) {
        NormProducts norms =
                dtype == DType.BF16 ? weight.kernels().matmul().normProducts().orElse(null) : null;
        if (norms == null) {
            return Optional.empty();
        }
        try (Scope scope = Scope.open()) {
            Buffer shift = bias == null ? null : Op.buffer(bias.to(DType.F32));
            NormParameters norm =
                    new NormParameters(Op.buffer(normWeight.to(DType.F32)), Op.buffer(normBias.to(DType.F32)), eps);
            return Optional.of(
                    new PackedLinear(weight, null, dtype, null, norms, (w, n, k) -> norms.pack(w, n, k, shift, norm)));
        }
    }

    private interface Packing {
        PackedWeight pack(Buffer weight, long n, long k);
    }

    private PackedLinear(
            Tensor weight,
            @Nullable Tensor bias,
            DType dtype,
            @Nullable NarrowKernels narrow,
            @Nullable NormProducts norms,
            Packing packing) {
        this.dtype = dtype;
        this.narrow = narrow;
        this.norms = norms;
        this.device = weight.device();
        try (Scope scope = Scope.open()) {
            this.ownBias = bias != null && bias.dtype() != dtype;
            Tensor kept =
                    bias != null && ownBias ? Scope.outside(() -> bias.detach().to(dtype)) : bias;
            this.bias = kept;
            try {
                DType packed = narrow == null && norms == null ? dtype : DType.F32;
                this.weight = packing.pack(Op.buffer(weight.to(packed)), weight.size(0), weight.size(1));
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
     * Adds {@code gelu(first(x)) W^T + bias} to {@code sum} in place and returns it; the hidden values never lie in memory as
     * a whole.
     *
     * @throws IllegalArgumentException if this layer does not {@link #follows follow} the first
     */
    public Tensor accumulateAfter(PackedLinear first, Tensor x, Tensor sum) {
        if (!follows(first)) {
            throw new IllegalArgumentException(
                    "linear: only layers whose factors are rounded alike are joined; make both with int8 or with bf16");
        }
        return Op.apply(new MatmulOps.PackedAccumulate(this, first), x, sum);
    }

    /** Whether {@link #accumulateAfter} takes another layer as the first: both round their factors, and in the same way. */
    public boolean follows(PackedLinear first) {
        return narrow != null && narrow.equals(first.narrow);
    }

    PackedWeight weight() {
        return weight;
    }

    DType dtype() {
        return dtype;
    }

    long byteSize() {
        if (narrow instanceof Int8Kernels) {
            return weight.n() * (weight.k() + (long) Float.BYTES + Integer.BYTES);
        }
        return weight.n() * weight.k() * (narrow == null ? dtype : DType.BF16).bytes();
    }

    void run(Tensor x, @Nullable Tensor addend, Activation activation, Tensor y) {
        Op.check(
                x.dtype() == dtype && x.size(-1) == weight.k(),
                "linear",
                () -> "the packed weight takes " + dtype + "[.., " + weight.k() + "] but x is " + x.describe());
        Epilogue epilogue = new Epilogue(Op.bufferOrNull(bias), Op.bufferOrNull(addend), activation);
        long rows = x.shape().rows();
        if (norms != null) {
            Op.check(
                    addend == null, "linear", () -> "a layer that was packed with a norm adds to no sum; add it after");
            norms.linear(rows, x.buffer(), weight, activation, y.buffer());
        } else if (narrow == null) {
            x.kernels().matmul().linear(rows, x.buffer(), weight, epilogue, y.buffer());
        } else {
            narrow(narrow).linear(rows, x.buffer(), weight, epilogue, y.buffer());
        }
    }

    /** What rounds the factors now: while the device records, not what packed the weight. */
    private NarrowKernels narrow(NarrowKernels packer) {
        Optional<? extends NarrowKernels> now = packer instanceof Int8Kernels ? device.int8() : device.bf16();
        return now.isPresent() ? now.get() : packer;
    }

    /** Adds the layer of the GELU of the first to sum. */
    void runAfter(PackedLinear first, Tensor x, Tensor sum) {
        NarrowKernels by = narrow(requireNonNull(narrow));
        Op.check(
                x.dtype() == dtype && x.size(-1) == first.weight.k(),
                "linear",
                () -> "the packed weight takes " + dtype + "[.., " + first.weight.k() + "] but x is " + x.describe());
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
