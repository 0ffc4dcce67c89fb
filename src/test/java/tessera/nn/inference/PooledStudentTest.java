package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.Autograd;
import tessera.tensor.Cost;
import tessera.tensor.CostMeter;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Students whose tokens are pooled in other ways, and heads on such features. */
class PooledStudentTest {
    private static final MaskStrategy PER_SLOT = c -> TokenMask.perSlot(
            c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream() + c.member());

    private Scope scope;
    private VideoMaeClassifier model;
    private Student student;

    @BeforeEach
    void open() {
        scope = Scope.open();
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        model = new VideoMaeClassifier(params, Toy.CONFIG, 0);
        student = Student.of(params.all(), Toy.CONFIG, Device.cpu());
    }

    @AfterEach
    void close() {
        student.close();
        scope.close();
    }

    private static Head head(String name, Pooling pooling, long seed) {
        Random random = new Random(seed);
        double[][] weight = new double[3][pooling.width(Toy.CONFIG)];
        for (double[] row : weight) {
            Arrays.setAll(row, j -> random.nextGaussian());
        }
        return Head.of(weight, new double[] {.1, 0, -.1}, List.of("cut", "pour", "wipe"))
                .named(name)
                .on(pooling);
    }

    @Test
    void theMeanIsWhatTheStudentGivesWithoutAPooling() {
        Tensor clips = Toy.clips(2, 3);
        float[] plain = student.features(clips, Masking.of(.5, 2), 9).toFloats();
        assertArrayEquals(
                plain,
                student.pooled(Pooling.MEAN)
                        .features(clips, Masking.of(.5, 2), 9)
                        .toFloats());
        Student several = student.pooled(Pooling.of("mean+motion:2@1+grid:2"));
        assertEquals(24 * 9, several.featureWidth());
        Tensor features = several.features(clips, Masking.of(.5, 2), 9);
        assertEquals("f32[2, 2, 216]", features.describe());
        Close.relative(features.slice(2, 0, 24).toFloats(), plain, 1e-6, "the first part");
    }

    /** 16 cells of 4 x 4 in two slots, by loops over the model's tokens. */
    @ParameterizedTest
    @ValueSource(doubles = {0, .5, .75})
    void motionIsTheMeanChangeOfEachPart(double ratio) {
        Tensor clips = Toy.clips(2, 3);
        Tensor visible = ratio == 0
                ? null
                : TokenMask.ofEnsemble(Device.cpu(), 2, 2, 16, ratio, 9, 0).visible();
        Tensor tokens = Autograd.noGrad(() -> model.encoder().forward(clips, visible)); // [2, Nvis, 24]
        int cells = Math.toIntExact(tokens.size(1)) / 2;
        float[] x = tokens.toFloats();
        int[] places = visible == null ? new int[0] : visible.toInts();
        double[] expected = new double[2 * 4 * 24];
        for (int b = 0; b < 2; b++) {
            int[] count = new int[4];
            double[] whole = new double[24];
            for (int i = 0; i < cells; i++) {
                int cell = visible == null ? i : places[b * 2 * cells + i];
                int part = cell / 4 / 2 * 2 + cell % 4 / 2;
                count[part]++;
                for (int j = 0; j < 24; j++) {
                    int first = (b * 2 * cells + i) * 24 + j;
                    double change = Math.abs(x[first + cells * 24] - x[first]);
                    expected[(b * 4 + part) * 24 + j] += change;
                    whole[j] += change / cells;
                }
            }
            for (int part = 0; part < 4; part++) {
                for (int j = 0; j < 24; j++) {
                    int at = (b * 4 + part) * 24 + j;
                    expected[at] = count[part] == 0 ? whole[j] : expected[at] / count[part];
                }
            }
        }
        Close.relative(
                student.pooled(Pooling.of("motion:2"))
                        .features(clips, Masking.of(ratio, 1), 9)
                        .toDoubles(),
                expected,
                1e-5,
                "motion of the last block at " + ratio);
    }

    @Test
    void blocksThatNothingNeedsAreNotComputed() {
        double all = flops("motion:1");
        double one = flops("motion:1@1");
        double none = flops("motion:1@0");
        assertTrue(none < one && one < .6 * all, none + ", " + one + ", " + all);
        Close.within(flops("motion:1@0+motion:1@1") / one, 1, .01, "tokens on the way cost nothing");
        Tensor clips = Toy.clips(1, 3);
        float[] both = student.pooled(Pooling.of("grid:1@0+grid:1@1+grid:1@2"))
                .features(clips, Masking.none(), 1)
                .toFloats();
        for (int block = 0; block <= 2; block++) {
            assertArrayEquals(
                    student.pooled(Pooling.of("grid:1@" + block))
                            .features(clips, Masking.none(), 1)
                            .toFloats(),
                    Arrays.copyOfRange(both, 24 * block, 24 * block + 24),
                    "later blocks leave those of block " + block + " as they were");
        }
    }

    private double flops(String word) {
        Student pooled = student.pooled(Pooling.of(word));
        try (CostMeter meter = CostMeter.open()) {
            pooled.features(Toy.clips(1, 3), Masking.none(), 1);
            Cost total = meter.total();
            return total.flops();
        }
    }

