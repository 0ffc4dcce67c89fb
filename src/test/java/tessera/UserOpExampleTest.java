package tessera;

// example
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.tensor.Cost;
import tessera.tensor.GradientCheck;
import tessera.tensor.Op;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** {@code x * sigmoid(scale * x)}, with a scale of one element that is learned (Ramachandran et al., 2017). */
record Swish() implements Op.Differentiable {
    @Override
    public Tensor forward(Context context, Tensor... in) {
        Op.floating(name(), in[0], in[1]);
        Op.check(in[1].shape().count() == 1, name(), () -> "scale is " + in[1].describe() + "; pass one element");
        Tensor gate = in[0].mul(in[1]).sigmoid();
        context.save(in[0].detach(), in[1].detach(), gate);
        return in[0].mul(gate);
    }

    @Override
    public @Nullable Tensor[] backward(Context context, Tensor dy) {
        Tensor x = context.saved(0);
        Tensor scale = context.saved(1);
        Tensor gate = context.saved(2);
        Tensor slope = Tensor.empty(dy.device(), dy.dtype(), dy.shape()); // dy * x * sigmoid'(scale * x)
        dy.kernels()
                .elementwise()
                .unaryBackward(UnaryOp.SIGMOID, Op.buffer(x.mul(scale)), Op.buffer(dy.mul(x)), slope.buffer());
        return new @Nullable Tensor[] {
            context.needsGradient(0) ? dy.mul(gate).add(slope.mul(scale)) : null,
            context.needsGradient(1) ? slope.mul(x).sum().reshape(scale.shape().toArray()) : null
        };
    }

    @Override
    public Cost cost(Tensor output, Tensor... in) {
        return Cost.elementwise(3, output, in);
    }
}

class UserOpExampleTest {
    @Test
    void gradientsEqualFiniteDifferences() {
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.of(new double[] {-2, -.5, 0, 1, 3, 8}, 2, 3);
            GradientCheck.check(new Swish(), x, Tensor.of(new double[] {1.5}));
        }
    }
}
// end
