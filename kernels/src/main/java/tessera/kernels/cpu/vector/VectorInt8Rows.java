package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.SPECIES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.max;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Int8Kernels;

/**
 * Rows of f32 to bytes and back, on the calling thread. A row is {@code (byte - zero) * scale}. Functions that choose a row's scale
 * return it; it is NaN for a row with a value that is not finite, and 0 for one whose values are all too small, whose bytes do
 * not count then.
 */
final class VectorInt8Rows {
    static final boolean SUPPORTED = LANES == 8 || LANES == 16;

    private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
    private static final VectorSpecies<Byte> BYTES = LANES == 16 ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** Adding this rounds to an integer, which then stands in the lowest bits. */
    private static final float ROUNDER = 0x1.8p23f;

    private static final int ROUNDER_BITS = Float.floatToRawIntBits(ROUNDER);
    /** All bits but the sign: as integers they have the order of absolute values, and above all numbers are infinity and NaN. */
    private static final int SIZE = Integer.MAX_VALUE;

    private static final int INFINITE = Float.floatToRawIntBits(Float.POSITIVE_INFINITY);

    private VectorInt8Rows() {}

    private static IntVector size(FloatVector v) {
        return v.reinterpretAsInts().and(SIZE);
    }

    /** A step of which there are so many up to the largest value. */
    private static float scale(int size, int steps) {
        float scale = Float.intBitsToFloat(size) / steps;
        return size >= INFINITE ? Float.NaN : scale < Float.MIN_NORMAL ? 0 : scale;
    }

    /** Writes bytes up to the largest with the zero {@link Int8Kernels#zero}, which the row's largest absolute value is farthest from. */
    static float quantise(MemorySegment x, long at, int k, int largest, MemorySegment bytes, long to) {
        int zero = Int8Kernels.zero(largest);
        int twos = k - k % (2 * LANES);
        int size = largestSize(x, at, twos);
        for (int i = twos; i < k; i++) {
            size = Math.max(size, Float.floatToRawIntBits(get(x, at + i)) & SIZE);
        }
        float scale = scale(size, largest - zero);
        if (scale > 0) {
            write(x, at, k, 1 / scale, zero, bytes, to);
        }
        return scale;
    }

    /** Of whole pairs of vectors. */
    private static int largestSize(MemorySegment x, long at, int end) {
        IntVector size = IntVector.zero(INTS);
        IntVector other = size;
        for (int i = 0; i < end; i += 2 * LANES) {
            size = size.max(size(load(x, at + i)));
            other = other.max(size(load(x, at + i + LANES)));
        }
        return size.max(other).reduceLanes(VectorOperators.MAX);
    }

    /** Writes bytes of values that are in range whatever they round to. */
    private static void write(MemorySegment x, long at, int k, float inverse, int zero, MemorySegment bytes, long to) {
        FloatVector factor = all(inverse);
        float base = zero + ROUNDER;
        FloatVector shift = all(base);
        int end = whole(k);
        for (int i = 0; i < end; i += LANES) {
            // The lowest byte of the rounder is 0.
            IntVector q = load(x, at + i).fma(factor, shift).reinterpretAsInts();
            narrow(q).intoMemorySegment(bytes, to + i, ORDER);
        }
        for (int i = end; i < k; i++) {
            int q = Float.floatToRawIntBits(Math.fma(get(x, at + i), inverse, base));
            bytes.set(ValueLayout.JAVA_BYTE, to + i, (byte) q);
        }
    }

    private static ByteVector narrow(IntVector v) {
        return (ByteVector) v.convertShape(VectorOperators.I2B, BYTES, 0);
    }

