package tessera.tensor;

import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.swapped;

import tessera.kernels.Device;

/** Samples and bad calls of {@link ViewOps}. */
final class ViewSamples {
    private ViewSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        all.add(new ViewOps.Reshape(Shape.of(3, 4)), normal(2, 6));
        all.add(new ViewOps.Reshape(Shape.of()), "to a scalar", normal(1));
        all.add(new ViewOps.Reshape(Shape.of(3, 0)), "of nothing", normal(0, 3));
        all.add(new ViewOps.Reshape(Shape.of(12)), "of a view", swapped(normal(3, 4)));
        all.add(new ViewOps.Permute(new int[] {2, 0, 1}), normal(2, 3, 4));
        all.add(new ViewOps.Permute(new int[0]), "of a scalar", normal());
        all.add(
                new ViewOps.Permute(new int[] {1, 0}),
                "of a slice",
                normal(4, 5).seen(t -> t.slice(1, 1, 4)));
        all.add(new ViewOps.Slice(1, 1, 3), normal(2, 4, 3));
        all.add(new ViewOps.Slice(0, 0, 3), "of everything", normal(3, 2));
        all.add(new ViewOps.Slice(0, 2, 2), "of nothing", normal(3, 2));
        all.add(new ViewOps.Slice(1, 1, 2), "of a view", swapped(normal(3, 5)));
        all.add(new ViewOps.Expand(Shape.of(2, 3, 4)), normal(3, 1));
        all.add(new ViewOps.Expand(Shape.of(2, 2)), "of a scalar", normal());
        all.add(new ViewOps.Expand(Shape.of(0, 3)), "to nothing", normal(1, 3));
        all.add(new ViewOps.Contiguous(), "of a transpose", swapped(normal(5, 7)));
        all.add(new ViewOps.Contiguous(), "of a slice", normal(5, 7).seen(t -> t.slice(1, 2, 5)));
        all.add(new ViewOps.Contiguous(), "of a repeat", normal(5, 1).seen(t -> t.expand(2, 5, 3)));
        all.add(new ViewOps.Concat(1), normal(2, 3), normal(2, 0), normal(2, 4));
        all.add(new ViewOps.Concat(0), "of one", normal(3));
        all.add(new ViewOps.Concat(0), "of views", swapped(normal(2, 3)), normal(1, 2), swapped(normal(2, 2)));
        all.add(new ViewOps.Transfer(Device.cpu(2)), normal(3, 5));
        all.add(new ViewOps.Transfer(Device.cpu(2)), "of a view", swapped(normal(3, 5)));
        all.add(new ViewOps.Transfer(Device.cpu(2)), "of nothing", normal(0, 5));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new ViewOps.Reshape(Shape.of(37, 3)), normal(3, 37));
        all.add(new ViewOps.Permute(new int[] {1, 0}), normal(0, 5));
        all.add(new ViewOps.Permute(new int[] {1, 0}), normal(3, 37));
        all.add(new ViewOps.Slice(1, 0, 2), normal(0, 3));
        all.add(new ViewOps.Slice(0, 0, 1), normal(1));
        all.add(new ViewOps.Slice(1, 1, 20), normal(3, 37));
        all.add(new ViewOps.Expand(Shape.of(2, 0)), normal(1, 0));
        all.add(new ViewOps.Expand(Shape.of(4, 3, 37)), normal(3, 37));
        all.add(new ViewOps.Contiguous(), swapped(normal(0, 5)));
        all.add(new ViewOps.Contiguous(), swapped(normal(1, 1)));
        all.add(new ViewOps.Contiguous(), swapped(normal(19, 37)));
        all.add(new ViewOps.Concat(0), normal(0, 3), normal(2, 3));
        all.add(new ViewOps.Concat(0), normal(1), normal(1));
        all.add(new ViewOps.Concat(1), normal(3, 37), normal(3, 5));
        all.add(new ViewOps.Transfer(Device.cpu(2)), normal(1));
        all.add(new ViewOps.Transfer(Device.cpu(2)), normal(3, 37));
    }

    private static void refusals(OpCatalogue all) {
        all.bad("reshape to another count", () -> ones(2, 3).reshape(4), "reshape: f32[2, 3] has 6 elements", "[4]");
        all.bad(
                "reshape with two open sizes",
                () -> ones(2, 3).reshape(-1, -1),
                "more than one size of [-1, -1] is -1");
        all.bad("permute too few axes", () -> ones(2, 3).permute(0), "permute: 1 axes given for f32[2, 3]");
        all.bad("permute an axis twice", () -> ones(2, 3).permute(0, 0), "axis 0 is named twice in [0, 0]");
        all.bad(
                "permute a missing axis",
                () -> ones(2, 3).permute(0, 2),
                "axis 2 of shape [2, 3] does not exist; pass -2 to 1");
        all.bad(
                "slice beyond the end",
                () -> ones(2, 3).slice(1, 1, 4),
                "slice: [1, 4) is no part of axis 1 of f32[2, 3]");
        all.bad("slice backwards", () -> ones(2, 3).slice(1, 2, 1), "slice: [2, 1)", "0 <= from <= to <= 3");
        all.bad("expand another size", () -> ones(2, 3).expand(2, 4), "expand: f32[2, 3] cannot be repeated to [2, 4]");
        all.bad("concat of nothing", () -> Tensor.concat(0), "concat: no tensors given");
        all.bad(
                "concat other sizes",
                () -> Tensor.concat(0, ones(2, 3), ones(2, 4)),
                "concat: f32[2, 4] does not fit beside f32[2, 3] along axis 0");
        all.bad(
                "concat of ranks",
                () -> Tensor.concat(1, ones(2, 3), ones(2)),
                "concat: f32[2] does not fit beside f32[2, 3]");
        all.bad("shape with a negative size", () -> Tensor.zeros(2, -3), "shape [2, -3] has a negative size");
        all.bad("too few values", () -> Tensor.of(new float[5], 2, 3), "5 values do not fill shape [2, 3]");
        all.bad("item of two", () -> Tensor.of(new double[] {ones(2).item()}), "item: f32[2] has 2 elements, not 1");
    }
}
