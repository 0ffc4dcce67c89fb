package tessera.tensor;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.RandomOps.RandomStream;

/**
 * An n-dimensional array: a strided view of memory on one device, with an element type and, where asked for, a gradient.
 *
 * <p>Operations return new tensors; those that only change the view ({@link #reshape} of a contiguous tensor, {@link
 * #permute}, {@link #slice}, {@link #expand}) share memory. Memory belongs to the innermost open {@link Scope} of the
 * thread, or to the user, who calls {@link #close()}. Using a tensor whose memory is freed throws.
 *
 * <p>{@link #copyFrom} and the optimiser write in place, and what writes so by other means says so with {@link #changedBy}.
 * The record counts such writes: a backward pass that needs the former values is refused rather than wrong. What a program
 * writes itself through {@link #segment()}, {@link #buffer()} or memory that it wrapped cannot be seen.
 *
 * <p>A tensor may be read by several threads. Writing into it, closing it and accumulating its gradient need one thread.
 */
public final class Tensor implements AutoCloseable {
    private final Storage storage;
    private final Shape shape;
    private final long[] strides;
    private final long offset;
    private final boolean contiguous;
    private boolean requiresGrad;
    private Autograd.@Nullable Node node;
    private @Nullable Tensor grad;
    private boolean gradFresh;

    private Tensor(Storage storage, Shape shape, long[] strides, long offset) {
        this.storage = storage;
        this.shape = shape;
        this.strides = strides;
        this.offset = offset;
        this.contiguous = shape.isContiguous(strides);
    }

    // ---------------------------------------------------------------------------------------------------- creation

    /** Uninitialised memory, for operations that overwrite all of it. */
    public static Tensor empty(Device device, DType dtype, Shape shape) {
        return new Tensor(Storage.owned(device.allocate(dtype, shape.count())), shape, shape.strides(), 0);
    }

    /** A tensor of one value. */
    public static Tensor full(Device device, DType dtype, Shape shape, double value) {
        Tensor tensor = empty(device, dtype, shape);
        device.kernels().elementwise().fill(tensor.buffer(), value);
        return tensor;
    }

    /** Zeros on the CPU in f32. */
    public static Tensor zeros(long... sizes) {
        return full(Device.cpu(), DType.F32, Shape.of(sizes), 0);
    }

    /** Ones on the CPU in f32. */
    public static Tensor ones(long... sizes) {
        return full(Device.cpu(), DType.F32, Shape.of(sizes), 1);
    }

    /** A copy of an array, on the CPU in f32. */
    public static Tensor of(float[] values, long... sizes) {
        return Copies.of(DType.F32, MemorySegment.ofArray(values), values.length, sizes);
    }

    /** A copy of an array, on the CPU in f64. */
    public static Tensor of(double[] values, long... sizes) {
        return Copies.of(DType.F64, MemorySegment.ofArray(values), values.length, sizes);
    }

    /** A copy of an array of indices or labels, on the CPU in i32. */
    public static Tensor of(int[] values, long... sizes) {
        return Copies.of(DType.I32, MemorySegment.ofArray(values), values.length, sizes);
    }

    /** A copy of an array of unsigned bytes, on the CPU in u8. */
    public static Tensor of(byte[] values, long... sizes) {
        return Copies.of(DType.U8, MemorySegment.ofArray(values), values.length, sizes);
    }

    /**
     * Wraps off-heap memory of the caller without a copy. The caller owns it, and keeps it alive while the tensor is used.
     *
     * @throws IllegalArgumentException if the segment is on the heap or does not have the shape's size
     */
    public static Tensor wrap(MemorySegment segment, DType dtype, long... sizes) {
        return wrap(Device.cpu(), segment, dtype, Shape.of(sizes));
    }

    /** As {@link #wrap(MemorySegment, DType, long...)}, on a CPU device of one's own. */
    public static Tensor wrap(Device device, MemorySegment segment, DType dtype, Shape shape) {
        if (segment.byteSize() != shape.count() * dtype.bytes()) {
            throw new IllegalArgumentException("Tensor.wrap: a segment of " + segment.byteSize() + " bytes is not "
                    + dtype + shape + ", which has " + shape.count() * dtype.bytes() + " bytes");
        }
        return new Tensor(Storage.wrapped(device.wrap(dtype, segment)), shape, shape.strides(), 0);
    }

