package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul.Activation;

/** Samples and bad calls of every operation; the checks of {@link OpCatalogueTest} are generated from them. */
final class OpCatalogue {
    private final List<Sample> samples = new ArrayList<>();
    private final List<BadCall> badCalls = new ArrayList<>();

    private OpCatalogue() {
        views();
        elementwise();
        reductions();
        products();
        attention();
        tokens();
        patches();
        losses();
        packed();
        sizes();
    }

    static List<Sample> samples() {
        return new OpCatalogue().samples;
    }

    static List<BadCall> badCalls() {
        return new OpCatalogue().badCalls;
    }

    /** Runs an operation on its inputs. */
    interface Call extends Function<Tensor[], Tensor> {}

    /**
     * One call of an operation.
     *
     * @param type the operation
     * @param op the operation itself, or null where it can only be reached through {@code call}
     * @param reference computes the same in f64
     * @param changes the input that the operation overwrites, or -1
     */
    record Sample(
            Class<? extends Op> type,
            String what,
            @Nullable Op op,
            Call call,
            Call reference,
            int changes,
            List<Input> inputs) {
        boolean differentiable() {
            return op instanceof Op.Differentiable && inputs.stream().anyMatch(Input::differentiable);
        }

        /** Whether finite differences apply: in f64 all the way. */
        boolean checkable() {
            boolean rounds = op instanceof ViewOps.Cast cast && cast.target() != DType.F64;
            return differentiable()
                    && !rounds
                    && inputs.stream().noneMatch(i -> i.dtype == DType.U8 || i.dtype == DType.F32);
        }

        Tensor[] make(Device device, DType floating) {
            return make(device, floating, floating, 0);
        }

        Tensor[] make(Device device, DType floating, DType values, int offset) {
            return inputs.stream()
                    .map(i -> i.make(device, floating, values, offset))
                    .toArray(Tensor[]::new);
        }

        @Override
        public String toString() {
            return type.getSimpleName() + " " + what + " " + inputs;
        }
    }

    /**
     * One input of a sample.
     *
     * @param dtype null for the floating type that a check asks for
     * @param wide whether it stays f32 where that type is bf16
     * @param view applied to the contiguous tensor, for inputs that are not contiguous
     */
    record Input(
            Shape shape,
            double[] values,
            @Nullable DType dtype,
            boolean wide,
            boolean differentiable,
            UnaryOperator<Tensor> view) {
        /**
         * The tensor.
         *
         * @param floating its type, where the input has none of its own
         * @param rounded type to which its values are rounded, so that other types start from the same
         * @param offset elements by which it misses the alignment of fresh memory
         */
        Tensor make(Device device, DType floating, DType rounded, int offset) {
            DType type = dtype != null ? dtype : wide ? Op.wide(floating) : floating;
            Tensor whole = Tensor.empty(device, type, Shape.of(shape.count() + offset));
            Tensor tensor = whole.slice(0, offset, offset + shape.count()).reshape(shape.toArray());
            Tensor source = Tensor.of(values).reshape(shape.toArray());
            tensor.copyFrom(dtype == null && !wide ? source.to(rounded) : source);
            return view.apply(tensor);
        }

        Input constant() {
            return new Input(shape, values, dtype, wide, false, view);
        }

        Input in(DType fixed) {
            return new Input(shape, values, fixed, wide, differentiable, view);
        }

        /** A parameter, weight or picture, which stays f32 beside bf16 data. */
        Input unrounded() {
            return new Input(shape, values, dtype, true, differentiable, view);
        }

        Input seen(UnaryOperator<Tensor> through) {
            return new Input(shape, values, dtype, wide, differentiable, through);
        }

        @Override
        public String toString() {
            return (dtype == null ? "" : dtype) + shape.toString();
        }
    }

    /** A call that must be refused with a message that contains all the parts. */
    record BadCall(String what, List<String> parts, Supplier<Tensor> call) {}

    // ------------------------------------------------------------------------------------------------------ inputs

    /** Values that f32 holds exactly, so that both precisions start from the same numbers. */
    private static Input input(Shape shape, Function<Random, Double> draw) {
        Random random = new Random(31L * shape.hashCode() + 7);
        double[] values = new double[Math.toIntExact(shape.count())];
        for (int i = 0; i < values.length; i++) {
            values[i] = draw.apply(random).floatValue();
        }
        return new Input(shape, values, null, false, true, t -> t);
    }

    static Input normal(long... sizes) {
        return input(Shape.of(sizes), Random::nextGaussian);
    }

    /** In [.5, 2). */
    static Input positive(long... sizes) {
        return input(Shape.of(sizes), random -> random.nextDouble(.5, 2));
    }

    /** At least .1 away from 0, on both sides. */
    static Input offZero(long... sizes) {
        return input(Shape.of(sizes), random -> (random.nextBoolean() ? 1 : -1) * random.nextDouble(.1, 2));
    }

    static Input pixels(long... sizes) {
        return input(Shape.of(sizes), random -> (double) random.nextInt(256))
                .in(DType.U8)
                .constant();
    }

    static Input ints(int bound, long... sizes) {
        return input(Shape.of(sizes), random -> (double) random.nextInt(bound))
                .in(DType.I32)
                .constant();
    }

    /** Rows of indices. */
    static Input indices(int[]... rows) {
        double[] values = IntStream.range(0, rows.length)
                .flatMap(b -> IntStream.of(rows[b]))
                .asDoubleStream()
                .toArray();
        return new Input(Shape.of(rows.length, rows[0].length), values, DType.I32, false, false, t -> t);
    }

    private static Input swapped(Input input) {
        return input.seen(t -> t.transpose(0, 1));
    }

    private void add(Op op, Input... inputs) {
        add(op, "", inputs);
    }

