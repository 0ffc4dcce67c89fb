package tessera.nn;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** What a training step launches on a GPU, and that its gradients are the CPU's all the same. */
@Tag(FakeCuda.TAG)
class CudaTrainingTest {
    private static final int BLOCKS = 3;
    private static final long WIDTH = 32;

    /** Forward one product for each of qkv, projection, fc1 and fc2; backward dX and dW. */
    private static final int PRODUCTS = 12;

    private Scope scope;

    @BeforeEach
    void open() {
        Assumptions.assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.reset();
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        if (scope != null) {
            scope.close();
            FakeCuda.reset();
        }
    }

    /** Gradients of the parameters, and of the input, after one pass through some blocks. */
    private static Map<String, double[]> step(Device device, DType compute, long tokens) {
        Params params = Params.random(device, DType.F32, 5).computeIn(compute);
        List<Block> blocks = Stream.iterate(0, i -> i + 1)
                .limit(BLOCKS)
                .map(i -> new Block(params.at("blocks").at(i), WIDTH, 2, 1e-6, false))
                .toList();
        params.addShadows();
        Tensor input = Tensor.normal(device, DType.F32, Shape.of(2, tokens, WIDTH), 1, 2, 0, 1);
        input.requiresGrad(true);
        Tensor x = input.to(compute).mul(1);
        for (Block block : blocks) {
            x = block.forward(x);
        }
        x.backward(Tensor.normal(device, DType.F32, x.shape(), 1, 3, 0, 1).to(compute));
        Map<String, double[]> gradients = new LinkedHashMap<>();
        params.all()
                .forEach((name, parameter) ->
                        gradients.put(name, requireNonNull(parameter.grad()).toDoubles()));
        gradients.put("input", requireNonNull(input.grad()).toDoubles());
        blocks.forEach(Block::close);
        return gradients;
    }

    private static long launches(String family) {
        return FakeCuda.calls(family + "_f32") + FakeCuda.calls(family + "_bf16");
    }

    /**
     * Additions have no kernels of their own: residuals and the gradients around a norm ride in the kernels that write them,
     * and so do the gradients of biases where the library can.
     */
    @ParameterizedTest
    @CsvSource({"F32, true", "F32, false", "BF16, true", "BF16, false"})
    void additionsTakeNoPassOfTheirOwn(DType compute, boolean biasGradients) {
        // What the library knows is asked once per shape.
        long tokens = biasGradients ? 7 : 9;
        Map<String, double[]> expected = step(Device.cpu(), DType.F32, tokens);
        FakeCuda.set("bias_gradient", biasGradients ? 1 : 0);
        Map<String, double[]> actual = step(Device.cuda(0), compute, tokens);
        assertTrue(FakeCuda.calls("cuLaunchKernel") > 0);
        boolean own = compute == DType.BF16
                && Device.cuda(0).kernels().matmul().geluProducts().isPresent();
        if (!own) {
            assertEquals(PRODUCTS * BLOCKS, FakeCuda.calls("cublasLtMatmul"));
        }
        assertEquals(2 * BLOCKS, launches("layer_norm_256"));
        assertEquals(2 * BLOCKS, launches("layer_norm_backward_256"));
        assertEquals(own ? 0 : BLOCKS, launches("unary_gelu"));
        assertEquals(own ? 0 : BLOCKS, launches("backward_gelu"));
        assertEquals(0, launches("binary_add"));
        assertEquals(0, launches("axpy"));
        assertEquals(biasGradients ? 0 : 4 * BLOCKS, launches("sum_columns"));
        double tolerance = compute == DType.F32 ? 1e-4 : 3e-2;
        expected.forEach(
                (name, gradient) -> Close.relative(requireNonNull(actual.get(name)), gradient, tolerance, name));
    }
}
