package tessera.kernels.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import tessera.kernels.Buffer;

/** Reads and writes elements of any type as doubles, one at a time or a run at once. */
public final class Elements {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT;
    private static final ValueLayout.OfDouble F64 = ValueLayout.JAVA_DOUBLE;
    private static final ValueLayout.OfShort BF16 = ValueLayout.JAVA_SHORT;
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfByte U8 = ValueLayout.JAVA_BYTE;

    private Elements() {}

    public static double get(Buffer x, long index) {
        MemorySegment s = x.segment();
        return switch (x.dtype()) {
            case F32 -> s.getAtIndex(F32, index);
            case F64 -> s.getAtIndex(F64, index);
            case BF16 -> fromBf16(s.getAtIndex(BF16, index));
            case I32 -> s.getAtIndex(I32, index);
            case U8 -> s.get(U8, index) & 0xFF;
        };
    }

    public static void set(Buffer y, long index, double value) {
        MemorySegment s = y.segment();
        switch (y.dtype()) {
            case F32 -> s.setAtIndex(F32, index, (float) value);
            case F64 -> s.setAtIndex(F64, index, value);
            case BF16 -> s.setAtIndex(BF16, index, toBf16(value));
            case I32 -> s.setAtIndex(I32, index, (int) value);
            case U8 -> s.set(U8, index, toU8(value));
        }
    }

    public static int getInt(Buffer x, long index) {
        return x.segment().getAtIndex(I32, index);
    }

    public static void setInt(Buffer y, long index, int value) {
        y.segment().setAtIndex(I32, index, value);
    }

    /**
     * Entry {@code at} of an index list.
     *
     * @throws IllegalArgumentException if it lies outside {@code [0, n)}
     */
    public static int index(String op, Buffer indices, long at, long n) {
        int index = getInt(indices, at);
        if (index < 0 || index >= n) {
            throw new IllegalArgumentException(op + ": index " + index + " at position " + at + " is outside [0, " + n
                    + "); pass indices of existing tokens");
        }
        return index;
    }

    /** {@code to[at + i] = x[from + i]} for {@code count} elements. */
    public static void load(Buffer x, long from, int count, double[] to, int at) {
        MemorySegment s = x.segment();
        switch (x.dtype()) {
            case F32 -> {
                for (int i = 0; i < count; i++) {
                    to[at + i] = s.getAtIndex(F32, from + i);
                }
            }
            case F64 -> MemorySegment.copy(s, F64, from * Double.BYTES, to, at, count);
            case BF16, I32, U8 -> {
                for (int i = 0; i < count; i++) {
                    to[at + i] = get(x, from + i);
                }
            }
        }
    }

    /** {@code to[at + i] = x[from + i * stride]} for {@code count} elements. */
    public static void load(Buffer x, long from, long stride, int count, double[] to, int at) {
        if (stride == 1) {
            load(x, from, count, to, at);
        } else if (stride == 0) {
            if (count > 0) {
                Arrays.fill(to, at, at + count, get(x, from));
            }
        } else {
            for (int i = 0; i < count; i++) {
                to[at + i] = get(x, from + i * stride);
            }
        }
    }

    /** {@code y[to + i] = from[at + i]} for {@code count} elements, rounded to y's type. */
    public static void store(double[] from, int at, int count, Buffer y, long to) {
        MemorySegment s = y.segment();
        switch (y.dtype()) {
            case F32 -> {
                for (int i = 0; i < count; i++) {
                    s.setAtIndex(F32, to + i, (float) from[at + i]);
                }
            }
            case F64 -> MemorySegment.copy(from, at, s, F64, to * Double.BYTES, count);
            case BF16, I32, U8 -> {
                for (int i = 0; i < count; i++) {
                    set(y, to + i, from[at + i]);
                }
            }
        }
    }

    public static float fromBf16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** Rounds to the nearest bf16, ties to even; NaN stays a (quiet) NaN. */
    public static short toBf16(double value) {
        if (Double.isNaN(value)) {
            return (short) 0x7FC0;
        }
        float nearest = (float) value;
        int bits = Float.floatToRawIntBits(nearest);
        if (nearest != value) {
            // Rounding twice could go wrong at a tie, so the first rounding is to odd: toward zero, then the last bit
            // set.
            bits = (Math.abs((double) nearest) > Math.abs(value) ? bits - 1 : bits) | 1;
        }
        return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
    }

    private static byte toU8(double value) {
        return (byte) Math.clamp((long) value, 0, 255);
    }
}
