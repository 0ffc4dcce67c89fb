package tessera.tensor.io;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;

/**
 * Element type of an array in a file. The names are those of the safetensors format; a type without a
 * {@link #dtype()} can be stored and inspected, and where that loses nothing read as a Java array.
 *
 * <p>Types smaller than a byte do not exist here: files that hold them are refused as unsupported.
 */
public enum StoredType {
    /** One byte per element, zero for false. */
    BOOL(1, "b1", null),
    U8(1, "u1", DType.U8),
    I8(1, "i1", null),
    F8_E4M3(1, null, null),
    F8_E5M2(1, null, null),
    F8_E8M0(1, null, null),
    I16(2, "i2", null),
    U16(2, "u2", null),
    F16(2, "f2", null),
    BF16(2, null, DType.BF16),
    I32(4, "i4", DType.I32),
    U32(4, "u4", null),
    F32(4, "f4", DType.F32),
    F64(8, "f8", DType.F64),
    I64(8, "i8", null),
    U64(8, "u8", null),
    /** Two f32, real part first. */
    C64(8, "c8", null);

    /** Most dimensions an array in a file may have, as in NumPy. */
    static final int MAX_RANK = 64;

    private final int bytes;
    private final @Nullable String npyCode;
    private final @Nullable DType dtype;

    StoredType(int bytes, @Nullable String npyCode, @Nullable DType dtype) {
        this.bytes = bytes;
        this.npyCode = npyCode;
        this.dtype = dtype;
    }

    /** The stored type that holds {@code dtype} unchanged. */
    public static StoredType of(DType dtype) {
        return switch (dtype) {
            case F32 -> F32;
            case F64 -> F64;
            case BF16 -> BF16;
            case I32 -> I32;
            case U8 -> U8;
        };
    }

    /** The stored type of a safetensors name, or null if there is none. */
    static @Nullable StoredType ofName(String name) {
        for (StoredType type : values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        return null;
    }

    /**
     * The stored type of an npy code without its byte order, such as {@code f4}, or null if there is none; NumPy's codes of one letter are
     * taken where they mean the same everywhere ({@code l} is 4 bytes on Windows and 8 elsewhere).
     */
    static @Nullable StoredType ofNpyCode(String code) {
        String full = switch (code) {
            case "?" -> "b1";
            case "b" -> "i1";
            case "B" -> "u1";
            case "h" -> "i2";
            case "H" -> "u2";
            case "i" -> "i4";
            case "I" -> "u4";
            case "q" -> "i8";
            case "Q" -> "u8";
            case "e" -> "f2";
            case "f" -> "f4";
            case "d" -> "f8";
            case "F" -> "c8";
            default -> code;
        };
        for (StoredType type : values()) {
            if (full.equals(type.npyCode)) {
                return type;
            }
        }
        return null;
    }

    /** The stored type that NumPy calls so, such as {@code float32}, or null if there is none. */
    static @Nullable StoredType ofNumpyName(String name) {
        return switch (name) {
            case "bool" -> BOOL;
            case "int8" -> I8;
            case "uint8" -> U8;
            case "int16" -> I16;
            case "uint16" -> U16;
            case "int32" -> I32;
            case "uint32" -> U32;
            case "int64" -> I64;
            case "uint64" -> U64;
            case "float16", "half" -> F16;
            case "float32", "single" -> F32;
            case "float64", "double", "float" -> F64;
            case "complex64" -> C64;
            default -> null;
        };
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }

    /** The type tensors use for these bytes, or null if tensors have none. */
    public @Nullable DType dtype() {
        return dtype;
    }

    /** The npy code without its byte order, such as {@code f4}, or null if npy files cannot hold this type. */
    @Nullable
    String npyCode() {
        return npyCode;
    }

    /**
     * Bytes of a dense array of this type; a shape without dimensions is one element.
     *
     * @throws IllegalArgumentException if a dimension is negative, there are more than 64, or the size does not fit in a
     *     long (zero dimensions are left out of that check, so strides always fit too)
     */
    public long byteSize(long... shape) {
        if (shape.length > MAX_RANK) {
            throw new IllegalArgumentException(
                    "a shape has " + shape.length + " dimensions; at most " + MAX_RANK + " are supported");
        }
        boolean empty = false;
        long size = bytes;
        for (long dimension : shape) {
            if (dimension < 0) {
                throw new IllegalArgumentException(
                        "shape " + Arrays.toString(shape) + " has a negative dimension; give dimensions of at least 0");
            }
            empty |= dimension == 0;
            try {
                size = Math.multiplyExact(size, Math.max(1, dimension));
            } catch (ArithmeticException overflow) {
                throw new IllegalArgumentException(
                        "shape " + Arrays.toString(shape) + " of " + this
                                + " has more bytes than fit in 63 bits; give a smaller shape",
                        overflow);
            }
        }
        return empty ? 0 : size;
    }
}
