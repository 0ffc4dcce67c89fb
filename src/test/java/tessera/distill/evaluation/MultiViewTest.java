package tessera.distill.evaluation;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.View;
import tessera.distill.data.Views;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.stlt.StltConfig;
import tessera.nn.stlt.StltModel;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.CostMeter;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class MultiViewTest {
    private static final int WIDTH = 24;
    private static final int DEPTH = 2;
    private static final int CLIP = 4 * 16 * 16 * 3;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            WIDTH,
            DEPTH,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    private Scope scope;
    private Student plain;
    private Student student;

    @BeforeEach
    void open() {
        scope = Scope.open();
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, CONFIG, 0).close();
        plain = Student.of(params.all(), CONFIG, Device.cpu());
        student = plain.withHeads(List.of(head("verb", "open", "cut", "stir"), head("noun", "box", "cup")));
    }

    @AfterEach
    void close() {
        plain.close();
        scope.close();
    }

    private static Head head(String name, String... labels) {
        Random random = new Random(name.hashCode());
        double[][] weight = new double[labels.length][WIDTH];
        double[] bias = new double[labels.length];
        for (int c = 0; c < labels.length; c++) {
            Arrays.setAll(weight[c], j -> 2 * random.nextGaussian());
            bias[c] = random.nextGaussian();
        }
        return Head.of(weight, bias, List.of(labels)).named(name);
    }

    /** Views whose pixels depend on the clip and the view alone. */
    private static Tensor pixels(int view, int... clips) {
        byte[] pixels = new byte[clips.length * CLIP];
        for (int i = 0; i < clips.length; i++) {
            byte[] own = new byte[CLIP];
            new Random(100L * clips[i] + view).nextBytes(own);
            System.arraycopy(own, 0, pixels, i * CLIP, CLIP);
        }
        return Tensor.of(pixels, clips.length, 4, 16, 16, 3);
    }

    private static double[] scores(Head head, Tensor feature) {
        return feature.linear(Tensor.of(head.weight(), head.classes(), WIDTH), Tensor.of(head.bias()))
                .toDoubles();
    }

    @Test
    void scoresAreAveragedOverTheViews() {
        int clips = 11;
        int views = 3;
        List<Long> progress = new ArrayList<>();
        List<HeadLogits> logits =
                MultiView.logits(student, Masking.none(), 1, views, clips, MultiViewTest::pixels, progress::add);
        assertEquals(List.of(8L, 11L), progress);
        assertEquals(
                List.of("verb", "noun"), logits.stream().map(HeadLogits::head).toList());
        for (int h = 0; h < 2; h++) {
            Head head = student.heads().get(h);
            assertEquals(head.labels(), logits.get(h).labels());
            for (int i = 0; i < clips; i++) {
                double[] expected = new double[head.classes()];
                for (int v = 0; v < views; v++) {
                    double[] one = scores(head, student.features(pixels(v, i), Masking.none(), 1));
                    for (int c = 0; c < expected.length; c++) {
                        expected[c] += one[c] / views;
                    }
                }
                Close.relative(logits.get(h).values()[i], expected, 1e-5, head.name() + " of clip " + i);
            }
        }
    }

    /** The softmax of the mean is not the mean of the softmax, which confident views would rule less. */
    @Test
    void itIsLogitsThatAreAveraged() {
        HeadLogits verb = MultiView.logits(student, Masking.none(), 1, 2, 1, MultiViewTest::pixels, done -> {})
                .getFirst();
        double[] mean = new double[3];
        for (int v = 0; v < 2; v++) {
            double[] p = student.predict(pixels(v, 0), Masking.none(), 1).toDoubles();
            for (int c = 0; c < 3; c++) {
                mean[c] += p[c] / 2;
            }
        }
        double apart = 0;
        for (int c = 0; c < 3; c++) {
            apart += Math.abs(mean[c] - verb.probabilities()[0][c]);
        }
        assertTrue(apart > 1e-3, "means of probabilities differ by " + apart);
    }

    @Test
    void viewsAndBatchesHaveMasksOfTheirOwn() {
        Masking masking = Masking.of(.75, 2);
        MultiView.Source same = (view, clips) -> pixels(0, new int[clips.length]);
        double[][] values = MultiView.logits(student, masking, 1, 1, 10, same, done -> {})
                .getFirst()
                .values();
        assertFalse(Arrays.equals(values[0], values[1]), "clips of a batch");
        assertFalse(Arrays.equals(values[0], values[8]), "first clips of two batches");
        double[][] again = MultiView.logits(student, masking, 1, 1, 10, same, done -> {})
                .getFirst()
                .values();
        for (int i = 0; i < values.length; i++) {
            assertTrue(Arrays.equals(values[i], again[i]), "equal seeds give equal scores");
        }
        double[] twoViews = MultiView.logits(student, masking, 1, 2, 10, same, done -> {})
                .getFirst()
                .values()[0];
        assertFalse(Arrays.equals(values[0], twoViews), "the second view has other masks");
    }

    @Test
    void withoutHeadsItIsToldWhereToGetThem() {
        var none = assertThrows(
                IllegalArgumentException.class,
                () -> MultiView.logits(plain, Masking.none(), 1, 1, 1, MultiViewTest::pixels, done -> {}));
        assertTrue(String.valueOf(none.getMessage()).contains("has no heads"), none.getMessage());
        assertTrue(String.valueOf(none.getMessage()).contains("tessera learn"), none.getMessage());
        assertThrows(
                IllegalArgumentException.class,
                () -> MultiView.logits(student, Masking.none(), 1, 0, 1, MultiViewTest::pixels, done -> {}));
        assertThrows(
                IllegalArgumentException.class,
                () -> MultiView.logits(student, Masking.none(), 1, 1, 0, MultiViewTest::pixels, done -> {}));
    }

    /** Clips of more frames and wider pictures than the student takes, with labels of both heads. */
    @Test
    void viewsOfASetAreAveragedAndJudgedByEveryHead() {
        Geometry stored = new Geometry(8, 16, 24, 4, 6);
        Geometry seen = new Geometry(4, 16, 4);
        List<String> classes = List.of("open cup", "stir box", "cut cup");
        Map<String, List<String>> values =
                Map.of("verb", List.of("open", "stir", "cut"), "noun", List.of("cup", "box", "cup"));
        ClipSet.Source source = i -> {
            byte[] pixels = new byte[8 * 16 * 24 * 3];
            new Random(i).nextBytes(pixels);
            return Map.of(Modality.RGB, MemorySegment.ofArray(pixels));
        };
        int[] own = {0, 1, 2, 0, 1, 2, 2, 2, 0};
        RunContext context = new RunContext(event -> {}, new StopSignal());
        try (ClipSet set = ClipSet.load(stored, classes, values, own, Set.of(Modality.RGB), source, done -> {})) {
            List<View> views = Views.PUBLISHED.test(stored, seen, 2, 3);
            List<HeadLogits> logits = MultiView.logits(student, Masking.none(), 1, set, Modality.RGB, views, context);
            for (int i = 0; i < set.size(); i++) {
                double[] expected = new double[3];
                for (View view : views) {
                    Tensor seenOnce = set.view(Device.cpu(), Modality.RGB, new int[] {i}, view);
                    double[] one = scores(student.heads().getFirst(), student.features(seenOnce, Masking.none(), 1));
                    for (int c = 0; c < 3; c++) {
                        expected[c] += one[c] / 6;
                    }
                }
                Close.relative(logits.getFirst().values()[i], expected, 1e-5, "clip " + i);
            }
            Map<String, int[]> labels = Evaluation.labels(set, logits);
            // The verbs' classes are open, cut, stir in the head's order, and the nouns' box, cup.
            assertArrayEquals(new int[] {0, 2, 1, 0, 2, 1, 1, 1, 0}, labels.get("verb"));
            assertArrayEquals(new int[] {1, 0, 1, 1, 0, 1, 1, 1, 1}, labels.get("noun"));
            Evaluation evaluation = Evaluation.of(logits, labels, Map.of(), Evaluation.Tail.NONE);
            assertEquals(9, requireNonNull(evaluation.action()).all().clips());
            double[][] single = MultiView.logits(
                            student, Masking.none(), 1, set, Modality.RGB, views.subList(0, 1), context)
                    .getFirst()
                    .values();
            assertFalse(Arrays.equals(single[0], logits.getFirst().values()[0]), "more views see more");
        }
    }

    /** {@code 2 (12 D^2 N L + 2 N^2 D L + N K D)} with K values of a patch, as the specification's table counts. */
    @Test
    void workIsCountedInBothConventions() {
        double tokens = 2 * 4 * 4;
        double patch = 2 * 4 * 4 * 3;
        double linear = 2 * (12.0 * WIDTH * WIDTH * tokens * DEPTH + tokens * patch * WIDTH) / 1e9;
        double attention = 2 * (2 * tokens * tokens * WIDTH * DEPTH) / 1e9;
        Gflops one = Gflops.of(student, Masking.none());
        Close.within(one.withoutAttention() / linear, 1, 1e-12, "without attention");
        Close.within(one.all() / (linear + attention), 1, 1e-12, "all");
        Gflops masked = Gflops.of(plain, Masking.of(.75, 4));
        double visible = tokens / 4;
        Close.within(masked.withoutAttention() / linear, 1, 1e-12, "four quarters are the whole");
        Close.within(
                (masked.all() - masked.withoutAttention()) / (4 * 2 * (2 * visible * visible * WIDTH * DEPTH) / 1e9),
                1,
                1e-9,
                "attention among a quarter");
        Close.within(one.times(6).all() / one.all(), 6, 1e-12, "six views");
        try (CostMeter meter = CostMeter.open()) {
            Gflops.of(plain, Masking.none());
            assertEquals(one, Gflops.of(meter), "also counted by a meter around it");
        }
    }

    /** The specification has about 10.95 10^9 multiply-adds for 16 frames of 14 boxes; most are in linear layers. */
    @Test
    void workOfAModelOfBoxesIsCounted() {
        StltConfig config = StltConfig.of(16);
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new StltModel(params, config).close();
        try (Student boxes = Student.of(params.all(), config, Device.cpu())) {
            Gflops gflops = Gflops.of(boxes, Masking.none());
            Close.within(gflops.all() / 2, 10.95, .05, "10^9 multiply-adds");
            assertTrue(gflops.withoutAttention() > .95 * gflops.all() && gflops.withoutAttention() < gflops.all());
        }
    }

    /** The specification has 43.88 10^9 multiply-adds for Swin3D-T and 16 frames of 224 x 224, 34.91 of them outside attention. */
    @Test
    void workOfSwin3dIsCounted() {
        double[] zero = {0, 0, 0};
        double[] one = {1, 1, 1};
        SwinConfig config = SwinConfig.tiny(3, 1, zero, one, 16, 224, 224);
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new SwinModel(params, config, 0).close();
        try (Student swin = Student.of(params.all(), config, Device.cpu())) {
            Gflops gflops = Gflops.of(swin, Masking.none());
            Close.within(gflops.all() / 2, 43.88, .05, "10^9 multiply-adds");
            Close.within(gflops.withoutAttention() / 2, 34.91, .05, "10^9 multiply-adds without attention");
        }
    }
}
