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
    /** What is done with the {@code count} rows after {@code first}. */
    interface Body {
        void run(long first, long count);
    }

    /** Rows of a block, of which each takes so many bytes. */
    long rows(long bytesOfRow) {
        return Math.max(leastRows, bytes / Math.max(1, bytesOfRow) / leastRows * leastRows);
    }

    /** Rows that are worth a thread, of which each takes so many multiply-adds. */
    long grain(long work) {
        return Math.max(1, speed * Gemm.WORTH_A_THREAD / Math.max(1, work));
    }

    /** Runs blocks of about equal size, none larger than {@code most}. */
    static void forEach(long from, long to, long most, Body body) {
        long blocks = Blocks.ceilDiv(to - from, most);
        for (long i = 0; i < blocks; i++) {
            long first = from + (to - from) * i / blocks;
            body.run(first, from + (to - from) * (i + 1) / blocks - first);
        }
    }
}
