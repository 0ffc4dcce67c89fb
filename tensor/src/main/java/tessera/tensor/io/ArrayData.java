package tessera.tensor.io;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.IntFunction;

/**
 * A named array as it stands in a file: type, shape and its elements in row-major order, little-endian, without gaps.
 *
 * <p>The record borrows its memory. What a reader hands out is read-only and lives as long as the file object or arena it
 * came from; what a caller wraps for writing must not change until the write has returned. The memory need not be aligned
 * to the element size: use unaligned layouts, or copy. Instances may be shared between threads as far as their memory may.
 *
 * @param name name of the array in its file
 * @param type element type as stored
 * @param shape dimensions; none for a single element (the array is copied in and out)
 * @param data exactly {@code type.byteSize(shape)} bytes
 */
public record ArrayData(String name, StoredType type, long[] shape, MemorySegment data) {
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final long LARGEST_JAVA_ARRAY = Integer.MAX_VALUE - 8;
    private static final long LARGEST_EXACT_IN_DOUBLE = 1L << 53;

    /** @throws IllegalArgumentException if the memory's size is not that of the type and shape */
    public ArrayData {
        shape = shape.clone();
        long needed = type.byteSize(shape);
        if (data.byteSize() != needed) {
            throw new IllegalArgumentException("array " + TensorFileException.quote(name) + ": " + type
                    + Arrays.toString(shape) + " takes " + needed + " bytes but the memory given has "
                    + data.byteSize() + "; pass a slice of exactly that size");
        }
    }

    /** An F32 array over a copy of {@code values}. */
    public static ArrayData of(String name, float[] values, long... shape) {
        MemorySegment data = heap(values.length, Float.BYTES);
        MemorySegment.copy(values, 0, data, FLOAT, 0, values.length);
        return new ArrayData(name, StoredType.F32, shape, data);
    }

    /** An F64 array over a copy of {@code values}. */
    public static ArrayData of(String name, double[] values, long... shape) {
        MemorySegment data = heap(values.length, Double.BYTES);
        MemorySegment.copy(values, 0, data, DOUBLE, 0, values.length);
        return new ArrayData(name, StoredType.F64, shape, data);
    }

    /** An I32 array over a copy of {@code values}. */
    public static ArrayData of(String name, int[] values, long... shape) {
        MemorySegment data = heap(values.length, Integer.BYTES);
        MemorySegment.copy(values, 0, data, INT, 0, values.length);
        return new ArrayData(name, StoredType.I32, shape, data);
    }

    /** A U8 array over a copy of {@code values}. */
    public static ArrayData of(String name, byte[] values, long... shape) {
        return new ArrayData(name, StoredType.U8, shape, MemorySegment.ofArray(values.clone()));
    }

