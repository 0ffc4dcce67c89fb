package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;
import tessera.kernels.Buffer;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarTokens;

/** Sums of f32 token rows; other types are left to the plain Java kernels. */
public final class VectorTokens extends ScalarTokens {
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

    private static void add(
            MemorySegment a, long aFrom, MemorySegment b, long bFrom, MemorySegment y, long yFrom, int n) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(a, aFrom + i).add(load(b, bFrom + i)), y, yFrom + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            store(load(a, aFrom + end, mask).add(load(b, bFrom + end, mask)), y, yFrom + end, mask);
        }
    }
}
