package tessera.tensor;

import static tessera.tensor.OpCatalogue.input;
import static tessera.tensor.OpCatalogue.ints;
import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.offZero;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.positive;
import static tessera.tensor.OpCatalogue.swapped;
import static tessera.tensor.OpCatalogue.zeroInts;

import java.util.List;
import tessera.tensor.OpCatalogue.Input;

/** Samples and bad calls of {@link LossesOps}. */
final class LossesSamples {
    private LossesSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        all.add(new LossesOps.CrossEntropy(0), normal(8, 10), ints(10, 8));
        all.add(new LossesOps.CrossEntropy(.1), "smoothed", normal(8, 10), ints(10, 8));
        all.add(new LossesOps.CrossEntropy(0), "of one row", normal(1, 204), ints(204, 1));
        all.add(
                new LossesOps.CrossEntropy(0),
                "of large logits",
                input(Shape.of(3, 5), r -> 500 * r.nextGaussian()),
                ints(5, 3));
        all.add(new LossesOps.CrossEntropy(0), "of a view", swapped(normal(4, 3)), ints(4, 3));
        all.add(new LossesOps.MeanSquaredError(), normal(3, 5), positive(3, 5));
        all.add(new LossesOps.MeanSquaredError(), "of one", normal(), positive());
        all.add(new LossesOps.MeanSquaredError(), "of views", swapped(normal(3, 5)), positive(5, 3));
        all.add(
                new LossesOps.MeanSquaredError(),
                "with a fixed target",
                normal(700),
                positive(700).constant());
        all.add(
                new LossesOps.FeatureLoss(new double[] {1, .5, 2}),
                normal(4, 6),
                positive(4, 6),
                offZero(4, 6),
                offZero(4, 6).constant(),
                normal(4, 6).constant(),
                positive(4, 6).constant());
        all.add(
                new LossesOps.FeatureLoss(new double[] {1}),
                "of one modality",
                normal(1, 3),
                positive(1, 3).constant());
        Input labels = ints(7, 5);
        all.add(
                new LossesOps.DistillationLoss(2, .7, .3, true),
                normal(5, 7),
                positive(2).constant().unrounded(),
                labels,
                offZero(5, 7).constant(),
                positive(5, 7).constant());
        all.add(
                new LossesOps.DistillationLoss(3, 1, .5, true),
                "weighted per sample",
                normal(5, 7),
                positive(5, 2).constant().unrounded(),
                labels,
                offZero(5, 7).constant(),
                positive(5, 7).constant());
        all.add(
                new LossesOps.DistillationLoss(1, 1, 0, false),
                "without labels",
                normal(5, 7),
                positive(1).constant().unrounded(),
                offZero(5, 7).constant());
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new LossesOps.CrossEntropy(.1), normal(0, 10), ints(10, 0));
        all.add(new LossesOps.CrossEntropy(.1), normal(1, 1), ints(1, 1));
        all.add(new LossesOps.CrossEntropy(.1), normal(3, 37), ints(37, 3));
        all.add(new LossesOps.MeanSquaredError(), normal(0), positive(0));
        all.add(new LossesOps.MeanSquaredError(), normal(3, 37), positive(3, 37));
        for (long[] shape : new long[][] {{0, 6}, {1, 1}, {3, 37}}) {
            Input target = positive(shape).constant();
            all.add(new LossesOps.FeatureLoss(new double[] {.5}), normal(shape), target);
            LossesOps.DistillationLoss distillation = new LossesOps.DistillationLoss(2, .7, .3, true);
            Input weight = positive(1).constant().unrounded();
            all.add(distillation, normal(shape), weight, ints((int) shape[1], shape[0]), target);
        }
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "labels' type",
                () -> Losses.crossEntropy(ones(2, 3), ones(2)),
                "cross_entropy: logits are f32[2, 3] and labels f32[2]");
        all.bad(
                "labels' count",
                () -> Losses.crossEntropy(ones(2, 3), zeroInts(3)),
                "labels i32[3]; pass [rows, classes] and i32[rows]");
        all.bad(
                "label beyond the classes",
                () -> Losses.crossEntropy(ones(1, 3), Tensor.of(new int[] {3})),
                "label 3 of row 0");
        all.bad(
                "negative label",
                () -> Losses.crossEntropy(ones(1, 3), Tensor.of(new int[] {-1})),
                "label -1 of row 0");
        all.bad(
                "error of shapes",
                () -> Losses.meanSquaredError(ones(2), ones(3)),
                "mean_squared_error: f32[2] and f32[3] differ in shape");
        all.bad(
                "features without targets",
                () -> Losses.features(List.of(ones(2)), List.of(), 1),
                "1 tensors given for 1 weights");
        all.bad(
                "features of shapes",
                () -> Losses.features(List.of(ones(2, 3)), List.of(ones(2, 4)), 1),
                "modality 0: the projection is f32[2, 3] but the target f32[2, 4]");
        all.bad(
                "trained teacher",
                () -> Losses.features(List.of(ones(2)), List.of(ones(2).requiresGrad(true)), 1),
                "modality 0: the target requires a gradient but teachers are frozen; pass target.detach()");
        all.bad(
                "temperature",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(1), null, 0, 1, 0),
                "temperature 0.0 is not positive");
        all.bad(
                "no teachers",
                () -> Losses.distillation(ones(2, 3), List.of(), ones(0), null, 1, 1, 0),
                "with 0 teachers; pass [rows, classes] and 1 to 8 teachers");
        all.bad(
                "beta without labels",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(1), null, 1, 1, .5),
                "beta is 0.5 but no labels are given");
        all.bad(
                "teacher weights",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(2), null, 1, 1, 0),
                "weights are f32[2]; pass [1] or [2, 1]");
        all.bad(
                "teacher's classes",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 4)), ones(1), null, 1, 1, 0),
                "a teacher's logits are f32[2, 4] but the student's are f32[2, 3]");
    }
}
