package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.TokenReduction;
import tessera.nn.TokenReduction.Sizes;
import tessera.nn.VideoModel;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.CostMeter;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A student that computes fewer tokens than it is shown: 2 slots of 16 cells, 2 blocks. */
class ReducedStudentTest {
    private static final int WIDTH = 24;
    private static final int FRAME = 16 * 16 * 3;

    private Scope scope;
    private Path file;
    private Student student;

    @BeforeEach
    void open(@TempDir Path folder) {
        scope = Scope.open();
        file = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        student = Student.load(file, Device.cpu());
    }

    @AfterEach
    void close() {
        student.close();
        scope.close();
    }

    private static Masking whole(TokenReduction reduction) {
        return Masking.none().withReduction(reduction);
    }

    /** Clips of which the second slot repeats the first, but for the upper rows: b + 1 rows of cells change. */
    private static Tensor stillClips(int batch, long seed) {
        byte[] pixels = Toy.pixels(4 * batch, 16, 16, seed);
        for (int b = 0; b < batch; b++) {
            int changed = (b + 1) * 4 * 16 * 3;
            for (int frame = 0; frame < 2; frame++) {
                int from = (4 * b + frame) * FRAME;
                System.arraycopy(pixels, from + changed, pixels, from + 2 * FRAME + changed, FRAME - changed);
            }
        }
        return Tensor.of(pixels, batch, 4, 16, 16, 3);
    }

    private static float[] rows(float[] features, int from, int to) {
        return Arrays.copyOfRange(features, from * WIDTH, to * WIDTH);
    }

    @Test
    void mergingNothingIsThePlainPassBitForBit() {
        Tensor clips = Toy.clips(3, 1);
        for (Masking masking : List.of(Masking.none(), Masking.of(.75, 2))) {
            float[] plain = student.features(clips, masking, 7).toFloats();
            assertArrayEquals(
                    plain,
                    student.features(clips, masking.withReduction(TokenReduction.merging(0)), 7)
                            .toFloats());
            float[] merged = student.features(clips, masking.withReduction(TokenReduction.merging(2)), 7)
                    .toFloats();
            assertFalse(Arrays.equals(plain, merged), "two tokens a block make a difference");
        }
    }

