package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.stlt.StltConfig;
import tessera.nn.stlt.StltModel;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Models whose blocks are recomputed: after some steps the same weights bit for bit, in less memory. */
class RecomputingTest {
    private static final int STEPS = 3;
    private static final long SEED = 7;
    private static final Device OWN = Device.cpu(2);

    /** The loss of a step of a model on parameters. */
    private interface Model extends AutoCloseable {
        Tensor loss(long step);

        @Override
        void close();
    }

    private interface Family {
        Model make(Params params);
    }

    /** What a training left, and how much memory the loss of its last step kept. */
    private record Trained(Map<String, float[]> weights, long kept) {}

    private static Trained train(Family family, boolean recomputing) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(OWN, DType.F32, 3).recomputing(recomputing);
            try (Model model = family.make(params);
                    AdamW optimiser =
                            new AdamW(params.all(), .9, .999, 1e-8, .05, AdamW.matrices(params.all())).clipNorm(1)) {
                long kept = 0;
                for (long step = 0; step < STEPS; step++) {
                    try (Scope inner = Scope.open()) {
                        long before = OWN.memory().live();
                        Tensor loss = model.loss(step);
                        kept = OWN.memory().live() - before;
                        loss.backward();
                        optimiser.step(1e-2);
                    }
                }
                Map<String, float[]> weights = new LinkedHashMap<>();
                params.all().forEach((name, weight) -> weights.put(name, weight.toFloats()));
                return new Trained(weights, kept);
            }
        }
    }

    private static void check(Family family) {
        Trained plain = train(family, false);
        Trained again = train(family, true);
        plain.weights()
                .forEach((name, weight) ->
                        assertArrayEquals(weight, again.weights().get(name), name));
        assertTrue(
                2 * again.kept() < plain.kept(), again.kept() + " bytes where " + plain.kept() + " are kept without");
    }

    private static Tensor clips(long... sizes) {
        return Tensor.uniform(OWN, DType.F32, Shape.of(sizes), SEED, 1, 0, 255);
    }

    private static DropPath drop(double rate, long step) {
        return new DropPath(rate, SEED, step);
    }

    /** The mean of squares of features minus something, so that every feature counts otherwise. */
    private static Tensor loss(Tensor features) {
        Tensor target = Tensor.normal(OWN, DType.F32, features.shape(), SEED, 2, 0, 1);
        return features.sub(target).square().mean();
    }

    private static Model model(VideoModel model, Tensor clips, double dropPath) {
        return new Model() {
            @Override
            public Tensor loss(long step) {
                return RecomputingTest.loss(model.features(clips, null, drop(dropPath, step)));
            }

            @Override
            public void close() {
                model.close();
            }
        };
    }

    @Test
    void encoderAndDecoderOfVideoMae() {
        VideoMaeConfig config =
                new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 16, 16, 16, 6, 2, 16, 4, 2, 1e-5, 1e-5, true, false);
        check(params -> {
            VideoMaePretraining model = new VideoMaePretraining(params, config, 3);
            Tensor clips = clips(2, 4, 16, 16, 3);
            return new Model() {
                @Override
                public Tensor loss(long step) {
                    TokenMask mask = TokenMask.tubes(OWN, 2, config.slots(), config.plane(), .5, SEED, step);
                    Tensor tokens = model.encode(clips, mask, drop(.3, step));
                    Tensor patches = model.reconstructionLoss(model.reconstruct(tokens, mask), clips, mask);
                    return patches.add(RecomputingTest.loss(model.classify(tokens, .5, SEED, step)));
                }

                @Override
                public void close() {
                    model.close();
                }
            };
        });
    }

    @Test
    void blocksOfSwin() {
        SwinConfig config = new SwinConfig(
                Patches.plain(3, 2, 4), 4, 24, 24, 8, List.of(2, 4), List.of(1, 2), new TokenGrid(2, 3, 3), 1e-5);
        check(params -> model(new SwinModel(params, config, 0), clips(2, 4, 24, 24, 3), .4));
    }

    @Test
    void layersOfTheStltWithItsDropout() {
        StltConfig config = StltConfig.of(4, 5, 16, 2, 3, 3);
        check(params -> {
            Tensor boxes = Tensor.uniform(OWN, DType.F32, Shape.of(2, 4, 5, 1, 8), SEED, 1, 0, 1);
            return model(new StltModel(params, config), boxes, 0);
        });
    }
}
