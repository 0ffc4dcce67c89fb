package tessera.kernels.cpu.vector;

import static tessera.kernels.Attention.OTHER_REGION;
import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;

/** What attention makes of the products of queries and keys before its softmax. Rows begin at whole vectors. Thread-safe. */
final class VectorScores {
    private static final VectorSpecies<Integer> IDS = VectorSpecies.of(int.class, VectorMath.SPECIES.vectorShape());

    private final AttentionShape shape;
    private final float scale;
    private final @Nullable MemorySegment bias;
    private final @Nullable MemorySegment regions;

    VectorScores(AttentionShape shape, AttentionTensors in) {
        this.shape = shape;
        this.scale = (float) shape.scale();
        this.bias = segment(in.bias());
        this.regions = segment(in.regions());
    }

    /** Where a sample's row of the regions begins. */
    private long regionRow(long sample) {
        return sample % shape.regionBatch() * shape.keys();
    }

    /** Whether a sample has more than one region; one alone is as if there were none. */
    boolean divided(long sample) {
        if (regions == null) {
            return false;
        }
        long from = regionRow(sample);
        int first = regions.getAtIndex(ValueLayout.JAVA_INT, from);
        for (int i = 1; i < shape.keys(); i++) {
            if (regions.getAtIndex(ValueLayout.JAVA_INT, from + i) != first) {
                return true;
            }
        }
        return false;
    }

    /** Elements of whole vectors that hold n. */
    static int padded(int n) {
        return (n + LANES - 1) & -LANES;
    }

    /** Whether the scores of a sample, {@linkplain #divided divided} or not, are the products times the scale and nothing else. */
    boolean onlyScaled(boolean divided) {
        return bias == null && !divided;
    }

    /** Where a query's row of the bias or its gradient begins. */
    long biasRow(long sample, long head, int query) {
        long first = shape.biasBatch() == 1 ? 0 : sample;
        if (shape.biasOfKeys()) {
            return first * shape.keys();
        }
        return ((first * shape.heads() + head) * shape.queries() + query) * shape.keys();
    }

    /**
     * Products of a query and the {@code count} keys from {@code key} become scores: with the scale, the bias and the regions, and
     * filled to whole vectors with scores that have no weight.
     *
     * @param divided as {@link #divided} says of the sample
     * @return the largest
     */
    float complete(
            long sample, long head, int query, boolean divided, MemorySegment x, long start, int key, int count) {
        float max;
        if (bias == null) {
            scale(x, start, count, scale);
            max = paddedMax(x, start, count);
        } else {
            max = scaleAndAdd(x, start, count, scale, bias, biasRow(sample, head, query) + key);
        }
        if (regions == null || !divided) {
            return max;
        }
        long from = regionRow(sample);
        int region = regions.getAtIndex(ValueLayout.JAVA_INT, from + query);
        return divide(x, start, count, regions, from + key, region);
    }

    /** Fills a row to whole vectors with scores that have no weight, and finds the largest. */
    static float paddedMax(MemorySegment x, long start, int n) {
        int end = padded(n);
        for (int i = n; i < end; i++) {
            set(x, start + i, Float.NEGATIVE_INFINITY);
        }
        return VectorRuns.max(x, start, end);
    }