    private void add(Op op, String what, Input... inputs) {
        Call call = in -> Op.apply(op, in);
        String label = (op.name().equals(name(op.getClass())) ? "" : op.name() + " ") + what;
        samples.add(new Sample(op.getClass(), label.trim(), op, call, call, -1, List.of(inputs)));
    }

    private static String name(Class<?> type) {
        return type.getSimpleName().toLowerCase(Locale.ROOT);
    }

    private void bad(String what, Supplier<Tensor> call, String... parts) {
        badCalls.add(new BadCall(what, List.of(parts), call));
    }

    private static Tensor ones(long... sizes) {
        return Tensor.ones(sizes);
    }

    private static Tensor zeroInts(long... sizes) {
        return Tensor.full(Device.cpu(), DType.I32, Shape.of(sizes), 0);
    }

    // ------------------------------------------------------------------------------------------------------- views

    private void views() {
        add(new ViewOps.Reshape(Shape.of(3, 4)), normal(2, 6));
        add(new ViewOps.Reshape(Shape.of()), "to a scalar", normal(1));
        add(new ViewOps.Reshape(Shape.of(3, 0)), "of nothing", normal(0, 3));
        add(new ViewOps.Reshape(Shape.of(12)), "of a view", swapped(normal(3, 4)));
        add(new ViewOps.Permute(new int[] {2, 0, 1}), normal(2, 3, 4));
        add(new ViewOps.Permute(new int[0]), "of a scalar", normal());
        add(new ViewOps.Permute(new int[] {1, 0}), "of a slice", normal(4, 5).seen(t -> t.slice(1, 1, 4)));
        add(new ViewOps.Slice(1, 1, 3), normal(2, 4, 3));
        add(new ViewOps.Slice(0, 0, 3), "of everything", normal(3, 2));
        add(new ViewOps.Slice(0, 2, 2), "of nothing", normal(3, 2));
        add(new ViewOps.Slice(1, 1, 2), "of a view", swapped(normal(3, 5)));
        add(new ViewOps.Expand(Shape.of(2, 3, 4)), normal(3, 1));
        add(new ViewOps.Expand(Shape.of(2, 2)), "of a scalar", normal());
        add(new ViewOps.Expand(Shape.of(0, 3)), "to nothing", normal(1, 3));
        add(new ViewOps.Contiguous(), "of a transpose", swapped(normal(5, 7)));
        add(new ViewOps.Contiguous(), "of a slice", normal(5, 7).seen(t -> t.slice(1, 2, 5)));
        add(new ViewOps.Contiguous(), "of a repeat", normal(5, 1).seen(t -> t.expand(2, 5, 3)));
        add(new ViewOps.Concat(1), normal(2, 3), normal(2, 0), normal(2, 4));
        add(new ViewOps.Concat(0), "of one", normal(3));
        add(new ViewOps.Concat(0), "of views", swapped(normal(2, 3)), normal(1, 2), swapped(normal(2, 2)));
        add(new ViewOps.Cast(DType.F64), normal(3, 5));
        add(new ViewOps.Cast(DType.F32), normal(3, 5));
        add(new ViewOps.Cast(DType.BF16), normal(3, 5));
        add(new ViewOps.Cast(DType.F64), "of a view", swapped(normal(3, 5)));
        add(new ViewOps.Transfer(Device.cpu(2)), normal(3, 5));
        add(new ViewOps.Transfer(Device.cpu(2)), "of a view", swapped(normal(3, 5)));
        add(new ViewOps.Transfer(Device.cpu(2)), "of nothing", normal(0, 5));

        bad("reshape to another count", () -> ones(2, 3).reshape(4), "reshape: f32[2, 3] has 6 elements", "[4]");
        bad("reshape with two open sizes", () -> ones(2, 3).reshape(-1, -1), "more than one size of [-1, -1] is -1");
        bad("permute too few axes", () -> ones(2, 3).permute(0), "permute: 1 axes given for f32[2, 3]");
        bad("permute an axis twice", () -> ones(2, 3).permute(0, 0), "axis 0 is named twice in [0, 0]");
        bad(
                "permute a missing axis",
                () -> ones(2, 3).permute(0, 2),
                "axis 2 of shape [2, 3] does not exist; pass -2 to 1");
        bad("slice beyond the end", () -> ones(2, 3).slice(1, 1, 4), "slice: [1, 4) is no part of axis 1 of f32[2, 3]");
        bad("slice backwards", () -> ones(2, 3).slice(1, 2, 1), "slice: [2, 1)", "0 <= from <= to <= 3");
        bad("expand another size", () -> ones(2, 3).expand(2, 4), "expand: f32[2, 3] cannot be repeated to [2, 4]");
        bad("concat of nothing", () -> Tensor.concat(0), "concat: no tensors given");
        bad(
                "concat other sizes",
                () -> Tensor.concat(0, ones(2, 3), ones(2, 4)),
                "concat: f32[2, 4] does not fit beside f32[2, 3] along axis 0");
        bad(
                "concat of ranks",
                () -> Tensor.concat(1, ones(2, 3), ones(2)),
                "concat: f32[2] does not fit beside f32[2, 3]");
        bad("shape with a negative size", () -> Tensor.zeros(2, -3), "shape [2, -3] has a negative size");
        bad("too few values", () -> Tensor.of(new float[5], 2, 3), "5 values do not fill shape [2, 3]");
        bad("item of two", () -> Tensor.of(new double[] {ones(2).item()}), "item: f32[2] has 2 elements, not 1");
    }

    // ------------------------------------------------------------------------------------------------- elementwise

