package tessera.kernels.cpu.vector;

import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;

/**
 * How the rows of a narrow product are cut into blocks that stay in the cache.
 *
 * @param bytes that a block of rows may take with all that is made of it
 * @param leastRows rows of a block are a multiple of these
 * @param speed how many times faster than f32 the products are
 */
record RowBlocks(long bytes, long leastRows, long speed) {
    /** Rows of a block, of which each takes so many bytes. */
    long rows(long bytesOfRow) {
        return Math.max(leastRows, bytes / Math.max(1, bytesOfRow) / leastRows * leastRows);
    }

    /** Rows that are worth a thread, of which each takes so many multiply-adds. */
    long grain(long work) {
        return Math.max(1, speed * Gemm.WORTH_A_THREAD / Math.max(1, work));
    }

    /** Blocks of at most {@code most} rows that {@code [from, to)} is cut into. */
    static long count(long from, long to, long most) {
        return Blocks.ceilDiv(to - from, most);
    }

    /** The first row of a block of {@code [from, to)}, the end of the one before; all are of about equal size. */
    static long first(long from, long to, long blocks, long block) {
        return from + (to - from) * block / blocks;
    }
}