    /** Uniform random numbers in [low, high), a pure function of (seed, stream) and the position. */
    public static Tensor uniform(
            Device device, DType dtype, Shape shape, long seed, long stream, double low, double high) {
        Tensor tensor = empty(device, dtype, shape);
        device.kernels().random().randomUniform(new RandomStream(seed, stream), low, high, tensor.buffer());
        return tensor;
    }

    /** Normal random numbers, a pure function of (seed, stream) and the position. */
    public static Tensor normal(
            Device device, DType dtype, Shape shape, long seed, long stream, double mean, double std) {
        Tensor tensor = empty(device, dtype, shape);
        device.kernels().random().randomNormal(new RandomStream(seed, stream), mean, std, tensor.buffer());
        return tensor;
    }

    // -------------------------------------------------------------------------------------------------- properties

    public Shape shape() {
        return shape;
    }

    /** Size of an axis; negative axes count from the end. */
    public long size(int axis) {
        return shape.size(axis);
    }

    public int rank() {
        return shape.rank();
    }

    public DType dtype() {
        return storage.buffer().dtype();
    }

    public Device device() {
        return storage.buffer().device();
    }

    /** Bytes of the elements, counted once each. */
    public long byteSize() {
        return shape.count() * dtype().bytes();
    }

    /** Strides in elements. */
    public long[] strides() {
        return strides.clone();
    }

    /** Position of the first element in the storage. */
    long offset() {
        return offset;
    }

    public boolean isContiguous() {
        return contiguous;
    }

    Storage storage() {
        return storage;
    }

    /** The device's kernels. */
    public Kernels kernels() {
        return device().kernels();
    }

    /** Whether two tensors are views of one piece of memory. */
    public boolean sharesMemory(Tensor other) {
        return storage == other.storage;
    }

    /** Whether the memory has been freed. */
    public boolean isClosed() {
        return storage.isClosed();
    }

    void requireOpen(String op) {
        if (storage.isClosed()) {
            throw storage.usedAfterClose(op, describe());
        }
    }

    /**
     * The memory of a contiguous tensor, for calling kernels. What writes into it, other than an operation into its new
     * result, says so with {@link #changedBy}.
     *
     * @throws IllegalStateException if the tensor is not contiguous or its memory is freed
     */
    public Buffer buffer() {
        requireOpen("buffer");
        if (!contiguous) {
            throw new IllegalStateException(describe() + " is not contiguous; call contiguous() first");
        }
        return storage.buffer().slice(offset, shape.count());
    }

    /** The whole buffer under a strided view. */
    Buffer wholeBuffer() {
        requireOpen("view");
        return storage.buffer();
    }

    /** Frees the memory, also for the views that share it, and with it the gradients. */
    @Override
    public void close() {
        storage.close();
    }

    // -------------------------------------------------------------------------------------------------- copies out

    /**
     * The memory of a contiguous CPU tensor, without a copy; valid until the tensor is freed. Writes through it are not seen
     * by the record: where a recorded operation may have saved the tensor, say so with {@link #changedBy}.
     *
     * @throws IllegalStateException if the tensor lies on a GPU or is not contiguous
     */
    public MemorySegment segment() {
        return buffer().segment();
    }

    /** The elements in row-major order as f32, converted if need be. */
    public float[] toFloats() {
        float[] values = new float[Math.toIntExact(shape.count())];
        Copies.read(this, DType.F32, MemorySegment.ofArray(values));
        return values;
    }

    /** The elements in row-major order as f64, converted if need be. */
    public double[] toDoubles() {
        double[] values = new double[Math.toIntExact(shape.count())];
        Copies.read(this, DType.F64, MemorySegment.ofArray(values));
        return values;
    }

    /** The elements of an i32 or u8 tensor in row-major order. */
    public int[] toInts() {
        if (dtype().isFloating()) {
            throw new IllegalArgumentException("toInts: " + describe() + " holds no integers; use toFloats()");
        }
        int[] values = new int[Math.toIntExact(shape.count())];
        Copies.read(this, DType.I32, MemorySegment.ofArray(values));
        return values;
    }

