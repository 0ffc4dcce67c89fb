package tessera.tensor;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Sizes of a tensor's axes, outermost first. Immutable. The empty shape is a scalar with one element.
 */
public final class Shape {
    private static final Shape SCALAR = new Shape(new long[0]);

    private final long[] sizes;
    private final long count;

    private Shape(long[] sizes) {
        long product = 1;
        for (long size : sizes) {
            if (size < 0) {
                throw new IllegalArgumentException(
                        "shape " + Arrays.toString(sizes) + " has a negative size; sizes are 0 or more");
            }
            product = Math.multiplyExact(product, size);
        }
        this.sizes = sizes;
        this.count = product;
    }

    /** A shape of the given sizes. */
    public static Shape of(long... sizes) {
        return sizes.length == 0 ? SCALAR : new Shape(sizes.clone());
    }

    /** Number of axes. */
    public int rank() {
        return sizes.length;
    }

    /**
     * Size of an axis.
     *
     * @param axis 0 to rank - 1, or negative to count from the end
     */
    public long size(int axis) {
        return sizes[axis(axis)];
    }

    /** Number of elements. */
    public long count() {
        return count;
    }

    /** The sizes, as a new array. */
    public long[] toArray() {
        return sizes.clone();
    }

    /** The axis counted from the front, for an axis that may be negative. */
    int axis(int axis) {
        int resolved = axis < 0 ? axis + sizes.length : axis;
        if (resolved < 0 || resolved >= sizes.length) {
            throw new IllegalArgumentException("axis " + axis + " of shape " + this + " does not exist; pass "
                    + (sizes.length == 0 ? "no axis" : "-" + sizes.length + " to " + (sizes.length - 1)));
        }
        return resolved;
    }

    /** This shape with another size at one axis. */
    public Shape with(int axis, long size) {
        long[] copy = sizes.clone();
        copy[axis(axis)] = size;
        return new Shape(copy);
    }

    /** Rows along the last axis: the product of all sizes but the last. */
    long rows() {
        return product(0, sizes.length - 1);
    }

    /** Product of the sizes of axes {@code [from, to)}. */
    long product(int from, int to) {
        long product = 1;
        for (int i = from; i < to; i++) {
            product *= sizes[i];
        }
        return product;
    }

    /** Strides in elements of a contiguous row-major tensor of this shape. */
    long[] strides() {
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= sizes[i];
        }
        return strides;
    }

    /** Whether elements with these strides lie one after the other in row-major order. */
    boolean isContiguous(long[] strides) {
        long expected = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            if (sizes[i] != 1 && strides[i] != expected) {
                return count() == 0;
            }
            expected *= sizes[i];
        }
        return true;
    }

    /** The shape both broadcast to by NumPy's rule, or null if they do not match. */
    static @Nullable Shape broadcast(Shape a, Shape b) {
        int rank = Math.max(a.rank(), b.rank());
        long[] sizes = new long[rank];
        for (int i = 1; i <= rank; i++) {
            long x = i <= a.rank() ? a.sizes[a.rank() - i] : 1;
            long y = i <= b.rank() ? b.sizes[b.rank() - i] : 1;
            if (x != y && x != 1 && y != 1) {
                return null;
            }
            sizes[rank - i] = x == 1 ? y : x;
        }
        return new Shape(sizes);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape shape && Arrays.equals(sizes, shape.sizes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(sizes);
    }

    /** For example {@code [8, 392, 384]}. */
    @Override
    public String toString() {
        return Arrays.toString(sizes);
    }
}
