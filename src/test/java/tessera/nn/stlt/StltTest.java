package tessera.nn.stlt;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.CheckpointException;
import tessera.nn.DropPath;
import tessera.nn.Dropout;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.CostMeter;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Properties of the STLT that hold whatever its weights are. */
class StltTest {
    private static final StltConfig CONFIG = StltConfig.of(4, 5, 16, 2, 2, 2);
    private static final String BOXES = "temporal_transformer.layout_embedding.category_box_embeddings.";
    private static final int ROW = 8;

    private Scope scope;
    private Params params;
    private StltModel model;

    @BeforeEach
    void open() {
        scope = Scope.open();
        params = Params.random(Device.cpu(), DType.F32, 11);
        model = new StltModel(params, CONFIG);
    }

    @AfterEach
    void close() {
        model.close();
        scope.close();
    }

    private static Tensor clips(float[] values) {
        return Tensor.of(values, values.length / (4 * 5 * ROW), 4, 5, 1, ROW);
    }

    private float[] features(float[] values) {
        return Autograd.noGrad(() -> model.features(clips(values), null).toFloats());
    }

    @Test
    void thePublishedModelHasTheSpecsParametersAndCost() {
        Params all = Params.random(Device.cpu(), DType.F32, 1);
        try (StltModel published = new StltModel(all, StltConfig.of(16));
                CostMeter meter = CostMeter.open()) {
            long parameters = all.all().values().stream()
                    .mapToLong(p -> p.shape().count())
                    .sum();
            assertEquals(85_085_952, parameters);
            Tensor clip = Boxes.random(StltConfig.of(16), 1, 5);
            Tensor feature = Autograd.noGrad(() -> published.features(clip, null));
            assertArrayEquals(new long[] {1, 768}, feature.shape().toArray());
            double products =
                    (meter.of("linear").flops() + meter.of("attention").flops()) / 2.0;
            Close.within(products / 1e9, 10.95, .005, "GMAC of a clip of 16 frames");
        }
    }

    @Test
    void theOrderOfAFramesBoxesDoesNotMatter() {
        float[] values = Boxes.values(CONFIG, 2, 1);
        float[] swapped = values.clone();
        for (int frame = 0; frame < 2 * 4; frame++) {
            for (int box = 0; box < 5; box++) {
                System.arraycopy(values, (frame * 5 + box) * ROW, swapped, (frame * 5 + (box * 2 + 3) % 5) * ROW, ROW);
            }
        }
        assertFalse(Arrays.equals(values, swapped));
        Close.relative(features(swapped), features(values), 1e-5, "features");
    }

    @Test
    void whatPaddingHoldsBesideItsClassDoesNotMatter() {
        float[] values = Boxes.values(CONFIG, 2, 2);
        float[] other = values.clone();
        int padding = 0;
        for (int box = 0; box < values.length; box += ROW) {
            if (values[box + 5] == 0) {
                Arrays.fill(other, box, box + 5, .7f);
                other[box + 7] = 3;
                padding++;
            }
        }
        assertTrue(padding > 0);
        assertArrayEquals(features(values), features(other));
        float[] seen = values.clone();
        for (int box = 0; box < values.length; box += ROW) {
            seen[box + 5] = Math.max(1, seen[box + 5]);
        }
        assertFalse(Arrays.equals(features(values), features(seen)));
    }

    @Test
    void laterFramesDoNotChangeEarlierTokens() {
        float[] values = Boxes.values(CONFIG, 1, 3);
        float[] other = values.clone();
        for (int i = 2 * 5 * ROW; i < 3 * 5 * ROW; i++) {
            other[i] = i % ROW < 5 ? .3f : 1;
        }
        float[] before = tokens(values);
        float[] after = tokens(other);
        for (int token = 0; token < 5; token++) {
            float[] one = Arrays.copyOfRange(before, token * 16, (token + 1) * 16);
            float[] two = Arrays.copyOfRange(after, token * 16, (token + 1) * 16);
            assertEquals(token < 2, Arrays.equals(one, two), "token " + token);
        }
    }