    /** The value of a tensor with one element. */
    public double item() {
        if (shape.count() != 1) {
            throw new IllegalArgumentException("item: " + describe() + " has " + shape.count() + " elements, not 1");
        }
        return toDoubles()[0];
    }

    /**
     * Keeps a bf16 copy of this f32 parameter, freed with it, for products with bf16 data (mixed precision, Micikevicius et al., 2018).
     * The optimiser and {@link #copyFrom} write both; without a shadow such a product converts the parameter each time.
     *
     * @throws IllegalArgumentException if this is not contiguous f32, or on the CPU, which does not compute in bf16
     */
    public Tensor withShadow() {
        if (dtype() != DType.F32 || !contiguous || !device().computes(DType.BF16)) {
            throw new IllegalArgumentException(
                    "withShadow: " + describe() + " is no contiguous f32 tensor on a GPU; shadows serve bf16 there");
        }
        if (storage.shadow() == null) {
            Buffer whole = wholeBuffer();
            Tensor copy = Scope.outside(() -> empty(device(), DType.BF16, Shape.of(whole.length())));
            kernels().elementwise().cast(whole, copy.buffer());
            storage.shadow(copy.storage);
        }
        return this;
    }

    /** The bf16 copy that {@link #withShadow} made, as a tensor of this shape, or null. */
    public @Nullable Tensor shadow() {
        Storage copy = storage.shadow();
        return copy == null ? null : new Tensor(copy, shape, strides, offset);
    }

    /** The contiguous values in a type, by the shadow where there is one. */
    Tensor inType(DType type) {
        Tensor copy = type == DType.BF16 && dtype() == DType.F32 ? shadow() : null;
        return (copy == null ? detach().to(type) : copy).contiguous();
    }

    /**
     * Overwrites this tensor, in place and outside the gradient's record, with values of the same shape. A backward pass for
     * which the former values were saved is refused from then on.
     */
    public void copyFrom(Tensor source) {
        if (!source.shape.equals(shape)) {
            throw new IllegalArgumentException(
                    "copyFrom: " + source.describe() + " does not have the shape of " + describe());
        }
        Copies.write(source, this);
        changedBy("copyFrom");
    }

    /**
     * Notes that the memory of this tensor, which its views share, and of its shadow was written in place. Whoever writes into a
     * tensor's existing memory calls this, so that {@link Op.Context#saved} can refuse values that are no longer those saved.
     *
     * @param op name of what wrote, for the message
     */
    public void changedBy(String op) {
        storage.changedBy(op);
    }

    // ---------------------------------------------------------------------------------------------------- gradient

    /** Whether operations on this tensor are recorded. */
    public boolean requiresGrad() {
        return requiresGrad || node != null;
    }

    /** Makes this leaf collect a gradient, or stop to. */
    public Tensor requiresGrad(boolean value) {
        if (node != null) {
            throw new IllegalStateException(
                    "requiresGrad: " + describe() + " is the result of an operation; call detach() first");
        }
        if (value && !dtype().isFloating()) {
            throw new IllegalArgumentException(
                    "requiresGrad: " + describe() + " holds integers, which have no gradient");
        }
        requiresGrad = value;
        return this;
    }

    /** The gradient collected so far, or null; it belongs to this tensor. */
    public @Nullable Tensor grad() {
        return gradFresh ? grad : null;
    }

    /** Forgets the gradient; its memory is reused by the next backward pass. */
    public void zeroGrad() {
        gradFresh = false;
    }

    /** The same memory outside the record. */
    public Tensor detach() {
        return new Tensor(storage, shape, strides, offset);
    }

    /** Adds the gradients of this scalar to the leaves that it was computed from. */
    public void backward() {
        if (shape.count() != 1) {
            throw new IllegalArgumentException("backward: " + describe()
                    + " is no scalar; reduce it, or pass its gradient to backward(cotangent)");
        }
        try (Scope scope = Scope.open()) {
            backward(full(device(), dtype(), shape, 1));
        }
    }

