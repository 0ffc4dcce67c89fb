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
import tessera.kernels.Int8Matmul;
import tessera.kernels.Int8Matmul.InputRange;

/**
 * Rows of f32 to bytes and back. What a row's bytes mean, its scale and its zero, is kept in a table of one pair of f32 for each
 * row.
 */
final class VectorInt8Rows {
    static final boolean SUPPORTED = LANES == 8 || LANES == 16;

    private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
    private static final VectorSpecies<Byte> BYTES = LANES == 16 ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** Adding this rounds to an integer, which then stands in the lowest bits. */
    private static final float ROUNDER = 0x1.8p23f;

    private static final int ROUNDER_BITS = Float.floatToRawIntBits(ROUNDER);

    private VectorInt8Rows() {}

    static float scale(MemorySegment meaning, long row) {
        return get(meaning, 2 * row);
    }

    static float zero(MemorySegment meaning, long row) {
        return get(meaning, 2 * row + 1);
    }

    /** Chooses what the bytes of a row mean from its values or the range known, and writes them. */
    static void quantise(
            MemorySegment x,
            long at,
            int k,
            @Nullable InputRange range,
            MemorySegment bytes,
            long to,
            MemorySegment meaning,
            long row) {
        FloatVector low = all(0);
        FloatVector high = low;
        // Stays 0 unless a value is not finite.
        FloatVector bad = low;
        int end = whole(k);
        int i = 0;
        if (range == null) {
            for (; i < end; i += LANES) {
                FloatVector v = load(x, at + i);
                high = max(high, v);
                low = min(low, v);
                bad = v.fma(all(0), bad);
            }
            if (i < k) {
                FloatVector v = load(x, at + i, first(k - i));
                high = max(high, v);
                low = min(low, v);
                bad = v.fma(all(0), bad);
            }
            choose(low.reduceLanes(VectorOperators.MIN), high.reduceLanes(VectorOperators.MAX), bad, meaning, row);
        } else {
            for (; i < end; i += LANES) {
                bad = load(x, at + i).fma(all(0), bad);
            }
            if (i < k) {
                bad = load(x, at + i, first(k - i)).fma(all(0), bad);
            }
            choose(range.low(), range.high(), bad, meaning, row);
        }
        write(x, at, k, bytes, to, meaning, row);
    }

    private static FloatVector min(FloatVector best, FloatVector x) {
        return best.blend(x, x.compare(VectorOperators.LT, best));
    }

    private static void choose(float low, float high, FloatVector bad, MemorySegment meaning, long row) {
        float scale = high / Int8Matmul.LARGEST_INPUT - low / Int8Matmul.LARGEST_INPUT;
        if (bad.reduceLanes(VectorOperators.ADD) != 0) {
            scale = Float.NaN;
        } else if (scale < Float.MIN_NORMAL) {
            scale = 0;
        }
        set(meaning, 2 * row, scale);
        set(meaning, 2 * row + 1, scale > 0 ? (float) Math.rint(-low / scale) : 0);
    }

    /** Writes a row's bytes by their meaning. */
    private static void write(
            MemorySegment x, long at, int k, MemorySegment bytes, long to, MemorySegment meaning, long row) {
        float scale = scale(meaning, row);
        if (!(scale > 0)) {
            bytes.asSlice(to, k).fill((byte) 0);
            return;
        }
        float inverse = 1 / scale;
        FloatVector factor = all(inverse);
        float base = zero(meaning, row) + ROUNDER;
        FloatVector shift = all(base);
        int end = whole(k);
        for (int i = 0; i < end; i += LANES) {
            IntVector q = load(x, at + i).fma(factor, shift).reinterpretAsInts().sub(ROUNDER_BITS);
            ByteVector narrow =
                    (ByteVector) q.max(0).min(Int8Matmul.LARGEST_INPUT).convertShape(VectorOperators.I2B, BYTES, 0);
            narrow.intoMemorySegment(bytes, to + i, ORDER);
        }
        for (int i = end; i < k; i++) {
            int q = Float.floatToRawIntBits(Math.fma(get(x, at + i), inverse, base)) - ROUNDER_BITS;
            bytes.set(ValueLayout.JAVA_BYTE, to + i, (byte) Math.clamp(q, 0, Int8Matmul.LARGEST_INPUT));
        }
    }

    /** What is added to and done with a row of products. */
    record Finish(
            MemorySegment scales,
            MemorySegment sums,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            boolean gelu) {}

    /**
     * A row of f32 results from its integer products: {@code act(scale * scales[j] * (acc[j] - zero * sums[j]) + bias[j] +
     * addend[j])}.
     *
     * @param at of the products and the result, which may be the same memory
     */
    static void finish(
            MemorySegment acc,
            long at,
            int n,
            MemorySegment meaning,
            long row,
            Finish finish,
            MemorySegment y,
            long to) {
        FloatVector scale = all(scale(meaning, row));
        int zero = (int) zero(meaning, row);
        int end = whole(n);
        for (int j = 0; j < end; j += LANES) {
            IntVector sum = IntVector.fromMemorySegment(INTS, acc, (at + j) * Integer.BYTES, ORDER);
            IntVector columns = IntVector.fromMemorySegment(INTS, finish.sums, (long) j * Integer.BYTES, ORDER);
            FloatVector product = (FloatVector) sum.sub(columns.mul(zero)).convert(VectorOperators.I2F, 0);
            FloatVector factor = load(finish.scales, j).mul(scale);
            FloatVector v = finish.bias == null ? product.mul(factor) : product.fma(factor, load(finish.bias, j));
            if (finish.addend != null) {
                v = v.add(load(finish.addend, to + j));
            }
            store(finish.gelu ? VectorMath.gelu(v) : v, y, to + j);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            VectorMask<Integer> ints = mask.cast(INTS);
            IntVector sum = IntVector.fromMemorySegment(INTS, acc, (at + end) * Integer.BYTES, ORDER, ints);
            IntVector columns = IntVector.fromMemorySegment(INTS, finish.sums, (long) end * Integer.BYTES, ORDER, ints);
            FloatVector product = (FloatVector) sum.sub(columns.mul(zero)).convert(VectorOperators.I2F, 0);
            FloatVector factor = load(finish.scales, end, mask).mul(scale);
            FloatVector v =
                    finish.bias == null ? product.mul(factor) : product.fma(factor, load(finish.bias, end, mask));
            if (finish.addend != null) {
                v = v.add(load(finish.addend, to + end, mask));
            }
            store(finish.gelu ? VectorMath.gelu(v) : v, y, to + end, mask);
        }
    }

    /** Quantises one row of a weight and returns its scale, NaN where a value is not finite. */
    static float quantiseWeight(MemorySegment w, long at, int k, MemorySegment bytes, long to) {
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
        float scale = rest == 0 ? Int8Matmul.weightScale(most) : Float.NaN;
        if (!(scale > 0)) {
            bytes.asSlice(to, k).fill((byte) 0);
            return scale;
        }
        for (int i = 0; i < end; i += LANES) {
            IntVector q =
                    load(w, at + i).div(scale).add(ROUNDER).reinterpretAsInts().sub(ROUNDER_BITS);
            ((ByteVector) q.convertShape(VectorOperators.I2B, BYTES, 0)).intoMemorySegment(bytes, to + i, ORDER);
        }
        for (int i = end; i < k; i++) {
            int q = Float.floatToRawIntBits(get(w, at + i) / scale + ROUNDER) - ROUNDER_BITS;
            bytes.set(ValueLayout.JAVA_BYTE, to + i, (byte) q);
        }
        return scale;
    }
}
