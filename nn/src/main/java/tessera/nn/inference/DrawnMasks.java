package tessera.nn.inference;

import tessera.kernels.DType;
import tessera.nn.MaskContext;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;

/** What is asked of masks that a user's own strategy drew: kernels trust their indices. */
final class DrawnMasks {
    private DrawnMasks() {}

    /**
     * Checks the tokens that a mask leaves visible.
     *
     * @param count visible tokens of the first mask of the ensemble
     * @throws IllegalArgumentException if they are not i32 {@code [batch, count]} or one is not of the grid
     */
    static void check(Tensor visible, MaskContext context, TokenGrid grid, long count) {
        if (visible.rank() != 2
                || visible.dtype() != DType.I32
                || visible.size(0) != context.batch()
                || visible.size(1) < 1
                || visible.size(1) != count) {
            throw new IllegalArgumentException("the mask strategy's mask " + context.member() + " sees tokens "
                    + visible.describe() + "; it must draw i32[" + context.batch()
                    + ", n] with the same n of 1 or more for every mask of an ensemble");
        }
        for (int token : visible.toInts()) {
            if (token < 0 || token >= grid.tokens()) {
                throw new IllegalArgumentException("the mask strategy's mask " + context.member() + " sees token "
                        + token + " but the student's tokens are 0 to " + (grid.tokens() - 1));
            }
        }
    }
}
