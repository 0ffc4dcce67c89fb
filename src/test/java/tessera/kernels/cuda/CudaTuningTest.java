package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.cpu.Elements;

/** The choice of algorithms by measurement, on a fake cuBLASLt that knows good and bad ones. */
@Tag(FakeCuda.TAG)
class CudaTuningTest {
    @TempDir
    private Path cache;

    private final List<Buffer> open = new ArrayList<>();
    private String before = "";

    @BeforeEach
    void begin() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.reset();
        FakeCuda.set("algorithms", 4);
        before = System.getProperty(CudaCode.CACHE_PROPERTY, "");
        System.setProperty(CudaCode.CACHE_PROPERTY, cache.toString());
    }

    @AfterEach
    void end() {
        open.forEach(Buffer::close);
        System.setProperty(CudaCode.CACHE_PROPERTY, before);
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    private static CudaDevice device() {
        return (CudaDevice) Device.cuda(0);
    }

    private Buffer normal(DType dtype, long length) {
        Buffer host = Device.cpu().allocate(dtype, length);
        open.add(host);
        Random random = new Random(length);
        for (long i = 0; i < length; i++) {
            Elements.set(host, i, random.nextGaussian());
        }
        Buffer there = device().allocate(dtype, length);
        open.add(there);
        host.copyTo(there);
        return there;
    }

    private double[] values(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(host);
            double[] values = new double[(int) host.length()];
            for (int i = 0; i < values.length; i++) {
                values[i] = Elements.get(host, i);
            }
            return values;
        }
    }

    private static Matmul matmul() {
        return device().kernels().matmul();
    }

    /** Measures a product that was computed, and not those of all tests that ran before in this process. */
    private static List<String> measured(long m, long n, long k) {
        List<CudaProduct.Key> keys = ((CudaMatmul) matmul())
                .computed().stream()
                        .filter(key -> key.shape().m() == m
                                && key.shape().n() == n
                                && key.shape().k() == k)
                        .toList();
        return CudaTuning.products(device(), keys, Duration.ofMinutes(1));
    }

    @Test
    void theFastestThatIsRightIsChosenAndKept() throws IOException {
        MatmulShape shape = MatmulShape.of(false, true, 41, 43, 47);
        Buffer a = normal(DType.BF16, 41 * 47);
        Buffer b = normal(DType.BF16, 43 * 47);
        Buffer bias = normal(DType.BF16, 43);
        Buffer c = normal(DType.BF16, 41 * 43);
        matmul().matmul(shape, a, b, Epilogue.bias(bias), c);
        double[] expected = values(c);

        List<String> report = measured(41, 43, 47);
        List<String> lines = report.stream()
                .filter(line -> line.startsWith("bf16,bf16 NT 41,43,47 47,47,43 epilogue4 "))
                .toList();
        assertEquals(1, lines.size(), report.toString());
        assertTrue(lines.getFirst().contains(", number 4 of 4 "), lines.toString());
        matmul().matmul(shape, a, b, Epilogue.bias(bias), c);
        Close.relative(values(c), expected, 0, "with another algorithm");

        List<String> table = Files.readAllLines(cache.resolve(CudaProductTable.FILE), StandardCharsets.UTF_8);
        assertEquals(CudaTuning.table(), table);
        CudaProduct.Key key = key(shape, 4, DType.BF16);
        CudaProductTable.Choice choice = CudaProductTable.read(device()).choice(key);
        byte[] algorithm = choice.algorithm();
        assertTrue(algorithm != null && !choice.apart(), table.toString());
        CudaProduct restored = new CudaProduct(device(), handle(), key, algorithm);
        assertArrayEquals(algorithm, restored.algorithm());
        restored.close();

        // Of another product: refused, and the heuristics decide.
        CudaProduct other = new CudaProduct(device(), handle(), key(shape, 1, DType.BF16), algorithm);
        assertFalse(Arrays.equals(algorithm, other.algorithm()));
        other.close();
    }

    @Test
    void aTableOfAnotherCardOrVersionSaysNothing() throws IOException {
        CudaProduct.Key key = key(MatmulShape.of(false, true, 3, 5, 7), 1, DType.F32);
        String hex = "ab".repeat(64);
        String rest = key.words() + " " + hex + " # remark\n";
        String name = device().name().replace(' ', '_');
        Path file = cache.resolve(CudaProductTable.FILE);
        Files.writeString(file, "# a remark\n\nAnother_card 130001 " + rest + name + " 120000 " + rest);
        assertEquals(
                CudaProductTable.Choice.UNKNOWN, CudaProductTable.read(device()).choice(key));
        Files.writeString(file, name + " 130001 " + rest);
        byte[] algorithm = CudaProductTable.read(device()).choice(key).algorithm();
        assertTrue(algorithm != null && algorithm.length == 64 && algorithm[0] == (byte) 0xAB);
        Files.writeString(file, name + " 130001 " + key.words() + " own:64x64 # remark\n");
        assertEquals("64x64", CudaProductTable.read(device()).choice(key).own());
        Files.writeString(file, name + " 130001 " + key.words() + " apart # remark\n");
        assertTrue(CudaProductTable.read(device()).choice(key).apart());
    }

    @Test
    void sumsOfColumnsMayBeFasterApart() {
        LinearShape linear = new LinearShape(53, 59, 61);
        Buffer dy = normal(DType.F32, 53 * 59);
        Buffer x = normal(DType.F32, 53 * 61);
        Buffer dw = normal(DType.F32, 59 * 61);
        Buffer db = normal(DType.F32, 59);
        matmul().linearBackward(linear, dy, x, dw, db);
        double[] weights = values(dw);
        double[] sums = values(db);
        List<String> report = measured(59, 61, 53);
        assertTrue(
                report.stream().anyMatch(line -> line.contains(" 59,61,53 ") && line.contains(", apart ")),
                report.toString());
        matmul().linearBackward(linear, dy, x, dw, db);
        Close.relative(values(dw), weights, 1e-6, "dW");
        Close.relative(values(db), sums, 1e-6, "db");
    }

    @Test
    void withoutTimeNothingIsMeasured() {
        Buffer a = normal(DType.F32, 4);
        Buffer c = normal(DType.F32, 4);
        matmul().matmul(MatmulShape.of(false, false, 2, 2, 2), a, a, Epilogue.NONE, c);
        List<String> report = CudaTuning.products(device(), Duration.ofSeconds(-1));
        assertEquals(1, report.size());
        assertTrue(report.getFirst().endsWith("products are not measured: the time is up"), report.toString());
    }

    private static long handle() {
        return ((CudaMatmul) matmul()).handle();
    }

    private static CudaProduct.Key key(MatmulShape shape, int epilogue, DType dtype) {
        return new CudaProduct.Key(shape, dtype, dtype, epilogue, false, false, false, 256, 256, 256, 256, 256);
    }

    /** On a device that has the instructions for kernels of our own, which are compared with the library and take its place. */
    @Test
    void kernelsOfOurOwnAreMeasuredToo() throws Exception {
        String output = ChildJava.run(
                cache,
                List.of(
                        "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                        "-Dtessera.cuda.cache=" + cache),
                Map.of("TESSERA_FAKE_CAPABILITY", "90"),
                120,
                OnHopper.class);
        assertTrue(output.contains("done"), output);
    }

    /** The same with GELU as training needs it: one kernel of our own, or a product and a pass. */
    @Test
    void geluInTrainingIsMeasuredToo() throws Exception {
        String output = ChildJava.run(
                cache,
                List.of(
                        "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                        "-Dtessera.cuda.cache=" + cache),
                Map.of("TESSERA_FAKE_CAPABILITY", "90"),
                120,
                TrainingOnHopper.class);
        assertTrue(output.contains("done"), output);
    }

    /** The same of layers behind norms: joined, or a pass and a product. */
    @Test
    void layersBehindNormsAreMeasuredToo() throws Exception {
        String output = ChildJava.run(
                cache,
                List.of(
                        "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                        "-Dtessera.cuda.norms=own",
                        "-Dtessera.cuda.cache=" + cache),
                Map.of("TESSERA_FAKE_CAPABILITY", "90"),
                120,
                NormsOnHopper.class);
        assertTrue(output.contains("done"), output);
    }

    /** A layer behind a norm in a process whose device is a Hopper. */
    static final class NormsOnHopper {
        private NormsOnHopper() {}

        /** Runs it before and after the choice. */
        public static void main(String[] args) {
            CudaTuningTest test = new CudaTuningTest();
            long m = 70;
            long n = 72;
            long k = 64;
            Buffer x = test.normal(DType.BF16, m * k);
            Buffer y = test.normal(DType.BF16, m * n);
            NormParameters norm = new NormParameters(test.normal(DType.F32, k), test.normal(DType.F32, k), 1e-6);
            Matmul.NormProducts products = matmul().normProducts().orElseThrow();
            PackedWeight weight = products.pack(test.normal(DType.F32, n * k), n, k, test.normal(DType.F32, n), norm);
            products.linear(m, x, weight, Activation.GELU, y);
            assertEquals(1, FakeCuda.calls("layer_norm_scales_bf16"), "asked for, and nobody has measured it");
            double[] expected = test.values(y);
            CudaMatmul matmul = (CudaMatmul) matmul();
            List<CudaProduct.Key> keys = List.copyOf(matmul.computed());
            CudaProduct.Key key =
                    keys.stream().filter(CudaProduct.Key::norm).findFirst().orElseThrow();
            assertTrue(keys.contains(key.withoutNorm()), "what it is compared with is measured too: " + keys);
            List<String> report = CudaTuning.products(device(), Duration.ofMinutes(1));
            assertTrue(report.getLast().contains(" epilogue36+norm "), "first what it is compared with: " + report);
            for (CudaHopperProducts.Variant variant : CudaHopperProducts.VARIANTS) {
                assertTrue(
                        report.getLast().matches(".*: apart [0-9.]+ us.* " + variant.name() + " [0-9].*"),
                        report.toString());
            }
            for (CudaProductTable.Choice choice :
                    List.of(CudaProductTable.Choice.APART, CudaProductTable.Choice.own("64x64"))) {
                matmul.choose(key, choice);
                FakeCuda.reset();
                products.linear(m, x, weight, Activation.GELU, y);
                Close.relative(test.values(y), expected, 1.0 / 64, choice.toString());
                assertEquals(choice.apart() ? 0 : 1, FakeCuda.calls("layer_norm_scales_bf16"), choice.toString());
                assertEquals(choice.apart() ? 0 : 1, FakeCuda.calls("product_64x64_norm_gelu"), choice.toString());
                String line = CudaProductTable.line(device(), key, choice, "# remark");
                CudaTables.write(CudaProductTable.FILE, List.of(line));
                assertEquals(!choice.apart(), CudaProductTable.read(device()).ownsNorms(), line);
            }
            System.out.println("done");
        }
    }

    /** Products of a training step in a process whose device is a Hopper. */
    static final class TrainingOnHopper {
        private static final int M = 70;
        private static final int N = 72;
        private static final int K = 64;
        private static final String VARIANT = "128x128t";

        private final CudaTuningTest test = new CudaTuningTest();
        private final Buffer x = test.normal(DType.BF16, M * K);
        private final Buffer w = test.normal(DType.BF16, N * K);
        private final Buffer bias = test.normal(DType.BF16, N);
        private final Buffer z = test.normal(DType.BF16, M * N);
        private final Buffer y = test.normal(DType.BF16, M * N);
        private final Buffer slopes = test.normal(DType.BF16, M * K);

        /** Runs them before and after the choice. */
        public static void main(String[] args) {
            TrainingOnHopper it = new TrainingOnHopper();
            Matmul.GeluProducts products = matmul().geluProducts().orElseThrow();
            CudaProduct.Key forward = it.chosen("_gelu_keep", () -> {
                products.forward(new LinearShape(M, N, K), it.x, it.w, it.bias, it.z, it.y);
                return it.test.values(it.y);
            });
            assertEquals(164, forward.epilogue());
            CudaProduct.Key backward = it.chosen("_gelu_gradient", () -> {
                products.backward(new LinearShape(M, N, K), it.y, it.w, it.slopes, it.x, null);
                return it.test.values(it.x);
            });
            assertEquals(192, backward.epilogue());
            it.sums(products);
            System.out.println("done");
        }

        /** The gradient's columns are added up in another product until it was measured. */
        private void sums(Matmul.GeluProducts products) {
            Buffer sums = test.normal(DType.F32, K);
            LinearShape shape = new LinearShape(M, N, K);
            assertFalse(products.backward(shape, y, w, slopes, x, sums), "nobody has measured it");
            double[] expected = test.values(x);
            CudaMatmul matmul = (CudaMatmul) matmul();
            CudaProduct.Key key = matmul.computed().stream()
                    .filter(CudaProduct.Key::sums)
                    .findFirst()
                    .orElseThrow();
            List<String> report = CudaTuning.products(device(), List.of(key), Duration.ofMinutes(1));
            assertTrue(
                    report.getFirst()
                            .matches(".* epilogue208.addend .*: apart [0-9.]+ us, " + VARIANT + " [0-9.]+ us; .*"),
                    report.toString());
            for (CudaProductTable.Choice choice :
                    List.of(CudaProductTable.Choice.APART, CudaProductTable.Choice.own(VARIANT))) {
                matmul.choose(key, choice);
                assertEquals(!choice.apart(), products.backward(shape, y, w, slopes, x, sums), choice.toString());
                Close.relative(test.values(x), expected, 1.0 / 64, choice.toString());
            }
        }

        /** By our own kernel, where nothing was measured; then as was chosen. Returns the product that was measured. */
        private CudaProduct.Key chosen(String kind, Supplier<double[]> product) {
            String kernel = "product_" + VARIANT + kind;
            FakeCuda.reset();
            double[] expected = product.get();
            assertEquals(1, FakeCuda.calls(kernel), "nobody has measured it");
            CudaMatmul matmul = (CudaMatmul) matmul();
            CudaProduct.Key key = matmul.computed().stream()
                    .filter(one -> kind.equals("_gelu_keep") ? one.keeping() : one.gradient())
                    .findFirst()
                    .orElseThrow();
            List<String> report = CudaTuning.products(device(), List.of(key), Duration.ofMinutes(1));
            assertTrue(
                    report.getFirst().matches(".*: apart [0-9.]+ us, " + VARIANT + " [0-9.]+ us; best .*"),
                    report.toString());
            CudaProductTable.Choice kept = CudaProductTable.read(device()).choice(key);
            assertTrue(kept.apart() || VARIANT.equals(kept.own()), kept.toString());
            for (CudaProductTable.Choice choice :
                    List.of(CudaProductTable.Choice.APART, CudaProductTable.Choice.own(VARIANT))) {
                FakeCuda.reset();
                matmul.choose(key, choice);
                Close.relative(product.get(), expected, 1.0 / 64, choice.toString());
                assertEquals(choice.apart() ? 0 : 1, FakeCuda.calls(kernel), choice.toString());
            }
            return key;
        }
    }

    /** Products in a process whose device is a Hopper. */
    static final class OnHopper {
        private static final MatmulShape SHAPE = MatmulShape.of(false, true, 70, 72, 64);

        /** Runs them before and after the choice. */
        public static void main(String[] args) {
            CudaTuningTest test = new CudaTuningTest();
            Buffer a = test.normal(DType.BF16, 70 * 64);
            Buffer b = test.normal(DType.BF16, 72 * 64);
            Buffer bias = test.normal(DType.BF16, 72);
            Buffer c = test.normal(DType.BF16, 70 * 72);
            for (Activation activation : Activation.values()) {
                Epilogue epilogue = new Epilogue(bias, null, activation);
                matmul().matmul(SHAPE, a, b, epilogue, c);
                assertEquals(0, own());
                double[] expected = test.values(c);
                List<String> report = CudaTuning.products(device(), Duration.ofMinutes(1));
                String gelu = activation == Activation.GELU ? "epilogue36 " : "epilogue4 ";
                String line = report.stream()
                        .filter(one -> one.contains(gelu))
                        .findFirst()
                        .orElseThrow();
                for (CudaHopperProducts.Variant variant : CudaHopperProducts.VARIANTS) {
                    assertTrue(line.matches(".* " + variant.name() + " [0-9].*"), line);
                }
                CudaProduct.Key key = key(SHAPE, activation == Activation.GELU ? 36 : 4, DType.BF16);
                CudaMatmul matmul = (CudaMatmul) matmul();
                FakeCuda.reset();
                matmul.choose(key, CudaProductTable.Choice.own("64x64"));
                matmul.matmul(SHAPE, a, b, epilogue, c);
                assertTrue(own() > 0);
                Close.relative(test.values(c), expected, 1.0 / 128, "by a kernel of our own");
                FakeCuda.reset();
                matmul.choose(key, CudaProductTable.Choice.LIBRARY);
                matmul.matmul(SHAPE, a, b, epilogue, c);
                assertEquals(0, own());
            }
            System.out.println("done");
        }

        private static long own() {
            return FakeCuda.calls("product_64x64") + FakeCuda.calls("product_64x64_gelu");
        }
    }
}