    private void elementwise() {
        for (UnaryOp op : UnaryOp.values()) {
            Function<long[], Input> draw = switch (op) {
                case SQRT, LOG -> OpCatalogue::positive;
                case ABS, RELU -> OpCatalogue::offZero;
                default -> OpCatalogue::normal;
            };
            ElementwiseOps.Unary unary = new ElementwiseOps.Unary(op);
            add(unary, draw.apply(new long[] {3, 5}));
            add(unary, draw.apply(new long[] {}));
            add(unary, draw.apply(new long[] {0, 2}));
            add(unary, draw.apply(new long[] {1003}));
            add(unary, "of a view", swapped(draw.apply(new long[] {3, 4})));
        }
        for (BinaryOp op : List.of(BinaryOp.ADD, BinaryOp.SUB, BinaryOp.MUL, BinaryOp.DIV)) {
            ElementwiseOps.Binary binary = new ElementwiseOps.Binary(op);
            add(binary, normal(3, 5), offZero(3, 5));
            add(binary, normal(2, 3, 5), offZero(5));
            add(binary, normal(4), offZero(3, 1));
            add(binary, normal(), offZero(2, 3));
            add(binary, normal(1), offZero());
            add(binary, normal(0, 3), offZero(3));
            add(binary, normal(517), offZero(517));
            add(binary, "of views", swapped(normal(5, 3)), offZero(3, 9).seen(t -> t.slice(1, 2, 7)));
        }
        add(new ElementwiseOps.Affine(2.5, -1), normal(3, 5));
        add(new ElementwiseOps.Affine(-1, 3), normal(0));
        add(new ElementwiseOps.Affine(.5, 0), "of a view", swapped(normal(3, 5)));
        add(new ElementwiseOps.Dropout(.3, 7, 1), normal(9, 5));
        add(new ElementwiseOps.Dropout(0, 7, 1), "of none", normal(3));
        add(new ElementwiseOps.Dropout(.5, 7, 2), "of a view", swapped(normal(5, 6)));
        add(new ElementwiseOps.DropPath(.5, 7, 1), normal(9, 5), normal(9, 5));
        add(new ElementwiseOps.DropPath(.3, 7, 2), normal(6), normal(6));
        add(new ElementwiseOps.DropPath(0, 7, 1), "of none", normal(3, 2, 2), normal(3, 2, 2));
        add(new ElementwiseOps.DropPath(.5, 7, 1), "of nothing", normal(0, 2), normal(0, 2));
        add(new ElementwiseOps.DropPath(.5, 7, 1), "of empty samples", normal(2, 0), normal(2, 0));
        add(new ElementwiseOps.DropPath(.5, 7, 2), "of views", swapped(normal(5, 6)), swapped(normal(5, 6)));

        bad("add sizes", () -> ones(2, 3).add(ones(2)), "add: f32[2, 3] and f32[2] do not broadcast");
        bad("add types", () -> ones(2).add(ones(2).to(DType.F64)), "add: f64[2] does not have the type of f32[2]");
        bad("exp of integers", () -> zeroInts(2).exp(), "exp: cannot compute on i32[2]", "to(DType.F32)");
        bad("dropout of everything", () -> ones(2).dropout(1, 0, 0), "dropout: probability 1.0 is not in [0, 1)");
        bad(
                "drop path of everything",
                () -> ones(2, 3).addDropPath(ones(2, 3), 1, 0, 0),
                "drop_path: probability 1.0 is not in [0, 1)");
        bad(
                "drop path of another shape",
                () -> ones(2, 3).addDropPath(ones(3), .5, 0, 0),
                "drop_path: f32[3] is added to f32[2, 3]; both need one shape");
        bad("drop path of a scalar", () -> ones().addDropPath(ones(), .5, 0, 0), "first axis counts the samples");
        bad(
                "drop path of two types",
                () -> ones(2).addDropPath(ones(2).to(DType.F64), .5, 0, 0),
                "drop_path: f64[2] does not have the type of f32[2]");
    }

    // -------------------------------------------------------------------------------------------------- reductions

    private void reductions() {
        add(new ReductionOps.Sum(0, 1), normal(5, 3));
        add(new ReductionOps.Sum(1, .25), normal(2, 4, 3));
        add(new ReductionOps.Sum(2, -2), normal(2, 3, 1));
        add(new ReductionOps.Sum(0, 1), "over nothing", normal(0, 3));
        add(new ReductionOps.Sum(1, 1), "of nothing", normal(0, 3));
        add(new ReductionOps.Sum(0, 1), normal(1501));
        add(new ReductionOps.Sum(0, 1), "of a view", swapped(normal(4, 3)));
        for (boolean log : new boolean[] {false, true}) {
            ReductionOps.Softmax softmax = new ReductionOps.Softmax(log);
            add(softmax, normal(5, 97));
            add(softmax, normal(1, 1));
            add(softmax, normal(7));
            add(softmax, normal(0, 4));
            add(softmax, "of large values", input(Shape.of(3, 6), r -> 1000 + r.nextGaussian()));
            add(softmax, "of a view", swapped(normal(5, 4)));
        }
        layerNorm(1e-6, "", normal(3, 7), normal(7), normal(7));
        layerNorm(.1, "", normal(2, 3, 33), normal(33), normal(33));
        layerNorm(.1, "", normal(1, 1), normal(1), normal(1));
        layerNorm(1e-5, "", normal(8), positive(8), normal(8));
        layerNorm(1e-6, "", normal(0, 8), normal(8), normal(8));
        layerNorm(1e-6, "of a view", swapped(normal(6, 5)), normal(6), normal(6));
        layerNorm(
                1e-6,
                "with fixed weights",
                normal(3, 5),
                normal(5).constant(),
                normal(5).constant());

        bad(
                "layer norm weight",
                () -> ones(8, 384).layerNorm(ones(768), ones(384), 1e-6),
                "layer_norm: weight has shape [768] but the last dimension of x is 384 (x: f32[8, 384]); pass a weight"
                        + " of shape [384]");
        bad("layer norm bias", () -> ones(8, 4).layerNorm(ones(4), ones(5), 1e-6), "layer_norm: bias has shape [5]");
        bad(
                "layer norm of a scalar",
                () -> ones().layerNorm(ones(1), ones(1), 1e-6),
                "layer_norm: a scalar has no last axis");
        bad("softmax of a scalar", () -> ones().softmax(), "softmax: a scalar has no last axis");
        bad("sum of integers", () -> zeroInts(3).sum(0), "sum: cannot compute on i32[3]");
        bad("sum over a missing axis", () -> ones(3).sum(1), "axis 1 of shape [3] does not exist");
    }

