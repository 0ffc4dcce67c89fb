package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Autograd;
import tessera.tensor.Cost;
import tessera.tensor.CostMeter;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

class StudentTest {
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            24,
            2,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);
    private static final List<String> LABELS = List.of("cut", "pour", "wipe");

    private Scope scope;
    private VideoMaeClassifier model;
    private Params params;
    private Student student;

    @BeforeEach
    void open() {
        scope = Scope.open();
        params = Params.random(Device.cpu(), DType.F32, 5);
        model = new VideoMaeClassifier(params, CONFIG, 0);
        student = Student.of(params.all(), CONFIG, Device.cpu());
    }

    @AfterEach
    void close() {
        student.close();
        scope.close();
    }

    private static Tensor clips(int batch) {
        byte[] pixels = new byte[batch * 4 * 16 * 16 * 3];
        new Random(3).nextBytes(pixels);
        return Tensor.of(pixels, batch, 4, 16, 16, 3);
    }

    private static Head head() {
        double[][] weight = new double[3][24];
        Random random = new Random(4);
        for (double[] row : weight) {
            for (int j = 0; j < row.length; j++) {
                row[j] = random.nextGaussian();
            }
        }
        return Head.of(weight, new double[] {.1, 0, -.1}, LABELS);
    }

    @Test
    void featuresAreTheModels() {
        Tensor clips = clips(2);
        Tensor features = student.features(clips, Masking.of(.75, 3), 9);
        assertEquals("f32[3, 2, 24]", features.describe());
        for (int p = 0; p < 3; p++) {
            TokenMask mask = TokenMask.ofEnsemble(Device.cpu(), 2, 2, 16, .75, 9, p);
            float[] expected =
                    Autograd.noGrad(() -> model.features(clips, mask.visible())).toFloats();
            Close.relative(features.slice(0, p, p + 1).toFloats(), expected, 1e-5, "mask " + p);
        }
    }

    @Test
    void ensemblesAverageProbabilities() {
        Student classifier = student.withHead(head());
        Tensor clips = clips(2);
        assertEquals(LABELS, classifier.labels());
        Tensor features = student.features(clips, Masking.of(.5, 4), 9);
        Tensor each = features.linear(Tensor.of(head().weight(), 3, 24), Tensor.of(head().bias()))
                .softmax();
        float[] probabilities = classifier.predict(clips, Masking.of(.5, 4), 9).toFloats();
        Close.relative(probabilities, each.mean(0).toFloats(), 1e-6, "mean over the masks");
        Close.within(probabilities[0] + probabilities[1] + probabilities[2], 1, 1e-6, "sum of a clip's probabilities");
    }

    /** One head after the other, of an ensemble the mean of the passes, whatever the aggregation. */
    @Test
    void logitsAreTheHeadsScores() {
        Head other = Head.of(new double[2][24], new double[] {3, -1}, List.of("a", "b"))
                .named("other");
        Student classifier = student.withHeads(List.of(head(), other));
        Tensor clips = clips(2);
        Tensor features = student.features(clips, Masking.of(.5, 4), 9);
        float[] expected = features.linear(Tensor.of(head().weight(), 3, 24), Tensor.of(head().bias()))
                .mean(0)
                .toFloats();
        for (Aggregation aggregation : Aggregation.values()) {
            Tensor logits = classifier.logits(clips, Masking.of(.5, 4).withAggregation(aggregation), 9);
            assertEquals("f32[2, 5]", logits.describe());
            Close.relative(logits.slice(1, 0, 3).toFloats(), expected, 1e-5, "first head, " + aggregation);
            assertArrayEquals(new float[] {3, -1, 3, -1}, logits.slice(1, 3, 5).toFloats());
        }
        Tensor one = classifier.logits(clips, Masking.of(.5, 1), 9).slice(1, 0, 3);
        Close.relative(
                one.softmax().toFloats(),
                classifier.predict(clips, Masking.of(.5, 1), 9).toFloats(),
                1e-6,
                "their softmax is what it predicts");
        assertThrows(IllegalStateException.class, () -> student.logits(clips, Masking.of(0, 1), 1));
    }

    @Test
    void withoutMaskingEnsemblesChangeNothing() {
        Student classifier = student.withHead(head());
        Tensor clips = clips(2);
        float[] one = classifier.predict(clips, Masking.of(0, 1), 1).toFloats();
        float[] many = classifier.predict(clips, Masking.of(0, 3), 2).toFloats();
        Close.relative(many, one, 1e-6, "three passes without a mask");
        float[] unmasked = Autograd.noGrad(() -> model.features(clips, null)).toFloats();
        Close.relative(
                student.features(clips, Masking.of(0, 1), 1).toFloats(), unmasked, 1e-5, "feature without a mask");
    }

    /** With VideoMaeTest's costs of one pass, these are the costs of every ensemble. */
    @ParameterizedTest
    @CsvSource({".5, 2", ".5, 4", ".75, 2", ".75, 4", ".9, 2", ".9, 4"})
    void ensemblesCostExactMultiples(double maskRatio, int ensemble) {
        Tensor clips = clips(1);
        Cost one = cost(clips, maskRatio, 1);
        Cost many = cost(clips, maskRatio, ensemble);
        assertTrue(one.flops() > 0);
        assertEquals(ensemble * one.flops(), many.flops());
    }

    private Cost cost(Tensor clips, double maskRatio, int ensemble) {
        try (CostMeter meter = CostMeter.open()) {
            student.features(clips, Masking.of(maskRatio, ensemble), 9);
            return meter.total();
        }
    }

    @Test
    void aClipsResultDoesNotDependOnItsBatch() {
        Tensor two = clips(2);
        float[] together =
                student.features(two, Masking.of(.75, 1), 9).slice(1, 0, 1).toFloats();
        float[] alone =
                student.features(two.slice(0, 0, 1), Masking.of(.75, 1), 9).toFloats();
        Close.relative(alone, together, 1e-5, "first clip");
    }

    @Test
    void savedStudentsComeBackBitEqual(@TempDir Path folder) {
        Path file = folder.resolve("student.safetensors");
        Student.save(file, params.all(), CONFIG, Map.of());
        Tensor clips = clips(1);
        try (Student loaded = Student.load(file, Device.cpu())) {
            assertArrayEquals(
                    student.features(clips, Masking.of(.75, 2), 9).toFloats(),
                    loaded.features(clips, Masking.of(.75, 2), 9).toFloats());
        }
        Path headFile = folder.resolve("head.safetensors");
        head().save(headFile);
        Head read = Head.load(headFile);
        assertEquals(LABELS, read.labels());
        assertArrayEquals(head().weight(), read.weight());
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> Student.load(headFile, Device.cpu()));
        assertTrue(requireNonNull(e.getMessage()).contains(headFile.toString()), e.getMessage());
    }

    @Test
    void sessionsEqualSingleCalls() {
        Student classifier = student.withHead(head());
        Tensor clips = clips(2);
        try (Student.Session session = classifier.session(2, Masking.of(.75, 2))) {
            MemorySegment.copy(
                    clips.segment(), 0, session.input(), 0, session.input().byteSize());
            assertArrayEquals(classifier.predict(clips, Masking.of(.75, 2), 9).toFloats(), session.predict(9));
            assertArrayEquals(student.features(clips, Masking.of(.75, 2), 9).toFloats(), session.features(9));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void threadsShareAStudent(boolean virtual) {
        Student classifier = student.withHead(head());
        Tensor clips = clips(1);
        float[] expected = classifier.predict(clips, Masking.of(.75, 2), 9).toFloats();
        try (ExecutorService threads =
                virtual ? Executors.newVirtualThreadPerTaskExecutor() : Executors.newFixedThreadPool(4)) {
            List<CompletableFuture<float[]>> results = IntStream.range(0, virtual ? 200 : 16)
                    .mapToObj(i -> CompletableFuture.supplyAsync(
                            () -> {
                                try (Tensor probabilities = classifier.predict(clips, Masking.of(.75, 2), 9)) {
                                    return probabilities.toFloats();
                                }
                            },
                            threads))
                    .toList();
            results.forEach(result -> assertArrayEquals(expected, result.join()));
        }
    }

    /** However many callers there are at a time, each takes what one takes at most, and all of it comes back. */
    @Test
    void virtualThreadsTakeBoundedMemory() {
        int callers = 200;
        Device own = Device.cpu(2);
        Tensor clips = clips(1);
        try (Student alone = Student.of(params.all(), CONFIG, own)) {
            long weights = own.memory().live();
            alone.features(clips, Masking.of(.75, 2), 9).close();
            long one = own.memory().peak() - weights;
            own.resetPeak();
            try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                CompletableFuture<?>[] calls = new CompletableFuture<?>[callers];
                Arrays.setAll(
                        calls,
                        i -> CompletableFuture.runAsync(
                                () -> alone.features(clips, Masking.of(.75, 2), 9)
                                        .close(),
                                threads));
                CompletableFuture.allOf(calls).join();
            }
            assertTrue(one > 0, "a call takes memory");
            assertTrue(own.memory().peak() - weights <= callers * one, () -> own.memory() + ", a call " + one);
            assertEquals(weights, own.memory().live());
        }
        assertEquals(0, own.memory().live());
    }

    @Test
    void callsReturnTheirMemoryAndStayOnTheirDevice() {
        Device own = Device.cpu(1);
        Tensor clips = clips(1);
        try (Student alone = Student.of(params.all(), CONFIG, own)) {
            Student classifier = alone.withHead(head());
            long weights =
                    params.all().values().stream().mapToLong(Tensor::byteSize).sum();
            assertTrue(own.memory().live() > 1.5 * weights, "weights and their packed copies count");
            long before = own.memory().liveBuffers();
            for (double ratio : new double[] {0, .5, .75}) {
                for (int p = 1; p <= 2; p++) {
                    try (Tensor probabilities = classifier.predict(clips, Masking.of(ratio, p), 9)) {
                        assertSame(own, probabilities.device());
                    }
                    alone.features(clips, Masking.of(ratio, p), 9).close();
                }
            }
            assertEquals(before, own.memory().liveBuffers());
        }
        assertEquals(0, own.memory().live());
    }

    @Test
    void wrongCallsSayWhatToDo() {
        Tensor clips = clips(1);
        assertThrows(IllegalStateException.class, () -> student.predict(clips, Masking.of(.5, 1), 0));
        refused(() -> student.features(clips, Masking.of(.5, 0), 0), "ensemble of 0 masks; pass 1 or more");
        refused(() -> student.features(clips, Masking.of(1, 1), 0), "mask ratio 1.0 is not in [0, 1)");
        refused(() -> student.session(1, Masking.of(1.5, 1)), "mask ratio 1.5 ");
        refused(
                () -> student.features(clips.slice(4, 0, 2), Masking.of(.5, 1), 0),
                "clips are u8[1, 4, 16, 16, 2] but the student takes u8 or f32 [batch, 4, 16, 16, 3]");
        refused(
                () -> student.withHead(Head.of(new double[2][7], new double[2], List.of("a", "b"))),
                "the student's features have 24 values");
        refused(() -> Head.of(new double[2][7], new double[2], List.of("a")), "do not fit 1 labels");
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(requireNonNull(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
