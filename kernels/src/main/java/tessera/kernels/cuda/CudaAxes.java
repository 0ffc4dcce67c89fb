package tessera.kernels.cuda;

/**
 * Two operands read or written by strides over one shape, with the axes merged that both step through evenly; ordered, for
 * copies, by the strides of the second, so that its elements are visited in the order of their addresses.
 */
final class CudaAxes {
    /** The most axes that the kernels of elementwise.cu take. */
    static final int MAX_RANK = 6;

    /** Shorter axes are not worth a transposition by tiles. */
    private static final int TRANSPOSED = 16;

    int rank;
    final long[] shape;
    final long[] xStrides;
    final long[] yStrides;

    /** Axes of a copy from x to y, in any order that serves it. */
    CudaAxes(long[] sizes, long[] x, long[] y) {
        this(sizes, x, y, true);
    }

    /** @param sorted whether the axes may be put in another order */
    CudaAxes(long[] sizes, long[] x, long[] y, boolean sorted) {
        shape = new long[Math.max(1, sizes.length)];
        xStrides = new long[shape.length];
        yStrides = new long[shape.length];
        for (int axis = 0; axis < sizes.length; axis++) {
            if (sizes[axis] != 1) {
                insert(sizes[axis], x[axis], y[axis], sorted);
            }
        }
        merge();
        if (rank == 0) {
            shape[0] = 1;
            xStrides[0] = 1;
            yStrides[0] = 1;
            rank = 1;
        }
    }

    private void insert(long size, long x, long y, boolean sorted) {
        int at = rank++;
        for (; sorted && at > 0 && before(y, x, yStrides[at - 1], xStrides[at - 1]); at--) {
            shape[at] = shape[at - 1];
            xStrides[at] = xStrides[at - 1];
            yStrides[at] = yStrides[at - 1];
        }
        shape[at] = size;
        xStrides[at] = x;
        yStrides[at] = y;
    }

    private static boolean before(long y, long x, long otherY, long otherX) {
        return y > otherY || (y == otherY && x > otherX);
    }

    private void merge() {
        int kept = 0;
        for (int axis = 0; axis < rank; axis++) {
            int last = kept - 1;
            boolean merged = kept > 0
                    && xStrides[last] == xStrides[axis] * shape[axis]
                    && yStrides[last] == yStrides[axis] * shape[axis];
            int target = merged ? last : kept++;
            shape[target] = merged ? shape[last] * shape[axis] : shape[axis];
            xStrides[target] = xStrides[axis];
            yStrides[target] = yStrides[axis];
        }
        rank = kept;
    }

    /**
     * Counts in units of several elements, up to 16 bytes, where the last axis is contiguous and all else is a multiple.
     *
     * @return elements per unit
     */
    int widen(long x, long y, int element) {
        int last = rank - 1;
        if (xStrides[last] != 1 || yStrides[last] != 1) {
            return 1;
        }
        int unit = 16 / element;
        while (unit > 1 && !divides(unit, x, y, element)) {
            unit /= 2;
        }
        shape[last] /= unit;
        for (int axis = 0; axis < last; axis++) {
            xStrides[axis] /= unit;
            yStrides[axis] /= unit;
        }
        return unit;
    }

    private boolean divides(int unit, long x, long y, int element) {
        int last = rank - 1;
        boolean fits = (x | y) % ((long) unit * element) == 0 && shape[last] % unit == 0;
        for (int axis = 0; axis < last; axis++) {
            fits &= xStrides[axis] % unit == 0 && yStrides[axis] % unit == 0;
        }
        return fits;
    }

    /** The axis along which x is contiguous where y is along the last one and tiles are worth it, or -1. */
    int transposed(int first) {
        int last = rank - 1;
        if (yStrides[last] != 1 || xStrides[last] == 1 || shape[last] < TRANSPOSED) {
            return -1;
        }
        for (int axis = first; axis < last; axis++) {
            if (xStrides[axis] == 1 && shape[axis] >= TRANSPOSED) {
                return axis;
            }
        }
        return -1;
    }
}