    private float[] tokens(float[] values) {
        return Autograd.noGrad(() -> model.tokens(model.layouts(clips(values), Dropout.NONE), Dropout.NONE)
                .toFloats());
    }

    @Test
    void rowsOfPaddingStayZeroAndGetNoGradient() {
        model.features(clips(Boxes.values(CONFIG, 3, 4)), null)
                .backward(Tensor.normal(Device.cpu(), DType.F32, Shape.of(3, 16), 1, 1, 0, 1));
        for (String table : List.of("category_embeddings", "side_embedding", "state_embedding")) {
            Tensor weight = requireNonNull(params.all().get(BOXES + table + ".weight"));
            float[] values = weight.toFloats();
            float[] gradient = requireNonNull(weight.grad()).toFloats();
            for (int i = 0; i < gradient.length; i++) {
                assertEquals(i < 16, gradient[i] == 0, table + " gradient " + i);
                assertEquals(i < 16, values[i] == 0, table + " value " + i);
            }
        }
    }

    @Test
    void numbersOfNoRowAddNothing() {
        float[] values = Boxes.values(CONFIG, 2, 5);
        float[] none = values.clone();
        float[] unknown = values.clone();
        for (int box = 0; box < values.length; box += ROW) {
            if (values[box + 5] > 0) {
                none[box + 7] = 0;
                unknown[box + 7] = box % (2 * ROW) == 0 ? -3 : 6;
            }
        }
        assertArrayEquals(features(none), features(unknown));
    }

    @Test
    void onlyTrainingDropsAndByItsSeedAndStream() {
        Tensor clips = clips(Boxes.values(CONFIG, 2, 6));
        float[] whole = Autograd.noGrad(
                () -> model.features(clips, null, new DropPath(0, 5, 9)).toFloats());
        Close.relative(model.features(clips, null).toFloats(), whole, 1e-5, "recorded without noise");
        float[] first = model.features(clips, null, new DropPath(0, 5, 9)).toFloats();
        assertArrayEquals(
                first, model.features(clips, null, new DropPath(0, 5, 9)).toFloats());
        for (DropPath other : List.of(new DropPath(0, 5, 10), new DropPath(0, 6, 9), new DropPath(0, 0, 0))) {
            float[] features = model.features(clips, null, other).toFloats();
            assertFalse(Arrays.equals(first, features), other.toString());
            assertFalse(Arrays.equals(whole, features), other.toString());
        }
    }

    /** Of what is dropped, the mean over many draws is what is not; so each place scales what it keeps. */
    @Test
    void dropoutKeepsTheMean() {
        Dropout dropout = new Dropout(.1, 3, 0);
        Tensor ones = Tensor.ones(100, 100).requiresGrad(true);
        float[] one = dropout.apply(ones, 0).toFloats();
        float[] two = dropout.from(1).apply(ones, 1).toFloats();
        double sum = 0;
        int equal = 0;
        for (int i = 0; i < one.length; i++) {
            assertTrue(one[i] == 0 || one[i] == 1 / .9f, "element " + one[i]);
            sum += one[i];
            equal += one[i] == two[i] ? 1 : 0;
        }
        Close.within(sum / one.length, 1, .02, "mean");
        Close.within(equal / (double) one.length, .82, .02, "agreement of two places");
        assertArrayEquals(two, dropout.apply(ones, 2).toFloats());
    }

    @Test
    void gradientsAreFiniteDifferencesOfTheLossWithElementsDropped() {
        finiteDifferences(new DropPath(0, 4, 2));
    }

    @Test
    void gradientsAreFiniteDifferencesOfTheLoss() {
        finiteDifferences(DropPath.NONE);
    }