    /** Heap memory that is 8-byte aligned where it can be, since a {@code long[]} carries it. */
    private static MemorySegment heap(int count, int bytes) {
        long size = (long) count * bytes;
        return MemorySegment.ofArray(new long[Math.toIntExact((size + 7) / 8)]).asSlice(0, size);
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Name, type and shape alone. */
    public ArrayInfo info() {
        return new ArrayInfo(name, type, shape);
    }

    /** Number of elements. */
    public long count() {
        return data.byteSize() / type.bytes();
    }

    /**
     * The elements as floats: F32, F16, BF16 and integers of at most 16 bits (BOOL gives 0 and 1), all exact.
     *
     * @throws TensorFileException for a type that could lose digits, or more elements than a Java array holds
     */
    public float[] floats() {
        return floats(label());
    }

    /**
     * The elements as doubles: every type {@link #floats()} takes, F64, 32-bit integers, and I64 as long as each element
     * is at most 2<sup>53</sup> in magnitude; all exact.
     *
     * @throws TensorFileException for another type, an element too large, or more elements than a Java array holds
     */
    public double[] doubles() {
        return doubles(label());
    }

    /**
     * The elements as ints: integers of at most 32 bits (BOOL gives 0 and 1), and U32, I64 and U64 as long as each element
     * fits.
     *
     * @throws TensorFileException for another type, an element too large, or more elements than a Java array holds
     */
    public int[] ints() {
        return ints(label());
    }

    float[] floats(String source) {
        return convert(source, float[]::new, values -> {
            switch (type) {
                case F32 -> MemorySegment.copy(data, FLOAT, 0, values, 0, values.length);
                case F16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Float.float16ToFloat(data.getAtIndex(SHORT, i));
                    }
                }
                case BF16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Float.intBitsToFloat(data.getAtIndex(SHORT, i) << 16);
                    }
                }
                case BOOL, U8, I8, U16, I16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = smallInt(i);
                    }
                }
                default -> throw lossy(source, "float", "F32, F16, BF16, BOOL and integers of at most 16 bits");
            }
        });
    }

    double[] doubles(String source) {
        return convert(source, double[]::new, values -> {
            switch (type) {
                case F64 -> MemorySegment.copy(data, DOUBLE, 0, values, 0, values.length);
                case F32 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = data.getAtIndex(FLOAT, i);
                    }
                }
                case F16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Float.float16ToFloat(data.getAtIndex(SHORT, i));
                    }
                }
                case BF16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Float.intBitsToFloat(data.getAtIndex(SHORT, i) << 16);
                    }
                }
                case BOOL, U8, I8, U16, I16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = smallInt(i);
                    }
                }
                case I32 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = data.getAtIndex(INT, i);
                    }
                }
                case U32 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Integer.toUnsignedLong(data.getAtIndex(INT, i));
                    }
                }
                case I64 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = within(source, i, -LARGEST_EXACT_IN_DOUBLE, LARGEST_EXACT_IN_DOUBLE, "double");
                    }
                }
                default -> throw lossy(source, "double", "F64, F32, F16, BF16, BOOL and integers other than U64");
            }
        });
    }

    int[] ints(String source) {
        return convert(source, int[]::new, values -> {
            switch (type) {
                case I32 -> MemorySegment.copy(data, INT, 0, values, 0, values.length);
                case BOOL, U8, I8, U16, I16 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = smallInt(i);
                    }
                }
                case U32 -> {
                    for (int i = 0; i < values.length; i++) {
                        int value = data.getAtIndex(INT, i);
                        if (value < 0) {
                            throw outOfRange(source, i, Integer.toUnsignedString(value), "int");
                        }
                        values[i] = value;
                    }
                }
                case I64 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = (int) within(source, i, Integer.MIN_VALUE, Integer.MAX_VALUE, "int");
                    }
                }
                case U64 -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = (int) within(source, i, 0, Integer.MAX_VALUE, "int");
                    }
                }
                default -> throw lossy(source, "int", "BOOL and the integer types");
            }
        });
    }

    private interface Fill<A> {
        void into(A values);
    }

    private <A> A convert(String source, IntFunction<A> allocate, Fill<A> fill) {
        if (count() > LARGEST_JAVA_ARRAY) {
            throw new TensorFileException(
                    source,
                    "has " + count() + " elements, more than a Java array holds",
                    "use data(), which has no such limit");
        }
        A values = allocate.apply((int) count());
        try {
            fill.into(values);
        } catch (InternalError fault) {
            // The JVM's report of a page that is no longer backed by the mapped file.
            throw TensorFileException.shortened(source, fault);
        }
        return values;
    }

    private int smallInt(int i) {
        return switch (type) {
            case BOOL -> data.get(ValueLayout.JAVA_BYTE, i) == 0 ? 0 : 1;
            case I8 -> data.get(ValueLayout.JAVA_BYTE, i);
            case U8 -> Byte.toUnsignedInt(data.get(ValueLayout.JAVA_BYTE, i));
            case I16 -> data.getAtIndex(SHORT, i);
            case U16 -> Short.toUnsignedInt(data.getAtIndex(SHORT, i));
            default -> throw new AssertionError(type);
        };
    }

    private long within(String source, int i, long low, long high, String target) {
        long value = data.getAtIndex(LONG, i);
        if (value < low || value > high) {
            throw outOfRange(
                    source, i, type == StoredType.U64 ? Long.toUnsignedString(value) : Long.toString(value), target);
        }
        return value;
    }

    private TensorFileException outOfRange(String source, int i, String value, String target) {
        return new TensorFileException(
                source,
                "holds " + value + " at element " + i + ", which a " + target + " cannot hold exactly",
                "read the raw data() instead");
    }

    private TensorFileException lossy(String source, String target, String accepted) {
        String other =
                type == StoredType.F64 || type == StoredType.I32 || type == StoredType.U32 || type == StoredType.I64
                        ? "read it as doubles"
                        : "read the raw data()";
        if (target.equals("int") && floatsAccepted()) {
            other = "read it as floats";
        }
        return new TensorFileException(
                source,
                type + " cannot become a " + target + "[] without loss (accepted: " + accepted + ")",
                other + ", or convert the file");
    }

    private boolean floatsAccepted() {
        return type == StoredType.F32 || type == StoredType.F16 || type == StoredType.BF16;
    }

    private String label() {
        return "array " + TensorFileException.quote(name);
    }

    /** For example {@code blocks.0.norm1.weight: f32[384]}; the elements are not shown. */
    @Override
    public String toString() {
        return Printable.line(name) + ": " + type.name().toLowerCase(Locale.ROOT) + Arrays.toString(shape);
    }
}