    private void layerNorm(double eps, String what, Input x, Input weight, Input bias) {
        add(new ReductionOps.LayerNorm(eps), what, x, weight.unrounded(), bias.unrounded());
    }

    // ---------------------------------------------------------------------------------------------------- products

    private void products() {
        add(new MatmulOps.Matmul(), normal(3, 4), normal(4, 5));
        add(new MatmulOps.Matmul(), normal(2, 2, 3, 5), normal(2, 2, 5, 7));
        add(new MatmulOps.Matmul(), normal(1, 1), normal(1, 1));
        add(new MatmulOps.Matmul(), "over nothing", normal(3, 0), normal(0, 2));
        add(new MatmulOps.Matmul(), "of nothing", normal(0, 3, 4), normal(0, 4, 2));
        add(new MatmulOps.Matmul(), "of views", swapped(normal(4, 3)), swapped(normal(5, 4)));
        add(new MatmulOps.Linear(false), normal(7, 5), normal(3, 5), normal(3));
        add(new MatmulOps.Linear(false), "without bias", normal(2, 3, 4), normal(5, 4));
        add(new MatmulOps.Linear(false), "of a vector", normal(6), normal(2, 6), normal(2));
        add(new MatmulOps.Linear(false), "of nothing", normal(0, 4), normal(3, 4), normal(3));
        add(new MatmulOps.Linear(false), "of views", swapped(normal(5, 6)), swapped(normal(5, 3)), normal(3));
        add(
                new MatmulOps.Linear(false),
                "with a frozen weight",
                normal(9, 33),
                normal(17, 33).constant(),
                normal(17));

        add(new MatmulOps.Linear(true), "onto a residual", normal(7, 5), normal(3, 5), normal(7, 3), normal(3));
        add(new MatmulOps.Linear(true), "onto a residual without bias", normal(2, 3, 4), normal(5, 4), normal(2, 3, 5));
        add(new MatmulOps.Linear(true), "onto nothing", normal(0, 4), normal(3, 4), normal(0, 3), normal(3));
        add(
                new MatmulOps.Linear(true),
                "of views onto a view",
                swapped(normal(5, 6)),
                swapped(normal(5, 3)),
                swapped(normal(3, 6)),
                normal(3));
        add(
                new MatmulOps.Linear(true),
                "frozen, onto a residual",
                normal(9, 33),
                normal(17, 33).constant(),
                normal(9, 17),
                normal(17).constant());

        bad(
                "matmul inner sizes",
                () -> ones(2, 3).matmul(ones(4, 5)),
                "matmul: f32[2, 3] times f32[4, 5] is not defined; pass [.., m, k] and [.., k, n]");
        bad(
                "matmul leading sizes",
                () -> ones(2, 3, 4).matmul(ones(3, 4, 5)),
                "matmul: f32[2, 3, 4] times f32[3, 4, 5]");
        bad("matmul of vectors", () -> ones(3).matmul(ones(3)), "matmul: f32[3] times f32[3] is not defined");
        bad("linear weight", () -> ones(2, 3).linear(ones(4, 5), null), "linear: weight has shape [4, 5]", "is 3");
        bad(
                "linear residual",
                () -> ones(2, 3).linear(ones(4, 3), null, ones(4)),
                "linear: the residual has shape [4] but the product has [2, 4]");
        bad(
                "linear residual's type",
                () -> ones(2, 3).linear(ones(4, 3), null, ones(2, 4).to(DType.F64)),
                "linear: f64[2, 4] does not have the type of f32[2, 3]");
        bad("linear bias", () -> ones(2, 3).linear(ones(4, 3), ones(3)), "linear: bias has shape [3]", "shape [4]");
    }

    // --------------------------------------------------------------------------------------------------- attention

    private void attention() {
        add(new AttentionOps.SelfAttention(2), normal(2, 5, 24));
        add(new AttentionOps.SelfAttention(3), "of one token", normal(2, 1, 9));
        add(new AttentionOps.SelfAttention(1), normal(1, 37, 24));
        add(new AttentionOps.SelfAttention(2), "of nothing", normal(0, 5, 24));
        add(new AttentionOps.SelfAttention(2), "of a view", normal(5, 2, 24).seen(t -> t.transpose(0, 1)));
        AttentionOps.Attention plain = new AttentionOps.Attention(.35);
        add(plain, normal(2, 2, 5, 4), normal(2, 2, 7, 4), normal(2, 2, 7, 4));
        add(plain, normal(1, 1, 1, 1), normal(1, 1, 1, 1), normal(1, 1, 1, 1));
        add(plain, normal(1, 2, 33, 8), normal(1, 2, 19, 8), normal(1, 2, 19, 8));
        add(plain, "with one bias", normal(2, 2, 5, 4), normal(2, 2, 3, 4), normal(2, 2, 3, 4), normal(1, 2, 5, 3));
        add(
                plain,
                "with a bias per sample",
                normal(2, 1, 4, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 4, 6));
        add(
                plain,
                "with a fixed bias",
                normal(2, 1, 4, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 6, 4),
                normal(1, 1, 4, 6).constant());
        add(
                plain,
                "of views",
                normal(2, 5, 2, 4).seen(t -> t.transpose(1, 2)),
                normal(2, 7, 2, 4).seen(t -> t.transpose(1, 2)),
                normal(2, 7, 2, 4).seen(t -> t.transpose(1, 2)));

        bad(
                "self-attention width",
                () -> ones(2, 5, 25).selfAttention(2),
                "attention: the packed projection is f32[2, 5, 25] with 2 heads; pass [batch, tokens, 3 * heads *"
                        + " headDim]");
        bad("self-attention without heads", () -> ones(2, 5, 24).selfAttention(0), "with 0 heads");
        bad(
                "attention widths",
                () -> Tensor.attention(ones(1, 2, 3, 4), ones(1, 2, 3, 5), ones(1, 2, 3, 5), null, 1),
                "attention: q f32[1, 2, 3, 4], k f32[1, 2, 3, 5], v f32[1, 2, 3, 5] do not fit");
        bad(
                "attention bias",
                () -> Tensor.attention(ones(2, 2, 3, 4), ones(2, 2, 5, 4), ones(2, 2, 5, 4), ones(2, 3, 5), 1),
                "attention: bias is f32[2, 3, 5] but the scores are [2, 2, 3, 5]");
    }

