package tessera.tensor;

import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.offZero;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.swapped;
import static tessera.tensor.OpCatalogue.zeroInts;

import java.util.List;
import java.util.function.Function;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.tensor.OpCatalogue.Input;

/** Samples and bad calls of {@link ElementwiseOps}. */
final class ElementwiseSamples {
    private ElementwiseSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        for (UnaryOp op : UnaryOp.values()) {
            Function<long[], Input> draw = switch (op) {
                case SQRT, LOG -> OpCatalogue::positive;
                case ABS, RELU -> OpCatalogue::offZero;
                default -> OpCatalogue::normal;
            };
            ElementwiseOps.Unary unary = new ElementwiseOps.Unary(op);
            all.add(unary, draw.apply(new long[] {3, 5}));
            all.add(unary, draw.apply(new long[] {}));
            all.add(unary, draw.apply(new long[] {0, 2}));
            all.add(unary, draw.apply(new long[] {1003}));
            all.add(unary, "of a view", swapped(draw.apply(new long[] {3, 4})));
        }
        for (BinaryOp op : List.of(BinaryOp.ADD, BinaryOp.SUB, BinaryOp.MUL, BinaryOp.DIV)) {
            ElementwiseOps.Binary binary = new ElementwiseOps.Binary(op);
            all.add(binary, normal(3, 5), offZero(3, 5));
            all.add(binary, normal(2, 3, 5), offZero(5));
            all.add(binary, normal(4), offZero(3, 1));
            all.add(binary, normal(), offZero(2, 3));
            all.add(binary, normal(1), offZero());
            all.add(binary, normal(0, 3), offZero(3));
            all.add(binary, normal(517), offZero(517));
            all.add(binary, "of views", swapped(normal(5, 3)), offZero(3, 9).seen(t -> t.slice(1, 2, 7)));
        }
        all.add(new ElementwiseOps.Affine(2.5, -1), normal(3, 5));
        all.add(new ElementwiseOps.Affine(-1, 3), normal(0));
        all.add(new ElementwiseOps.Affine(.5, 0), "of a view", swapped(normal(3, 5)));
        all.add(new ElementwiseOps.Cast(DType.F64), normal(3, 5));
        all.add(new ElementwiseOps.Cast(DType.F32), normal(3, 5));
        all.add(new ElementwiseOps.Cast(DType.BF16), normal(3, 5));
        all.add(new ElementwiseOps.Cast(DType.F64), "of a view", swapped(normal(3, 5)));
        all.add(new ElementwiseOps.Sum(0, 1), normal(5, 3));
        all.add(new ElementwiseOps.Sum(1, .25), normal(2, 4, 3));
        all.add(new ElementwiseOps.Sum(2, -2), normal(2, 3, 1));
        all.add(new ElementwiseOps.Sum(0, 1), "over nothing", normal(0, 3));
        all.add(new ElementwiseOps.Sum(1, 1), "of nothing", normal(0, 3));
        all.add(new ElementwiseOps.Sum(0, 1), normal(1501));
        all.add(new ElementwiseOps.Sum(0, 1), "of a view", swapped(normal(4, 3)));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        for (DType target : List.of(DType.F32, DType.BF16)) {
            all.add(new ElementwiseOps.Cast(target), normal(0));
            all.add(new ElementwiseOps.Cast(target), normal(1));
            all.add(new ElementwiseOps.Cast(target), normal(3, 37));
        }
        all.add(new ElementwiseOps.Affine(2.5, -1), normal(1));
        all.add(new ElementwiseOps.Affine(2.5, -1), normal(3, 37));
        all.add(new ElementwiseOps.Sum(0, 1), normal(1));
    }

    private static void refusals(OpCatalogue all) {
        all.bad("add sizes", () -> ones(2, 3).add(ones(2)), "add: f32[2, 3] and f32[2] do not broadcast");
        all.bad("add types", () -> ones(2).add(ones(2).to(DType.F64)), "add: f64[2] does not have the type of f32[2]");
        all.bad("exp of integers", () -> zeroInts(2).exp(), "exp: cannot compute on i32[2]", "to(DType.F32)");
        all.bad("sum of integers", () -> zeroInts(3).sum(0), "sum: cannot compute on i32[3]");
        all.bad("sum over a missing axis", () -> ones(3).sum(1), "axis 1 of shape [3] does not exist");
    }
}
