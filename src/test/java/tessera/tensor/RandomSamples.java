package tessera.tensor;

import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.offZero;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.swapped;

import tessera.kernels.DType;

/** Samples and bad calls of {@link RandomOps}. */
final class RandomSamples {
    private RandomSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        all.add(new RandomOps.Dropout(.3, 7, 1), normal(9, 5));
        all.add(new RandomOps.Dropout(0, 7, 1), "of none", normal(3));
        all.add(new RandomOps.Dropout(.5, 7, 2), "of a view", swapped(normal(5, 6)));
        all.add(new RandomOps.DropPath(.5, 7, 1), normal(9, 5), normal(9, 5));
        all.add(new RandomOps.DropPath(.3, 7, 2), normal(6), normal(6));
        all.add(new RandomOps.DropPath(0, 7, 1), "of none", normal(3, 2, 2), normal(3, 2, 2));
        all.add(new RandomOps.DropPath(.5, 7, 1), "of nothing", normal(0, 2), normal(0, 2));
        all.add(new RandomOps.DropPath(.5, 7, 1), "of empty samples", normal(2, 0), normal(2, 0));
        all.add(new RandomOps.DropPath(.5, 7, 2), "of views", swapped(normal(5, 6)), swapped(normal(5, 6)));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new RandomOps.Dropout(.3, 7, 1), normal(0));
        all.add(new RandomOps.Dropout(.3, 7, 1), normal(1));
        all.add(new RandomOps.Dropout(.3, 7, 1), normal(3, 37));
        all.add(new RandomOps.DropPath(.3, 7, 1), normal(1, 1), offZero(1, 1));
        all.add(new RandomOps.DropPath(.3, 7, 1), normal(9, 37), offZero(9, 37));
    }

    private static void refusals(OpCatalogue all) {
        all.bad("dropout of everything", () -> ones(2).dropout(1, 0, 0), "dropout: probability 1.0 is not in [0, 1)");
        all.bad(
                "drop path of everything",
                () -> ones(2, 3).addDropPath(ones(2, 3), 1, 0, 0),
                "drop_path: probability 1.0 is not in [0, 1)");
        all.bad(
                "drop path of another shape",
                () -> ones(2, 3).addDropPath(ones(3), .5, 0, 0),
                "drop_path: f32[3] is added to f32[2, 3]; both need one shape");
        all.bad("drop path of a scalar", () -> ones().addDropPath(ones(), .5, 0, 0), "first axis counts the samples");
        all.bad(
                "drop path of two types",
                () -> ones(2).addDropPath(ones(2).to(DType.F64), .5, 0, 0),
                "drop_path: f64[2] does not have the type of f32[2]");
    }
}
