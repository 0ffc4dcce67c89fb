package tessera.kernels;

import org.junit.jupiter.api.Test;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.NormProducts;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.RowShape;

/** The part of {@link KernelParity} that is of layers behind layer norms. */
public abstract class NormProductParity extends AttentionParity {
    /** The norm joined with the layer where the device does that, else before it. */
    @Test
    protected void layersBehindNorms() {
        int k = 24;
        for (int n : new int[] {7, 16, 72}) {
            check("linear behind a norm " + n, 2e-5, (kernels, memory) -> {
                Buffer x = memory.normal(9L * k);
                Buffer narrow = memory.normal((long) n * k);
                Buffer narrowBias = memory.normal(n);
                Buffer weight = memory.single((long) n * k);
                Buffer bias = memory.single(n);
                kernels.elementwise().cast(narrow, weight);
                kernels.elementwise().cast(narrowBias, bias);
                NormParameters norm = new NormParameters(memory.single(k), memory.single(k), 1e-3);
                NormProducts joined = kernels.matmul()
                        .normProducts()
                        .filter(any -> x.dtype() == DType.BF16)
                        .orElse(null);
                for (Activation activation : Activation.values()) {
                    Buffer y = memory.output(9L * n);
                    if (joined != null) {
                        try (PackedWeight packed = joined.pack(weight, n, k, bias, norm)) {
                            joined.linear(9, x, packed, activation, y);
                        }
                    } else {
                        Buffer normed = memory.normal(9L * k);
                        kernels.norms().layerNorm(new RowShape(9, k), x, norm, normed, null);
                        MatmulShape shape = MatmulShape.of(false, true, 9, n, k);
                        kernels.matmul().matmul(shape, normed, narrow, new Epilogue(narrowBias, null, activation), y);
                    }
                }
            });
        }
    }
}