    @Test
    void headsLookAtFeaturesAsTheyWereLearned() {
        Tensor clips = Toy.clips(2, 3);
        Head motion = head("motion", Pooling.of("motion:2@1"), 1);
        Head mean = head("mean", Pooling.MEAN, 2);
        Head both = head("both", Pooling.of("mean+motion:2@1"), 3);
        Student answering = student.withHeads(List.of(motion, mean, both));
        assertEquals("motion:2@1+mean", answering.pooling().toString());
        Masking masking = Masking.of(.5, 2);
        Tensor together = answering.predictAll(clips, masking, 9);
        int at = 0;
        for (Head head : List.of(motion, mean, both)) {
            float[] alone = student.withHead(head).predict(clips, masking, 9).toFloats();
            Close.relative(together.slice(1, at, at + 3).toFloats(), alone, 1e-4, head.name());
            float[] features = student.pooled(head.pooling())
                    .features(clips, masking, 9)
                    .linear(Tensor.of(head.weight(), 3, head.width()), Tensor.of(head.bias()))
                    .softmax()
                    .mean(0)
                    .toFloats();
            Close.relative(alone, features, 1e-4, head.name() + " by hand");
            at += 3;
        }
        try (Student.Session session = answering.session(2, masking)) {
            MemorySegment.copy(
                    clips.segment(), 0, session.input(), 0, session.input().byteSize());
            assertArrayEquals(together.toFloats(), session.predictAll(9));
        }
    }

    @Test
    void filesRememberThePooling(@TempDir Path folder) {
        Tensor clips = Toy.clips(2, 3);
        Head motion = head("motion", Pooling.of("motion:2"), 1);
        Path file = folder.resolve("head.safetensors");
        motion.save(file);
        assertEquals(motion.pooling(), Head.load(file).pooling());
        head("mean", Pooling.MEAN, 1).save(folder.resolve("mean.safetensors"));
        assertEquals(Pooling.MEAN, Head.load(folder.resolve("mean.safetensors")).pooling());
        Student answering = student.withHeads(List.of(motion, head("mean", Pooling.MEAN, 2)));
        float[] expected = answering.predictAll(clips, Masking.none(), 1).toFloats();
        Path whole = folder.resolve("student.safetensors");
        answering.save(whole);
        try (Student loaded = Student.load(whole, Device.cpu())) {
            assertEquals(answering.pooling(), loaded.pooling());
            assertArrayEquals(
                    expected, loaded.predictAll(clips, Masking.none(), 1).toFloats());
            loaded.withHead(head("mean", Pooling.MEAN, 2)).save(whole);
        }
        try (Student loaded = Student.load(whole, Device.cpu())) {
            assertEquals(Pooling.MEAN, loaded.pooling(), "what it said of other heads is gone");
        }
    }

    @Test
    void aHeadOfAnotherWidthIsRefused() {
        Head narrow = Toy.head(3, "a", "b").on(Pooling.of("motion:2"));
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> student.withHead(narrow))
                .getMessage());
        assertTrue(message.contains("f32[2, 24] but the student's features by motion:2 have 96 values"), message);
    }

    @Test
    void motionRefusesMasksThatAreNoTubes() {
        Tensor clips = Toy.clips(2, 3);
        Masking masking = Masking.of(.5, 1).withStrategy(PER_SLOT);
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> student.pooled(Pooling.of("mean+motion:2")).features(clips, masking, 9))
                .getMessage());
        assertTrue(message.startsWith("pooling mean+motion:2 compares the same cells from slot to slot"), message);
        assertEquals(
                "f32[1, 2, 96]",
                student.pooled(Pooling.of("grid:2")).features(clips, masking, 9).describe());
        MaskStrategy own = c -> MaskStrategy.tubes().draw(c); // promises nothing, and keeps to it
        assertArrayEquals(
                student.pooled(Pooling.of("motion:2"))
                        .features(clips, masking.withStrategy(MaskStrategy.tubes()), 9)
                        .toFloats(),
                student.pooled(Pooling.of("motion:2"))
                        .features(clips, masking.withStrategy(own), 9)
                        .toFloats());
    }

    @Test
    void whatTheStudentLacksIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> student.pooled(Pooling.of("grid:5")));
        assertThrows(IllegalArgumentException.class, () -> student.pooled(Pooling.of("grid:2@3")));
    }

    /** Tokens go through the same layers on bytes. */
    @Test
    void bytesGiveNearlyTheSame() {
        Tensor clips = Toy.clips(4, 3);
        Pooling pooling = Pooling.of("motion:2+grid:2@1");
        Head head = head("motion", pooling, 1);
        try (Student quantised = student.withHead(head).quantize()) {
            assertEquals(pooling, quantised.pooling());
            float[] bytes = quantised.features(clips, Masking.of(.5, 2), 9).toFloats();
            float[] floats = student.pooled(pooling)
                    .features(clips, Masking.of(.5, 2), 9)
                    .toFloats();
            double dot = 0;
            double one = 0;
            double two = 0;
            for (int i = 0; i < bytes.length; i++) {
                dot += (double) bytes[i] * floats[i];
                one += (double) bytes[i] * bytes[i];
                two += (double) floats[i] * floats[i];
            }
            assertTrue(dot / Math.sqrt(one * two) > .99, "cosine " + dot / Math.sqrt(one * two));
        }
    }

    @Test
    void closingReturnsWhatPoolingTook() {
        Device own = Device.cpu(1);
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, Toy.CONFIG, 0).close();
        try (Student alone = Student.of(params.all(), Toy.CONFIG, own)) {
            long before = own.memory().liveBuffers();
            Student pooled = alone.pooled(Pooling.of("mean+motion:2+grid:2@1"));
            pooled.features(Toy.clips(1, 3), Masking.of(.5, 2), 9).close();
            pooled.close();
            assertEquals(before, own.memory().liveBuffers());
        }
    }
}
