package tessera.tensor;

import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.swapped;

import java.util.List;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.tensor.OpCatalogue.Call;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/** Samples and bad calls of {@link MatmulOps}. */
final class MatmulSamples {
    private MatmulSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static Tensor accumulate(Tensor... in) {
        try (PackedLinear layer = new PackedLinear(in[1], in[2])) {
            return layer.accumulate(in[0], in[3]);
        }
    }

    private static void accumulate(OpCatalogue all, Input... inputs) {
        Call exact = in -> in[0].linear(in[1], in[2]).add(in[3]);
        Class<? extends Op> type = MatmulOps.PackedAccumulate.class;
        all.add(new Sample(type, "", null, MatmulSamples::accumulate, exact, 3, List.of(inputs)));
    }

    private static void samples(OpCatalogue all) {
        all.add(new MatmulOps.Matmul(), normal(3, 4), normal(4, 5));
        all.add(new MatmulOps.Matmul(), normal(2, 2, 3, 5), normal(2, 2, 5, 7));
        all.add(new MatmulOps.Matmul(), normal(1, 1), normal(1, 1));
        all.add(new MatmulOps.Matmul(), "over nothing", normal(3, 0), normal(0, 2));
        all.add(new MatmulOps.Matmul(), "of nothing", normal(0, 3, 4), normal(0, 4, 2));
        all.add(new MatmulOps.Matmul(), "of views", swapped(normal(4, 3)), swapped(normal(5, 4)));
        all.add(new MatmulOps.Linear(false), normal(7, 5), normal(3, 5), normal(3));
        all.add(new MatmulOps.Linear(false), "without bias", normal(2, 3, 4), normal(5, 4));
        all.add(new MatmulOps.Linear(false), "of a vector", normal(6), normal(2, 6), normal(2));
        all.add(new MatmulOps.Linear(false), "of nothing", normal(0, 4), normal(3, 4), normal(3));
        all.add(new MatmulOps.Linear(false), "of views", swapped(normal(5, 6)), swapped(normal(5, 3)), normal(3));
        all.add(
                new MatmulOps.Linear(false),
                "with a frozen weight",
                normal(9, 33),
                normal(17, 33).constant(),
                normal(17));
        all.add(new MlpOp(false), normal(7, 5), normal(6, 5), normal(6), normal(3, 6), normal(3));
        all.add(
                new MlpOp(true),
                "onto a residual",
                normal(2, 7, 5),
                normal(6, 5),
                normal(6),
                normal(3, 6),
                normal(3),
                normal(2, 7, 3));
        all.add(new MatmulOps.Linear(true), "onto a residual", normal(7, 5), normal(3, 5), normal(7, 3), normal(3));
        all.add(
                new MatmulOps.Linear(true),
                "onto a residual without bias",
                normal(2, 3, 4),
                normal(5, 4),
                normal(2, 3, 5));
        all.add(new MatmulOps.Linear(true), "onto nothing", normal(0, 4), normal(3, 4), normal(0, 3), normal(3));
        all.add(
                new MatmulOps.Linear(true),
                "of views onto a view",
                swapped(normal(5, 6)),
                swapped(normal(5, 3)),
                swapped(normal(3, 6)),
                normal(3));
        all.add(
                new MatmulOps.Linear(true),
                "frozen, onto a residual",
                normal(9, 33),
                normal(17, 33).constant(),
                normal(9, 17),
                normal(17).constant());
        for (Activation activation : Activation.values()) {
            Call exact = in -> {
                Tensor y = in[0].linear(in[1], in.length == 3 ? in[2] : null);
                return activation == Activation.GELU ? y.gelu() : y;
            };
            Call packed = in -> {
                try (PackedLinear layer = new PackedLinear(in[1], in.length == 3 ? in[2] : null)) {
                    return layer.apply(in[0], activation);
                }
            };
            String what = activation.toString();
            Class<? extends Op> type = MatmulOps.PackedProduct.class;
            all.add(new Sample(
                    type, what, null, packed, exact, -1, List.of(normal(2, 9, 33), normal(17, 33), normal(17))));
            all.add(new Sample(type, what, null, packed, exact, -1, List.of(normal(1, 64), normal(48, 64))));
            all.add(new Sample(type, what, null, packed, exact, -1, List.of(normal(0, 4), normal(3, 4))));
        }
        accumulate(all, normal(2, 9, 33), normal(17, 33), normal(17), normal(2, 9, 17));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new MatmulOps.Matmul(), normal(3, 37), normal(37, 19));
        all.add(new MatmulOps.Linear(false), normal(1, 1), normal(1, 1), normal(1));
        all.add(new MlpOp(false), normal(1, 1), normal(1, 1), normal(1), normal(1, 1), normal(1));
        all.add(new MlpOp(false), "of nothing", normal(0, 4), normal(3, 4), normal(3), normal(5, 3), normal(5));
        all.add(
                new MlpOp(false),
                "with frozen layers",
                normal(9, 33),
                normal(17, 33).constant(),
                normal(17),
                normal(19, 17),
                normal(19).constant());
        Call linear = in -> {
            try (PackedLinear layer = new PackedLinear(in[1], in[2])) {
                return layer.apply(in[0], Activation.NONE);
            }
        };
        Call exactly = in -> in[0].linear(in[1], in[2]);
        List<Input> single = List.of(normal(1, 1), normal(1, 1), normal(1));
        all.add(new Sample(MatmulOps.PackedProduct.class, "", null, linear, exactly, -1, single));
        for (int n = 0; n < 2; n++) {
            accumulate(all, normal(n, 1), normal(1, 1), normal(1), normal(n, 1));
        }
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "matmul inner sizes",
                () -> ones(2, 3).matmul(ones(4, 5)),
                "matmul: f32[2, 3] times f32[4, 5] is not defined; pass [.., m, k] and [.., k, n]");
        all.bad(
                "matmul leading sizes",
                () -> ones(2, 3, 4).matmul(ones(3, 4, 5)),
                "matmul: f32[2, 3, 4] times f32[3, 4, 5]");
        all.bad("matmul of vectors", () -> ones(3).matmul(ones(3)), "matmul: f32[3] times f32[3] is not defined");
        all.bad("linear weight", () -> ones(2, 3).linear(ones(4, 5), null), "linear: weight has shape [4, 5]", "is 3");
        all.bad(
                "linear residual",
                () -> ones(2, 3).linear(ones(4, 3), null, ones(4)),
                "linear: the residual has shape [4] but the product has [2, 4]");
        all.bad(
                "linear residual's type",
                () -> ones(2, 3).linear(ones(4, 3), null, ones(2, 4).to(DType.F64)),
                "linear: f64[2, 4] does not have the type of f32[2, 3]");
        all.bad("linear bias", () -> ones(2, 3).linear(ones(4, 3), ones(3)), "linear: bias has shape [3]", "shape [4]");
        all.bad(
                "packed width",
                () -> accumulate(ones(2, 4), ones(3, 5), ones(3), ones(2, 3)),
                "f32[.., 5] but x is f32[2, 4]");
        all.bad("packed sum", () -> accumulate(ones(2, 5), ones(3, 5), ones(3), ones(2, 4)), "f32[2, 4]", "[2, 3]");
    }
}
