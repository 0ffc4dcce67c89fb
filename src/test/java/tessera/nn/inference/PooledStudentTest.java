package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
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
import tessera.nn.Checkpoint;
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

    /** The tokens that a query is fitted on, and what it makes of them, by loops. */
    @Test
    void attentionPoolsEachMaskByItself() {
        Tensor clips = Toy.clips(2, 3);
        Masking masking = Masking.of(.5, 2);
        Pooling asked = Pooling.of("attentive@1");
        Tensor given = student.pooled(asked).features(clips, masking, 9);
        assertEquals("f32[2, 2, 384]", given.describe()); // 8 of 16 cells in 2 slots
        double[] tokens = given.toDoubles();
        float[] query = query(4);
        double[] expected = new double[2 * 2 * 24];
        for (int row = 0; row < 4; row++) {
            double[] weights = new double[16];
            double sum = 0;
            for (int i = 0; i < 16; i++) {
                double score = 0;
                for (int j = 0; j < 24; j++) {
                    score += tokens[(row * 16 + i) * 24 + j] * query[j] / Math.sqrt(24);
                }
                weights[i] = Math.exp(score);
                sum += weights[i];
            }
            for (int i = 0; i < 16 * 24; i++) {
                expected[row * 24 + i % 24] += weights[i / 24] / sum * tokens[row * 384 + i];
            }
        }
        Close.relative(
                student.pooled(asked.withQuery(query))
                        .features(clips, masking, 9)
                        .toDoubles(),
                expected,
                1e-5,
                "weighed by hand");
        Close.relative(
                student.pooled(asked.withQuery(new float[24]))
                        .features(clips, masking, 9)
                        .toFloats(),
                student.pooled(Pooling.of("mean@1")).features(clips, masking, 9).toFloats(),
                1e-6,
                "a query of 0");
    }

    private static float[] query(long seed) {
        Random random = new Random(seed);
        float[] query = new float[24];
        for (int j = 0; j < query.length; j++) {
            query[j] = 5 * (float) random.nextGaussian();
        }
        return query;
    }

    /** Whatever lies where a mask hides the picture. */
    @Test
    void attentionSeesNoHiddenToken() {
        int[] upper = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
        int[] lower = {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31};
        Masking masking =
                Masking.of(.5, 1).withStrategy(c -> new TokenMask(Tensor.of(upper, 1, 16), Tensor.of(lower, 1, 16)));
        Student attentive = student.pooled(Pooling.of("attentive@2").withQuery(query(4)));
        Tensor clips = Toy.clips(1, 3);
        float[] before = attentive.features(clips, masking, 9).toFloats();
        float[] all = attentive.features(clips, Masking.none(), 9).toFloats();
        for (long at = 0; at < clips.segment().byteSize(); at++) {
            if (at / (16 * 3) % 16 >= 8) {
                clips.segment().set(ValueLayout.JAVA_BYTE, at, (byte) 200);
            }
        }
        assertArrayEquals(before, attentive.features(clips, masking, 9).toFloats());
        assertFalse(
                Arrays.equals(all, attentive.features(clips, Masking.none(), 9).toFloats()));
    }

    @Test
    void headsKeepTheirQueries(@TempDir Path folder) {
        Tensor clips = Toy.clips(2, 3);
        Masking masking = Masking.of(.5, 2);
        Head one = head("one", Pooling.of("attentive@1").withQuery(query(1)), 1);
        Head two = head("two", Pooling.of("attentive@1").withQuery(query(2)), 2);
        Head mean = head("mean", Pooling.MEAN, 3);
        Path file = folder.resolve("head.safetensors");
        one.save(file);
        Head read = Head.load(file);
        assertEquals(one.pooling(), read.pooling());
        assertArrayEquals(one.weight(), read.weight());
        assertThrows(IllegalArgumentException.class, () -> Student.load(file, Device.cpu()));
        Student answering = student.withHeads(List.of(read, two, mean));
        Tensor together = answering.predictAll(clips, masking, 9);
        int at = 0;
        for (Head head : List.of(one, two, mean)) {
            float[] alone = student.withHead(head).predict(clips, masking, 9).toFloats();
            Close.relative(together.slice(1, at, at + 3).toFloats(), alone, 1e-4, head.name());
            at += 3;
        }
        try (Student.Session session = answering.session(2, masking)) {
            MemorySegment.copy(
                    clips.segment(), 0, session.input(), 0, session.input().byteSize());
            assertArrayEquals(together.toFloats(), session.predictAll(9));
            assertArrayEquals(together.toFloats(), session.predictAll(9));
        }
        Path whole = folder.resolve("student.safetensors");
        answering.save(whole);
        try (Student loaded = Student.load(whole, Device.cpu())) {
            assertEquals(answering.pooling(), loaded.pooling());
            assertArrayEquals(
                    together.toFloats(), loaded.predictAll(clips, masking, 9).toFloats());
        }
    }

    @Test
    void aHeadWithoutItsQueryIsRefused(@TempDir Path folder) {
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> Toy.head(3, "a", "b").on(Pooling.of("attentive")))
                .getMessage());
        assertTrue(message.contains("the pooling attentive has no query"), message);
        Pooling both = Pooling.union(List.of(Pooling.of("attentive").withQuery(query(1)), Pooling.MEAN));
        assertThrows(IllegalArgumentException.class, () -> head("both", both, 1));
        assertThrows(IllegalArgumentException.class, () -> both.withQuery(query(1)));
        Path file = folder.resolve("head.safetensors");
        Map<String, Tensor> tensors =
                new HashMap<>(Map.of("head.weight", Tensor.zeros(2, 24), "head.bias", Tensor.zeros(2)));
        Map<String, String> entries = new HashMap<>(Map.of("tessera.head.labels", "[\"a\", \"b\"]"));
        entries.put("tessera.head.pooling", "attentive");
        Checkpoint.write(file, tensors, entries);
        refused(file, "has no query");
        tensors.put("head.query", Tensor.zeros(2, 12));
        Checkpoint.write(file, tensors, entries);
        refused(file, "its query is f32[2, 12], not f32[width]");
        tensors.put("head.query", Tensor.zeros(24));
        entries.put("tessera.head.pooling", "motion:1");
        Checkpoint.write(file, tensors, entries);
        refused(file, "is given a query, which attentive alone has");
        tensors.put("head.more", Tensor.zeros(24));
        Checkpoint.write(file, tensors, entries);
        refused(file, "the labels alone");
    }

    private static void refused(Path file, String part) {
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> Head.load(file))
                .getMessage());
        assertTrue(message.startsWith(file + " is no head: ") && message.contains(part), message);
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
        bytesGiveNearlyTheSame(clips, Pooling.of("motion:2+grid:2@1"));
        bytesGiveNearlyTheSame(clips, Pooling.of("attentive").withQuery(query(4)));
    }

    private void bytesGiveNearlyTheSame(Tensor clips, Pooling pooling) {
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
            for (Pooling pooling : List.of(
                    Pooling.of("mean+motion:2+grid:2@1"),
                    Pooling.of("attentive@1").withQuery(query(4)))) {
                Student pooled = alone.pooled(pooling);
                pooled.features(Toy.clips(1, 3), Masking.of(.5, 2), 9).close();
                pooled.close();
            }
            assertEquals(before, own.memory().liveBuffers());
        }
    }
}
