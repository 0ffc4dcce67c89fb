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

/**
 * Samples and bad calls of every operation; the checks of {@link OpCatalogueTest} are generated from them. Those of a family
 * of operations stand in a file beside this one: of {@code NormsOps} in {@code NormsSamples}.
 */
final class OpCatalogue {
    private final List<Sample> samples = new ArrayList<>();
    private final List<BadCall> badCalls = new ArrayList<>();

    private OpCatalogue() {
        ViewSamples.addTo(this);
        ElementwiseSamples.addTo(this);
        NormsSamples.addTo(this);
        MatmulSamples.addTo(this);
        AttentionSamples.addTo(this);
        PatchesSamples.addTo(this);
        TokensSamples.addTo(this);
        RandomSamples.addTo(this);
        LossesSamples.addTo(this);
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
            boolean rounds = op instanceof ElementwiseOps.Cast cast && cast.target() != DType.F64;
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
    static Input input(Shape shape, Function<Random, Double> draw) {
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

    static Input swapped(Input input) {
        return input.seen(t -> t.transpose(0, 1));
    }

    /** Adds a sample of an operation that takes more than a call of {@link Op#apply}. */
    void add(Sample sample) {
        samples.add(sample);
    }

    void add(Op op, Input... inputs) {
        add(op, "", inputs);
    }

    /** Adds a sample of an operation that is called as it is. */
    void add(Op op, String what, Input... inputs) {
        Call call = in -> Op.apply(op, in);
        String label = (op.name().equals(name(op.getClass())) ? "" : op.name() + " ") + what;
        samples.add(new Sample(op.getClass(), label.trim(), op, call, call, -1, List.of(inputs)));
    }

    private static String name(Class<?> type) {
        return type.getSimpleName().toLowerCase(Locale.ROOT);
    }

    void bad(String what, Supplier<Tensor> call, String... parts) {
        badCalls.add(new BadCall(what, List.of(parts), call));
    }

    static Tensor ones(long... sizes) {
        return Tensor.ones(sizes);
    }

    static Tensor zeroInts(long... sizes) {
        return Tensor.full(Device.cpu(), DType.I32, Shape.of(sizes), 0);
    }
}
