package tessera.kernels.cpu;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class GemmTest {
    private static final long[] SIZES = {1, 3, 17, 31, 129};

    private Arena arena;
    private Workers workers;
    private Random random;

    @BeforeAll
    void open() {
        arena = Arena.ofShared();
        workers = new Workers(3);
        random = new Random(7);
    }

    @AfterAll
    void close() {
        workers.close();
        arena.close();
    }

    /** An implementation and a type, with the accuracy that the type allows. */
    record Kind(String name, Gemm gemm, DType type, double tol) {
        @Override
        public String toString() {
            return name + " " + type;
        }
    }

    Stream<Kind> kinds() {
        List<Kind> kinds = new ArrayList<>();
        kinds.add(new Kind("java", new JavaGemm(workers, new HostMemory()), DType.F32, 1e-6));
        kinds.add(new Kind("java", new JavaGemm(workers, new HostMemory()), DType.F64, 1e-14));
        if (OneDnn.finding().usable()) {
            kinds.add(new Kind("oneDNN", new OneDnnGemm(workers, new HostMemory(), null), DType.F32, 1e-6));
            kinds.add(new Kind("oneDNN", new OneDnnGemm(workers, new HostMemory(), null), DType.F64, 1e-14));
            kinds.add(inBlocks(workers));
        }
        return kinds.stream();
    }

    private static void gelu(MemorySegment y, long start, int n) {
        for (long i = start; i < start + n; i++) {
            float value = y.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
            y.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, Erf.gelu(value));
        }
    }

    /** More rows than one block of those whose GELU follows the product. */
    @Test
    void geluFollowsProductsInBlocks() {
        assumeTrue(OneDnn.finding().usable(), "there is no oneDNN for this processor");
        Case product = new Case(inBlocks(workers), false, true, 300, 1501, 3);
        product.activation = Activation.GELU;
        product.check();
    }

    /** Of oneDNN where vectors are short. */
    private static Kind inBlocks(Workers threads) {
        return new Kind("oneDNN in blocks", new OneDnnGemm(threads, new HostMemory(), GemmTest::gelu), DType.F32, 1e-6);
    }

    /** More terms and columns than a block has, and none of them a whole number of blocks. */
    @Test
    void largeProductsAreSumsOfBlocks() {
        assumeTrue(OneDnn.finding().usable(), "there is no oneDNN for this processor");
        for (int transposes = 0; transposes < 4; transposes++) {
            Case product = new Case(
                    inBlocks(workers), (transposes & 1) != 0, (transposes & 2) != 0, 21 + transposes, 803, 1001);
            product.widen(3);
            product.withBias = true;
            for (Activation activation : Activation.values()) {
                product.activation = activation;
                for (Added added : Added.values()) {
                    product.added = added;
                    product.check();
                }
            }
        }
    }

    /** Rows enough that B is copied where convolutions are faster. */
    @Test
    void productsOfManyRows() {
        assumeTrue(OneDnn.finding().usable(), "there is no oneDNN for this processor");
        for (boolean transposeB : new boolean[] {false, true}) {
            for (int extra : new int[] {0, 3}) {
                Case product = new Case(inBlocks(workers), false, transposeB, 300, 72, 136);
                product.widen(extra);
                for (boolean withBias : new boolean[] {false, true}) {
                    product.withBias = withBias;
                    for (Activation activation : Activation.values()) {
                        product.activation = activation;
                        for (Added added : Added.values()) {
                            product.added = added;
                            product.check();
                        }
                    }
                }
                product.widen(0);
                product.widenB(3);
                product.check();
            }
        }
    }

    @Test
    void blocksHaveTheSameBitsOnEveryNumberOfThreads() {
        assumeTrue(OneDnn.finding().usable(), "there is no oneDNN for this processor");
        try (Workers one = new Workers(1);
                Workers two = new Workers(2);
                Workers many = new Workers(20)) {
            for (int transposes = 0; transposes < 4; transposes++) {
                for (long rows : new long[] {24, 300, 500}) { // cut by columns on all, on many threads, and by rows
                    for (long columns : new long[] {500, 504}) { // of which whole eights are copied
                        Case product = new Case(
                                inBlocks(one), (transposes & 1) != 0, (transposes & 2) != 0, rows, columns, 904);
                        double[] alone = product.run();
                        assertArrayEquals(alone, product.run(inBlocks(two)), "two threads, transposes " + transposes);
                        assertArrayEquals(alone, product.run(inBlocks(many)), "many threads, transposes " + transposes);
                    }
                }
            }
        }
    }

    @Test
    void theCarrierOfThisPlatformIsUsed() {
        assertTrue(OneDnn.finding().usable(), OneDnn.finding().toString());
        assertEquals(OneDnnGemm.class, Gemm.create(workers, new HostMemory()).getClass());
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void everyTransposeOfOddSizes(Kind kind) {
        for (long m : SIZES) {
            for (long n : SIZES) {
                for (long k : SIZES) {
                    for (int transposes = 0; transposes < 4; transposes++) {
                        new Case(kind, (transposes & 1) != 0, (transposes & 2) != 0, m, n, k).check();
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void biasAddendActivationAndWideRows(Kind kind) {
        for (int transposes = 0; transposes < 4; transposes++) {
            for (int extra : new int[] {0, 5}) {
                for (boolean bias : new boolean[] {false, true}) {
                    Case plain = new Case(kind, (transposes & 1) != 0, (transposes & 2) != 0, 37, 70, 300);
                    plain.widen(extra);
                    plain.withBias = bias;
                    for (Activation activation : Activation.values()) {
                        plain.activation = activation;
                        for (Added added : Added.values()) {
                            plain.added = added;
                            plain.check();
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void fewRowsAndManyColumns(Kind kind) {
        Case wide = new Case(kind, false, true, 2, 1000, 500);
        wide.withBias = true;
        wide.check();
        new Case(kind, true, false, 5, 777, 600).check();
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void emptySizes(Kind kind) {
        for (int zero = 0; zero < 3; zero++) {
            for (Added added : Added.values()) {
                Case empty = new Case(kind, false, false, zero == 0 ? 0 : 4, zero == 1 ? 0 : 5, zero == 2 ? 0 : 6);
                empty.added = added;
                empty.withBias = true;
                empty.check();
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void packedWeights(Kind kind) {
        for (long m : new long[] {0, 1, 17, 129, 392}) {
            for (long[] nk : new long[][] {{1, 1}, {3, 17}, {129, 31}, {192, 384}, {48, 300}, {70, 1537}, {128, 512}}) {
                Case linear = new Case(kind, false, true, m, nk[0], nk[1]);
                linear.widenB(3);
                linear.checkPacked();
                linear.withBias = true;
                linear.activation = Activation.GELU;
                linear.checkPacked();
                linear.added = Added.ANOTHER;
                linear.checkPacked();
                linear.activation = Activation.NONE;
                linear.added = Added.ITSELF;
                linear.checkPacked();
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void unalignedMemory(Kind kind) {
        Case shifted = new Case(kind, false, false, 19, 33, 40);
        shifted.misalign = kind.type.bytes();
        shifted.check();
        shifted.checkPacked();
        shifted.added = Added.ANOTHER;
        shifted.check();
        shifted.checkPacked();
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void theSameBitsEveryTime(Kind kind) {
        Case repeated = new Case(kind, false, true, 130, 200, 384);
        repeated.withBias = true;
        double[] first = repeated.run();
        for (int i = 0; i < 20; i++) {
            assertArrayEquals(first, repeated.run(), "run " + i);
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void manyThreadsShareAPackedWeight(Kind kind) throws Exception {
        Case linear = new Case(kind, false, true, 50, 96, 64);
        MemorySegment y0 = filled(kind.type, 50 * 96);
        try (Gemm.Weight weight = kind.gemm.pack(kind.type, 96, 64, linear.b, 64);
                ExecutorService users = Executors.newFixedThreadPool(6)) {
            kind.gemm.linear(50, linear.a, weight, null, null, Activation.NONE, y0);
            double[] expected = values(kind.type, y0);
            List<Callable<double[]>> calls = new ArrayList<>();
            for (int i = 0; i < 24; i++) {
                MemorySegment y = filled(kind.type, 50 * 96);
                calls.add(() -> {
                    for (int j = 0; j < 20; j++) {
                        kind.gemm.linear(50, linear.a, weight, null, null, Activation.NONE, y);
                    }
                    return values(kind.type, y);
                });
            }
            for (Future<double[]> result : users.invokeAll(calls)) {
                assertArrayEquals(expected, result.get());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void moreShapesThanTheCacheHolds(Kind kind) {
        for (int round = 0; round < 2; round++) {
            for (long m = 1; m <= 40; m++) {
                for (long n = 1; n <= 20; n++) {
                    new Case(kind, false, false, m, n, 3).check();
                }
            }
        }
    }

    @Test
    void misuseIsRefusedWithTheReason() {
        Gemm gemm = Gemm.create(workers, new HostMemory());
        MemorySegment x = filled(DType.F32, 12);
        String small = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> gemm.gemm(
                                DType.F32, MatmulShape.of(false, false, 3, 4, 4), x, x, null, null, Activation.NONE, x))
                .getMessage());
        assertTrue(small.contains("b is [4, 4]") && small.contains("64 bytes"), small);
        String rows =
                requireNonNull(assertThrows(IllegalArgumentException.class, () -> gemm.pack(DType.F32, 3, 4, x, 3))
                        .getMessage());
        assertTrue(rows.contains("w is [3, 4] with rows 3"), rows);
        String type =
                requireNonNull(assertThrows(IllegalArgumentException.class, () -> gemm.pack(DType.I32, 3, 4, x, 4))
                        .getMessage());
        assertTrue(type.contains("i32"), type);
        String heap = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> gemm.pack(DType.F32, 3, 4, MemorySegment.ofArray(new float[12]), 4))
                .getMessage());
        assertTrue(heap.contains("native memory"), heap);
        String addend = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> gemm.gemm(
                                DType.F32,
                                MatmulShape.of(false, false, 3, 4, 3),
                                x,
                                x,
                                null,
                                x.asSlice(4),
                                Activation.NONE,
                                x))
                .getMessage());
        assertTrue(addend.contains("addend is [3, 4]"), addend);
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void aClosedWeightIsRefused(Kind kind) {
        MemorySegment x = filled(kind.type, 12);
        Gemm.Weight weight = kind.gemm.pack(kind.type, 3, 4, x, 4);
        weight.close();
        weight.close();
        String message = requireNonNull(assertThrows(
                        IllegalStateException.class,
                        () -> kind.gemm.linear(1, x, weight, null, null, Activation.NONE, x))
                .getMessage());
        assertTrue(message.contains("[3, 4] is closed"), message);
    }

    private MemorySegment filled(DType type, long length) {
        MemorySegment data = arena.allocate(length * type.bytes() + 8, 64);
        for (long i = 0; i < length; i++) {
            set(type, data, i, random.nextGaussian());
        }
        return data.asSlice(0, length * type.bytes());
    }

    private static void set(DType type, MemorySegment data, long index, double value) {
        if (type == DType.F32) {
            data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, index, (float) value);
        } else {
            data.setAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, index, value);
        }
    }

    private static double get(DType type, MemorySegment data, long index) {
        return type == DType.F32
                ? data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, index)
                : data.getAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, index);
    }

    private static double[] values(DType type, MemorySegment data) {
        double[] values = new double[(int) (data.byteSize() / type.bytes())];
        for (int i = 0; i < values.length; i++) {
            values[i] = get(type, data, i);
        }
        return values;
    }

    /** What a product is added to. */
    private enum Added {
        NOTHING,
        ITSELF,
        ANOTHER
    }

    /** One product with random arguments, and what a double loop makes of it. */
    private final class Case {
        final Kind kind;
        final boolean transposeA;
        final boolean transposeB;
        final long m;
        final long n;
        final long k;
        long lda;
        long ldb;
        long ldc;
        MemorySegment a;
        MemorySegment b;
        MemorySegment c;
        MemorySegment bias;
        boolean withBias;
        Activation activation = Activation.NONE;
        Added added = Added.NOTHING;
        MemorySegment another;
        long misalign;

        Case(Kind kind, boolean transposeA, boolean transposeB, long m, long n, long k) {
            this.kind = kind;
            this.transposeA = transposeA;
            this.transposeB = transposeB;
            this.m = m;
            this.n = n;
            this.k = k;
            widen(0);
        }

        /** Gives every matrix {@code extra} unused elements at the end of its rows. */
        void widen(int extra) {
            lda = (transposeA ? m : k) + extra;
            ldb = (transposeB ? k : n) + extra;
            ldc = n + extra;
            a = filled(kind.type, (transposeA ? k : m) * lda);
            b = filled(kind.type, (transposeB ? n : k) * ldb);
            c = filled(kind.type, m * ldc);
            another = filled(kind.type, m * ldc);
            bias = filled(kind.type, n);
        }

        /** The same of B alone. */
        void widenB(int extra) {
            ldb = (transposeB ? k : n) + extra;
            b = filled(kind.type, (transposeB ? n : k) * ldb);
        }

        private MemorySegment moved(MemorySegment data) {
            MemorySegment copy = arena.allocate(data.byteSize() + misalign, 64).asSlice(misalign);
            return copy.copyFrom(data);
        }

        private @Nullable MemorySegment addend(MemorySegment out) {
            return switch (added) {
                case NOTHING -> null;
                case ITSELF -> out;
                case ANOTHER -> moved(another);
            };
        }

        private MatmulShape shape() {
            return new MatmulShape(transposeA, transposeB, m, n, k, lda, ldb, ldc);
        }

        double[] run() {
            return run(kind);
        }

        double[] run(Kind by) {
            MemorySegment out = moved(c);
            by.gemm.gemm(
                    kind.type,
                    shape(),
                    moved(a),
                    moved(b),
                    withBias ? moved(bias) : null,
                    addend(out),
                    activation,
                    out);
            return values(kind.type, out);
        }

        void check() {
            holds(run(), this + " parallel");
            MemorySegment out = moved(c);
            kind.gemm.gemmSerial(kind.type, shape(), a, b, withBias ? bias : null, addend(out), activation, out);
            holds(values(kind.type, out), this + " serial");
        }

        void checkPacked() {
            Case linear = transposeB ? this : new Case(kind, false, true, m, n, k);
            MemorySegment out = linear.moved(linear.c);
            try (Gemm.Weight weight = kind.gemm.pack(kind.type, n, k, linear.moved(linear.b), linear.ldb)) {
                assertEquals(n, weight.n());
                assertEquals(k, weight.k());
                kind.gemm.linear(
                        m,
                        linear.moved(linear.a),
                        weight,
                        linear.withBias ? linear.bias : null,
                        linear.addend(out),
                        linear.activation,
                        out);
            }
            linear.holds(values(kind.type, out), linear + " packed");
        }

        /** The 2-norm of errors counts against that of all terms, and not of their sums, where much may cancel if there are few. */
        private void holds(double[] actual, String what) {
            double[] terms = {0};
            double[] expected = expected(terms);
            assertEquals(expected.length, actual.length, what);
            double errors = 0;
            for (int i = 0; i < expected.length; i++) {
                errors += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            }
            Close.within(Math.sqrt(errors), 0, kind.tol * Math.sqrt(terms[0]), what);
        }

        /** @param terms gets the sum of the squares of what is added up */
        private double[] expected(double[] terms) {
            double[] expected = values(kind.type, c);
            double[] addend = added == Added.ANOTHER ? values(kind.type, another) : expected.clone();
            for (long i = 0; i < m; i++) {
                for (long j = 0; j < n; j++) {
                    int at = (int) (i * ldc + j);
                    double first = added == Added.NOTHING ? 0 : addend[at];
                    double second = withBias ? get(kind.type, bias, j) : 0;
                    double sum = first + second;
                    terms[0] += first * first + second * second;
                    for (long p = 0; p < k; p++) {
                        double term = get(kind.type, a, transposeA ? p * lda + i : i * lda + p)
                                * get(kind.type, b, transposeB ? j * ldb + p : p * ldb + j);
                        sum += term;
                        terms[0] += term * term;
                    }
                    expected[at] = activation == Activation.GELU ? Erf.gelu(sum) : sum;
                }
            }
            return expected;
        }

        @Override
        public String toString() {
            return "%s %s%s [%d, %d, %d] ld %d %d %d%s %s, added to %s"
                    .formatted(
                            kind,
                            transposeA ? "t" : "n",
                            transposeB ? "t" : "n",
                            m,
                            n,
                            k,
                            lda,
                            ldb,
                            ldc,
                            withBias ? " bias" : "",
                            activation,
                            added);
        }
    }
}