    // ------------------------------------------------------------------------------------------------------ tokens

    private void tokens() {
        add(new TokenOps.GatherRows(), normal(2, 5, 3), indices(new int[] {0, 2, 4}, new int[] {1, 2, 3}));
        add(new TokenOps.GatherRows(), "twice the same", normal(1, 4, 3), indices(new int[] {3, 1, 3, 3}));
        add(new TokenOps.GatherRows(), "of none", normal(2, 4, 3), ints(4, 2, 0));
        add(
                new TokenOps.GatherRows(),
                "of a view",
                normal(5, 2, 3).seen(t -> t.transpose(0, 1)),
                indices(new int[] {0, 4}, new int[] {1, 2}));
        add(new TokenOps.AddPositions(), normal(2, 4, 3), normal(5, 3).constant());
        add(
                new TokenOps.AddPositions(),
                "by index",
                normal(2, 2, 3),
                normal(5, 3).constant(),
                indices(new int[] {0, 4}, new int[] {3, 4}));
        TokenOps.AssembleDecoder assemble = new TokenOps.AssembleDecoder();
        add(
                assemble,
                normal(2, 2, 3),
                normal(1, 1, 3),
                normal(5, 3).constant(),
                indices(new int[] {0, 2}, new int[] {1, 4}),
                indices(new int[] {1, 3, 4}, new int[] {0, 2, 3}));
        add(
                assemble,
                "without masked tokens",
                normal(1, 2, 3),
                normal(3),
                normal(2, 3).constant(),
                indices(new int[] {0, 1}),
                ints(1, 1, 0));

        bad(
                "gather rank",
                () -> ones(2, 3).gatherRows(zeroInts(2, 1)),
                "gather_rows: x is f32[2, 3]; pass [batch, tokens, width]");
        bad(
                "gather batch",
                () -> ones(2, 3, 4).gatherRows(zeroInts(3, 1)),
                "gather_rows: indices are i32[3, 1]; pass i32[2, count]");
        bad("gather by floats", () -> ones(2, 3, 4).gatherRows(ones(2, 1)), "gather_rows: indices are f32[2, 1]");
        bad(
                "index beyond the rows",
                () -> ones(1, 3, 4).gatherRows(Tensor.of(new int[] {3}, 1, 1)),
                "index 3",
                "[0, 3)");
        bad(
                "index beyond the positions",
                () -> Tokens.addPositions(ones(1, 1, 4), ones(3, 4), Tensor.of(new int[] {-1}, 1, 1)),
                "index -1",
                "[0, 3)");
        bad("positions width", () -> Tokens.addPositions(ones(2, 3, 4), ones(3, 5), null), "the table f32[3, 5]");
        bad(
                "too few positions",
                () -> Tokens.addPositions(ones(2, 3, 4), ones(2, 4), null),
                "x has 3 tokens",
                "2 positions");
        bad(
                "learned positions",
                () -> Tokens.addPositions(ones(2, 3, 4), ones(3, 4).requiresGrad(true), null),
                "the table requires a gradient but positions are fixed; pass table.detach()");
        bad(
                "decoder's mask token",
                () -> Tokens.assembleDecoder(
                        ones(1, 2, 3), ones(4), ones(5, 3), new TokenMask(zeroInts(1, 2), zeroInts(1, 3))),
                "assemble_decoder: visible f32[1, 2, 3], mask token f32[4]");
    }

    // ----------------------------------------------------------------------------------------------------- patches

    private static Input channelFirst(long batch, long channels, long frames, long side) {
        return normal(batch, channels, frames, side, side).unrounded().seen(t -> t.permute(0, 2, 3, 4, 1));
    }

