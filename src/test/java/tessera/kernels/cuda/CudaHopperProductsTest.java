package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.tensor.Mlp;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Products of our own on Hopper's tensor cores against the plain kernels in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
class CudaHopperProductsTest extends OnHopper {
    private static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));

    CudaHopperProductsTest() {
        super(11, DType.F64);
    }

    static Stream<CudaHopperProducts.Variant> variants() {
        return CudaHopperProducts.VARIANTS.stream();
    }

    /** Sizes that fill no tile and no box, more tiles than blocks, gaps between rows, with and without what follows. */
    @ParameterizedTest
    @MethodSource("variants")
    void productsMatch(CudaHopperProducts.Variant variant) {
        CudaHopperProducts products = new CudaHopperProducts(HopperDevice.get());
        long[][] sizes = {{1, 8, 8}, {130, 200, 72}, {300, 392, 448}, {520, 264, 136}};
        for (int i = 0; i < 2 * sizes.length; i++) {
            long m = sizes[i / 2][0];
            long n = sizes[i / 2][1];
            long k = sizes[i / 2][2];
            int gap = i % 2 * 8;
            if (variant.resident() > 0) {
                k = Math.min(k, variant.resident() * 64L);
            }
            MatmulShape shape = new MatmulShape(false, true, m, n, k, k + gap, k + 2L * gap, n + gap);
            Pair x = normal(m * shape.lda());
            Pair w = normal(n * shape.ldb());
            Pair y = normal(m * shape.ldc());
            Pair bias = normal(n);
            Pair another = normal(m * shape.ldc());
            boolean gelu = i / 2 % 2 == 1;
            Pair addend = gelu || i % 4 == 0 || variant.resident() > 0 ? null : i < 4 ? y : another;
            boolean biased = i != 3;
            REFERENCE
                    .matmul()
                    .matmul(
                            shape,
                            x.here(),
                            w.here(),
                            epilogue(biased ? bias.here() : null, addend == null ? null : addend.here(), gelu),
                            y.here());
            Epilogue epilogue = epilogue(biased ? bias.there() : null, addend == null ? null : addend.there(), gelu);
            assertTrue(CudaHopperProducts.able(shape, x.there(), w.there(), epilogue, y.there()));
            products.run(variant, shape, x.there(), w.there(), epilogue, y.there(), i % 2 == 1);
            Close.relative(values(y.there()), values(y.here()), TOLERANCE, variant + " of " + shape + " " + epilogue);
        }
    }

    @Test
    void variantsAgreeBitForBit() {
        CudaHopperProducts products = new CudaHopperProducts(HopperDevice.get());
        MatmulShape shape = MatmulShape.of(false, true, 200, 136, 200);
        Pair x = normal(shape.m() * shape.k());
        Pair w = normal(shape.n() * shape.k());
        Pair bias = normal(shape.n());
        double[] first = null;
        for (CudaHopperProducts.Variant variant : CudaHopperProducts.VARIANTS) {
            Buffer y = result(shape.m() * shape.n());
            products.run(variant, shape, x.there(), w.there(), epilogue(bias.there(), null, true), y, false);
            double[] values = values(y);
            if (first != null) {
                assertArrayEquals(first, values, variant.toString());
            }
            first = values;
        }
    }

    /** In one pass where rows are in pieces of 16 bytes, else in two. */
    @ParameterizedTest
    @ValueSource(longs = {200, 204})
    void geluInTrainingMatches(long n) {
        long m = 300;
        long k = 136;
        Matmul.GeluProducts products =
                HopperDevice.get().kernels().matmul().geluProducts().orElseThrow();
        Pair x = normal(m * k);
        Pair w = normal(n * k);
        Pair bias = normal(n);
        Pair z = normal(m * n);
        Buffer y = result(m * n);
        products.forward(new LinearShape(m, n, k), x.there(), w.there(), bias.there(), z.there(), y);
        Buffer wide = kept(CPU.allocate(DType.F64, m * n));
        MatmulShape shape = MatmulShape.of(false, true, m, n, k);
        REFERENCE.matmul().matmul(shape, x.here(), w.here(), Epilogue.bias(bias.here()), z.here());
        REFERENCE.elementwise().unary(UnaryOp.GELU, z.here(), wide);
        Close.relative(values(z.there()), values(z.here()), TOLERANCE, "before GELU");
        Close.relative(values(y), values(wide), TOLERANCE, "GELU");

        Pair dy = normal(m * k);
        Pair second = normal(k * n);
        Pair before = normal(m * n);
        products.backward(new LinearShape(m, k, n), dy.there(), second.there(), before.there(), y, null);
        Buffer slope = kept(CPU.allocate(DType.F64, m * n));
        REFERENCE
                .matmul()
                .matmul(MatmulShape.of(false, false, m, n, k), dy.here(), second.here(), Epilogue.NONE, slope);
        REFERENCE.elementwise().unaryBackward(UnaryOp.GELU, before.here(), slope, wide);
        Close.relative(values(y), values(wide), TOLERANCE, "gradient");
    }

    /** The gradient is the same, and its columns are added up where it is asked for: nobody has measured it. */
    @ParameterizedTest
    @ValueSource(longs = {1, 127, 300})
    void sumsOfTheGradientsColumnsMatch(long m) {
        long n = 200;
        long k = 136;
        CudaGeluProducts products = ((CudaMatmul) HopperDevice.get().kernels().matmul()).gelu();
        Pair dy = normal(m * k);
        Pair weight = normal(k * n);
        Pair z = normal(m * n);
        Buffer alone = result(m * n);
        Buffer dz = result(m * n);
        Buffer sums = kept(HopperDevice.get().allocate(DType.F32, n));
        LinearShape shape = new LinearShape(m, k, n);
        assertFalse(products.backward(shape, dy.there(), weight.there(), z.there(), alone, sums), "as it is");
        MatmulShape product = MatmulShape.of(false, false, m, n, k);
        products.backwardWithSums(product, dy.there(), weight.there(), z.there(), dz, sums);
        assertArrayEquals(values(alone), values(dz));
        Buffer slope = kept(CPU.allocate(DType.F64, m * n));
        Buffer wide = kept(CPU.allocate(DType.F64, m * n));
        Buffer expected = kept(CPU.allocate(DType.F64, n));
        REFERENCE.matmul().matmul(product, dy.here(), weight.here(), Epilogue.NONE, slope);
        REFERENCE.elementwise().unaryBackward(UnaryOp.GELU, z.here(), slope, wide);
        REFERENCE.elementwise().sum(wide, 1, m, n, 1, expected);
        // GELU's derivative is fitted to 2^-12; nothing is rounded to bf16 before it is added up.
        Close.relative(values(sums), values(expected), 1.0 / 2048, "sums of columns");
        double[] first = values(sums);
        products.backwardWithSums(product, dy.there(), weight.there(), z.there(), dz, sums);
        assertArrayEquals(first, values(sums));
        Buffer narrow = result(n);
        products.backwardWithSums(product, dy.there(), weight.there(), z.there(), dz, narrow);
        Close.relative(values(narrow), values(expected), TOLERANCE, "sums in bf16");
    }

    /** In training where they are asked for: the gradient of the first layer's bias takes no other pass or product. */
    @Test
    void trainingTakesTheSumsOfTheGradientsColumns() {
        List<List<double[]>> gradients = new ArrayList<>();
        for (Device device : List.of(Device.cpu(), HopperDevice.get())) {
            boolean gpu = !device.isHost();
            System.setProperty(CudaHopperProducts.PROPERTY, "own");
            try (Scope scope = Scope.open()) {
                Tensor[] in = new Tensor[5];
                long[][] shapes = {{77, 40}, {88, 40}, {88}, {24, 88}, {24}};
                for (int i = 0; i < in.length; i++) {
                    in[i] = Tensor.normal(device, DType.F32, Shape.of(shapes[i]), 1, i, 0, i % 2 == 1 ? .2 : 1);
                    in[i].requiresGrad(true);
                }
                Tensor x = gpu ? in[0].to(DType.BF16) : in[0];
                Tensor y = Mlp.apply(x, in[1], in[2], in[3], in[4], null);
                y.backward(
                        Tensor.normal(device, DType.F32, y.shape(), 1, 9, 0, 1).to(y.dtype()));
                gradients.add(Stream.of(in)
                        .map(one -> requireNonNull(one.grad()).toDoubles())
                        .toList());
                if (gpu && FakeCuda.present()) {
                    assertEquals(1, FakeCuda.calls("product_128x128t_gelu_gradient_sums"));
                    assertEquals(0, FakeCuda.calls("product_128x128t_gelu_gradient"));
                }
            } finally {
                System.clearProperty(CudaHopperProducts.PROPERTY);
            }
        }
        for (int i = 0; i < gradients.getFirst().size(); i++) {
            Close.relative(gradients.getLast().get(i), gradients.getFirst().get(i), 3e-2, "gradient " + i);
        }
    }

    @Test
    void whatIsNotInPiecesOf16BytesIsLeftToTheLibrary() {
        Buffer buffer = result(4096);
        Buffer odd = buffer.slice(1, 1024);
        Buffer bf16 = buffer.slice(0, 1024);
        Buffer f32 = kept(HopperDevice.get().allocate(DType.F32, 1024));
        MatmulShape shape = MatmulShape.of(false, true, 16, 16, 16);
        assertTrue(CudaHopperProducts.able(shape, bf16, bf16, Epilogue.NONE, bf16));
        assertFalse(CudaHopperProducts.able(shape, odd, bf16, Epilogue.NONE, bf16));
        assertFalse(CudaHopperProducts.able(shape, bf16, bf16, Epilogue.bias(odd), bf16));
        assertFalse(CudaHopperProducts.able(shape, bf16, bf16, Epilogue.NONE, f32));
        assertFalse(CudaHopperProducts.able(shape, bf16, bf16, epilogue(null, bf16, true), bf16));
        assertFalse(CudaHopperProducts.able(MatmulShape.of(false, true, 16, 12, 16), bf16, bf16, Epilogue.NONE, bf16));
        assertFalse(CudaHopperProducts.able(MatmulShape.of(false, true, 16, 16, 12), bf16, bf16, Epilogue.NONE, bf16));
        assertFalse(CudaHopperProducts.able(MatmulShape.of(false, false, 16, 16, 16), bf16, bf16, Epilogue.NONE, bf16));
        assertFalse(CudaHopperProducts.able(MatmulShape.of(true, true, 16, 16, 16), bf16, bf16, Epilogue.NONE, bf16));
    }
}