    /**
     * Writes bytes of a known scale and zero, with values out of range cut off.
     *
     * @return the scale, or NaN
     */
    static float quantise(
            MemorySegment x, long at, int k, float scale, int zero, int largest, MemorySegment bytes, long to) {
        float inverse = 1 / scale;
        float most = largest - zero;
        IntVector size = IntVector.zero(INTS);
        FloatVector factor = all(inverse);
        FloatVector shift = all(zero + ROUNDER);
        int end = whole(k);
        for (int i = 0; i < end; i += LANES) {
            FloatVector v = load(x, at + i);
            size = size.max(size(v));
            FloatVector steps = v.mul(factor);
            steps = steps.blend(most, steps.compare(VectorOperators.GT, most));
            steps = steps.blend(-zero, steps.compare(VectorOperators.LT, -zero));
            narrow(steps.add(shift).reinterpretAsInts()).intoMemorySegment(bytes, to + i, ORDER);
        }
        int farthest = size.reduceLanes(VectorOperators.MAX);
        for (int i = end; i < k; i++) {
            float v = get(x, at + i);
            farthest = Math.max(farthest, Float.floatToRawIntBits(v) & SIZE);
            int q = Float.floatToRawIntBits(Math.clamp(v * inverse, -zero, most) + (zero + ROUNDER));
            bytes.set(ValueLayout.JAVA_BYTE, to + i, (byte) q);
        }
        return farthest >= INFINITE ? Float.NaN : scale;
    }

    /**
     * {@code y = act(scale * x + bias + addend)}. Here too each loop is a method of its own, and so is what is left behind whole vectors, for
     * the reason of {@link VectorRuns#vectorMax}.
     */
    static void finish(
            MemorySegment x,
            long at,
            int n,
            float scale,
            MemorySegment bias,
            long biasFrom,
            @Nullable MemorySegment addend,
            boolean gelu,
            MemorySegment y,
            long to) {
        int end = whole(n);
        if (gelu) {
            finishGelu(x, at, end, scale, bias, biasFrom, addend, y, to);
        } else if (addend != null) {
            finish(x, at, end, scale, bias, biasFrom, addend, y, to);
        } else {
            finish(x, at, end, scale, bias, biasFrom, y, to);
        }
        if (end < n) {
            finishRest(x, at + end, n - end, scale, bias, biasFrom + end, addend, gelu, y, to + end);
        }
    }

    private static void finish(
            MemorySegment x,
            long at,
            int end,
            float scale,
            MemorySegment bias,
            long biasFrom,
            MemorySegment y,
            long to) {
        FloatVector factor = all(scale);
        for (int j = 0; j < end; j += LANES) {
            store(load(x, at + j).fma(factor, load(bias, biasFrom + j)), y, to + j);
        }
    }

    private static void finish(
            MemorySegment x,
            long at,
            int end,
            float scale,
            MemorySegment bias,
            long biasFrom,
            MemorySegment addend,
            MemorySegment y,
            long to) {
        FloatVector factor = all(scale);
        for (int j = 0; j < end; j += LANES) {
            store(load(x, at + j).fma(factor, load(bias, biasFrom + j)).add(load(addend, to + j)), y, to + j);
        }
    }

    private static void finishGelu(
            MemorySegment x,
            long at,
            int end,
            float scale,
            MemorySegment bias,
            long biasFrom,
            @Nullable MemorySegment addend,
            MemorySegment y,
            long to) {
        FloatVector factor = all(scale);
        for (int j = 0; j < end; j += LANES) {
            FloatVector v = load(x, at + j).fma(factor, load(bias, biasFrom + j));
            store(VectorMath.gelu(addend == null ? v : v.add(load(addend, to + j))), y, to + j);
        }
    }

    private static void finishRest(
            MemorySegment x,
            long at,
            int n,
            float scale,
            MemorySegment bias,
            long biasFrom,
            @Nullable MemorySegment addend,
            boolean gelu,
            MemorySegment y,
            long to) {
        VectorMask<Float> mask = first(n);
        FloatVector v = load(x, at, mask).fma(all(scale), load(bias, biasFrom, mask));
        v = addend == null ? v : v.add(load(addend, to, mask));
        store(gelu ? VectorMath.gelu(v) : v, y, to, mask);
    }

