package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;

class AutogradTest {
    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    private static void gradient(Tensor leaf, double... expected) {
        Tensor grad = leaf.grad();
        assertNotNull(grad);
        Close.relative(grad.toDoubles(), expected, 1e-15, "gradient");
    }

    private static void refused(Class<? extends Exception> type, Executable call, String part) {
        String message = requireNonNull(assertThrows(type, call).getMessage());
        assertTrue(message.contains(part), message + " lacks: " + part);
    }

    @Test
    void gradientsAddUpUntilForgotten() {
        Tensor x = leaf(3, 5);
        x.square().sum().backward();
        gradient(x, 6, 10);
        x.mul(2).sum().backward();
        gradient(x, 8, 12);
        x.zeroGrad();
        assertNull(x.grad());
        x.sum().backward();
        gradient(x, 1, 1);
    }

    @Test
    void pathsOfADiamondAddUp() {
        Tensor x = leaf(3);
        Tensor y = x.square(); // 9
        y.mul(y).add(y).add(x).sum().backward(); // x^4 + x^2 + x
        gradient(x, 4 * 27 + 6 + 1);
    }

    @Test
    void longChainsDoNotOverflowTheStack() {
        Tensor x = leaf(1);
        Tensor y = x;
        for (int i = 0; i < 20_000; i++) {
            y = y.add(x);
        }
        y.sum().backward();
        gradient(x, 20_001);
    }

    @Test
    void viewsPassGradientsOn() {
        Tensor x = leaf(1, 2, 3, 4, 5, 6);
        Tensor weights = Tensor.of(new double[] {10, 20, 30, 40}, 2, 2);
        x.reshape(2, 3).transpose(0, 1).slice(0, 1, 3).mul(weights).sum().backward();
        gradient(x, 0, 10, 30, 0, 20, 40);
    }

    @Test
    void cotangentsWeighTheOutput() {
        Tensor x = leaf(1, 2, 3);
        x.square().backward(Tensor.of(new double[] {1, 10, 100}));
        gradient(x, 2, 40, 600);
        Tensor y = leaf(1, 2);
        y.backward(Tensor.of(new double[] {7, 8}));
        gradient(y, 7, 8);
    }

    @Test
    void onlyWhatIsNeededIsRecorded() {
        Tensor x = leaf(2);
        Tensor constant = Tensor.of(new double[] {3});
        assertFalse(constant.mul(2).requiresGrad());
        Tensor y = x.mul(constant);
        assertTrue(y.requiresGrad());
        y.sum().backward();
        assertNull(constant.grad());
        assertFalse(y.detach().requiresGrad());
        assertTrue(y.detach().sharesMemory(y));
        assertFalse(Autograd.noGrad(() -> x.mul(2)).requiresGrad());
        assertThrows(IllegalArgumentException.class, () -> Autograd.noGrad(() -> x.reshape(7)));
        assertTrue(Autograd.isRecording());
        assertFalse(x.to(DType.I32).requiresGrad());
    }

    @Test
    void mixedPrecisionKeepsEachType() {
        Tensor x = leaf(1.5, 2.5);
        x.to(DType.F32).to(DType.BF16).to(DType.F32).square().sum().backward();
        assertEquals(DType.F64, requireNonNull(x.grad()).dtype());
        gradient(x, 3, 5);
    }

    @Test
    void wrongCallsSayWhatToDo() {
        Tensor x = leaf(1, 2);
        Tensor loss = x.exp().sum();
        loss.backward();
        refused(IllegalStateException.class, loss::backward, "backward was already run through this result");
        refused(IllegalArgumentException.class, () -> x.exp().backward(), "backward: f64[2] is no scalar; reduce it");
        refused(IllegalStateException.class, () -> x.detach().sum().backward(), "call requiresGrad(true) on a leaf");
        refused(IllegalStateException.class, () -> x.exp().requiresGrad(false), "call detach() first");
        refused(
                IllegalArgumentException.class,
                () -> Tensor.of(new int[1]).requiresGrad(true),
                "which have no gradient");
        refused(
                IllegalArgumentException.class,
                () -> x.exp().backward(Tensor.ones(2)),
                "the cotangent is f32[2] but the tensor is f64[2]");
    }

    /** Passes its input through; what its backward returns is up to the test. */
    private record Broken(@Nullable Tensor... gradients) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            return in[0];
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return gradients;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    @Test
    void operationsMayReturnTheirInput() {
        Tensor x = leaf(2);
        Tensor y = Op.apply(new Broken(Tensor.of(new double[] {5})), x);
        assertTrue(x.sharesMemory(y));
        y.sum().backward();
        gradient(x, 5);
        x.requiresGrad(false);
    }