    /** Adds the gradients of {@code sum(this * cotangent)} to the leaves. */
    public void backward(Tensor cotangent) {
        requireOpen("backward");
        if (!requiresGrad()) {
            throw new IllegalStateException("backward: " + describe()
                    + " does not depend on a tensor that requires a gradient; call requiresGrad(true) on a"
                    + " leaf before the forward pass");
        }
        if (!cotangent.shape.equals(shape) || cotangent.dtype() != dtype()) {
            throw new IllegalArgumentException(
                    "backward: the cotangent is " + cotangent.describe() + " but the tensor is " + describe());
        }
        Autograd.backward(this, cotangent);
    }

    Autograd.@Nullable Node node() {
        return node;
    }

    void setNode(Autograd.Node node) {
        this.node = node;
    }

    void gradIn(Tensor memory) {
        grad = memory;
    }

    void accumulateGrad(Tensor gradient) {
        Tensor mine = grad;
        if (mine == null || mine.isClosed()) {
            mine = Scope.outside(() -> empty(device(), dtype(), shape));
            grad = mine;
            storage.closeWithThis(mine.storage);
        }
        Buffer source = gradient.contiguous().buffer();
        mine.changedBy("backward");
        if (gradFresh) {
            kernels().elementwise().axpy(1, source, mine.buffer());
        } else {
            kernels().elementwise().cast(source, mine.buffer());
            gradFresh = true;
        }
    }

    // ------------------------------------------------------------------------------------------------------- views

    Tensor view(Shape newShape, long[] newStrides, long newOffset) {
        return new Tensor(storage, newShape, newStrides, newOffset);
    }

    /** The same elements in row-major order under another shape; one size may be -1. A view if contiguous, else a copy. */
    public Tensor reshape(long... sizes) {
        return Op.apply(new ViewOps.Reshape(ViewOps.resolve(this, sizes)), this);
    }

    /** Reorders the axes: axis i of the result is axis {@code axes[i]} of this. A view. */
    public Tensor permute(int... axes) {
        return Op.apply(ViewOps.Permute.of(this, axes), this);
    }

    /** Swaps two axes. A view. */
    public Tensor transpose(int a, int b) {
        return Op.apply(ViewOps.Permute.swap(shape.axis(a), shape.axis(b), rank()), this);
    }

    /** Elements {@code [from, to)} of an axis. A view. */
    public Tensor slice(int axis, long from, long to) {
        return Op.apply(new ViewOps.Slice(shape.axis(axis), from, to), this);
    }

    /** Repeats axes of size 1 (and new leading axes) to the given sizes. A view. */
    public Tensor expand(long... sizes) {
        return Op.apply(new ViewOps.Expand(Shape.of(sizes)), this);
    }

    /** This tensor if it is contiguous, else a contiguous copy. */
    public Tensor contiguous() {
        return contiguous ? this : Op.apply(new ViewOps.Contiguous(), this);
    }

    /** Tensors joined along an axis; the other sizes are equal. */
    public static Tensor concat(int axis, Tensor... tensors) {
        if (tensors.length == 0) {
            throw new IllegalArgumentException("concat: no tensors given; pass at least one");
        }
        return Op.apply(new ViewOps.Concat(tensors[0].shape.axis(axis)), tensors);
    }

    /** The elements as another type; f32, f64 and bf16 pass gradients on, integers are constant for the gradient. */
    public Tensor to(DType dtype) {
        return dtype == dtype() ? this : Op.apply(new ElementwiseOps.Cast(dtype), dtype.isFloating() ? this : detach());
    }

    /** This tensor if it lies on the device, else a copy there. */
    public Tensor to(Device device) {
        return device.equals(device())
                ? this
                : Op.apply(new ViewOps.Transfer(device), dtype().isFloating() ? this : detach());
    }

    // ------------------------------------------------------------------------------------------------- arithmetic

    /** Sum, broadcasting by NumPy's rule. */
    public Tensor add(Tensor other) {
        return Op.apply(new ElementwiseOps.Binary(BinaryOp.ADD), this, other);
    }

    /** Difference, broadcasting. */
    public Tensor sub(Tensor other) {
        return Op.apply(new ElementwiseOps.Binary(BinaryOp.SUB), this, other);
    }

