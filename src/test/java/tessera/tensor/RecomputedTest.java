package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Blocks that are run again in the backward pass: the same gradients bit for bit, in less memory. */
class RecomputedTest {
    private static final int WIDTH = 24;
    private static final int LAYERS = 8;

    /** How a network runs its blocks. */
    private interface Way extends Function<Supplier<Tensor>, Tensor> {}

    private static final Way PLAIN = Supplier::get;
    private static final Way AGAIN = Autograd::recomputed;

    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    private static Tensor normal(long stream, DType type, long... sizes) {
        return Tensor.normal(Device.cpu(), type, Shape.of(sizes), 5, stream, 0, .3);
    }

    private static Tensor leaf(long stream, long... sizes) {
        return normal(stream, DType.F32, sizes).requiresGrad(true);
    }

    /** Layers with attention, an MLP and dropout, all of which read one more result of an operation, {@code shared}. */
    private static Tensor network(Tensor x, Tensor shared, List<Tensor> weights, Way way) {
        Tensor y = x;
        for (int i = 0; i < LAYERS; i++) {
            Tensor in = y;
            int layer = i;
            y = way.apply(() -> layer(in, shared, weights, layer));
        }
        return y;
    }

    private static Tensor layer(Tensor x, Tensor shared, List<Tensor> weights, int layer) {
        Tensor normed = x.layerNorm(weights.get(0), weights.get(1), 1e-5).add(shared);
        Tensor mixed = normed.linear(weights.get(2), null).selfAttention(2);
        Tensor hidden =
                mixed.dropout(.2, 3, layer).linear(weights.get(3), null, x).gelu();
        return x.addDropPath(hidden, .3, 4, layer);
    }

    private static List<Tensor> weights() {
        return List.of(
                leaf(1, WIDTH),
                leaf(2, WIDTH),
                leaf(3, 3 * WIDTH, WIDTH),
                leaf(4, WIDTH, WIDTH),
                leaf(5, WIDTH, WIDTH));
    }

    /** Gradients of the weights and of x; those of the second pass add to the first's. */
    private static List<float[]> gradients(Way way, long... sizes) {
        List<Tensor> weights = weights();
        Tensor x = leaf(6, sizes);
        for (int pass = 0; pass < 2; pass++) {
            try (Scope inner = Scope.open()) {
                Tensor embedded = x.linear(weights.get(4), null);
                Tensor shared = embedded.mul(.5);
                Tensor y = network(embedded, shared, weights, way);
                y.mul(embedded).mean().backward();
            }
        }
        List<float[]> gradients = new ArrayList<>();
        gradients.add(requireNonNull(x.grad()).toFloats());
        weights.forEach(weight -> gradients.add(requireNonNull(weight.grad()).toFloats()));
        return gradients;
    }

