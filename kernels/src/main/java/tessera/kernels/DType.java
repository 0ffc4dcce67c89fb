package tessera.kernels;

import java.util.Locale;

/**
 * Element type of a buffer.
 *
 * <p>{@link #BF16} is a storage type: values are widened to f32 before arithmetic. {@link #F64} exists on the CPU for
 * gradient checks. {@link #I32} holds indices and labels, {@link #U8} holds pixels.
 */
public enum DType {
    F32(4, true),
    F64(8, true),
    BF16(2, true),
    I32(4, false),
    U8(1, false);

    private final int bytes;
    private final boolean floating;

    DType(int bytes, boolean floating) {
        this.bytes = bytes;
        this.floating = floating;
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }

    /** Whether the type can carry a gradient. */
    public boolean isFloating() {
        return floating;
    }

    /** Lower-case name as printed in front of a tensor, for example {@code f32}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