    /** Product, broadcasting. */
    public Tensor mul(Tensor other) {
        return Op.apply(new ElementwiseOps.Binary(BinaryOp.MUL), this, other);
    }

    /** Quotient, broadcasting. */
    public Tensor div(Tensor other) {
        return Op.apply(new ElementwiseOps.Binary(BinaryOp.DIV), this, other);
    }

    /** {@code this + value}. */
    public Tensor add(double value) {
        return Op.apply(new ElementwiseOps.Affine(1, value), this);
    }

    /** {@code this * value}. */
    public Tensor mul(double value) {
        return Op.apply(new ElementwiseOps.Affine(value, 0), this);
    }

    public Tensor neg() {
        return unary(UnaryOp.NEG);
    }

    public Tensor abs() {
        return unary(UnaryOp.ABS);
    }

    public Tensor square() {
        return unary(UnaryOp.SQUARE);
    }

    public Tensor sqrt() {
        return unary(UnaryOp.SQRT);
    }

    public Tensor exp() {
        return unary(UnaryOp.EXP);
    }

    public Tensor log() {
        return unary(UnaryOp.LOG);
    }

    public Tensor tanh() {
        return unary(UnaryOp.TANH);
    }

    public Tensor sigmoid() {
        return unary(UnaryOp.SIGMOID);
    }

    public Tensor relu() {
        return unary(UnaryOp.RELU);
    }

    /** Exact GELU, {@code x * Phi(x)} with the normal distribution function by erf. */
    public Tensor gelu() {
        return unary(UnaryOp.GELU);
    }

    private Tensor unary(UnaryOp op) {
        return Op.apply(new ElementwiseOps.Unary(op), this);
    }

    /** Each element zero with probability p, else divided by {@code 1 - p}; which ones is a function of (seed, stream). */
    public Tensor dropout(double p, long seed, long stream) {
        return Op.apply(new RandomOps.Dropout(p, seed, stream), this);
    }

    /**
     * This plus a residual branch that is left out of whole samples (first axis) with probability p and divided by {@code 1 -
     * p} in the others; which ones is a function of (seed, stream).
     */
    public Tensor addDropPath(Tensor branch, double p, long seed, long stream) {
        return Op.apply(new RandomOps.DropPath(p, seed, stream), this, branch);
    }

    // -------------------------------------------------------------------------------------------------- reductions

    /** Sum of all elements, a scalar. */
    public Tensor sum() {
        return reshape(shape.count()).sum(0);
    }

    /** Sum over one axis, which disappears. */
    public Tensor sum(int axis) {
        return Op.apply(new ElementwiseOps.Sum(shape.axis(axis), 1), this);
    }

    /** Mean of all elements, a scalar. */
    public Tensor mean() {
        return reshape(shape.count()).mean(0);
    }

    /** Mean over one axis, which disappears. The mean of nothing is 0. */
    public Tensor mean(int axis) {
        int resolved = shape.axis(axis);
        return Op.apply(new ElementwiseOps.Sum(resolved, 1.0 / Math.max(1, shape.size(resolved))), this);
    }

    /** Softmax over the last axis. */
    public Tensor softmax() {
        return Op.apply(new NormsOps.Softmax(false), this);
    }

    /** Logarithm of the softmax over the last axis. */
    public Tensor logSoftmax() {
        return Op.apply(new NormsOps.Softmax(true), this);
    }

    /**
     * Normalises the last axis to mean 0 and variance 1 (biased, plus eps under the root), then scales and shifts (Ba et al., 2016).
     *
     * @param weight scale, {@code [last size]}
     * @param bias shift, {@code [last size]}
     */
    public Tensor layerNorm(Tensor weight, Tensor bias, double eps) {
        return Op.apply(new NormsOps.LayerNorm(eps), this, weight, bias);
    }

    // ------------------------------------------------------------------------------------------------------ matmul

    /** Matrix product of {@code [.., m, k]} and {@code [.., k, n]} with equal leading sizes. */
    public Tensor matmul(Tensor other) {
        return Op.apply(new MatmulOps.Matmul(), this, other);
    }

