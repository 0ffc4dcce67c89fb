package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.GeluProducts;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.cuda.CublasLt;

/**
 * Products with GELU in one pass by {@link CudaHopperProducts} where it can and was not measured to be slower, else in two.
 * Thread-safe.
 */
final class CudaGeluProducts implements GeluProducts {
    private final CudaDevice device;
    private final CudaMatmul matmul;
    private final CudaHopperProducts hopper;
    private final CudaElementwise elementwise;

    CudaGeluProducts(CudaDevice device, CudaMatmul matmul, CudaHopperProducts hopper, CudaElementwise elementwise) {
        this.device = device;
        this.matmul = matmul;
        this.hopper = hopper;
        this.elementwise = elementwise;
    }

    @Override
    public void forward(LinearShape linear, Buffer x, Buffer weight, @Nullable Buffer bias, Buffer z, Buffer y) {
        MatmulShape shape = MatmulShape.of(false, true, linear.m(), linear.n(), linear.k());
        Epilogue epilogue = new Epilogue(bias, null, Activation.GELU);
        int kind = CublasLt.EPILOGUE_GELU_AUX + (bias == null ? 0 : CublasLt.EPILOGUE_BIAS);
        if (CudaHopperProducts.able(shape, x, weight, epilogue, y)
                && CudaHopperProducts.aligned(z)
                && matmul.own(matmul.key(shape, kind, x, weight, epilogue, y)) != null) {
            hopper.runKeeping(shape, x, weight, bias, z, y);
        } else {
            forwardApart(shape, x, weight, bias, z, y);
        }
    }

    /** The forward pass in two passes, {@code y [m, n] = GELU(z)} of {@code z = x W^T + bias}. */
    void forwardApart(MatmulShape shape, Buffer x, Buffer weight, @Nullable Buffer bias, Buffer z, Buffer y) {
        matmul.matmul(shape, x, weight, Epilogue.bias(bias), z);
        elementwise.unary(UnaryOp.GELU, z, y);
    }

    @Override
    public boolean backward(LinearShape linear, Buffer dy, Buffer weight, Buffer z, Buffer dz, @Nullable Buffer sums) {
        MatmulShape shape = MatmulShape.of(false, false, linear.m(), linear.k(), linear.n());
        // Rows of the weight are read in pieces too: as able() asks of a transposed one with as many columns.
        MatmulShape rows = MatmulShape.of(false, true, linear.m(), linear.k(), linear.n());
        Epilogue epilogue = new Epilogue(null, z, Activation.NONE);
        if (!CudaHopperProducts.able(rows, dy, weight, epilogue, dz)) {
            backwardApart(shape, dy, weight, z, dz);
            return false;
        }
        Epilogue with = new Epilogue(sums, z, Activation.NONE);
        if (sums != null
                && matmul.own(matmul.key(shape, CublasLt.EPILOGUE_DGELU_BGRAD, dy, weight, with, dz)) != null) {
            backwardWithSums(shape, dy, weight, z, dz, sums);
            return true;
        }
        if (matmul.own(matmul.key(shape, CublasLt.EPILOGUE_DGELU, dy, weight, epilogue, dz)) != null) {
            hopper.runGradient(shape, dy, weight, z, dz, null);
        } else {
            backwardApart(shape, dy, weight, z, dz);
        }
        return false;
    }

    /** The backward pass and the sums of dz's columns, of what {@link CudaHopperProducts#able} accepts: what each warp has seen is added up. */
    void backwardWithSums(MatmulShape shape, Buffer dy, Buffer weight, Buffer z, Buffer dz, Buffer sums) {
        long rows = CudaHopperProducts.rowsOfSums(shape);
        try (Buffer parts = device.allocate(DType.F32, rows * shape.n())) {
            hopper.runGradient(shape, dy, weight, z, dz, parts);
            elementwise.sum(parts, 1, rows, shape.n(), 1, sums);
        }
    }

    /** The backward pass in two passes, {@code dz [m, n] = (dY W) GELU'(z)}. */
    void backwardApart(MatmulShape shape, Buffer dy, Buffer weight, Buffer z, Buffer dz) {
        matmul.matmul(shape, dy, weight, Epilogue.NONE, dz);
        elementwise.unaryBackward(UnaryOp.GELU, z, dz, dz);
    }
}