    private static void finiteDifferences(DropPath drop) {
        StltConfig small = StltConfig.of(3, 4, 8, 2, 2, 2).withDropout(.3);
        Params exact = Params.random(Device.cpu(), DType.F64, 7);
        try (StltModel precise = new StltModel(exact, small)) {
            Tensor clips = Boxes.random(small, 2, 8).to(DType.F64);
            Tensor cotangent = Tensor.normal(Device.cpu(), DType.F64, Shape.of(2, 8), 1, 1, 0, 1);
            precise.features(clips, null, drop).backward(cotangent);
            Random random = new Random(5);
            exact.all().forEach((name, parameter) -> {
                double[] values = parameter.toDoubles();
                double[] gradient = requireNonNull(parameter.grad(), name).toDoubles();
                for (int k = 0; k < 3; k++) {
                    int at = random.nextInt(values.length);
                    if (name.matches(".*(category_embeddings|side_embedding|state_embedding).weight")) {
                        at = 8 + at % (values.length - 8); // the row of padding has no gradient by definition
                    }
                    double[] losses = new double[2];
                    for (int side = 0; side < 2; side++) {
                        double[] moved = values.clone();
                        moved[at] += side == 0 ? 1e-5 : -1e-5;
                        parameter.copyFrom(Tensor.of(moved, parameter.shape().toArray()));
                        losses[side] = precise.features(clips, null, drop)
                                .mul(cotangent)
                                .sum()
                                .item();
                    }
                    parameter.copyFrom(Tensor.of(values, parameter.shape().toArray()));
                    double difference = (losses[0] - losses[1]) / 2e-5;
                    Close.within(gradient[at], difference, 1e-7 * (1 + Math.abs(difference)), name + " " + at);
                }
            });
        }
    }

    @Test
    void whatItCannotTakeIsRefused() {
        Tensor clips = clips(Boxes.values(CONFIG, 1, 1));
        refused(() -> model.features(clips.to(DType.U8), null), "u8", "f32 [batch, 4, 5, 1, 8]");
        refused(() -> model.features(clips.slice(1, 0, 3), null), "[1, 3, 5, 1, 8]", "[batch, 4, 5, 1, 8]");
        refused(() -> model.features(clips, Tensor.of(new int[] {0}, 1, 1)), "pass no mask");
        refused(() -> model.features(clips, null, new DropPath(.1, 0, 0)), "rate of 0.1", "drop path 0");
    }

    @Test
    void metadataMakeTheConfigurationAgainOrSayWhatIsWrong() {
        StltConfig config = new StltConfig(3, 4, 6, 2, 1, 2, 5, 2, 4, .25);
        assertEquals(config, StltConfig.fromMetadata(config.toMetadata()));
        Map<String, String> damaged = new LinkedHashMap<>(config.toMetadata());
        damaged.put("tessera.heads", "5");
        unreadable(damaged, "width of 6 with 5 heads");
        damaged.put("tessera.heads", "2.5");
        unreadable(damaged, "tessera.heads is '2.5', no whole number");
        damaged.put("tessera.heads", "two");
        unreadable(damaged, "tessera.heads is 'two', no number");
        damaged.remove("tessera.heads");
        unreadable(damaged, "no entry tessera.heads");
        damaged.put("tessera.heads", "2");
        damaged.put("tessera.frames", "2000000000");
        unreadable(damaged, "2000000000 frames");
    }

    private static void unreadable(Map<String, String> metadata, String part) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> StltConfig.fromMetadata(metadata));
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    }

    private static void refused(Executable call, String... parts) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        for (String part : parts) {
            assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }

    @Test
    void publicNamesLoseTheirWrappersAndClassifiersBecomeHeads() {
        Tensor x = Tensor.zeros(1);
        Map<String, Tensor> named = StltNames.translate(
                Map.of("module._orig_mod.temporal_transformer.cls_token", x, "_orig_mod.classifiers.VERB.weight", x));
        assertEquals(Set.of("temporal_transformer.cls_token", "heads.verb.weight"), named.keySet());
    }
}