    @Test
    void wrongBackwardsAreNamed() {
        Tensor x = leaf(2, 3);
        refused(
                IllegalStateException.class,
                () -> Op.apply(new Broken(), x).sum().backward(),
                "broken: backward returned 0 gradients for 1 inputs");
        refused(
                IllegalStateException.class,
                () -> Op.apply(new Broken((Tensor) null), x).sum().backward(),
                "broken: backward returned no gradient for input 0, f64[2]");
        refused(
                IllegalStateException.class,
                () -> Op.apply(new Broken(Tensor.ones(2)), x).sum().backward(),
                "broken: backward returned f32[2] for input 0, which is f64[2]");
        refused(
                IllegalStateException.class,
                () -> GradientCheck.check(new Broken(Tensor.of(new double[] {1, 1})), x),
                "broken: the gradient of input 0, f64[2], at [0] is 1.0 but finite differences give");
        refused(
                IllegalArgumentException.class,
                () -> GradientCheck.check(new Broken(), Tensor.ones(2)),
                "broken: no input is f64, which finite differences need");
        refused(
                IllegalArgumentException.class,
                () -> GradientCheck.check(new PatchesOps.ReconstructionTarget(Patches.plain(1, 1, 1), 0, true)),
                "there is no gradient to check: the target of a reconstruction is data");
    }

    /**
     * A weighted sum of its inputs.
     *
     * @param takes the inputs whose gradients so far it asks for, in this order
     * @param offered what it was handed, null where it got nothing
     */
    private record Mix(List<Double> weights, List<Integer> takes, List<double[]> offered) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            assertNull(context.gradientSoFar(0));
            Tensor y = in[0].mul(weights.get(0));
            for (int i = 1; i < in.length; i++) {
                y = y.add(in[i].mul(weights.get(i)));
            }
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[weights.size()];
            for (int i = 0; i < d.length; i++) {
                d[i] = dy.mul(weights.get(i));
            }
            for (int i : takes) {
                Tensor soFar = context.gradientSoFar(i);
                offered.add(soFar == null ? null : soFar.toDoubles());
                d[i] = soFar == null ? d[i] : soFar.add(requireNonNull(d[i]));
            }
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    /** The gradient of x where x^2 goes into a mix of itself and itself again, and elsewhere is used before and after. */
    private static double[] gradientBeside(Mix mix) {
        Tensor x = leaf(3, 5);
        Tensor y = x.square();
        Tensor early = y.mul(10);
        Tensor mixed = Op.apply(mix, y, y);
        mixed.add(early).add(y.mul(100)).add(x).sum().backward();
        return requireNonNull(x.grad()).toDoubles();
    }

    @Test
    void gradientsSoFarMayBeTakenOrNot() {
        double[] expected = {6 * 113 + 1, 10 * 113 + 1};
        List<Double> weights = List.of(1.0, 2.0);
        for (List<Integer> takes :
                List.of(List.<Integer>of(), List.of(0), List.of(1), List.of(0, 1), List.of(1, 0), List.of(1, 1))) {
            Mix mix = new Mix(weights, takes, new ArrayList<>());
            Close.relative(gradientBeside(mix), expected, 1e-15, "taking " + takes);
            for (int i = 0; i < takes.size(); i++) {
                // What comes later in the forward pass has given its part, and only the first to ask gets it.
                assertArrayEquals(i == 0 ? new double[] {100, 100} : null, mix.offered.get(i), "offer " + i);
            }
        }
    }

    @Test
    void leavesAndConstantsOfferNoGradient() {
        Tensor x = leaf(2);
        x.sum().backward();
        Mix mix = new Mix(List.of(3.0, 4.0), List.of(0, 1), new ArrayList<>());
        Op.apply(mix, x, Tensor.of(new double[] {7})).add(x).sum().backward();
        assertEquals(Arrays.asList(null, null), mix.offered);
        gradient(x, 1 + 3 + 1);
    }

