package tessera.nn;

import tessera.tensor.Tensor;

/** Two-layer perceptron with ReLU that maps a student's feature to a teacher's (MM-CDFSL). Parameter names {@code 0.*} and {@code 2.*}. */
public final class Projector {
    private final Linear first;
    private final Linear second;

    /** Between features of one width. */
    public Projector(Params params, long width) {
        this(params, width, width);
    }

    /**
     * Between features of any widths.
     *
     * @param in width of the student's feature, and of what lies between the layers
     * @param out width of the teacher's
     */
    public Projector(Params params, long in, long out) {
        first = Linear.fanIn(params.at(0), in, in);
        second = Linear.fanIn(params.at(2), in, out);
    }

    /** {@code [B, in]} to {@code [B, out]}. */
    public Tensor forward(Tensor x) {
        return second.forward(first.forward(x).relu());
    }
}