    private void patches() {
        Patches plain = Patches.plain(3, 2, 2);
        Patches scaled = new Patches(2, 1, 4, .5, new double[] {.1, -.2}, new double[] {.5, 2});
        Patches coloured =
                new Patches(3, 2, 4, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});
        Input two = indices(new int[] {0, 3, 5}, new int[] {1, 2, 7});
        add(new PatchOps.GatherPatches(plain), normal(2, 4, 4, 4, 3).unrounded(), two);
        add(new PatchOps.GatherPatches(plain), "of all", normal(1, 2, 4, 2, 3).unrounded());
        add(
                new PatchOps.GatherPatches(scaled),
                "normalised",
                normal(1, 2, 4, 8, 2).unrounded(),
                indices(new int[] {1, 3}));
        add(new PatchOps.GatherPatches(plain), "channel first", channelFirst(2, 3, 4, 4), two);
        add(new PatchOps.GatherPatches(plain), "of none", normal(1, 2, 2, 2, 3).unrounded(), ints(1, 1, 0));
        add(new PatchOps.GatherPatches(coloured), "of pixels", pixels(1, 4, 8, 8, 3), indices(new int[] {0, 5, 7}));
        Call half = in -> Op.apply(
                new PatchOps.GatherPatches(coloured, in[0].device().computes(DType.BF16) ? DType.BF16 : null), in);
        samples.add(new Sample(
                PatchOps.GatherPatches.class,
                "of pixels in bf16",
                null,
                half,
                half,
                -1,
                List.of(pixels(1, 4, 8, 8, 3), indices(new int[] {0, 5, 7}))));
        for (boolean normalise : new boolean[] {true, false}) {
            String what = normalise ? "normalised" : "raw";
            PatchOps.ReconstructionTarget target = new PatchOps.ReconstructionTarget(plain, 1e-6, normalise);
            add(target, what, normal(2, 4, 4, 4, 3).unrounded().constant(), two);
            add(target, what + ", channel first", channelFirst(2, 3, 4, 4).constant(), two);
            PatchOps.ReconstructionLoss loss = new PatchOps.ReconstructionLoss(plain, 1e-6, normalise);
            add(loss, what, normal(2, 3, 24), normal(2, 4, 4, 4, 3).unrounded().constant(), two);
            add(
                    loss,
                    what + ", channel first",
                    normal(2, 3, 24),
                    channelFirst(2, 3, 4, 4).constant(),
                    two);
        }
        add(
                new PatchOps.ReconstructionTarget(coloured, 1e-6, true),
                "of pixels",
                pixels(1, 4, 8, 8, 3),
                indices(new int[] {0, 5, 7}));
        add(
                new PatchOps.ReconstructionLoss(coloured, 1e-6, true),
                "of pixels",
                normal(1, 3, 96).in(DType.F32),
                pixels(1, 4, 8, 8, 3),
                indices(new int[] {0, 5, 7}));