    /** {@code x = scale * x + bias}, filled to whole vectors, and the largest. */
    private static float scaleAndAdd(
            MemorySegment x, long start, int n, float scale, MemorySegment bias, long biasFrom) {
        FloatVector factor = all(scale);
        FloatVector none = all(Float.NEGATIVE_INFINITY);
        FloatVector best = none;
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector score = load(x, start + i).fma(factor, load(bias, biasFrom + i));
            store(score, x, start + i);
            best = VectorMath.max(best, score);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            FloatVector score = load(x, start + end).fma(factor, load(bias, biasFrom + end, mask));
            score = none.blend(score, mask);
            store(score, x, start + end);
            best = VectorMath.max(best, score);
        }
        return best.reduceLanes(VectorOperators.MAX);
    }

    /** Adds {@link tessera.kernels.Attention#OTHER_REGION} to keys outside the region in a filled row, and finds the largest. */
    private static float divide(MemorySegment x, long start, int n, MemorySegment ids, long idsFrom, int region) {
        FloatVector best = all(Float.NEGATIVE_INFINITY);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector score = divided(
                    load(x, start + i),
                    IntVector.fromMemorySegment(IDS, ids, (idsFrom + i) * Integer.BYTES, ByteOrder.nativeOrder()),
                    region);
            store(score, x, start + i);
            best = VectorMath.max(best, score);
        }
        if (end < n) {
            VectorMask<Integer> mask = IDS.indexInRange(0, n - end);
            FloatVector score = divided(
                    load(x, start + end),
                    IntVector.fromMemorySegment(
                            IDS, ids, (idsFrom + end) * Integer.BYTES, ByteOrder.nativeOrder(), mask),
                    region);
            store(score, x, start + end);
            best = VectorMath.max(best, score);
        }
        return best.reduceLanes(VectorOperators.MAX);
    }

    private static FloatVector divided(FloatVector score, IntVector ids, int region) {
        return score.add(
                all(OTHER_REGION), ids.compare(VectorOperators.NE, region).cast(VectorMath.SPECIES));
    }

    /**
     * {@code x = factor * x}. By address where that can be: within a tile of an attention, into which the second compiler takes so much,
     * it had no room left for these stores in some processes and made an object for every vector.
     */
    static void scale(MemorySegment x, long start, int n, float factor) {
        if (AddressRuns.take(n)) {
            AddressRuns.scale(x, start, n, factor);
            return;
        }
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(x, start + i).mul(factor), x, start + i);
        }
        if (end < n) {
            scaleRest(x, start + end, n - end, factor);
        }
    }

    private static void scaleRest(MemorySegment x, long start, int n, float factor) {
        VectorMask<Float> mask = first(n);
        store(load(x, start, mask).mul(factor), x, start, mask);
    }

    /**
     * The gradient dP of probabilities P becomes that of the products, {@code scale * P (dP - dot)}. What follows the keys in the
     * last vector is rubbish that nobody reads.
     */
    static void gradient(MemorySegment p, long pFrom, MemorySegment ds, long dsFrom, int n, float dot, float scale) {
        for (int i = 0; i < n; i += LANES) {
            store(load(ds, dsFrom + i).sub(dot).mul(load(p, pFrom + i)).mul(scale), ds, dsFrom + i);
        }
    }

    /**
     * As {@link #gradient}; the gradient of the scores, which is that of the bias, goes to {@code dbias}.
     *
     * @param add whether it is added to what is there
     */
    static void gradient(
            MemorySegment p,
            long pFrom,
            MemorySegment ds,
            long dsFrom,
            int n,
            float dot,
            float scale,
            MemorySegment dbias,
            long biasFrom,
            boolean add) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector d = load(ds, dsFrom + i).sub(dot).mul(load(p, pFrom + i));
            store(add ? d.add(load(dbias, biasFrom + i)) : d, dbias, biasFrom + i);
            store(d.mul(scale), ds, dsFrom + i);
        }
        if (end < n) {
            gradientRest(p, pFrom + end, ds, dsFrom + end, n - end, dot, scale, dbias, biasFrom + end, add);
        }
    }

    private static void gradientRest(
            MemorySegment p,
            long pFrom,
            MemorySegment ds,
            long dsFrom,
            int n,
            float dot,
            float scale,
            MemorySegment dbias,
            long biasFrom,
            boolean add) {
        VectorMask<Float> mask = first(n);
        FloatVector d = load(ds, dsFrom).sub(dot).mul(load(p, pFrom));
        store(add ? d.add(load(dbias, biasFrom, mask)) : d, dbias, biasFrom, mask);
        store(d.mul(scale), ds, dsFrom);
    }
}
