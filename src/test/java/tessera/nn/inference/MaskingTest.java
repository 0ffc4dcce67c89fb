package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

class MaskingTest {
    private static final int TOKENS = 32;

    private Scope scope;
    private Student student;

    @BeforeEach
    void open(@TempDir Path folder) {
        scope = Scope.open();
        student = Student.load(Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5), Device.cpu());
    }

    @AfterEach
    void close() {
        student.close();
        scope.close();
    }

    @Test
    void impossibleMaskingsAreRefused() {
        refused(() -> Masking.of(1, 1), "mask ratio 1.0 is not in [0, 1)");
        refused(() -> Masking.of(-.1, 1), "mask ratio -0.1");
        refused(() -> Masking.of(Double.NaN, 1), "mask ratio NaN");
        refused(() -> Masking.of(.5, 0), "ensemble of 0 masks; pass 1 or more");
        assertEquals(0, Masking.none().ratio());
        assertEquals(1, Masking.none().ensemble());
        assertEquals(Masking.of(.75, 2), Masking.DEFAULT);
    }

    @Test
    void tubesAreThoseOfTraining() {
        for (int member = 0; member < 3; member++) {
            int[] expected = TokenMask.tubes(Device.cpu(), 2, 2, 16, .75, 9, 40 + member)
                    .visible()
                    .toInts();
            MaskContext context = new MaskContext(Device.cpu(), 2, 2, 16, .75, 9, 40, member);
            assertArrayEquals(
                    expected, MaskStrategy.tubes().draw(context).visible().toInts());
        }
        MaskContext training = new MaskContext(Device.cpu(), 2, 2, 16, .75, 9, 40, 0);
        assertArrayEquals(
                MaskStrategy.tubes().draw(training).visible().toInts(),
                MaskStrategy.pairs().draw(training).visible().toInts());
        refused(
                () -> MaskStrategy.pairs().draw(new MaskContext(Device.cpu(), 2, 2, 16, .75, 9, 40, 1)),
                "use MaskStrategy.tubes()");
    }

    @Test
    void pairsAreTheEnsemblesOfTokenMask() {
        for (int member = 0; member < 4; member++) {
            MaskContext context = new MaskContext(Device.cpu(), 3, 2, 16, .75, 9, 0, member);
            assertArrayEquals(
                    TokenMask.ofEnsemble(Device.cpu(), 3, 2, 16, .75, 9, member)
                            .visible()
                            .toInts(),
                    MaskStrategy.pairs().draw(context).visible().toInts());
        }
    }

    /** Every second token, which none of the built-in strategies draws. */
    @Test
    void aLambdaIsAStrategy() {
        List<MaskContext> asked = new ArrayList<>();
        MaskStrategy every = context -> {
            asked.add(context);
            int[][] flags = new int[Math.toIntExact(context.batch())][TOKENS];
            for (int[] row : flags) {
                Arrays.setAll(row, i -> (i + context.member()) % 2);
            }
            return TokenMask.of(flags);
        };
        Masking masking = Masking.of(.5, 2).withStrategy(every);
        Tensor clips = Toy.clips(3, 1);
        float[] features = student.features(clips, masking, 7).toFloats();
        assertEquals(
                List.of(
                        new MaskContext(student.device(), 3, Toy.CONFIG.grid(), .5, 7, 0, 0, clips, null),
                        new MaskContext(student.device(), 3, Toy.CONFIG.grid(), .5, 7, 0, 1, clips, null)),
                asked);
        int[] even = new int[3 * TOKENS / 2];
        Arrays.setAll(even, i -> 2 * i % TOKENS);
        Masking once = Masking.of(.5, 1)
                .withStrategy(context -> new TokenMask(Tensor.of(even, 3, 16), Tensor.of(even, 3, 16)));
        Close.relative(
                Arrays.copyOf(features, 3 * 24),
                student.features(clips, once, 7).toFloats(),
                1e-5,
                "the first mask sees the even tokens");
        assertFalse(Arrays.equals(Arrays.copyOf(features, 3 * 24), Arrays.copyOfRange(features, 3 * 24, 2 * 3 * 24)));
        try (Student.Session session = student.session(3, masking)) {
            session.input().copyFrom(clips.segment());
            assertArrayEquals(features, session.features(7));
        }
    }

    @Test
    void masksThatDoNotFitAreRefused() {
        Tensor clips = Toy.clips(2, 1);
        refused(() -> student.features(clips, drawing(Tensor.of(new int[] {0, 32}, 2, 1)), 1), "sees token 32");
        refused(() -> student.features(clips, drawing(Tensor.of(new int[] {0, -1}, 2, 1)), 1), "sees token -1");
        refused(() -> student.features(clips, drawing(Tensor.of(new int[] {0}, 1, 1)), 1), "i32[2, n]");
        refused(() -> student.features(clips, drawing(Tensor.of(new float[] {0, 1}, 2, 1)), 1), "f32[2, 1]");
        MaskStrategy uneven = c -> new TokenMask(Tensor.of(new int[2 * (1 + c.member())], 2, 1 + c.member()), clips);
        refused(
                () -> student.features(clips, Masking.of(.5, 2).withStrategy(uneven), 1),
                "mask 1 sees tokens i32[2, 2]");
    }

    private static Masking drawing(Tensor visible) {
        return Masking.of(.5, 1).withStrategy(context -> new TokenMask(visible, visible));
    }

    @ParameterizedTest
    @EnumSource
    void passesAreAggregatedAsAsked(Aggregation aggregation) {
        Head head = Toy.head(4, "cut", "pour", "wipe");
        Tensor clips = Toy.clips(2, 1);
        Masking masking = Masking.of(.75, 4);
        float[] features = student.features(clips, masking, 9).toFloats(); // [4, 2, 24]
        float[] actual = student.withHead(head)
                .predict(clips, masking.withAggregation(aggregation), 9)
                .toFloats();
        for (int b = 0; b < 2; b++) {
            double[] expected = new double[3];
            double[] mean = new double[24];
            double[] logits = new double[3];
            for (int p = 0; p < 4; p++) {
                double[] feature = new double[24];
                for (int j = 0; j < 24; j++) {
                    feature[j] = features[(p * 2 + b) * 24 + j];
                    mean[j] += feature[j] / 4;
                }
                double[] scores = scores(head, feature);
                double[] softmax = softmax(scores);
                for (int c = 0; c < 3; c++) {
                    expected[c] += softmax[c] / 4;
                    logits[c] += scores[c] / 4;
                }
            }
            switch (aggregation) {
                case PROBABILITIES -> {}
                case LOGITS -> expected = softmax(logits);
                case FEATURES -> expected = softmax(scores(head, mean));
            }
            for (int c = 0; c < 3; c++) {
                Close.within(actual[b * 3 + c], expected[c], 1e-5, aggregation + " of clip " + b + ", class " + c);
            }
        }
    }

    /** The second mask follows the norms of the first pass's tokens, the third those of both; each pass is that of its mask alone. */
    @ParameterizedTest
    @ValueSource(strings = {"mean", "grid:2", "motion:2@1"})
    void masksThatLookBackSeeWhatThePassesBeforeSaw(String pooling) {
        Looking looking = new Looking();
        Masking masking = Masking.of(.75, 3).withStrategy(looking);
        Tensor clips = Toy.clips(2, 1);
        Student pooled = student.pooled(Pooling.of(pooling));
        float[] features = pooled.features(clips, masking, 7).toFloats(); // [3, 2, width]
        int pass = 2 * pooled.featureWidth();
        assertEquals(3, looking.asked.size());
        assertNull(looking.asked.get(0).saliency());
        Set<Integer> seen = new HashSet<>();
        for (int p = 0; p < 3; p++) {
            float[][] saliency = looking.asked.get(p).saliency();
            for (int i = 0; saliency != null && i < TOKENS; i++) {
                assertEquals(seen.contains(i), saliency[0][i] > 0, "token " + i + " before pass " + p);
                assertEquals(!seen.contains(i), Float.isNaN(saliency[0][i]), "token " + i + " before pass " + p);
            }
            int[] visible = looking.drawn.get(p);
            for (int i = 0; i < visible.length / 2; i++) {
                assertTrue(seen.add(visible[i]), "token " + visible[i] + " of pass " + p + " was seen before");
            }
            Close.relative(
                    Arrays.copyOfRange(features, p * pass, (p + 1) * pass),
                    pooled.features(clips, drawing(Tensor.of(visible, 2, visible.length / 2)), 7)
                            .toFloats(),
                    1e-5,
                    "pass " + p);
        }
        try (Student.Session session = pooled.session(2, masking)) {
            session.input().copyFrom(clips.segment());
            assertArrayEquals(features, session.features(7));
        }
    }

    /** The saliency strategy, and what it was asked and drew. */
    private static final class Looking implements MaskStrategy {
        private final List<MaskContext> asked = new ArrayList<>();
        private final List<int[]> drawn = new ArrayList<>();

        @Override
        public TokenMask draw(MaskContext context) {
            TokenMask mask = MaskStrategy.saliency().draw(context);
            asked.add(context);
            drawn.add(mask.visible().toInts());
            return mask;
        }

        @Override
        public boolean looksBack() {
            return true;
        }
    }

    /** The norms are those of the tokens after the last block, before the encoder's norm. */
    @Test
    void saliencyIsTheNormOfATokenAfterTheLastBlock() {
        Looking looking = new Looking();
        Tensor clips = Toy.clips(1, 3);
        student.features(clips, Masking.of(.5, 2).withStrategy(looking), 7);
        float[][] saliency = requireNonNull(looking.asked.get(1).saliency());
        int[] visible = MaskStrategy.tubes()
                .draw(new MaskContext(Device.cpu(), 1, Toy.CONFIG.grid(), .5, 7, 0, 0))
                .visible()
                .toInts();
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        try (VideoMaeClassifier model = new VideoMaeClassifier(params, Toy.CONFIG, 0)) {
            float[] tokens = requireNonNull(model.tokens(clips, List.of(Tensor.of(visible, 1, 16)), Set.of(2))
                            .get(2))
                    .toFloats();
            for (int i = 0; i < 16; i++) {
                double sum = 0;
                for (int j = 0; j < 24; j++) {
                    sum += (double) tokens[i * 24 + j] * tokens[i * 24 + j];
                }
                Close.within(saliency[0][visible[i]], Math.sqrt(sum), 1e-4, "token " + visible[i]);
            }
        }
    }

    @Test
    void motionMasksLookAtTheClipsOfTheCall() {
        Tensor clips = Toy.clips(3, 4);
        Masking masking = Masking.of(.75, 2).withStrategy(MaskStrategy.motion());
        float[] features = student.features(clips, masking, 7).toFloats();
        TokenMask[] masks = new TokenMask[2];
        Arrays.setAll(
                masks,
                p -> MaskStrategy.motion()
                        .draw(new MaskContext(Device.cpu(), 3, Toy.CONFIG.grid(), .75, 7, 0, p, clips, null)));
        assertArrayEquals(
                student.features(clips, masking.withStrategy(c -> masks[c.member()]), 1)
                        .toFloats(),
                features);
        try (Student.Session session = student.session(3, masking)) {
            session.input().copyFrom(clips.segment());
            assertArrayEquals(features, session.features(7));
            assertArrayEquals(features, session.features(7), "again");
        }
    }

    private static double[] scores(Head head, double[] feature) {
        double[] scores = new double[head.classes()];
        for (int c = 0; c < scores.length; c++) {
            scores[c] = head.bias()[c];
            for (int j = 0; j < feature.length; j++) {
                scores[c] += head.weight()[c * feature.length + j] * feature[j];
            }
        }
        return scores;
    }

    private static double[] softmax(double[] scores) {
        double sum = Arrays.stream(scores).map(Math::exp).sum();
        return Arrays.stream(scores).map(score -> Math.exp(score) / sum).toArray();
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
