package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.nn.Block;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Layers joined with the norm before them on Hopper's tensor cores beside the norm and the layer in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
class CudaNormProductsTest extends OnHopper {
    private static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));
    private static final double EPS = 1e-6;

    CudaNormProductsTest() {
        super(23, DType.F64);
    }

    private static CudaNormProducts kernels() {
        return ((CudaMatmul) HopperDevice.get().kernels().matmul()).norm();
    }

    /** A layer in f32 on the CPU, and the norm before it. */
    private record Layer(
            long n, long k, Buffer weight, @Nullable Buffer bias, Buffer gamma, Buffer beta) {}

    private Layer layer(long n, long k, boolean biased) {
        return new Layer(
                n,
                k,
                normalWeight(n * k),
                biased ? normalWeight(n) : null,
                weight(k, i -> 1 + .3 * random.nextGaussian()),
                weight(k, i -> .3 * random.nextGaussian()));
    }

    private PackedWeight pack(Layer layer) {
        Buffer bias = layer.bias == null ? null : there(layer.bias);
        NormParameters norm = new NormParameters(there(layer.gamma), there(layer.beta), EPS);
        return kernels().pack(there(layer.weight), layer.n, layer.k, bias, norm);
    }

    /** Rows whose means are so many times as far from 0 as their values from them. */
    private Pair rows(long m, long k, double mean) {
        double[] deviations = new double[(int) m];
        double[] means = new double[(int) m];
        for (int row = 0; row < m; row++) {
            deviations[row] = Math.exp(random.nextGaussian());
            means[row] = (row % 2 == 0 ? mean : -mean) * deviations[row];
        }
        return pair(m * k, 0, i -> means[(int) (i / k)] + deviations[(int) (i / k)] * random.nextGaussian());
    }

    private Buffer wide(Buffer f32) {
        Buffer f64 = kept(CPU.allocate(DType.F64, f32.length()));
        CPU.kernels().elementwise().cast(f32, f64);
        return f64;
    }

    private Buffer roundedWide(Buffer f64) {
        Buffer bf16 = kept(CPU.allocate(DType.BF16, f64.length()));
        CPU.kernels().elementwise().cast(f64, bf16);
        return wide(bf16);
    }

    /** In f64: norm and layer as they are, or with the rounding of what is kept of both. */
    private double[] reference(long m, Buffer x, Layer layer, boolean rounded, boolean gelu) {
        long k = layer.k;
        Buffer weight = wide(layer.weight);
        Buffer gamma = wide(layer.gamma);
        Buffer beta = wide(layer.beta);
        Buffer bias = layer.bias == null ? null : wide(layer.bias);
        if (rounded) {
            Buffer shift = kept(CPU.allocate(DType.F64, layer.n));
            for (long row = 0; row < layer.n; row++) {
                double sum = bias == null ? 0 : Elements.get(bias, row);
                for (long i = 0; i < k; i++) {
                    sum += Elements.get(weight, row * k + i) * Elements.get(beta, i);
                    Elements.set(weight, row * k + i, Elements.get(weight, row * k + i) * Elements.get(gamma, i));
                }
                Elements.set(shift, row, sum);
            }
            weight = roundedWide(weight);
            bias = roundedWide(shift);
            gamma = wide(weight(k, i -> 1));
            beta = wide(weight(k, i -> 0));
        }
        Buffer normed = kept(CPU.allocate(DType.F64, m * k));
        Buffer y = kept(CPU.allocate(DType.F64, m * layer.n));
        REFERENCE.norms().layerNorm(new RowShape(m, k), x, new NormParameters(gamma, beta, EPS), normed, null);
        REFERENCE
                .matmul()
                .matmul(MatmulShape.of(false, true, m, layer.n, k), normed, weight, epilogue(bias, null, gelu), y);
        return values(y);
    }

    private static Activation activation(boolean gelu) {
        return gelu ? Activation.GELU : Activation.NONE;
    }

    static Stream<CudaHopperProducts.Variant> variants() {
        return CudaHopperProducts.VARIANTS.stream();
    }

    /** Sizes that fill no tile and no box, more tiles than blocks, with and without what follows; means beside and far from 0. */
    @ParameterizedTest
    @MethodSource("variants")
    void layersEqualTheSameArithmeticInF64(CudaHopperProducts.Variant variant) {
        long[][] sizes = {{1, 8, 8}, {130, 200, 72}, {300, 392, 384}, {257, 136, 200}};
        for (int i = 0; i < 2 * sizes.length; i++) {
            long m = sizes[i / 2][0];
            boolean gelu = i % 2 == 1;
            Layer layer = layer(sizes[i / 2][1], sizes[i / 2][2], i != 3);
            Pair x = rows(m, layer.k, i / 2 % 2 * 10);
            double[] expected = reference(m, x.here(), layer, true, gelu);
            Buffer y = result(m * layer.n);
            try (PackedWeight weight = pack(layer)) {
                kernels().joined(variant, m, x.there(), weight, activation(gelu), y);
            }
            Close.relative(values(y), expected, TOLERANCE, variant + " of " + m + " x " + layer.n + " x " + layer.k);
        }
    }

    /**
     * Beside norm and layer in f64, without any rounding. Values of a row whose mean is ten or a hundred times their deviation are
     * rounded to bf16 already; what the sums lose when the mean is taken away is far below that, and the norm's values, which are
     * rounded again where they lie in memory, are not.
     */
    @ParameterizedTest
    @CsvSource({"0", "10", "100"})
    void meansThatAreLargeCostNothing(double mean) {
        long m = 40;
        Layer layer = layer(96, 384, true);
        Pair x = rows(m, layer.k, mean);
        double[] exact = reference(m, x.here(), layer, false, false);
        Buffer joined = result(m * layer.n);
        Buffer apart = result(m * layer.n);
        try (PackedWeight weight = pack(layer)) {
            kernels().joined(CudaHopperProducts.VARIANTS.getLast(), m, x.there(), weight, Activation.NONE, joined);
            kernels().apart(m, x.there(), weight, Activation.NONE, apart);
        }
        double error = error(values(joined), exact);
        assertTrue(error < 1.02 * error(values(apart), exact), error + " beside " + error(values(apart), exact));
        Close.relative(values(joined), exact, TOLERANCE, "joined");
    }

    private static double error(double[] actual, double[] expected) {
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < actual.length; i++) {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            norm += expected[i] * expected[i];
        }
        return Math.sqrt(difference / norm);
    }

    /** What is asked for and can be is joined; outputs and inputs that are no multiples of 8, and no rows, are apart. */
    @ParameterizedTest
    @CsvSource({"30,48,40,true", "30,13,40,false", "30,48,37,false", "0,48,40,false", "3,0,40,false"})
    void whatCanBeIsJoined(long m, long n, long k, boolean joined) {
        Layer layer = layer(n, k, true);
        Pair x = rows(m, k, 3);
        double[] expected = reference(m, x.here(), layer, false, true);
        Buffer y = result(m * n);
        System.setProperty(CudaNormProducts.PROPERTY, "own");
        try (PackedWeight weight = pack(layer)) {
            assertEquals(n, weight.n());
            assertEquals(k, weight.k());
            long before = scaled();
            kernels().linear(m, x.there(), weight, Activation.GELU, y);
            if (FakeCuda.present()) {
                assertEquals(joined ? 1 : 0, scaled() - before);
            }
        } finally {
            System.clearProperty(CudaNormProducts.PROPERTY);
        }
        if (m * n > 0) {
            Close.relative(values(y), expected, 1.5 * TOLERANCE, "linear");
        }
    }

    @Test
    void rowsWithoutVarianceAndRowsThatAreNotFinite() {
        Layer layer = layer(16, 40, true);
        Pair x = pair(4L * 40, 0, i -> i / 40 == 0 ? 2 : i == 90 ? Double.NaN : i / 40 == 3 ? 0 : i % 7);
        double[] expected = reference(4, x.here(), layer, true, false);
        Buffer y = result(4L * 16);
        try (PackedWeight weight = pack(layer)) {
            kernels().joined(CudaHopperProducts.VARIANTS.getFirst(), 4, x.there(), weight, Activation.NONE, y);
        }
        double[] actual = values(y);
        for (int i = 0; i < actual.length; i++) {
            assertEquals(i / 16 == 2, Double.isNaN(actual[i]), "at " + i);
            if (i / 16 != 2) {
                Close.within(actual[i], expected[i], 1e-2, "at " + i);
            }
        }
    }

    @Test
    void theSameBitsEveryTime() {
        Layer layer = layer(136, 200, true);
        Pair x = rows(200, 200, 10);
        double[][] found = new double[2][];
        try (PackedWeight weight = pack(layer)) {
            for (int i = 0; i < found.length; i++) {
                Buffer y = result(200L * 136);
                kernels().joined(CudaHopperProducts.VARIANTS.get(2), 200, x.there(), weight, Activation.GELU, y);
                found[i] = values(y);
            }
        }
        assertArrayEquals(found[0], found[1]);
    }

    @Test
    void theyAreThereWhereTheyAreAskedFor() {
        for (String wanted : new String[] {"", "own"}) {
            System.setProperty(CudaNormProducts.PROPERTY, wanted);
            try {
                assertEquals(
                        !wanted.isEmpty(),
                        HopperDevice.get().kernels().matmul().normProducts().isPresent());
            } finally {
                System.clearProperty(CudaNormProducts.PROPERTY);
            }
        }
    }

    @Test
    void weightsOfOthersAreRefused() {
        Pair x = normal(64);
        try (PackedWeight other = HopperDevice.get().kernels().matmul().pack(x.there(), 8, 8)) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class,
                    () -> kernels().linear(8, x.there(), other, Activation.NONE, result(64)));
            assertEquals(
                    "linear: the weight was not packed with a norm by the kernels of " + HopperDevice.get()
                            + "; pack it by NormProducts.pack of this device",
                    e.getMessage());
        }
        Layer layer = layer(8, 8, false);
        assertThrows(
                IllegalArgumentException.class,
                () -> kernels()
                        .pack(x.there(), 8, 8, null, new NormParameters(there(layer.gamma), there(layer.beta), EPS)));
    }

    @Test
    void packedWeightsFreeTheirMemory() {
        Layer layer = layer(16, 40, true);
        pack(layer).close();
        HopperDevice.get().trim();
        long before = HopperDevice.get().memory().live();
        Buffer weight = there(layer.weight);
        NormParameters norm = new NormParameters(there(layer.gamma), there(layer.beta), EPS);
        long inputs = HopperDevice.get().memory().live();
        PackedWeight packed = kernels().pack(weight, 16, 40, null, norm);
        assertTrue(HopperDevice.get().memory().live() > inputs && inputs > before);
        packed.close();
        assertEquals(inputs, HopperDevice.get().memory().live());
    }

    /** Norms before the projection and the MLP are in their products, packed or recorded; what is not asked for is as before. */
    @Test
    void blocksJoinTheirNorms() {
        CudaDevice device = HopperDevice.get();
        Params params = Params.random(device, DType.F32, 3);
        Tensor x = Tensor.normal(device, DType.F32, Shape.of(2, 9, 64), 1, 2, 0, 1);
        List<float[]> found = new ArrayList<>();
        try (Block block = new Block(params, 64, 2, 1e-6, false);
                Scope scope = Scope.open()) {
            for (String wanted : List.of("", "own")) {
                System.setProperty(CudaNormProducts.PROPERTY, wanted);
                block.pack(DType.BF16);
                long before = scaled();
                found.add(Autograd.noGrad(
                        () -> block.forward(x.to(DType.BF16)).to(DType.F32).toFloats()));
                if (FakeCuda.present()) {
                    assertEquals(wanted.isEmpty() ? 0 : 2, scaled() - before);
                }
                Tensor trained = block.forward(x.to(DType.BF16).requiresGrad(true));
                Close.relative(trained.to(DType.F32).toFloats(), found.getFirst(), 2e-2, "in training");
            }
        } finally {
            System.clearProperty(CudaNormProducts.PROPERTY);
        }
        Close.relative(found.getLast(), found.getFirst(), 2 * TOLERANCE, "a block");
        params.all().values().forEach(Tensor::close);
        x.close();
    }

    private static long scaled() {
        return FakeCuda.present() ? FakeCuda.calls("layer_norm_scales_bf16") : 0;
    }

    /** A table says it for every device that it names. */
    @Test
    void whatWasMeasuredIsKnownByItsOwnWords() {
        CudaProduct.Key key = new CudaProduct.Key(
                MatmulShape.of(false, true, 3, 8, 16),
                DType.BF16,
                DType.BF16,
                4,
                false,
                true,
                false,
                256,
                256,
                256,
                256,
                256);
        assertEquals("bf16,bf16 NT 3,8,16 16,16,8 epilogue4+norm 256,256,256,256,256", key.words());
        assertEquals(
                "bf16,bf16 NT 3,8,16 16,16,8 epilogue4 256,256,256,256,256",
                key.withoutNorm().words());
        assertEquals(key, key.withoutNorm().behindNorm());
    }
}
