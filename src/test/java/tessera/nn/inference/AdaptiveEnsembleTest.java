package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.Pooling;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

class AdaptiveEnsembleTest {
    private static final int BATCH = 6;
    private static final long SEED = 9;
    private static final Masking MASKING = Masking.of(.75, 4);

    private Scope scope;
    private Path file;
    private Student plain;
    private Student student;
    private Tensor clips;

    @BeforeEach
    void open(@TempDir Path folder) {
        scope = Scope.open();
        file = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        plain = Student.load(file, Device.cpu());
        student = plain.withHead(Toy.head(3, "cut", "pour", "wipe"));
        clips = Toy.clips(BATCH, 2);
    }

    @AfterEach
    void close() {
        plain.close();
        scope.close();
    }

    private static void assertRows(Tensor expected, float[][] rows) {
        float[] values = expected.toFloats();
        int width = (int) expected.size(1);
        for (int i = 0; i < rows.length; i++) {
            assertArrayEquals(Arrays.copyOfRange(values, i * width, (i + 1) * width), rows[i], "clip " + i);
        }
    }

    /** Neither the shortcut nor the passes one by one change a bit, however the passes become one answer. */
    @ParameterizedTest
    @EnumSource
    void whoIsNeverSureGetsTheAnswerOfAllMasks(Aggregation aggregation) {
        Masking masking = MASKING.withAggregation(aggregation);
        Tensor expected = student.predictAll(clips, masking, SEED);
        var never = AdaptiveEnsemble.predict(student, clips, masking, SEED, List.of(Stopping.at(1.5)));
        assertRows(expected, never.probabilities());
        assertArrayEquals(new int[] {4, 4, 4, 4, 4, 4}, never.passes());
        var judged = AdaptiveEnsemble.predict(student, clips, masking, SEED, (clip, passes, p) -> false);
        assertRows(expected, judged.probabilities());
        assertArrayEquals(never.passes(), judged.passes());
    }

    @Test
    void whoIsAlwaysSureGetsTheAnswerOfOneMask() {
        var once = AdaptiveEnsemble.predict(student, clips, MASKING, SEED, List.of(Stopping.at(0)));
        assertRows(student.predictAll(clips, MASKING.withEnsemble(1), SEED), once.probabilities());
        assertArrayEquals(new int[] {1, 1, 1, 1, 1, 1}, once.passes());
    }

    /** A threshold that some clips reach with one mask, some later and some not at all. */
    private Stopping between() {
        List<Double> sureness = new ArrayList<>();
        AdaptiveEnsemble.predict(student, clips, MASKING, SEED, (clip, passes, p) -> {
            if (passes == 1) {
                sureness.add(Stopping.at(0)
                        .sureness(IntStream.range(0, 3).mapToDouble(c -> p[c]).toArray()));
            }
            return false;
        });
        List<Double> sorted = sureness.stream().sorted().toList();
        return Stopping.at((sorted.get(BATCH / 2 - 1) + sorted.get(BATCH / 2)) / 2);
    }

    @Test
    void eachClipIsAskedUntilItIsSure() {
        Stopping rule = between();
        var seen = AdaptiveEnsemble.predict(student, clips, MASKING, SEED, List.of(rule));
        assertTrue(IntStream.of(seen.passes()).anyMatch(p -> p == 1), "some are sure at once");
        assertTrue(IntStream.of(seen.passes()).anyMatch(p -> p > 1), "some are not");
        for (int clip = 0; clip < BATCH; clip++) {
            int passes = seen.passes()[clip];
            for (int p = 1; p <= passes; p++) {
                double[] fixed = student.predict(clips, MASKING.withEnsemble(p), SEED)
                        .slice(0, clip, clip + 1)
                        .contiguous()
                        .toDoubles();
                assertEquals(p == passes, rule.isEnough(fixed) || p == 4, "clip " + clip + " after " + p);
                if (p == passes) {
                    Close.relative(doubles(seen.probabilities()[clip]), fixed, 1e-5, "clip " + clip);
                }
            }
        }
    }

    /** Clips of a batch get the answers and the passes that they get alone, with the masks that they have in the batch. */
    @Test
    void aBatchIsItsClips() {
        List<Stopping> rules = List.of(between());
        var seen = AdaptiveEnsemble.predict(student, clips, MASKING, SEED, rules);
        for (int i = 0; i < BATCH; i++) {
            int clip = i;
            MaskStrategy row = c -> {
                TokenMask all = MASKING.strategy()
                        .draw(new MaskContext(
                                c.device(), BATCH, c.slots(), c.plane(), c.ratio(), c.seed(), 0, c.member()));
                return new TokenMask(
                        all.visible().slice(0, clip, clip + 1), all.masked().slice(0, clip, clip + 1));
            };
            var alone = AdaptiveEnsemble.predict(
                    student, clips.slice(0, clip, clip + 1).contiguous(), MASKING.withStrategy(row), SEED, rules);
            assertEquals(seen.passes()[clip], alone.passes()[0], "clip " + clip);
            Close.relative(alone.probabilities()[0], seen.probabilities()[clip], 1e-5, "clip " + clip);
        }
    }

    @Test
    void strategiesSeeTheWholeBatchInEveryPass() {
        List<MaskContext> drawn = new ArrayList<>();
        MaskStrategy spying = context -> {
            drawn.add(context);
            return MaskStrategy.pairs().draw(context);
        };
        var seen = AdaptiveEnsemble.predict(
                student, clips, MASKING.withStrategy(spying), SEED, (clip, passes, p) -> passes > clip / 2);
        assertArrayEquals(new int[] {1, 1, 2, 2, 3, 3}, seen.passes());
        assertEquals(List.of(0, 1, 2), drawn.stream().map(MaskContext::member).toList());
        drawn.forEach(context -> assertEquals(BATCH, context.batch()));
    }

