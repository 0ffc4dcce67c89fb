package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Event;
import tessera.kernels.Graph;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Stream;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.natives.cuda.CudaDriver;
import tessera.tensor.TestDevices;

/** Products on a GPU against the plain kernels in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
class CudaMatmulTest {
    /** Relative errors allowed: the root of 1e-9 in f32, twice the rounding of the result in bf16. */
    private static final double F32_TOLERANCE = 3.16e-5;

    private static final double BF16_TOLERANCE = 1.0 / 256;
    private static final Device CPU = Device.cpu();
    private static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));

    private static final long SIDE = 256;
    private static final int EXECUTION_FAILED = 13;
    private static final int NOT_SUPPORTED = 15;
    private static final int INVALID_VALUE = 7;
    private static final int ARCH_MISMATCH = 8;

    /** Refusals of the fake cuBLASLt. */
    private static final int SUMS = 1;

    private static final int SUMS_BY_SETTER = 2;
    private static final int MISALIGNED = 16;
    private static final int ALL = 32;

    private final Random random = new Random(5);
    private final List<Buffer> open = new ArrayList<>();

    @BeforeAll
    static void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    @AfterEach
    void close() {
        open.forEach(Buffer::close);
    }

    private static Device device() {
        return Device.cuda(0);
    }

    /** The same values in f64 on the CPU and in another type on the GPU. */
    private record Pair(Buffer wide, Buffer there) {
        Pair slice(long offset, long count) {
            return new Pair(wide.slice(offset, count), there.slice(offset, count));
        }
    }

    private Pair normal(long n, DType dtype) {
        Buffer wide = kept(CPU.allocate(DType.F64, n));
        Buffer narrow = kept(CPU.allocate(dtype, n));
        for (long i = 0; i < n; i++) {
            Elements.set(wide, i, random.nextGaussian());
        }
        CPU.kernels().elementwise().cast(wide, narrow);
        CPU.kernels().elementwise().cast(narrow, wide);
        Buffer there = kept(device().allocate(dtype, n));
        narrow.copyTo(there);
        return new Pair(wide, there);
    }

    private Buffer kept(Buffer buffer) {
        open.add(buffer);
        return buffer;
    }

    private void compare(Pair pair, String what) {
        compare(pair, 1, what);
    }

    /** @param roundings how often the plain computation rounds to the result's type */
    private void compare(Pair pair, int roundings, String what) {
        Buffer back = kept(CPU.allocate(pair.there.dtype(), pair.there.length()));
        pair.there.copyTo(back);
        Buffer wide = kept(CPU.allocate(DType.F64, back.length()));
        CPU.kernels().elementwise().cast(back, wide);
        double tolerance = back.dtype() == DType.BF16 ? roundings * BF16_TOLERANCE : F32_TOLERANCE;
        Close.relative(values(wide), values(pair.wide), tolerance, what);
    }

    private static double[] values(Buffer buffer) {
        if (!buffer.device().equals(CPU)) {
            try (Buffer back = CPU.allocate(buffer.dtype(), buffer.length())) {
                buffer.copyTo(back);
                return values(back);
            }
        }
        double[] values = new double[Math.toIntExact(buffer.length())];
        for (int i = 0; i < values.length; i++) {
            values[i] = Elements.get(buffer, i);
        }
        return values;
    }

    /** Shapes of all kinds, with gaps between rows, odd starts, bias, addends and activation. */
    @ParameterizedTest
    @CsvSource({"F32, F32", "BF16, BF16", "BF16, F32"})
    void productsMatch(DType in, DType out) {
        productsMatch(in, out, 0, 120);
        if (FakeCuda.present()) {
            assertEquals(
                    0,
                    FakeCuda.calls("plain_product_" + (in == out ? in == DType.F32 ? "f32" : "bf16" : "bf16_to_f32")));
        }
    }

    /** What the library refuses in one way or another, or altogether; see the settings of the fake. */
    @ParameterizedTest
    @CsvSource({
        "4, F32, F32",
        "4, BF16, BF16",
        "4, BF16, F32",
        "8, F32, F32",
        "8, BF16, BF16",
        "16, BF16, BF16",
        "16, BF16, F32",
        "28, BF16, BF16",
        "32, F32, F32",
        "32, BF16, BF16",
        "32, BF16, F32"
    })
    void productsThatTheLibraryRefusesMatch(int refusals, DType in, DType out) {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.reset();
        FakeCuda.set("refusals", refusals);
        try {
            // Shapes of their own: what was refused is remembered.
            productsMatch(in, out, 12 + refusals, 25);
            if (refusals == ALL) {
                assertEquals(0, FakeCuda.calls("cublasLtMatmul"));
            } else if (refusals < MISALIGNED) {
                assertTrue(FakeCuda.calls("cublasLtMatmul") > 0);
            }
        } finally {
            FakeCuda.reset();
        }
    }

    private void productsMatch(DType in, DType out, int least, int trials) {
        for (int trial = 0; trial < trials; trial++) {
            boolean transposeA = random.nextBoolean();
            boolean transposeB = random.nextBoolean();
            int m = least + random.nextInt(12);
            int n = least + random.nextInt(12);
            int k = least + random.nextInt(12);
            int start = random.nextInt(3);
            boolean biased = random.nextBoolean();
            int added = random.nextInt(3);
            Activation activation = random.nextBoolean() ? Activation.GELU : Activation.NONE;
            long lda = Math.max(1, (transposeA ? m : k) + (long) random.nextInt(3));
            long ldb = Math.max(1, (transposeB ? k : n) + (long) random.nextInt(3));
            long ldc = Math.max(1, n + random.nextInt(3));
            long sizeA = (transposeA ? k : m) * lda;
            long sizeB = (transposeB ? n : k) * ldb;
            Pair a = normal(sizeA + start, in).slice(start, sizeA);
            Pair b = normal(sizeB + start, in).slice(start, sizeB);
            Pair c = normal(m * ldc + start, out);
            Pair result = c.slice(start, m * ldc);
            Pair bias = normal(n, out);
            Pair another = normal(m * ldc + start, out).slice(start, m * ldc);
            Pair addend = added == 0 ? null : added == 1 ? result : another;
            MatmulShape shape = new MatmulShape(transposeA, transposeB, m, n, k, lda, ldb, ldc);
            REFERENCE
                    .matmul()
                    .matmul(
                            shape,
                            a.wide,
                            b.wide,
                            new Epilogue(biased ? bias.wide : null, addend == null ? null : addend.wide, activation),
                            result.wide);
            device().kernels()
                    .matmul()
                    .matmul(
                            shape,
                            a.there,
                            b.there,
                            new Epilogue(biased ? bias.there : null, addend == null ? null : addend.there, activation),
                            result.there);
            compare(
                    c,
                    activation == Activation.GELU ? 2 : 1,
                    "m " + m + ", n " + n + ", k " + k + ", " + transposeA + " " + transposeB + ", bias " + biased
                            + ", "
                            + activation + ", added to " + addend + ", strides " + lda + " " + ldb + " " + ldc
                            + ", start " + start);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "3, 5, 7, 2, false, true",
        "2, 4, 8, 8, true, false",
        "4, 1, 3, 5, true, true",
        "2, 3, 4, 0, false, false",
        "0, 3, 4, 2, false, false"
    })
    void batchedProductsMatch(int batch, int m, int n, int k, boolean transposeA, boolean transposeB) {
        long strideA = (long) m * k + 1;
        long strideB = (long) n * k;
        long strideC = (long) m * n + 3;
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Pair a = normal(batch * strideA, dtype);
            Pair b = normal(batch * strideB, dtype);
            Pair c = normal(batch * strideC, dtype);
            MatmulShape shape = MatmulShape.of(transposeA, transposeB, m, n, k);
            REFERENCE
                    .matmul()
                    .matmulBatched(shape, new Batch(batch, strideA, strideB, strideC), a.wide, b.wide, c.wide);
            device().kernels()
                    .matmul()
                    .matmulBatched(shape, new Batch(batch, strideA, strideB, strideC), a.there, b.there, c.there);
            compare(c, batch + " products in " + dtype);
        }
    }

    /** Factors shared by all products, gaps between rows and matrices, odd starts. */
    @ParameterizedTest
    @CsvSource({"F32, F32", "BF16, BF16", "BF16, F32"})
    void batchesOfAllLayoutsMatch(DType in, DType out) {
        for (int trial = 0; trial < 40; trial++) {
            int m = 1 + random.nextInt(9);
            int n = 1 + random.nextInt(9);
            int k = 1 + random.nextInt(9);
            int batch = 1 + random.nextInt(4);
            boolean transposeA = random.nextBoolean();
            boolean transposeB = random.nextBoolean();
            long lda = (transposeA ? m : k) + (long) random.nextInt(3);
            long ldb = (transposeB ? k : n) + (long) random.nextInt(3);
            long ldc = n + (long) random.nextInt(3);
            long sizeA = (transposeA ? k : m) * lda;
            long sizeB = (transposeB ? n : k) * ldb;
            long strideA = random.nextBoolean() ? 0 : sizeA + random.nextInt(3);
            long strideB = random.nextBoolean() ? 0 : sizeB + random.nextInt(3);
            long strideC = m * ldc + random.nextInt(3);
            int start = random.nextInt(3);
            MatmulShape shape = new MatmulShape(transposeA, transposeB, m, n, k, lda, ldb, ldc);
            Pair a = normal(start + (batch - 1) * strideA + sizeA, in);
            Pair b = normal(start + (batch - 1) * strideB + sizeB, in);
            Pair c = normal(start + batch * strideC, out);
            Pair partA = a.slice(start, a.wide.length() - start);
            Pair partB = b.slice(start, b.wide.length() - start);
            Pair partC = c.slice(start, c.wide.length() - start);
            REFERENCE
                    .matmul()
                    .matmulBatched(
                            shape, new Batch(batch, strideA, strideB, strideC), partA.wide, partB.wide, partC.wide);
            device().kernels()
                    .matmul()
                    .matmulBatched(
                            shape, new Batch(batch, strideA, strideB, strideC), partA.there, partB.there, partC.there);
            compare(c, batch + " of " + shape + " at distances " + strideA + " " + strideB + " " + strideC);
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, F32", "BF16, BF16", "BF16, F32"})
    void batchesThatTheLibraryRefusesMatch(DType in, DType out) {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.set("refusals", ALL);
        try {
            batchesOfAllLayoutsMatch(in, out);
        } finally {
            FakeCuda.reset();
        }
    }

    /**
     * A virtual thread changes its carrier while it waits for its turn, and the new one has no context, or another library's:
     * here because each takes the context away from its carrier before others go on with it.
     */
    @Test
    @SuppressWarnings("ThreadPriorityCheck") // what is tested is that the carrier is given away
    void virtualThreadsThatWaitForTheirTurnKeepTheContext() throws Exception {
        long side = 96;
        Pair a = normal(side * side, DType.F32);
        MatmulShape shape = MatmulShape.of(false, false, side, side, side);
        if (FakeCuda.present()) {
            FakeCuda.set("lazy", 0); // so that it takes long to enqueue a product, and others wait
        }
        List<Future<?>> products = new ArrayList<>();
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 8; i++) {
                products.add(threads.submit(() -> {
                    try (Buffer c = device().allocate(DType.F32, 2 * side * side)) {
                        for (int run = 0; run < 25; run++) {
                            device().kernels().matmul().matmul(shape, a.there, a.there, Epilogue.NONE, c);
                            CudaDriver.contextSetCurrent(0);
                            Thread.yield();
                            device().kernels()
                                    .matmul()
                                    .matmulBatched(shape, new Batch(2, 0, 0, side * side), a.there, a.there, c);
                            CudaDriver.contextSetCurrent(0);
                            Thread.yield();
                        }
                    }
                }));
            }
        }
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
        for (Future<?> product : products) {
            product.get();
        }
        Pair c = normal(side * side, DType.F32);
        product(a, c, side);
        compare(c, "after all");
    }

    /** On several streams at once and from a recorded graph: one handle serves them all. */
    @Test
    void batchesRepeatBitForBitOnAllStreams() {
        Pair a = normal(6 * 33 * 17, DType.BF16);
        Pair b = normal(6 * 17 * 9, DType.BF16);
        MatmulShape shape = MatmulShape.of(false, false, 33, 9, 17);
        List<Buffer> results = new ArrayList<>();
        Runnable product = () -> {
            Buffer c = kept(device().allocate(DType.F32, 6 * 33 * 9));
            device().kernels()
                    .matmul()
                    .matmulBatched(shape, new Batch(6, 33 * 17, 17 * 9, 33 * 9), a.there, b.there, c);
            results.add(c);
        };
        product.run();
        try (Stream one = device().newStream();
                Stream two = device().newStream();
                Event ready = device().currentStream().record();
                Graph graph = device().record(product)) {
            for (int run = 0; run < 3; run++) {
                for (Stream stream : List.of(one, two)) {
                    stream.await(ready);
                    device().on(stream, product);
                }
            }
            graph.launch(Graph.Variables.NONE);
            one.synchronize();
            two.synchronize();
            double[] first = values(results.getFirst());
            for (Buffer result : results) {
                assertArrayEquals(first, values(result));
            }
        }
    }

    @Test
    void batchesUseTf32OnlyOnRequest() {
        Pair a = normal(2 * SIDE * SIDE, DType.F32);
        Pair c = normal(2 * SIDE * SIDE, DType.F32);
        batch(a, c);
        compare(c, "without TF32");
        device().allowTf32(true);
        try {
            batch(a, c);
        } finally {
            device().allowTf32(false);
        }
        assertThrows(AssertionError.class, () -> compare(c, "with TF32"));
        batch(a, c);
        compare(c, "without TF32 again");
    }

    private static void batch(Pair a, Pair c) {
        MatmulShape shape = MatmulShape.of(false, false, SIDE, SIDE, SIDE);
        long stride = SIDE * SIDE;
        REFERENCE.matmul().matmulBatched(shape, new Batch(2, stride, stride, stride), a.wide, a.wide, c.wide);
        device().kernels()
                .matmul()
                .matmulBatched(shape, new Batch(2, stride, stride, stride), a.there, a.there, c.there);
    }

    /** The heuristics are promised how the bias is aligned; a fake of the library holds them to it. */
    @ParameterizedTest
    @CsvSource({"F32", "BF16"})
    void biasesMayStartAnywhere(DType dtype) {
        Pair a = normal(64 * 32, dtype);
        Pair b = normal(32 * 48, dtype);
        Pair bias = normal(48 + 8, dtype);
        MatmulShape shape = MatmulShape.of(false, false, 64, 48, 32);
        for (int start : new int[] {0, 1, 2, 4, 8, 1}) {
            Pair c = normal(64 * 48, dtype);
            Pair part = bias.slice(start, 48);
            REFERENCE.matmul().matmul(shape, a.wide, b.wide, new Epilogue(part.wide, null, Activation.NONE), c.wide);
            device().kernels()
                    .matmul()
                    .matmul(shape, a.there, b.there, new Epilogue(part.there, null, Activation.NONE), c.there);
            compare(c, "bias from " + start);
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, false", "F32, true", "BF16, false", "BF16, true"})
    void packedWeightsMatch(DType dtype, boolean accumulate) {
        Pair x = normal(5 * 6, dtype);
        Pair weight = normal(7 * 6, dtype);
        Pair bias = normal(7, dtype);
        Pair y = normal(5 * 7, dtype);
        Activation activation = accumulate ? Activation.NONE : Activation.GELU;
        try (PackedWeight wide = REFERENCE.matmul().pack(weight.wide, 7, 6);
                PackedWeight packed = device().kernels().matmul().pack(weight.there, 7, 6)) {
            device().kernels().elementwise().fill(weight.there, 0);
            REFERENCE
                    .matmul()
                    .linear(5, x.wide, wide, new Epilogue(bias.wide, accumulate ? y.wide : null, activation), y.wide);
            Buffer addend = accumulate ? y.there : null;
            device().kernels()
                    .matmul()
                    .linear(5, x.there, packed, new Epilogue(bias.there, addend, activation), y.there);
        }
        compare(y, "linear");
    }

    /** Where the library lacks the epilogue, the sums come from another kernel, and it is not asked again. */
    @ParameterizedTest
    @CsvSource({
        "no algorithm, F32, F32",
        "no heuristics, BF16, F32",
        "no algorithm, BF16, BF16",
        "impossible types, BF16, F32",
        "refused description, F32, F32",
        "refused description, BF16, BF16",
        "another device, BF16, BF16",
        "refused run, F32, F32",
        "refused run, BF16, F32",
        "impossible run, BF16, F32"
    })
    void columnSumsDoNotNeedTheLibrary(String lack, DType in, DType out) {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        List<DType> types = List.of(DType.values());
        // A shape of its own each time: what was refused is remembered.
        long n = 37 + 3 * lack.length() + types.indexOf(in) + 7L * types.indexOf(out);
        FakeCuda.reset();
        switch (lack) {
            case "no algorithm" -> FakeCuda.set("bias_gradient", 0);
            case "no heuristics" -> FakeCuda.fail("cublasLtMatmulAlgoGetHeuristic", 1, NOT_SUPPORTED);
            case "impossible types" -> FakeCuda.set("refusals", SUMS);
            case "refused description" -> FakeCuda.set("refusals", SUMS_BY_SETTER);
            case "another device" -> FakeCuda.fail("cublasLtMatmulAlgoGetHeuristic", 1, ARCH_MISMATCH);
            case "refused run" -> FakeCuda.fail("cublasLtMatmul", 1, NOT_SUPPORTED);
            default -> FakeCuda.fail("cublasLtMatmul", 1, INVALID_VALUE);
        }
        try {
            linearBackward(n, in, out);
            FakeCuda.reset();
            linearBackward(n, in, out);
            assertEquals(1, FakeCuda.calls("cublasLtMatmul"));
            assertEquals(0, FakeCuda.calls("cublasLtMatmulAlgoGetHeuristic"));
            assertTrue(FakeCuda.calls("cuLaunchKernel") > 0);
        } finally {
            FakeCuda.reset();
        }
    }

    @Test
    void columnSumsTakeNoKernelOfTheirOwn() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.reset();
        linearBackward(20, DType.BF16, DType.F32);
        assertEquals(1, FakeCuda.calls("cublasLtMatmul"));
        assertEquals(0, FakeCuda.calls("cuLaunchKernel"));
    }

    /** Other failures are told as they are. */
    @Test
    void aFailedProductWithColumnSumsIsNoReasonToFallBack() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        FakeCuda.fail("cublasLtMatmul", 1, EXECUTION_FAILED);
        DeviceException e = assertThrows(DeviceException.class, () -> linearBackward(21, DType.F32, DType.F32));
        assertTrue(String.valueOf(e.getMessage()).contains("CUBLAS_STATUS_EXECUTION_FAILED"), e.getMessage());
        linearBackward(21, DType.F32, DType.F32);
    }

    private void linearBackward(long n, DType in, DType out) {
        Pair dy = normal(19 * n, in);
        Pair x = normal(19 * 5, in);
        Pair dw = normal(n * 5, out);
        Pair db = normal(n, out);
        REFERENCE.matmul().linearBackward(new LinearShape(19, n, 5), dy.wide, x.wide, dw.wide, db.wide);
        device().kernels().matmul().linearBackward(new LinearShape(19, n, 5), dy.there, x.there, dw.there, db.there);
        compare(dw, "dW");
        compare(db, "db");
    }

    @Test
    void threeRunsGiveTheSameBits() {
        Pair a = normal(33 * 65, DType.F32);
        Pair b = normal(65 * 17, DType.F32);
        double[] first = null;
        for (int run = 0; run < 3; run++) {
            Buffer c = kept(device().allocate(DType.F32, 33 * 17));
            MatmulShape shape = MatmulShape.of(false, false, 33, 17, 65);
            device().kernels().matmul().matmul(shape, a.there, b.there, Epilogue.NONE, c);
            Buffer back = kept(CPU.allocate(DType.F32, c.length()));
            c.copyTo(back);
            double[] values = values(back);
            first = first == null ? values : first;
            assertArrayEquals(first, values);
        }
    }

    @Test
    void tf32IsUsedOnlyOnRequest() {
        // Large enough for real libraries to take to the tensor cores.
        Pair a = normal(SIDE * SIDE, DType.F32);
        Pair c = normal(SIDE * SIDE, DType.F32);
        product(a, c);
        compare(c, "without TF32");
        device().allowTf32(true);
        try {
            product(a, c);
        } finally {
            device().allowTf32(false);
        }
        assertThrows(AssertionError.class, () -> compare(c, "with TF32"));
        product(a, c);
        compare(c, "without TF32 again");
    }

    private static void product(Pair a, Pair c) {
        product(a, c, SIDE);
    }

    private static void product(Pair a, Pair c, long side) {
        MatmulShape shape = MatmulShape.of(false, false, side, side, side);
        REFERENCE.matmul().matmul(shape, a.wide, a.wide, Epilogue.NONE, c.wide);
        device().kernels().matmul().matmul(shape, a.there, a.there, Epilogue.NONE, c.there);
    }

    @Test
    void f64IsRefused() {
        Buffer a = kept(device().allocate(DType.F64, 4));
        MatmulShape shape = MatmulShape.of(false, false, 2, 2, 2);
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> device().kernels().matmul().matmul(shape, a, a, Epilogue.NONE, a));
        assertTrue(String.valueOf(e.getMessage()).contains("use f32"), e.getMessage());
    }
}
