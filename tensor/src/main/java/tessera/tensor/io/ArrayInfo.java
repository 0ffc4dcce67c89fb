package tessera.tensor.io;

import java.util.Arrays;
import java.util.Locale;

/**
 * What a file says about one array, without its elements.
 *
 * @param name name of the array in its file
 * @param type element type as stored
 * @param shape dimensions; none for a single element (the array is copied in and out)
 */
public record ArrayInfo(String name, StoredType type, long[] shape) {
    /** @throws IllegalArgumentException if the shape is negative, too deep or too large */
    public ArrayInfo {
        shape = shape.clone();
        type.byteSize(shape);
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Size of the elements in bytes. */
    public long bytes() {
        return type.byteSize(shape);
    }

    /** For example {@code blocks.0.norm1.weight: f32[384]}. */
    @Override
    public String toString() {
        return Printable.line(name) + ": " + type.name().toLowerCase(Locale.ROOT) + Arrays.toString(shape);
    }
}