    /** Of the 32 tokens the attention of both blocks sees 32 and 28, their MLPs 28 and 24. */
    @Test
    void theMeterCountsWhatIsComputed() {
        Tensor clip = Toy.clips(1, 1);
        try (CostMeter plain = CostMeter.open()) {
            student.features(clip, Masking.none(), 1);
            try (CostMeter meter = CostMeter.open()) {
                student.features(clip, whole(TokenReduction.merging(4)), 1);
                long square = WIDTH * WIDTH;
                long pixels = 2 * 4 * 4 * 3;
                assertEquals(
                        4L * WIDTH * (32 * 32 + 28 * 28), meter.of("attention").flops());
                assertEquals(
                        2 * (32 * pixels * WIDTH + (32 + 28) * 4 * square + (28 + 24) * 8 * square),
                        meter.of("linear").flops());
            }
            assertTrue(plain.of("attention").flops() > 0);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void clipsDoNotSeeEachOther(boolean runs) {
        TokenReduction reduction = runs ? TokenReduction.runLengths(0) : TokenReduction.merging(3);
        Tensor clips = stillClips(3, 2);
        Tensor turned = Tensor.concat(
                0,
                clips.slice(0, 2, 3).contiguous(),
                clips.slice(0, 0, 1).contiguous(),
                clips.slice(0, 1, 2).contiguous());
        for (Sizes sizes : Sizes.values()) {
            Masking masking = whole(reduction.withSizes(sizes));
            float[] all = student.features(clips, masking, 1).toFloats();
            float[] others = student.features(turned, masking, 1).toFloats();
            for (int b = 0; b < 3; b++) {
                float[] alone = student.features(clips.slice(0, b, b + 1).contiguous(), masking, 1)
                        .toFloats();
                Close.relative(rows(all, b, b + 1), alone, 1e-5, sizes + " clip " + b + " alone");
                int at = (b + 1) % 3;
                Close.relative(rows(others, at, at + 1), alone, 1e-5, sizes + " clip " + b + " at " + at);
            }
        }
    }

    /** Where sizes count nowhere, run lengths are a mask that shows the first of each run. */
    @Test
    void runsWithoutSizesAreAMaskOfTheirFirst() {
        Tensor clips = stillClips(3, 3);
        Masking runs = whole(TokenReduction.runLengths(0).withSizes(Sizes.NONE));
        float[] features = student.features(clips, runs, 1).toFloats();
        for (int b = 0; b < 3; b++) {
            int[] visible = new int[16 + 4 * (b + 1)];
            Arrays.setAll(visible, i -> i);
            Tensor tokens = Tensor.of(visible, 1, visible.length);
            Masking shown = Masking.of(.1, 1).withStrategy(context -> new TokenMask(tokens, tokens));
            float[] expected = student.features(clips.slice(0, b, b + 1).contiguous(), shown, 1)
                    .toFloats();
            Close.relative(rows(features, b, b + 1), expected, 1e-5, "clip " + b);
        }
    }

    /** What a run stands for counts: three clips that differ in their lengths alone would else be the same. */
    @Test
    void whereNothingRepeatsAllTokensAreComputed() {
        Tensor clips = Toy.clips(2, 4);
        float[] plain = student.features(clips, Masking.none(), 1).toFloats();
        for (Sizes sizes : Sizes.values()) {
            float[] runs = student.features(
                            clips, whole(TokenReduction.runLengths(0).withSizes(sizes)), 1)
                    .toFloats();
            Close.relative(runs, plain, 1e-5, "sizes " + sizes);
        }
        float[] counted = student.features(stillClips(1, 4), whole(TokenReduction.runLengths(0)), 1)
                .toFloats();
        float[] once = student.features(
                        stillClips(1, 4), whole(TokenReduction.runLengths(0).withSizes(Sizes.NONE)), 1)
                .toFloats();
        assertFalse(Arrays.equals(counted, once));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void masksAndHeadsAndSessionsGoWithIt(boolean runs) {
        TokenReduction reduction = runs ? TokenReduction.runLengths(0) : TokenReduction.merging(1);
        Masking masking = Masking.of(.5, 2).withReduction(reduction);
        Tensor clips = stillClips(2, 5);
        float[] features = student.features(clips, masking, 3).toFloats(); // [2, 2, 24]
        for (int p = 0; p < 2; p++) {
            int member = p;
            Masking one = Masking.of(.5, 1)
                    .withReduction(reduction)
                    .withStrategy(context ->
                            masking.strategy().draw(new MaskContext(context.device(), 2, 2, 16, .5, 3, 0, member)));
            Close.relative(
                    rows(features, 2 * p, 2 * p + 2),
                    student.features(clips, one, 3).toFloats(),
                    1e-5,
                    "mask " + p + " alone");
        }
        Student reading = student.withHead(Toy.head(4, "cut", "pour"));
        float[] probabilities = reading.predict(clips, masking, 3).toFloats();
        try (Student.Session session = reading.session(2, masking)) {
            session.input().copyFrom(clips.segment());
            for (int call = 0; call < 3; call++) {
                assertArrayEquals(probabilities, session.predict(3), "call " + call);
                assertArrayEquals(features, session.features(3), "features of call " + call);
            }
        }
    }

    @Test
    void int8AndBf16StudentsDoIt() {
        Tensor clips = stillClips(2, 6);
        for (TokenReduction reduction : List.of(TokenReduction.merging(4), TokenReduction.runLengths(0))) {
            float[] exact = student.features(clips, whole(reduction), 1).toFloats();
            try (Student bytes = student.quantize()) {
                assertTrue(cosine(bytes.features(clips, whole(reduction), 1).toFloats(), exact) > .99);
            }
        }
        assumeTrue(Device.cpu().bf16().isPresent(), "this processor multiplies no bf16");
        try (Student bf16 = Student.load(file, Device.cpu(), DType.BF16)) {
            for (TokenReduction reduction : List.of(TokenReduction.merging(4), TokenReduction.runLengths(0))) {
                float[] exact = student.features(clips, whole(reduction), 1).toFloats();
                assertTrue(cosine(bf16.features(clips, whole(reduction), 1).toFloats(), exact) > .99);
            }
        }
    }

    private static double cosine(float[] a, float[] b) {
        double ab = 0;
        double aa = 0;
        double bb = 0;
        for (int i = 0; i < a.length; i++) {
            ab += (double) a[i] * b[i];
            aa += (double) a[i] * a[i];
            bb += (double) b[i] * b[i];
        }
        return ab / Math.sqrt(aa * bb);
    }

    @Test
    void whatForgetsPlacesIsNotPooledByThem() {
        Student pooled = student.pooled(Pooling.of("motion:2"));
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> pooled.features(Toy.clips(1, 1), whole(TokenReduction.merging(2)), 1));
        assertEquals(
                "merging 2 forgets where tokens lie, which the pooling motion:2 asks for; pool by mean, or leave it away",
                e.getMessage());
    }

    @Test
    void trainingComputesEveryToken() {
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        try (VideoMaeClassifier model = new VideoMaeClassifier(params, Toy.CONFIG, 0)) {
            VideoModel fewer = model.reduced(TokenReduction.merging(2));
            IllegalStateException e =
                    assertThrows(IllegalStateException.class, () -> fewer.features(Toy.clips(1, 1), null));
            assertTrue(
                    String.valueOf(e.getMessage()).startsWith("merging 2 is for inference, but gradients are recorded"),
                    e.getMessage());
            assertThrows(
                    IllegalArgumentException.class,
                    () -> fewer.tokens(Toy.clips(1, 1), List.of(), Set.of(Pooling.LAST)));
        }
    }

    @Test
    void aPredictorLooksSo() {
        Masking masking = whole(TokenReduction.merging(3));
        byte[] pixels = Toy.pixels(4, 16, 16, 8);
        Student reading = student.withHead(Toy.head(4, "cut", "pour"));
        try (Predictor predictor = Predictor.of(reading, masking, 1)) {
            Prediction prediction = predictor.predict(pixels, 4, 16, 16);
            float[] expected = reading.predict(Tensor.of(pixels, 1, 4, 16, 16, 3), masking, 1)
                    .toFloats();
            Prediction.Score cut = prediction.answers().getFirst().scores().getFirst();
            assertEquals(expected[0], (float) cut.probability());
        }
    }
}
