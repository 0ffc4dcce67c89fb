package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorAttention.equal;
import static tessera.kernels.cpu.vector.VectorAttention.offset;
import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.Scratch;

/**
 * Gradients of attention where vectors are short: what belongs to a head is copied first, for the reason of {@link HeadCopy}, and a tile of
 * keys takes all tiles of queries one after the other, so that its keys, values and their gradients stay in the second-level cache with the
 * probabilities. Immutable; heads may be taken by several threads at once.
 */
final class HeadGradients {
    /** Most queries and keys of a tile. */
    private static final int QUERIES = 112;

    private static final int KEYS = 448;
    /** Fewest queries and keys that are worth the copies. */
    private static final int LEAST = 512;
    /** Most elements of a copy, of which there are eight, which stay with their thread. */
    private static final long COPY = 1 << 18;

    private final AttentionShape s;
    private final Gemm gemm;
    private final int queryTile;
    private final int keyTile;
    /** Elements from one row of a tile's probabilities to the next. */
    private final int ld;
    /** Elements from one row of the turned keys and values to the next. */
    private final int line;

    /** Of queries and keys, and of gradients and values. */
    private final TileShapes products;
    /** Gradients of keys and values. */
    private final TileShapes ofKeys;
    /** Gradients of queries. */
    private final TileShapes ofQueries;

    // Where the parts of the working memory begin, in elements.
    private final long turnedV;
    private final long rowsK;
    private final long rowsQ;
    private final long rowsDout;
    private final long sumsQ;
    private final long sumsK;
    private final long sumsV;
    private final long dots;
    private final long probabilities;
    private final long gradients;
    private final long end;

    HeadGradients(AttentionShape s, Gemm gemm) {
        this.s = s;
        this.gemm = gemm;
        int dim = s.headDim();
        this.queryTile = equal(s.queries(), QUERIES);
        this.keyTile = (int) HeadCopy.lines(equal(s.keys(), KEYS));
        this.ld = keyTile;
        this.line = HeadCopy.line(s.keys());
        long ofQuery = HeadCopy.lines((long) s.queries() * dim);
        long ofKey = HeadCopy.lines((long) s.keys() * dim);
        this.turnedV = (long) line * dim;
        this.rowsK = turnedV + (long) line * dim;
        this.rowsQ = rowsK + ofKey;
        this.rowsDout = rowsQ + ofQuery;
        this.sumsQ = rowsDout + ofQuery;
        this.sumsK = sumsQ + ofQuery;
        this.sumsV = sumsK + ofKey;
        this.dots = sumsV + ofKey;
        this.probabilities = dots + HeadCopy.lines(s.queries());
        this.gradients = probabilities + (long) queryTile * ld;
        this.end = gradients + (long) queryTile * ld;
        this.products = shapes((rows, keys) -> new MatmulShape(false, false, rows, keys, dim, dim, line, ld));
        this.ofKeys = shapes((rows, keys) -> new MatmulShape(true, false, keys, dim, rows, ld, dim, dim));
        this.ofQueries = shapes((rows, keys) -> new MatmulShape(false, false, rows, dim, keys, ld, dim, dim));
    }

    private TileShapes shapes(TileShapes.Maker maker) {
        return new TileShapes(s.queries(), queryTile, s.keys(), keyTile, maker);
    }

    /** Whether gradients of such heads are faster here. */
    static boolean take(AttentionShape s) {
        return LANES == 8
                && Math.min(s.queries(), s.keys()) >= LEAST
                && (long) Math.max(s.queries(), s.keys()) * s.headDim() <= COPY;
    }

    /** Gradients of a head. */
    void run(VectorAttention.HeadBackward head, Scratch scratch) {
        MemorySegment memory = scratch.floats(end);
        copy(head, memory);
        for (int key = 0; key < s.keys(); key += keyTile) {
            for (int row = 0; row < s.queries(); row += queryTile) {
                tile(head, row, Math.min(queryTile, s.queries() - row), key, Math.min(keyTile, s.keys() - key), memory);
            }
        }
        write(head, memory);
    }

    private void copy(VectorAttention.HeadBackward head, MemorySegment memory) {
        VectorAttention.Backward pass = head.pass();
        long b = head.b();
        long h = head.h();
        int dim = s.headDim();
        MemorySegment k = pass.in().k().segment();
        long atK = offset(s.k(), b, h, 0);
        HeadCopy.columns(k, atK, s.k().row(), s.keys(), dim, memory, 0);
        HeadCopy.columns(pass.in().v().segment(), offset(s.v(), b, h, 0), s.v().row(), s.keys(), dim, memory, turnedV);
        HeadCopy.rows(k, atK, s.k().row(), s.keys(), dim, memory, rowsK);
        HeadCopy.rows(pass.in().q().segment(), offset(s.q(), b, h, 0), s.q().row(), s.queries(), dim, memory, rowsQ);
        HeadCopy.rows(
                pass.dout().segment(), offset(s.out(), b, h, 0), s.out().row(), s.queries(), dim, memory, rowsDout);
        for (int row = 0; row < s.queries(); row++) {
            set(memory, dots + row, head.dot(row));
        }
    }

    private void tile(VectorAttention.HeadBackward head, int row, int rows, int key, int keys, MemorySegment memory) {
        long dim = s.headDim();
        long atQ = rowsQ + row * dim;
        long atDout = rowsDout + row * dim;
        MatmulShape product = products.of(rows, keys);
        gemm.tile(product, memory, atQ, memory, key, false, memory, probabilities);
        gemm.tile(product, memory, atDout, memory, turnedV + key, false, memory, gradients);
        for (int r = 0; r < rows; r++) {
            long skipped = (long) r * ld;
            head.row(
                    row + r,
                    get(memory, dots + row + r),
                    key,
                    keys,
                    memory,
                    probabilities + skipped,
                    memory,
                    gradients + skipped);
        }
        MatmulShape sum = ofKeys.of(rows, keys);
        gemm.tile(sum, memory, probabilities, memory, atDout, row > 0, memory, sumsV + key * dim);
        gemm.tile(sum, memory, gradients, memory, atQ, row > 0, memory, sumsK + key * dim);
        gemm.tile(
                ofQueries.of(rows, keys),
                memory,
                gradients,
                memory,
                rowsK + key * dim,
                key > 0,
                memory,
                sumsQ + row * dim);
    }

    private void write(VectorAttention.HeadBackward head, MemorySegment memory) {
        VectorAttention.Backward pass = head.pass();
        long b = head.b();
        long h = head.h();
        int dim = s.headDim();
        MemorySegment dq = pass.gradients().q().segment();
        MemorySegment dk = pass.gradients().k().segment();
        MemorySegment dv = pass.gradients().v().segment();
        HeadCopy.back(memory, sumsQ, s.queries(), dim, dq, offset(s.q(), b, h, 0), s.q().row());
        HeadCopy.back(memory, sumsK, s.keys(), dim, dk, offset(s.k(), b, h, 0), s.k().row());
        HeadCopy.back(memory, sumsV, s.keys(), dim, dv, offset(s.v(), b, h, 0), s.v().row());
    }
}
