package tessera.nn;

import tessera.tensor.Tensor;

/** Two-layer perceptron with ReLU that maps a student's feature to a teacher's (MM-CDFSL). Parameter names {@code 0.*} and {@code 2.*}. */
public final class Projector {
    private final Linear first;
    private final Linear second;

    public Projector(Params params, long width) {
        first = Linear.fanIn(params.at(0), width, width);
        second = Linear.fanIn(params.at(2), width, width);
    }

    /** {@code [B, D]} to {@code [B, D]}. */
    public Tensor forward(Tensor x) {
        return second.forward(first.forward(x).relu());
    }
}
