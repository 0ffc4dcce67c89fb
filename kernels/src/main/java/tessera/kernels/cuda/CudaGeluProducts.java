package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.GeluProducts;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;

/** Products with GELU in one pass by {@link CudaHopperProducts} where it can, else in two. Thread-safe. */
final class CudaGeluProducts implements GeluProducts {
    private final CudaMatmul matmul;
    private final CudaHopperProducts hopper;
    private final CudaElementwise elementwise;

    CudaGeluProducts(CudaMatmul matmul, CudaHopperProducts hopper, CudaElementwise elementwise) {
        this.matmul = matmul;
        this.hopper = hopper;
        this.elementwise = elementwise;
    }

    @Override
    public void forward(LinearShape linear, Buffer x, Buffer weight, @Nullable Buffer bias, Buffer z, Buffer y) {
        MatmulShape shape = MatmulShape.of(false, true, linear.m(), linear.n(), linear.k());
        Epilogue epilogue = new Epilogue(bias, null, Activation.GELU);
        if (CudaHopperProducts.able(shape, x, weight, epilogue, y) && CudaHopperProducts.aligned(z)) {
            hopper.runKeeping(shape, x, weight, bias, z, y);
        } else {
            matmul.matmul(shape, x, weight, Epilogue.bias(bias), z);
            elementwise.unary(UnaryOp.GELU, z, y);
        }
    }

    @Override
    public void backward(LinearShape linear, Buffer dy, Buffer weight, Buffer z, Buffer dz) {
        MatmulShape shape = MatmulShape.of(false, false, linear.m(), linear.k(), linear.n());
        // Rows of the weight are read in pieces too: as able() asks of a transposed one with as many columns.
        MatmulShape rows = MatmulShape.of(false, true, linear.m(), linear.k(), linear.n());
        if (CudaHopperProducts.able(rows, dy, weight, new Epilogue(null, z, Activation.NONE), dz)) {
            hopper.runGradient(shape, dy, weight, z, dz);
        } else {
            matmul.matmul(shape, dy, weight, Epilogue.NONE, dz);
            elementwise.unaryBackward(UnaryOp.GELU, z, dz, dz);
        }
    }
}
