package tessera.kernels;

import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Norms.NormParameters;

/**
 * Matrix products.
 *
 * <p>Types: all buffers of one call share one type that the device computes in: f32 or f64 on the CPU, f32 or bf16 on a GPU, where
 * bf16 products add up in f32. On a GPU the result of two bf16 factors may also be f32. A bias and an addend have the type of
 * the result, and so has the gradient of a bias that of the weight.
 */
public interface Matmul {
    /** {@code C = act(op(A) op(B) + bias + addend)}, in one pass where the device can. */
    void matmul(MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c);

    /** Independent products of one shape. */
    void matmulBatched(MatmulShape shape, Batch batch, Buffer a, Buffer b, Buffer c);

    /**
     * Copies a linear weight {@code [n, k]} into the layout the device's matmul likes best. The packed weight is
     * immutable, usable from many threads, and closed by the caller.
     */
    PackedWeight pack(Buffer weight, long n, long k);

    /** {@code y = act(x W^T + bias + addend)} with x {@code [m, k]} and y {@code [m, n]}. */
    void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y);

    /**
     * Gradients of a linear layer's parameters: {@code dW = dY^T X} and {@code db}, the sums of the columns of dY, for dY
     * {@code [m, n]}, X {@code [m, k]}, dW {@code [n, k]} and db {@code [n]}, all without gaps.
     */
    void linearBackward(LinearShape shape, Buffer dy, Buffer x, Buffer dw, Buffer db);

    /** Products with GELU before or behind them, as training needs them, on devices that spare passes over memory by them; else empty. */
    default Optional<GeluProducts> geluProducts() {
        return Optional.empty();
    }

    /** Linear layers joined with the layer norm before them, for inference, on devices where that is asked for or was measured to be faster; else empty. */
    default Optional<NormProducts> normProducts() {
        return Optional.empty();
    }

    /**
     * Geometry of {@code C = op(A) op(B)} with op(A) {@code [m, k]}, op(B) {@code [k, n]} and C {@code [m, n]}.
     *
     * @param transposeA whether A is stored as {@code [k, m]}
     * @param transposeB whether B is stored as {@code [n, k]}
     * @param lda distance of the rows of A as stored, in elements; so a matrix may be a slice of columns of a wider one
     */
    record MatmulShape(boolean transposeA, boolean transposeB, long m, long n, long k, long lda, long ldb, long ldc) {
        /** Matrices without gaps. */
        public static MatmulShape of(boolean transposeA, boolean transposeB, long m, long n, long k) {
            return new MatmulShape(transposeA, transposeB, m, n, k, transposeA ? m : k, transposeB ? k : n, n);
        }

        /** As many rows of C and op(A). */
        public MatmulShape rows(long count) {
            return new MatmulShape(transposeA, transposeB, count, n, k, lda, ldb, ldc);
        }
    }

    /**
     * Sizes of a linear layer.
     *
     * @param m rows of its input
     * @param n output features
     * @param k input features
     */
    record LinearShape(long m, long n, long k) {
        /** The product {@code dY^T X} of the weight's gradient. */
        public MatmulShape weightGradient() {
            return MatmulShape.of(true, false, n, k, m);
        }
    }

    /** How many products there are and how far each matrix lies from the one before, in elements. */
    record Batch(long count, long strideA, long strideB, long strideC) {}

    /**
     * What follows a product before its result is written.
     *
     * @param bias {@code [n]}, or null
     * @param addend laid out as the result: the result itself, to add to what it holds, or another buffer, which stays as it is;
     *     or null
     */
    record Epilogue(@Nullable Buffer bias, @Nullable Buffer addend, Activation activation) {
        /** The product as it is. */
        public static final Epilogue NONE = new Epilogue(null, null, Activation.NONE);

        /** Adds a bias, where there is one. */
        public static Epilogue bias(@Nullable Buffer bias) {
            return bias == null ? NONE : new Epilogue(bias, null, Activation.NONE);
        }
    }

    /** What follows a matmul. */
    enum Activation {
        NONE,
        /** Exact GELU, x Phi(x). */
        GELU
    }

    /** What lies between two linear layers with exact GELU between them. Buffers are without gaps and of one type; thread-safe. */
    interface GeluProducts {
        /** {@code z = x W^T + bias} and {@code y = GELU(z)} for x {@code [m, k]} and W {@code [n, k]}. */
        void forward(LinearShape shape, Buffer x, Buffer weight, @Nullable Buffer bias, Buffer z, Buffer y);

        /**
         * {@code dz = (dY W) GELU'(z)} for dY {@code [m, n]}, the weight {@code [n, k]} of the second layer, and z {@code [m, k]}.
         *
         * @param sums where the sums of dz's columns go, {@code [k]}, the gradient of the first layer's bias; or null
         * @return whether they were written, which is where that takes no pass of its own; else {@link #linearBackward} may do it
         */
        boolean backward(LinearShape shape, Buffer dy, Buffer weight, Buffer z, Buffer dz, @Nullable Buffer sums);
    }

    /**
     * Linear layers of what a layer norm gives, on bf16 data: {@code y = act(norm(x) W^T + bias)}. The norm's scale lies in the weight,
     * its shift in the bias, and rows are normed as they leave the product, where that was measured to be faster; else in a pass before
     * it. Thread-safe.
     */
    interface NormProducts {
        /**
         * Lays a layer out together with the norm before it; later changes of either do not show. The packed weight is for this
         * {@link #linear} alone, usable from many threads, and closed by the caller.
         *
         * @param weight f32 {@code [n, k]}
         * @param bias f32 {@code [n]}, or null
         * @param norm over k, f32
         */
        PackedWeight pack(Buffer weight, long n, long k, @Nullable Buffer bias, NormParameters norm);

        /** {@code y = act(norm(x) W^T + bias)} with x bf16 {@code [m, k]} and y bf16 {@code [m, n]}, which must not overlap. */
        void linear(long m, Buffer x, PackedWeight weight, Activation activation, Buffer y);
    }

    /** A linear weight in a device's own layout. */
    interface PackedWeight extends AutoCloseable {
        /** Output features. */
        long n();

        /** Input features. */
        long k();

        @Override
        void close();
    }
}