    /**
     * Bytes up to the largest with the zero 0 of {@code gelu(scale * x + bias) + offset}, which is not negative.
     *
     * @param x overwritten
     */
    static float quantiseGelu(
            MemorySegment x,
            long at,
            int n,
            float scale,
            MemorySegment bias,
            long biasFrom,
            float offset,
            int largest,
            MemorySegment bytes,
            long to) {
        int end = whole(n);
        int size = geluSize(x, at, end, scale, bias, biasFrom, offset);
        if (end < n) {
            size = Math.max(size, geluSizeOfRest(x, at + end, n - end, scale, bias, biasFrom + end, offset));
        }
        float step = scale(size, largest);
        if (step > 0) {
            write(x, at, n, 1 / step, 0, bytes, to);
        }
        return step;
    }

    /** {@code x = gelu(scale * x + bias) + offset} for whole vectors, and the largest size. */
    private static int geluSize(
            MemorySegment x, long at, int end, float scale, MemorySegment bias, long biasFrom, float offset) {
        IntVector size = IntVector.zero(INTS);
        FloatVector factor = all(scale);
        for (int j = 0; j < end; j += LANES) {
            FloatVector v = VectorMath.gelu(load(x, at + j).fma(factor, load(bias, biasFrom + j)))
                    .add(offset);
            store(v, x, at + j);
            size = size.max(size(v));
        }
        return size.reduceLanes(VectorOperators.MAX);
    }

    /** The same of fewer than a vector; the lanes behind them hold the GELU of 0. */
    private static int geluSizeOfRest(
            MemorySegment x, long at, int n, float scale, MemorySegment bias, long biasFrom, float offset) {
        VectorMask<Float> mask = first(n);
        FloatVector v = VectorMath.gelu(load(x, at, mask).fma(all(scale), load(bias, biasFrom, mask)))
                .add(offset);
        store(v, x, at, mask);
        return size(v).reduceLanes(VectorOperators.MAX);
    }

    /** Quantises a row of a weight, and writes its scale, NaN where a value is not finite, and the sum of its
     * bytes times the scale. */
    static void quantiseWeight(
            MemorySegment w, long row, int k, MemorySegment bytes, MemorySegment scales, MemorySegment sums) {
        long at = row * k;
        FloatVector largest = all(0);
        FloatVector bad = largest;
        int end = whole(k);
        for (int i = 0; i < end; i += LANES) {
            FloatVector v = load(w, at + i);
            largest = max(largest, v.abs());
            bad = v.fma(all(0), bad);
        }
        float most = largest.reduceLanes(VectorOperators.MAX);
        float rest = bad.reduceLanes(VectorOperators.ADD);
        for (int i = end; i < k; i++) {
            float v = get(w, at + i);
            most = Math.max(most, Math.abs(v));
            rest += 0 * v;
        }
        float scale = rest == 0 ? Int8Kernels.weightScale(most) : Float.NaN;
        int total = 0;
        if (scale > 0) {
            IntVector sum = IntVector.zero(INTS);
            for (int i = 0; i < end; i += LANES) {
                IntVector q = load(w, at + i)
                        .div(scale)
                        .add(ROUNDER)
                        .reinterpretAsInts()
                        .sub(ROUNDER_BITS);
                sum = sum.add(q);
                ((ByteVector) q.convertShape(VectorOperators.I2B, BYTES, 0)).intoMemorySegment(bytes, at + i, ORDER);
            }
            total = sum.reduceLanes(VectorOperators.ADD);
            for (int i = end; i < k; i++) {
                int q = Float.floatToRawIntBits(get(w, at + i) / scale + ROUNDER) - ROUNDER_BITS;
                total += q;
                bytes.set(ValueLayout.JAVA_BYTE, at + i, (byte) q);
            }
        } else {
            bytes.asSlice(at, k).fill((byte) 0);
        }
        set(scales, row, scale);
        set(sums, row, total * scale);
    }
}