    @Test
    void everyHeadMustBeSure() {
        Student both = plain.withHeads(List.of(
                Toy.head(3, "cut", "pour", "wipe"),
                Toy.head(8, "kitchen", "garden").named("place")));
        Stopping rule = between();
        var first = AdaptiveEnsemble.predict(both, clips, MASKING, SEED, List.of(rule, Stopping.at(0)));
        assertArrayEquals(
                AdaptiveEnsemble.predict(student, clips, MASKING, SEED, List.of(rule))
                        .passes(),
                first.passes());
        assertEquals(5, first.probabilities()[0].length);
        var never = AdaptiveEnsemble.predict(both, clips, MASKING, SEED, List.of(rule, Stopping.at(2)));
        assertArrayEquals(new int[] {4, 4, 4, 4, 4, 4}, never.passes());
        assertRows(both.predictAll(clips, MASKING, SEED), never.probabilities());
    }

    /** Features are pooled as heads want them, also where masks must be seen to be tubes. */
    @Test
    void headsOnOtherPoolingsAreAskedToo() {
        Pooling motion = Pooling.of("motion:2");
        double[][] weight = new double[2][motion.width(Toy.CONFIG)];
        IntStream.range(0, weight[0].length).forEach(j -> weight[0][j] = Math.sin(j));
        Student pooled = plain.withHead(
                Head.of(weight, new double[2], List.of("cut", "pour")).on(motion));
        var seen = AdaptiveEnsemble.predict(pooled, clips, MASKING, SEED, (clip, passes, p) -> clip < 3);
        assertArrayEquals(new int[] {1, 1, 1, 4, 4, 4}, seen.passes());
        float[] all = pooled.predict(clips, MASKING, SEED).toFloats();
        Close.relative(seen.probabilities()[5], new float[] {all[10], all[11]}, 1e-5, "the last clip");
    }

    @Test
    void rulesAreOneForEachHead() {
        String message = assertThrows(
                        IllegalArgumentException.class,
                        () -> AdaptiveEnsemble.predict(student, clips, MASKING, SEED, List.of()))
                .getMessage();
        assertEquals("adaptive masks: 0 rules for 1 heads; pass one for each, in their order", message);
        assertThrows(
                IllegalStateException.class,
                () -> AdaptiveEnsemble.predict(plain, clips, MASKING, SEED, (clip, passes, p) -> true));
    }

    /** Of the only head. */
    private static double[] probabilities(Prediction prediction) {
        return prediction.answers().getFirst().scores().stream()
                .mapToDouble(Prediction.Score::probability)
                .toArray();
    }

    /** A clip alone agrees up to rounding only: products of other sizes may add in another order, as oneDNN's do with AVX2. */
    @Test
    void aPredictorAddsMasksUntilItIsSure(@TempDir Path folder) {
        Path head = folder.resolve("head.safetensors");
        Stopping rule = between();
        Toy.head(3, "cut", "pour", "wipe").stoppingAt(rule).save(head);
        var options = new Predictor.Options(Device.cpu(), DType.F32, MASKING, SEED);
        List<VideoClip> videos = IntStream.range(0, BATCH)
                .mapToObj(i -> new VideoClip(
                        4, 16, 16, Arrays.copyOfRange(Toy.pixels(4 * BATCH, 16, 16, 2), i * 3072, (i + 1) * 3072)))
                .toList();
        var seen = AdaptiveEnsemble.predict(student, clips, MASKING, SEED, List.of(rule));
        try (Predictor predictor = Predictor.open(options.withStopping(Stopping::learned), file, head);
                Predictor fixed = Predictor.open(options, file, head)) {
            List<Prediction> predictions = predictor.predictAll(videos);
            for (int i = 0; i < BATCH; i++) {
                assertEquals(seen.passes()[i], predictions.get(i).passes());
                assertEquals(
                        seen.probabilities()[i][1],
                        predictions.get(i).answers().getFirst().scores().get(1).probability());
            }
            assertEquals(
                    Arrays.stream(seen.passes()).average().orElseThrow(),
                    Prediction.mean(predictions).passes(),
                    "mean passes");
            Prediction one = predictor.predict(videos.getFirst().pixels(), 4, 16, 16);
            assertEquals(predictions.getFirst().passes(), one.passes(), "passes of the clip alone");
            Close.relative(probabilities(one), probabilities(predictions.getFirst()), 1e-5, "the clip alone");
            assertEquals(4, fixed.predictAll(videos).getFirst().passes());
        }
        try (Predictor own = Predictor.open(options.withStopping(any -> Stopping.at(2)), file, head);
                Predictor fixed = Predictor.open(options, file, head)) {
            assertEquals(fixed.predictAll(videos), own.predictAll(videos));
        }
        Path none = folder.resolve("none.safetensors");
        Toy.head(3, "cut", "pour", "wipe").save(none);
        String message = assertThrows(
                        IllegalArgumentException.class,
                        () -> Predictor.open(options.withStopping(Stopping::learned), file, none))
                .getMessage();
        assertTrue(String.valueOf(message).contains("head 'action' was learned without a threshold"), message);
    }

    private static double[] doubles(float[] values) {
        return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
    }
}
