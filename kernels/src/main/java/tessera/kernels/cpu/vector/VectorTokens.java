package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import tessera.kernels.Buffer;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarTokens;

/** Sums of f32 token rows, those over many rows in blocks of {@value #BLOCK}; other types are left to the plain Java kernels. */
public final class VectorTokens extends ScalarTokens {
    private static final int BLOCK = 64;

    public VectorTokens(Workers workers) {
        super(workers);
    }

    @Override
    protected RowSum rowSum(Buffer y, int width) {
        if (!isF32(y)) {
            return super.rowSum(y, width);
        }
        MemorySegment target = y.segment();
        return (a, aFrom, b, bFrom, to) -> add(a.segment(), aFrom, b.segment(), bFrom, target, to, width);
    }

    /** {@inheritDoc} What the sum over the blocks loses by rounding is added again (Kahan, 1965): there may be thousands. */
    @Override
    protected void sumUses(
            Buffer dy, long dyFrom, long stride, int[] uses, int from, int end, Buffer dx, long to, int width) {
        if (!isF32(dy)) {
            super.sumUses(dy, dyFrom, stride, uses, from, end, dx, to, width);
            return;
        }
        MemorySegment rows = dy.segment();
        MemorySegment target = dx.segment();
        for (int i = 0; i < width; i += LANES) {
            VectorMask<Float> mask = first(Math.min(LANES, width - i));
            FloatVector total = all(0);
            FloatVector lost = total;
            for (int block = from; block < end; block += BLOCK) {
                FloatVector sum = all(0);
                for (int use = block; use < Math.min(block + BLOCK, end); use++) {
                    sum = sum.add(load(rows, dyFrom + uses[use] * stride + i, mask));
                }
                FloatVector corrected = sum.sub(lost);
                FloatVector next = total.add(corrected);
                lost = next.sub(total).sub(corrected);
                total = next;
            }
            store(total, target, to + i, mask);
        }
    }

    private static void add(
            MemorySegment a, long aFrom, MemorySegment b, long bFrom, MemorySegment y, long yFrom, int n) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(a, aFrom + i).add(load(b, bFrom + i)), y, yFrom + i);
        }
        if (end < n) {
            addRest(a, aFrom + end, b, bFrom + end, y, yFrom + end, n - end);
        }
    }

    private static void addRest(
            MemorySegment a, long aFrom, MemorySegment b, long bFrom, MemorySegment y, long yFrom, int n) {
        VectorMask<Float> mask = first(n);
        store(load(a, aFrom, mask).add(load(b, bFrom, mask)), y, yFrom, mask);
    }
}