    private static void same(List<float[]> expected, List<float[]> actual) {
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), "gradient " + i);
        }
    }

    private static void refused(Executable call, String part) {
        String message =
                requireNonNull(assertThrows(IllegalStateException.class, call).getMessage());
        assertTrue(message.contains(part), message + " lacks: " + part);
    }

    @Test
    void gradientsAreThoseWithoutBitForBit() {
        same(gradients(PLAIN, 3, 10, WIDTH), gradients(AGAIN, 3, 10, WIDTH));
    }

    @Test
    void blocksMayContainBlocks() {
        Way nested = block -> Autograd.recomputed(() -> {
            Tensor half = Autograd.recomputed(block);
            return Autograd.recomputed(() -> half.add(0));
        });
        Way plain = block -> block.get().add(0);
        same(gradients(plain, 2, 7, WIDTH), gradients(nested, 2, 7, WIDTH));
    }

    @Test
    void onlyResultsStayUntilTheBackwardPassAndNothingAfterIt() {
        long before = live();
        long[] kept = new long[2];
        Way[] ways = {PLAIN, AGAIN};
        for (int i = 0; i < ways.length; i++) {
            try (Scope inner = Scope.open()) {
                List<Tensor> weights = weights();
                Tensor x = leaf(6, 4, 64, WIDTH);
                Tensor embedded = x.linear(weights.get(4), null);
                Tensor y = network(embedded, embedded, weights, ways[i]);
                kept[i] = live() - before;
                y.sum().backward();
            }
            assertEquals(before, live());
        }
        assertTrue(5 * kept[1] < 2 * kept[0], kept[1] + " bytes where " + kept[0] + " are kept without");
    }

    /** Notes how much memory is live when the backward pass comes to it. */
    private record Probe(List<Long> seen) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            return in[0].detach();
        }

        @Override
        public Tensor[] backward(Context context, Tensor dy) {
            seen.add(live());
            return new Tensor[] {dy};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(0, output, in);
        }
    }

    private static long live() {
        return Device.cpu().memory().live();
    }

    @Test
    void gradientsOfResultsAreFreedOnceTheyWereUsed() {
        Tensor y = leaf(1, 1 << 16);
        List<Long> seen = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            y = Op.apply(new Probe(seen), y.mul(1.5));
        }
        long tensor = y.byteSize();
        long before = live();
        y.sum().backward();
        assertEquals(40, seen.size());
        for (long bytes : seen) {
            assertTrue(bytes - before <= 3 * tensor, bytes - before + " bytes in the backward pass of a chain");
        }
    }

    @Test
    void oneBlockAtATimeIsInMemoryInTheBackwardPass() {
        List<Long> seen = new ArrayList<>();
        Tensor y = leaf(1, 1 << 16);
        for (int i = 0; i < 10; i++) {
            Tensor in = y;
            y = Autograd.recomputed(() -> {
                Tensor x = in;
                for (int j = 0; j < 5; j++) {
                    x = Op.apply(new Probe(seen), x.exp().mul(.1));
                }
                return x;
            });
        }
        long tensor = y.byteSize();
        long before = live();
        y.sum().backward();
        assertEquals(50, seen.size());
        for (long bytes : seen) {
            assertTrue(bytes - before <= 14 * tensor, bytes - before + " bytes for a block of ten results");
        }
    }

    /** Two layers of which the op is made, run again: finite differences see it as one operation. */
    private record Recomputing() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            context.save(in);
            return run(in);
        }

        private static Tensor run(Tensor... in) {
            return Autograd.recomputed(() -> in[0].linear(in[1], null).gelu().mul(in[0]));
        }

        @Override
        public Tensor[] backward(Context context, Tensor dy) {
            Tensor x = context.saved(0).detach().requiresGrad(true);
            Tensor w = context.saved(1).detach().requiresGrad(true);
            ThreadState.get().recording = true;
            try {
                run(x, w).backward(dy);
            } finally {
                ThreadState.get().recording = false;
            }
            Tensor soFar = context.gradientSoFar(0);
            Tensor dx = requireNonNull(x.grad());
            return new Tensor[] {
                soFar == null ? dx.mul(1) : dx.add(soFar),
                requireNonNull(w.grad()).mul(1)
            };
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(1, output, in);
        }
    }

    @Test
    void gradientsEqualFiniteDifferences() {
        GradientCheck.check(new Recomputing(), normal(1, DType.F64, 3, 4), normal(2, DType.F64, 4, 4));
    }

    @Test
    void withoutRecordingABlockIsItself() {
        Tensor x = leaf(1, 4);
        int[] runs = new int[1];
        Tensor y = Autograd.noGrad(() -> Autograd.recomputed(() -> {
            runs[0]++;
            assertFalse(Autograd.isRecording());
            return x.exp();
        }));
        assertFalse(y.requiresGrad());
        assertFalse(Autograd.recomputed(() -> x.detach().exp()).requiresGrad());
        assertEquals(1, runs[0]);
    }

    @Test
    void aBlockMayGiveWhatItWasGiven() {
        Tensor x = leaf(1, 4);
        Autograd.recomputed(() -> x).sum().backward();
        assertArrayEquals(new float[] {1, 1, 1, 1}, requireNonNull(x.grad()).toFloats());
        x.zeroGrad();
        Tensor y = x.mul(2);
        Autograd.recomputed(() -> y.reshape(2, 2)).sum().backward();
        assertArrayEquals(new float[] {2, 2, 2, 2}, requireNonNull(x.grad()).toFloats());
    }

    @Test
    void whatABlockReadMayNotChangeBeforeItsBackwardPass() {
        Tensor x = leaf(1, 4);
        Tensor constant = normal(2, DType.F32, 4);
        Tensor sum = Autograd.recomputed(() -> Autograd.recomputed(() -> x.add(constant)))
                .sum();
        constant.copyFrom(normal(3, DType.F32, 4));
        refused(sum::backward, "recomputed: f32[4], which the block read, was changed in place by copyFrom");
        Tensor other = normal(2, DType.F32, 4);
        Tensor product = Autograd.recomputed(() -> x.mul(other)).sum();
        other.close();
        refused(product::backward, "was freed before its backward pass");
        assertTrue(Autograd.isRecording());
    }

    @Test
    void aBlockMustComputeTheSameAndRunNoBackwardPass() {
        Tensor x = leaf(1, 4);
        int[] runs = new int[1];
        Tensor y = Autograd.recomputed(() -> runs[0]++ == 0 ? x.exp() : x.slice(0, 0, 2));
        refused(() -> y.backward(Tensor.ones(4)), "the block gave f32[4] and now gives f32[2]");
        refused(
                () -> Autograd.recomputed(() -> {
                    x.exp().sum().backward();
                    return x.exp();
                }),
                "backward: called in a block that is recomputed");
        Tensor twice = Autograd.recomputed(x::exp).sum();
        twice.backward();
        refused(twice::backward, "backward was already run");
        Tensor result = Autograd.recomputed(x::exp);
        result.backward(Tensor.ones(4));
        refused(() -> result.backward(Tensor.ones(4)), "recomputed: backward was already run");
    }
}
