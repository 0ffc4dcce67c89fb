package tessera.tensor;

import static tessera.tensor.OpCatalogue.input;
import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.positive;
import static tessera.tensor.OpCatalogue.swapped;

import tessera.tensor.OpCatalogue.Input;

/** Samples and bad calls of {@link NormsOps}. */
final class NormsSamples {
    private NormsSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        for (boolean log : new boolean[] {false, true}) {
            NormsOps.Softmax softmax = new NormsOps.Softmax(log);
            all.add(softmax, normal(5, 97));
            all.add(softmax, normal(1, 1));
            all.add(softmax, normal(7));
            all.add(softmax, normal(0, 4));
            all.add(softmax, "of large values", input(Shape.of(3, 6), r -> 1000 + r.nextGaussian()));
            all.add(softmax, "of a view", swapped(normal(5, 4)));
        }
        layerNorm(all, 1e-6, "", normal(3, 7), normal(7), normal(7));
        layerNorm(all, .1, "", normal(2, 3, 33), normal(33), normal(33));
        layerNorm(all, .1, "", normal(1, 1), normal(1), normal(1));
        layerNorm(all, 1e-5, "", normal(8), positive(8), normal(8));
        layerNorm(all, 1e-6, "", normal(0, 8), normal(8), normal(8));
        layerNorm(all, 1e-6, "of a view", swapped(normal(6, 5)), normal(6), normal(6));
        layerNorm(
                all,
                1e-6,
                "with fixed weights",
                normal(3, 5),
                normal(5).constant(),
                normal(5).constant());
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "layer norm weight",
                () -> ones(8, 384).layerNorm(ones(768), ones(384), 1e-6),
                "layer_norm: weight has shape [768] but the last dimension of x is 384 (x: f32[8, 384]); pass a weight"
                        + " of shape [384]");
        all.bad(
                "layer norm bias",
                () -> ones(8, 4).layerNorm(ones(4), ones(5), 1e-6),
                "layer_norm: bias has shape [5]");
        all.bad(
                "layer norm of a scalar",
                () -> ones().layerNorm(ones(1), ones(1), 1e-6),
                "layer_norm: a scalar has no last axis");
        all.bad("softmax of a scalar", () -> ones().softmax(), "softmax: a scalar has no last axis");
    }

    private static void layerNorm(OpCatalogue all, double eps, String what, Input x, Input weight, Input bias) {
        all.add(new NormsOps.LayerNorm(eps), what, x, weight.unrounded(), bias.unrounded());
    }
}
