package tessera.kernels;

/**
 * Element-wise functions, copies, casts and sums.
 *
 * <p>Types: the buffers of one call share one type that the device computes in, f32 or f64 on the CPU, f32 or bf16 on a GPU, where
 * bf16 is computed in f32 and rounded once; functions say where they take others.
 */
public interface Elementwise {
    /** {@code y[i] = value} for every type, on a GPU for every type but f64. */
    void fill(Buffer y, double value);

    /**
     * {@code y[i] = x[i]}, converting between any two types; bf16 rounds to nearest even, integers saturate. A GPU copies f64 but does
     * not convert it.
     */
    void cast(Buffer x, Buffer y);

    /**
     * Copies a strided view into another of the same type, whichever it is: for every index of {@code shape}, {@code to[offset + i . strides] =
     * from[offset + i . strides]}. A stride of 0 on the input broadcasts.
     */
    void copyStrided(Strided from, Strided to, long[] shape);

    /** {@code y = op(x)}; may work in place. */
    void unary(UnaryOp op, Buffer x, Buffer y);

    /** {@code dx = dy * op'(x)}; {@code dx} may be {@code dy}. */
    void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx);

    /** {@code y = a op b} with {@code y} contiguous in {@code shape} and the inputs read by strides, 0 where they are broadcast. */
    void binary(BinaryOp op, Strided a, Strided b, Buffer y, long[] shape);

    /** {@code y = alpha * x + beta}; may work in place. */
    void affine(Buffer x, double alpha, double beta, Buffer y);

    /** {@code y += alpha * x}; on a GPU x may be bf16 beside an f32 y. */
    void axpy(double alpha, Buffer x, Buffer y);

    /**
     * {@code y = x * scale[0]} where {@code scale} has one element; may work in place. On a GPU the scale is f32 or bf16, whatever the
     * data are.
     */
    void scaleBy(Buffer x, Buffer scale, Buffer y);

    /**
     * Sum over the middle axis: {@code y[o, i] = scale * sum_r x[o, r, i]} for x {@code [outer, reduced, inner]}. On a GPU x and y are
     * f32 or bf16 each.
     */
    void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y);

    /**
     * A buffer that is read or written by strides.
     *
     * @param offset of the first element, in elements
     * @param strides distance of neighbours along each axis, in elements
     */
    record Strided(Buffer buffer, long offset, long... strides) {}

    /** Element-wise functions of one argument. */
    enum UnaryOp {
        NEG,
        ABS,
        SQUARE,
        SQRT,
        EXP,
        LOG,
        TANH,
        SIGMOID,
        RELU,
        /** Exact GELU, x Phi(x) with the normal distribution function Phi by erf. */
        GELU
    }

    /** Element-wise functions of two arguments. */
    enum BinaryOp {
        ADD,
        SUB,
        MUL,
        DIV
    }
}