    /** Both inputs of a sum are given the same gradient; what is added to one does not reach the other. */
    @Test
    void gradientsThatAreSharedStayApart() {
        Tensor x = leaf(1, 2, 3);
        Tensor a = x.mul(1);
        Tensor b = x.mul(1);
        Tensor weight = leaf(1, 1, 1);
        Tensor shift = leaf(0, 0, 0);
        Tensor normed = a.layerNorm(weight, shift, 1e-6);
        Tensor product = b.linear(Tensor.of(new double[] {1, 0, 0, 0, 2, 0, 0, 0, 3}, 3, 3), null);
        Tensor cotangent = Tensor.of(new double[] {1, 10, 100});
        a.add(b).add(normed).add(product).backward(cotangent);
        double[] together = requireNonNull(x.grad()).toDoubles();

        double[] alone = {2, 20, 200}; // of a + b
        for (int i = 0; i < 3; i++) {
            alone[i] += cotangent.toDoubles()[i] * (i + 1); // of the product
        }
        Tensor other = leaf(1, 2, 3);
        other.layerNorm(weight, shift, 1e-6).backward(cotangent);
        double[] norm = requireNonNull(other.grad()).toDoubles();
        Arrays.setAll(alone, i -> alone[i] + norm[i]);
        Close.relative(together, alone, 1e-14, "gradient");
    }

    /** Adds the input to its gradient so far, but forgets its own part, or the other way round. */
    private record Forgetful(boolean own) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            return in[0].mul(2);
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor soFar = context.gradientSoFar(0);
            return new Tensor[] {soFar == null || !own ? dy.mul(2) : soFar};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    @Test
    void theGradientCheckSeesGradientsLost() {
        for (boolean own : new boolean[] {true, false}) {
            refused(
                    IllegalStateException.class,
                    () -> GradientCheck.check(new Forgetful(own), leaf(2, 3)),
                    "forgetful: the gradient of input 0, f64[2], where other uses have given it one already, at [0]"
                            + " is");
        }
    }

    /** What the backward pass needs, and an operation that writes into it. */
    @Test
    void changesInPlaceBeforeTheBackwardPassAreRefused() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
        Tensor weight = Tensor.ones(3).requiresGrad(true);
        Tensor normalised = x.layerNorm(weight, Tensor.zeros(3), 1e-6).sum();
        x.copyFrom(Tensor.zeros(2, 3));
        refused(
                IllegalStateException.class,
                normalised::backward,
                "layer_norm: f32[2, 3], saved for its backward pass, was changed in place by copyFrom before that pass;"
                        + " run backward first, or change a copy");
        assertNull(weight.grad());

        Tensor y = leaf(1, 2);
        Tensor squares = y.square();
        Tensor shares = squares.softmax();
        Tensor result = shares.mul(3).sum();
        shares.detach().copyFrom(Tensor.of(new double[] {1, 1}));
        refused(IllegalStateException.class, result::backward, "softmax: f64[2], saved for its backward pass");

