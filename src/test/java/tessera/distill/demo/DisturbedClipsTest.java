package tessera.distill.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.ModelPlan.Disturbance;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.ModalityInput;
import tessera.kernels.DType;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Noise is as large as the models see it, and nothing else happens to clips. */
class DisturbedClipsTest {
    private static final Geometry GEOMETRY = new Geometry(4, 16, 8);
    private static final ModalityInput INPUT =
            new ModalityInput(GEOMETRY, 4, 2, new FlowStats(List.of(.5f, -.5f), List.of(2f, .25f)));
    private static final int CLIPS = 40;

    private static ClipSet set;

    @BeforeAll
    static void render() {
        set = EgoSimClips.render(
                new EgoSim(GEOMETRY, 3), Split.TARGET_UNLABELLED, Domain.KITCHEN, 2, Modality.ALL, done -> {});
    }

    @AfterAll
    static void close() {
        set.close();
    }

    /** Heat maps are divided by another deviation than their layout's, as in the demo. */
    private static Patches input(Modality modality) {
        Patches usual = INPUT.patches(modality);
        double[] std = new double[usual.channels()];
        Arrays.fill(std, .05);
        return modality.equals(Modality.POSE)
                ? new Patches(usual.channels(), 2, usual.patch(), usual.scale(), new double[usual.channels()], std)
                : usual;
    }

    private static DisturbedClips disturbed(double noise, double missing) {
        return new DisturbedClips(new Disturbance(noise, missing), DisturbedClipsTest::input, 9);
    }

    private static int[] all() {
        return IntStream.range(0, Math.min(CLIPS, set.size())).toArray();
    }

    @ParameterizedTest
    @ValueSource(strings = {"flow", "pose"})
    void noiseHasItsDeviationAsModelsSeeIt(String id) {
        Modality modality = Modality.of(id);
        Patches input = input(modality);
        try (Scope scope = Scope.open()) {
            float[] before = set.batch(modality, all()).toFloats();
            Tensor changed = disturbed(2, 0).of(modality, all(), set.batch(modality, all()));
            assertEquals(DType.F32, changed.dtype());
            float[] after = changed.toFloats();
            int channels = input.channels();
            for (int c = 0; c < channels; c++) {
                double sum = 0;
                double squares = 0;
                double most = 0;
                int count = 0;
                for (int i = c; i < after.length; i += channels) {
                    double added = (after[i] - before[i]) * input.scale() / input.std()[c];
                    sum += added;
                    squares += added * added;
                    most = Math.max(most, Math.abs(added));
                    count++;
                }
                // Four deviations of a mean, and of a mean square, of so many.
                Close.within(sum / count, 0, 4 * 2 / Math.sqrt(count), "mean of channel " + c);
                Close.within(squares / count, 4, 4 * 4 / Math.sqrt(count), "variance of channel " + c);
                assertTrue(most <= 2 * Math.sqrt(3) + 1e-3, "channel " + c + ": " + most);
            }
        }
    }

    /** Most of a heat map is zero: were it cut off there, half of the noise would be gone and the rest would have a mean. */
    @Test
    void noiseIsNotCutOff() {
        try (Scope scope = Scope.open()) {
            float[] after = disturbed(1, 0)
                    .of(Modality.POSE, all(), set.batch(Modality.POSE, all()))
                    .toFloats();
            long negative =
                    IntStream.range(0, after.length).filter(i -> after[i] < 0).count();
            assertTrue(negative > after.length / 3, negative + " of " + after.length);
        }
    }

    /** A function of the clip, whatever batch it is in. */
    @Test
    void aClipIsDisturbedAlikeInEveryBatch() {
        try (Scope scope = Scope.open()) {
            int[] some = {5, 2, 11};
            float[] of = disturbed(1, .3)
                    .of(Modality.FLOW, some, set.batch(Modality.FLOW, some))
                    .toFloats();
            float[] whole = disturbed(1, .3)
                    .of(Modality.FLOW, all(), set.batch(Modality.FLOW, all()))
                    .toFloats();
            int length = of.length / some.length;
            for (int place = 0; place < some.length; place++) {
                assertArrayEquals(
                        Arrays.copyOfRange(whole, some[place] * length, (some[place] + 1) * length),
                        Arrays.copyOfRange(of, place * length, (place + 1) * length),
                        "clip " + some[place]);
            }
        }
    }

    /** What is not missing is as it was, and in the type that it was in. */
    @ParameterizedTest
    @ValueSource(strings = {"flow", "pose"})
    void missingModalitiesAreZerosAndTheOthersAreWhole(String id) {
        Modality modality = Modality.of(id);
        try (Scope scope = Scope.open()) {
            Tensor given = set.batch(modality, all());
            float[] before = given.toFloats();
            Tensor changed = disturbed(0, .5).of(modality, all(), given);
            assertEquals(modality.layout().values().batched(), changed.dtype());
            float[] after = changed.toFloats();
            int length = before.length / all().length;
            int zeroed = 0;
            for (int clip : all()) {
                float[] own = Arrays.copyOfRange(after, clip * length, (clip + 1) * length);
                if (Arrays.equals(own, new float[length])) {
                    zeroed++;
                } else {
                    assertArrayEquals(
                            Arrays.copyOfRange(before, clip * length, (clip + 1) * length), own, "clip " + clip);
                }
            }
            assertTrue(zeroed > all().length / 5 && zeroed < all().length * 4 / 5, zeroed + " of " + all().length);
        }
    }

    @Test
    void picturesStayAsTheyAre() {
        try (Scope scope = Scope.open()) {
            Tensor pictures = set.batch(Modality.RGB, new int[] {1});
            assertSame(pictures, disturbed(3, 1).of(Modality.RGB, new int[] {1}, pictures));
        }
    }
}