        bad(
                "video rank",
                () -> plain.gather(ones(2, 4, 4, 3), null),
                "the video is f32[2, 4, 4, 3]; pass u8 or f32 [batch, frames");
        bad("video of integers", () -> plain.gather(zeroInts(1, 2, 2, 2, 3), null), "the video is i32[1, 2, 2, 2, 3]");
        bad(
                "odd height",
                () -> plain.gather(ones(1, 2, 3, 4, 3), null),
                "is no whole number of patches of 2 frames x 2 x 2 pixels");
        bad("video channels", () -> plain.gather(ones(1, 2, 2, 2, 4), null), "has 4 channels but the model takes 3");
        bad(
                "patch indices",
                () -> plain.gather(ones(1, 2, 2, 2, 3), zeroInts(2, 1)),
                "indices are i32[2, 1]; pass i32[1, count]");
        bad(
                "patch beyond the video",
                () -> plain.gather(ones(1, 2, 2, 2, 3), Tensor.of(new int[] {1}, 1, 1)),
                "index 1",
                "[0, 1)");
        bad(
                "prediction's shape",
                () -> plain.reconstructionLoss(ones(1, 1, 23), ones(1, 2, 2, 2, 3), zeroInts(1, 1), 1e-6, true),
                "the prediction is f32[1, 1, 23] but the target is f32[1, 1, 24]");
        bad(
                "patches of no pixels",
                () -> Patches.plain(3, 2, 0).gather(ones(1), null),
                "patches: 3 channels and patches of 2 x 0 x 0 are not possible");
        bad(
                "means per channel",
                () -> new Patches(3, 2, 2, 1, new double[2], new double[3]).gather(ones(1), null),
                "patches: 2 means and 3 standard deviations given for 3 channels");
    }

    // ------------------------------------------------------------------------------------------------------ losses

    private void losses() {
        add(new LossOps.CrossEntropy(0), normal(8, 10), ints(10, 8));
        add(new LossOps.CrossEntropy(.1), "smoothed", normal(8, 10), ints(10, 8));
        add(new LossOps.CrossEntropy(0), "of one row", normal(1, 204), ints(204, 1));
        add(
                new LossOps.CrossEntropy(0),
                "of large logits",
                input(Shape.of(3, 5), r -> 500 * r.nextGaussian()),
                ints(5, 3));
        add(new LossOps.CrossEntropy(0), "of a view", swapped(normal(4, 3)), ints(4, 3));
        add(new LossOps.MeanSquaredError(), normal(3, 5), positive(3, 5));
        add(new LossOps.MeanSquaredError(), "of one", normal(), positive());
        add(new LossOps.MeanSquaredError(), "of views", swapped(normal(3, 5)), positive(5, 3));
        add(
                new LossOps.MeanSquaredError(),
                "with a fixed target",
                normal(700),
                positive(700).constant());
        add(
                new LossOps.FeatureLoss(new double[] {1, .5, 2}),
                normal(4, 6),
                positive(4, 6),
                offZero(4, 6),
                offZero(4, 6).constant(),
                normal(4, 6).constant(),
                positive(4, 6).constant());
        add(
                new LossOps.FeatureLoss(new double[] {1}),
                "of one modality",
                normal(1, 3),
                positive(1, 3).constant());
        Input labels = ints(7, 5);
        add(
                new LossOps.DistillationLoss(2, .7, .3, true),
                normal(5, 7),
                positive(2).constant().unrounded(),
                labels,
                offZero(5, 7).constant(),
                positive(5, 7).constant());
        add(
                new LossOps.DistillationLoss(3, 1, .5, true),
                "weighted per sample",
                normal(5, 7),
                positive(5, 2).constant().unrounded(),
                labels,
                offZero(5, 7).constant(),
                positive(5, 7).constant());
        add(
                new LossOps.DistillationLoss(1, 1, 0, false),
                "without labels",
                normal(5, 7),
                positive(1).constant().unrounded(),
                offZero(5, 7).constant());

        bad(
                "labels' type",
                () -> Losses.crossEntropy(ones(2, 3), ones(2)),
                "cross_entropy: logits are f32[2, 3] and labels f32[2]");
        bad(
                "labels' count",
                () -> Losses.crossEntropy(ones(2, 3), zeroInts(3)),
                "labels i32[3]; pass [rows, classes] and i32[rows]");
        bad(
                "label beyond the classes",
                () -> Losses.crossEntropy(ones(1, 3), Tensor.of(new int[] {3})),
                "label 3 of row 0");
        bad("negative label", () -> Losses.crossEntropy(ones(1, 3), Tensor.of(new int[] {-1})), "label -1 of row 0");
        bad(
                "error of shapes",
                () -> Losses.meanSquaredError(ones(2), ones(3)),
                "mean_squared_error: f32[2] and f32[3] differ in shape");
        bad(
                "features without targets",
                () -> Losses.features(List.of(ones(2)), List.of(), 1),
                "1 tensors given for 1 weights");
        bad(
                "features of shapes",
                () -> Losses.features(List.of(ones(2, 3)), List.of(ones(2, 4)), 1),
                "modality 0: the projection is f32[2, 3] but the target f32[2, 4]");
        bad(
                "trained teacher",
                () -> Losses.features(List.of(ones(2)), List.of(ones(2).requiresGrad(true)), 1),
                "modality 0: the target requires a gradient but teachers are frozen; pass target.detach()");
        bad(
                "temperature",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(1), null, 0, 1, 0),
                "temperature 0.0 is not positive");
        bad(
                "no teachers",
                () -> Losses.distillation(ones(2, 3), List.of(), ones(0), null, 1, 1, 0),
                "with 0 teachers; pass [rows, classes] and 1 to 8 teachers");
        bad(
                "beta without labels",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(1), null, 1, 1, .5),
                "beta is 0.5 but no labels are given");
        bad(
                "teacher weights",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 3)), ones(2), null, 1, 1, 0),
                "weights are f32[2]; pass [1] or [2, 1]");
        bad(
                "teacher's classes",
                () -> Losses.distillation(ones(2, 3), List.of(ones(2, 4)), ones(1), null, 1, 1, 0),
                "a teacher's logits are f32[2, 4] but the student's are f32[2, 3]");
    }

    // ------------------------------------------------------------------------------------------------------ packed

    private void packed() {
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
            samples.add(new Sample(
                    type, what, null, packed, exact, -1, List.of(normal(2, 9, 33), normal(17, 33), normal(17))));
            samples.add(new Sample(type, what, null, packed, exact, -1, List.of(normal(1, 64), normal(48, 64))));
            samples.add(new Sample(type, what, null, packed, exact, -1, List.of(normal(0, 4), normal(3, 4))));
        }
        Call exact = in -> in[0].linear(in[1], in[2]).add(in[3]);
        Call packed = in -> {
            try (PackedLinear layer = new PackedLinear(in[1], in[2])) {
                return layer.accumulate(in[0], in[3]);
            }
        };
        List<Input> inputs = List.of(normal(2, 9, 33), normal(17, 33), normal(17), normal(2, 9, 17));
        samples.add(new Sample(MatmulOps.PackedAccumulate.class, "", null, packed, exact, 3, inputs));

        bad(
                "packed width",
                () -> packed.apply(new Tensor[] {ones(2, 4), ones(3, 5), ones(3), ones(2, 3)}),
                "f32[.., 5] but x is f32[2, 4]");
        bad(
                "packed sum",
                () -> packed.apply(new Tensor[] {ones(2, 5), ones(3, 5), ones(3), ones(2, 4)}),
                "f32[2, 4]",
                "[2, 3]");
    }

    // ------------------------------------------------------------------------------------------------------- sizes

    /** Nothing, next to nothing and rows with a tail, of every operation that has not been sampled so above. */
    private void sizes() {
        add(new ViewOps.Reshape(Shape.of(37, 3)), normal(3, 37));
        add(new ViewOps.Permute(new int[] {1, 0}), normal(0, 5));
        add(new ViewOps.Permute(new int[] {1, 0}), normal(3, 37));
        add(new ViewOps.Slice(1, 0, 2), normal(0, 3));
        add(new ViewOps.Slice(0, 0, 1), normal(1));
        add(new ViewOps.Slice(1, 1, 20), normal(3, 37));
        add(new ViewOps.Expand(Shape.of(2, 0)), normal(1, 0));
        add(new ViewOps.Expand(Shape.of(4, 3, 37)), normal(3, 37));
        add(new ViewOps.Contiguous(), swapped(normal(0, 5)));
        add(new ViewOps.Contiguous(), swapped(normal(1, 1)));
        add(new ViewOps.Contiguous(), swapped(normal(19, 37)));
        add(new ViewOps.Concat(0), normal(0, 3), normal(2, 3));
        add(new ViewOps.Concat(0), normal(1), normal(1));
        add(new ViewOps.Concat(1), normal(3, 37), normal(3, 5));
        for (DType target : List.of(DType.F32, DType.BF16)) {
            add(new ViewOps.Cast(target), normal(0));
            add(new ViewOps.Cast(target), normal(1));
            add(new ViewOps.Cast(target), normal(3, 37));
        }
        add(new ViewOps.Transfer(Device.cpu(2)), normal(1));
        add(new ViewOps.Transfer(Device.cpu(2)), normal(3, 37));

        add(new ElementwiseOps.Affine(2.5, -1), normal(1));
        add(new ElementwiseOps.Affine(2.5, -1), normal(3, 37));
        add(new ElementwiseOps.Dropout(.3, 7, 1), normal(0));
        add(new ElementwiseOps.Dropout(.3, 7, 1), normal(1));
        add(new ElementwiseOps.Dropout(.3, 7, 1), normal(3, 37));
        add(new ElementwiseOps.DropPath(.3, 7, 1), normal(1, 1), offZero(1, 1));
        add(new ElementwiseOps.DropPath(.3, 7, 1), normal(9, 37), offZero(9, 37));
        add(new ReductionOps.Sum(0, 1), normal(1));

        add(new MatmulOps.Matmul(), normal(3, 37), normal(37, 19));
        add(new MatmulOps.Linear(false), normal(1, 1), normal(1, 1), normal(1));
        AttentionOps.Attention attention = new AttentionOps.Attention(.35);
        add(attention, normal(0, 2, 5, 4), normal(0, 2, 7, 4), normal(0, 2, 7, 4));
        add(attention, normal(1, 2, 19, 27), normal(1, 2, 19, 27), normal(1, 2, 19, 27));
        add(new AttentionOps.SelfAttention(1), normal(1, 1, 3));
        add(new AttentionOps.SelfAttention(1), normal(2, 3, 57));

        add(new TokenOps.GatherRows(), normal(0, 4, 3), ints(4, 0, 2));
        add(new TokenOps.GatherRows(), normal(1, 1, 1), ints(1, 1, 1));
        add(new TokenOps.GatherRows(), normal(2, 5, 37), indices(new int[] {0, 2, 4}, new int[] {1, 2, 3}));
        add(new TokenOps.AddPositions(), normal(0, 4, 3), normal(5, 3).constant());
        add(new TokenOps.AddPositions(), normal(1, 1, 1), normal(1, 1).constant());
        add(new TokenOps.AddPositions(), normal(2, 3, 37), normal(5, 37).constant());
        TokenOps.AssembleDecoder assemble = new TokenOps.AssembleDecoder();
        add(assemble, normal(0, 2, 3), normal(3), normal(5, 3).constant(), ints(5, 0, 2), ints(5, 0, 3));
        add(assemble, normal(1, 1, 1), normal(1), normal(2, 1).constant(), ints(2, 1, 1), ints(2, 1, 1));
        add(assemble, normal(2, 2, 37), normal(37), normal(5, 37).constant(), ints(5, 2, 2), ints(5, 2, 3));

        Patches pixel = Patches.plain(1, 1, 1);
        Patches square = Patches.plain(3, 2, 2);
        Patches many = Patches.plain(21, 1, 2);
        Input noVideo = normal(0, 2, 4, 4, 3).unrounded();
        Input onePixel = normal(1, 1, 1, 1, 1).unrounded();
        Input manyChannels = normal(1, 2, 2, 4, 21).unrounded();
        add(new PatchOps.GatherPatches(square), noVideo, ints(1, 0, 2));
        add(new PatchOps.GatherPatches(pixel), onePixel, ints(1, 1, 1));
        add(new PatchOps.GatherPatches(many), manyChannels, indices(new int[] {0, 3}));
        add(new PatchOps.ReconstructionTarget(square, 1e-6, true), noVideo.constant(), ints(1, 0, 2));
        add(new PatchOps.ReconstructionTarget(pixel, 1e-6, false), onePixel.constant(), ints(1, 1, 1));
        add(new PatchOps.ReconstructionTarget(many, 1e-6, true), manyChannels.constant(), indices(new int[] {0, 3}));
        add(new PatchOps.ReconstructionLoss(square, 1e-6, true), normal(0, 2, 24), noVideo.constant(), ints(1, 0, 2));
        add(new PatchOps.ReconstructionLoss(pixel, 1e-6, false), normal(1, 1, 1), onePixel.constant(), ints(1, 1, 1));
        add(
                new PatchOps.ReconstructionLoss(many, 1e-6, true),
                normal(1, 2, 84),
                manyChannels.constant(),
                indices(new int[] {0, 3}));

        add(new LossOps.CrossEntropy(.1), normal(0, 10), ints(10, 0));
        add(new LossOps.CrossEntropy(.1), normal(1, 1), ints(1, 1));
        add(new LossOps.CrossEntropy(.1), normal(3, 37), ints(37, 3));
        add(new LossOps.MeanSquaredError(), normal(0), positive(0));
        add(new LossOps.MeanSquaredError(), normal(3, 37), positive(3, 37));
        for (long[] shape : new long[][] {{0, 6}, {1, 1}, {3, 37}}) {
            Input target = positive(shape).constant();
            add(new LossOps.FeatureLoss(new double[] {.5}), normal(shape), target);
            LossOps.DistillationLoss distillation = new LossOps.DistillationLoss(2, .7, .3, true);
            Input weight = positive(1).constant().unrounded();
            add(distillation, normal(shape), weight, ints((int) shape[1], shape[0]), target);
        }

        Call linear = in -> {
            try (PackedLinear layer = new PackedLinear(in[1], in[2])) {
                return layer.apply(in[0], Activation.NONE);
            }
        };
        Call exactly = in -> in[0].linear(in[1], in[2]);
        List<Input> single = List.of(normal(1, 1), normal(1, 1), normal(1));
        samples.add(new Sample(MatmulOps.PackedProduct.class, "", null, linear, exactly, -1, single));
        Call accumulated = in -> {
            try (PackedLinear layer = new PackedLinear(in[1], in[2])) {
                return layer.accumulate(in[0], in[3]);
            }
        };
        Call added = in -> in[0].linear(in[1], in[2]).add(in[3]);
        for (int n = 0; n < 2; n++) {
            List<Input> inputs = List.of(normal(n, 1), normal(1, 1), normal(1), normal(n, 1));
            samples.add(new Sample(MatmulOps.PackedAccumulate.class, "", null, accumulated, added, 3, inputs));
        }
    }
}