    /**
     * {@code this * weight^T + bias} over the last axis.
     *
     * @param weight {@code [out, in]}
     * @param bias {@code [out]}, or null
     */
    public Tensor linear(Tensor weight, @Nullable Tensor bias) {
        MatmulOps.Linear op = new MatmulOps.Linear(false);
        return bias == null ? Op.apply(op, this, weight) : Op.apply(op, this, weight, bias);
    }

    /**
     * {@code residual + this * weight^T + bias} in one pass.
     *
     * @param weight {@code [out, in]}
     * @param bias {@code [out]}, or null
     * @param residual of the result's shape; stays as it is
     */
    public Tensor linear(Tensor weight, @Nullable Tensor bias, Tensor residual) {
        MatmulOps.Linear op = new MatmulOps.Linear(true);
        return bias == null ? Op.apply(op, this, weight, residual) : Op.apply(op, this, weight, residual, bias);
    }

    /**
     * Scaled dot-product attention of a packed projection.
     *
     * <p>This tensor is {@code [B, N, 3 * heads * headDim]}, all queries, then keys, then values, each head-major; the
     * result is {@code [B, N, heads * headDim]} and the scale {@code headDim^-1/2}.
     */
    public Tensor selfAttention(int heads) {
        return selfAttention(heads, null, null);
    }

    /**
     * As {@link #selfAttention(int)}, with terms added to the scores; see {@link tessera.kernels.Attention.AttentionTensors}.
     *
     * @param bias {@code [1 or B, heads, N, N]}, or {@code [B, N]} for one of the keys alone, which has no gradient, or null
     * @param regions i32 {@code [R, N]} with B a multiple of R, or null; -100 for pairs in different regions of row {@code b % R}
     */
    public Tensor selfAttention(int heads, @Nullable Tensor bias, @Nullable Tensor regions) {
        return AttentionOps.self(this, heads, bias, regions, false);
    }

    /**
     * {@code softmax(scale * q k^T + bias) v}.
     *
     * @param q {@code [B, heads, N, headDim]}
     * @param k {@code [B, heads, M, headDim]}
     * @param v {@code [B, heads, M, headDim]}
     * @param bias {@code [1 or B, heads, N, M]}, or null
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor bias, double scale) {
        AttentionOps.Attention op = new AttentionOps.Attention(scale);
        return bias == null ? Op.apply(op, q, k, v) : Op.apply(op, q, k, v, bias);
    }

    /** Rows {@code indices[b, j]} of sample b, for this {@code [B, N, D]} and i32 indices {@code [B, M]}: {@code [B, M, D]}. */
    public Tensor gatherRows(Tensor indices) {
        return Op.apply(new TokensOps.GatherRows(), this, indices);
    }

    /**
     * Rows in another order, the same in all samples: row {@code index[j]} of this {@code [B, N, D]}, or zeros for -1, in place j
     * of {@code [B, M, D]}. No row is used twice.
     *
     * @param index i32 {@code [M]}
     * @param inverse i32 {@code [N]}: the place of each row, or -1 if it has none
     */
    public Tensor rearrange(Tensor index, Tensor inverse) {
        return Op.apply(new TokensOps.Rearrange(), this, index, inverse);
    }

    /** Rows of this table {@code [V, D]} by an i32 index of any shape: {@code [.., D]}; -1 gives zeros without a gradient. */
    public Tensor embedding(Tensor index) {
        return Op.apply(new TokensOps.Embedding(), this, index);
    }

    // ---------------------------------------------------------------------------------------------------- printing

    /** Type, shape and device, for messages: {@code f32[8, 1568, 384]}. */
    public String describe() {
        return dtype() + shape.toString() + (device().isHost() ? "" : " on " + device());
    }

    /** Type, shape, device and whether a gradient is recorded, then the values as NumPy prints them, shortened. */
    @Override
    public String toString() {
        String head = dtype() + shape.toString() + " " + device() + (requiresGrad() ? " grad" : "");
        if (storage.isClosed()) {
            return head + " (freed)";
        }
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                return head + "\n" + TensorPrinter.print(Copies.onHost(this));
            }
        });
    }
}
