package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Tokens;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** Rows of tokens picked by index. Results do not depend on the number of threads. */
public class ScalarTokens implements Tokens {
    private static final int COLUMNS = 64;
    private static final int GRAIN_ELEMENTS = 16384;

    protected final Workers workers;

    public ScalarTokens(Workers workers) {
        this.workers = workers;
    }

    /** Rows that are worth a thread. */
    private static long grain(long width) {
        return Math.max(1, GRAIN_ELEMENTS / Math.max(1, width));
    }

    @Override
    public void gatherRows(TokenShape shape, Buffer x, Buffer indices, Buffer y) {
        long n = shape.tokens();
        long m = shape.selected();
        long d = shape.width();
        long bytes = d * x.dtype().bytes();
        workers.parallelFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            for (long row = from; row < to; row++) {
                long source = row / m * n + Elements.index("gather_rows", indices, row, n);
                MemorySegment.copy(x.segment(), source * bytes, y.segment(), row * bytes, bytes);
            }
        });
    }

    @Override
    public void scatterRows(TokenShape shape, Buffer dy, Buffer indices, Buffer dx) {
        long n = shape.tokens();
        long m = shape.selected();
        long d = shape.width();
        workers.parallelFor(shape.batch(), grain(n * d), (worker, from, to) -> {
            RowSum sum = rowSum(dx, Math.toIntExact(d));
            long bytes = n * d * dx.dtype().bytes();
            dx.segment().asSlice(from * bytes, (to - from) * bytes).fill((byte) 0);
            for (long j = from * m; j < to * m; j++) {
                long target = (j / m * n + Elements.index("scatter_rows", indices, j, n)) * d;
                sum.write(dx, target, dy, j * d, target);
            }
        });
    }

    @Override
    public void addRows(TokenShape shape, Buffer x, Buffer table, @Nullable Buffer indices, Buffer y) {
        long m = shape.selected();
        long d = shape.width();
        long rows = rows(table, d);
        workers.parallelFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            RowSum sum = rowSum(y, Math.toIntExact(d));
            for (long j = from; j < to; j++) {
                long position = indices == null ? j % m : Elements.index("add_rows", indices, j, rows);
                sum.write(x, j * d, table, position * d, j * d);
            }
        });
    }

    @Override
    public void assembleDecoder(
            DecoderShape shape, Buffer visible, TokenIndices indices, Buffer maskToken, Buffer table, Buffer y) {
        long visibleCount = shape.visible();
        long maskedCount = shape.masked();
        long d = shape.width();
        long count = visibleCount + maskedCount;
        long rows = rows(table, d);
        workers.parallelFor(shape.batch() * count, grain(d), (worker, from, to) -> {
            RowSum sum = rowSum(y, Math.toIntExact(d));
            for (long token = from; token < to; token++) {
                long b = token / count;
                long j = token % count;
                if (j < visibleCount) {
                    long source = b * visibleCount + j;
                    long position = Elements.index("assemble_decoder", indices.visible(), source, rows);
                    sum.write(visible, source * d, table, position * d, token * d);
                } else {
                    long masked = b * maskedCount + j - visibleCount;
                    long position = Elements.index("assemble_decoder", indices.masked(), masked, rows);
                    sum.write(maskToken, 0, table, position * d, token * d);
                }
            }
        });
    }

    @Override
    public void assembleDecoderBackward(DecoderShape shape, Buffer dy, Buffer dvisible, Buffer dmaskToken) {
        long batch = shape.batch();
        long visibleCount = shape.visible();
        long d = shape.width();
        long count = visibleCount + shape.masked();
        long bytes = d * dy.dtype().bytes();
        for (long b = 0; b < batch; b++) {
            MemorySegment.copy(
                    dy.segment(),
                    b * count * bytes,
                    dvisible.segment(),
                    b * visibleCount * bytes,
                    visibleCount * bytes);
        }
        workers.parallelFor(Blocks.ceilDiv(d, COLUMNS), 1, (worker, from, to) -> {
            double[] row = new double[COLUMNS];
            for (long block = from; block < to; block++) {
                long col = block * COLUMNS;
                int width = (int) Math.min(COLUMNS, d - col);
                double[] sum = new double[width];
                for (long b = 0; b < batch; b++) {
                    for (long j = visibleCount; j < count; j++) {
                        Elements.load(dy, (b * count + j) * d + col, width, row, 0);
                        add(row, sum);
                    }
                }
                Elements.store(sum, 0, width, dmaskToken, col);
            }
        });
    }

    private static void add(double[] row, double[] sum) {
        for (int i = 0; i < sum.length; i++) {
            sum[i] += row[i];
        }
    }

    /** How many rows a table has. */
    private static long rows(Buffer table, long d) {
        return d == 0 ? Integer.MAX_VALUE : table.length() / d;
    }

    /** Writes the sum of two rows to where a third begins in the target; for one thread. */
    protected interface RowSum {
        void write(Buffer a, long aFrom, Buffer b, long bFrom, long to);
    }

    /** Sums of rows of {@code width} elements for {@code y}, which may be one of the summands. */
    protected RowSum rowSum(Buffer y, int width) {
        double[] sum = new double[width];
        double[] row = new double[width];
        return (a, aFrom, b, bFrom, to) -> {
            Elements.load(a, aFrom, width, sum, 0);
            Elements.load(b, bFrom, width, row, 0);
            add(row, sum);
            Elements.store(sum, 0, width, y, to);
        };
    }
}