        Tensor product = y.mul(y).sum();
        product.backward(); // saved and walked before the change
        y.zeroGrad();
        y.copyFrom(Tensor.of(new double[] {3, 4}));
        y.square().sum().backward(); // saved after it
        gradient(y, 6, 8);
    }

    @Test
    void viewsShareTheVersionOfTheirMemory() {
        Tensor data = Tensor.of(new double[] {1, 2, 3, 4}, 2, 2);
        Tensor x = leaf(5, 6);
        Tensor byView = x.mul(data.slice(0, 0, 1).reshape(2)).sum();
        data.copyFrom(Tensor.of(new double[4], 2, 2));
        refused(IllegalStateException.class, byView::backward, "mul: f64[2], saved for its backward pass");
        Tensor byWhole = x.mul(data).sum();
        data.slice(0, 1, 2).copyFrom(Tensor.of(new double[2], 1, 2));
        refused(IllegalStateException.class, byWhole::backward, "mul: f64[2, 2], saved for its backward pass");
        Tensor byCopy = x.mul(data.transpose(0, 1).contiguous()).sum();
        data.copyFrom(Tensor.of(new double[4], 2, 2));
        byCopy.backward();
        gradient(x, 0, 0);
    }

    @Test
    void whoeverWritesInPlaceIsNamed() {
        Tensor x = Tensor.ones(2, 3).requiresGrad(true);
        Tensor sum = Tensor.zeros(2, 3);
        Tensor first = x.mul(sum).sum();
        try (PackedLinear layer = new PackedLinear(Tensor.ones(3, 3), null)) {
            layer.accumulate(Tensor.ones(2, 3), sum);
        }
        refused(
                IllegalStateException.class,
                first::backward,
                "mul: f32[2, 3], saved for its backward pass, was changed" + " in place by linear before that pass");

        x.sum().backward();
        Tensor second = x.mul(requireNonNull(x.grad())).sum();
        x.sum().backward();
        refused(IllegalStateException.class, second::backward, "in place by backward before that pass");

        Tensor third = x.mul(sum).sum();
        sum.segment().fill((byte) 0);
        sum.changedBy("decay");
        refused(IllegalStateException.class, third::backward, "in place by decay before that pass");
    }

    /** Operations that need no values, or not these, let go of them. */
    @Test
    void changesInPlaceOfWhatIsNotNeededAreAllowed() {
        Tensor x = leaf(1, 2, 3, 4);
        Tensor other = Tensor.of(new double[] {5, 6, 7, 8});
        Tensor shaped = x.mul(2).reshape(2, 2);
        Tensor y = Tensor.concat(0, shaped.slice(0, 0, 1), shaped)
                .to(DType.F32)
                .to(DType.F64)
                .neg();
        Tensor loss = y.sum(0).expand(3, 2).sum().add(x.add(other).sub(other).sum());
        for (Tensor changed : List.of(shaped, y, other)) {
            changed.detach()
                    .copyFrom(Tensor.of(new double[1]).expand(changed.shape().toArray()));
        }
        loss.backward();
        gradient(x, 1 - 12, 1 - 12, 1 - 6, 1 - 6);
        Tensor fixed = Tensor.of(new double[] {9, 9, 9, 9});
        x.zeroGrad();
        Tensor scaled = x.detach();
        Tensor weighted = fixed.requiresGrad(true).mul(scaled).sum();
        fixed.copyFrom(other); // the gradient of fixed needs the factor alone
        weighted.backward();
        gradient(fixed, 1, 2, 3, 4);
    }

    /** Users find these in messages and cost tables. */
    @Test
    void namesStayWhatTheyAre() {
        Set<String> names = new TreeSet<>();
        for (OpCatalogue.Sample sample : OpCatalogue.samples()) {
            if (sample.op() != null) {
                names.add(sample.op().name());
            }
        }
        String expected = "abs add add_positions affine assemble_decoder attention cast concat contiguous cross_entropy"
                + " distillation_loss div drop_path dropout embedding exp expand feature_loss gather_patches gather_rows gelu"
                + " layer_norm linear log log_softmax matmul mean_squared_error mlp mul neg permute rearrange"
                + " reconstruction_loss reconstruction_target relu reshape scatter_rows sigmoid slice softmax sqrt square sub sum tanh transfer";
        assertEquals(expected, String.join(" ", names));
        assertEquals("attention", new AttentionOps.SelfAttention(1).name());
        assertEquals("broken", new Broken().name());
        assertSame(new Broken().name(), new Broken().name(), "made once");
        try (CostMeter meter = CostMeter.open();
                PackedLinear layer = new PackedLinear(Tensor.ones(3, 3), null)) {
            layer.accumulate(Tensor.ones(2, 3), layer.apply(Tensor.ones(2, 3), Activation.NONE));
            assertEquals(Set.of("linear"), meter.byOp().keySet());
        }
    }

    @Test
    void costsKeepTheOrderOfFirstUse() {
        try (CostMeter meter = CostMeter.open()) {
            Tensor x = Tensor.ones(2, 3);
            x.tanh().exp().add(x).softmax().tanh().sigmoid();
            Map<String, Cost> costs = meter.byOp();
            assertEquals(List.of("tanh", "exp", "add", "softmax", "sigmoid"), List.copyOf(costs.keySet()));
            assertEquals(12, requireNonNull(costs.get("tanh")).flops());
            x.relu();
            assertEquals(5, costs.size(), "a copy");
            assertThrows(UnsupportedOperationException.class, costs::clear);
        }
    }

    @Test
    void costsCountTheForwardPass() {
        Tensor weight = Tensor.ones(5, 3).requiresGrad(true);
        try (CostMeter outer = CostMeter.open()) {
            try (CostMeter meter = CostMeter.open()) {
                Tensor y = Tensor.ones(7, 3).linear(weight, null);
                assertEquals(2 * 7 * 5 * 3, meter.of("linear").flops());
                assertEquals(4 * (7 * 3 + 5 * 3 + 7 * 5), meter.of("linear").bytes());
                long before = meter.total().flops();
                y.backward(Tensor.ones(7, 5));
                assertEquals(before, meter.total().flops());
            }
            Tensor.ones(4).exp();
            assertEquals(2 * 7 * 5 * 3 + 4, outer.total().flops());
        }
    }
}
