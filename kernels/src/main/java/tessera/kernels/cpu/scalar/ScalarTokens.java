package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Tokens;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** Rows of tokens picked by index. Results do not depend on the number of threads. */
public class ScalarTokens implements Tokens {
    private static final int COLUMNS = 64;
    private static final int SUM_COLUMNS = 256;
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
        workers.repeatableFor(shape.batch() * m, grain(d), (worker, from, to) -> {
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
    public void selectRows(TokenShape shape, Buffer x, Buffer index, Buffer y) {
        long n = shape.tokens();
        long m = shape.selected();
        long bytes = shape.width() * x.dtype().bytes();
        workers.repeatableFor(shape.batch() * m, grain(shape.width()), (worker, from, to) -> {
            for (long row = from; row < to; row++) {
                int source = rowOrHole("select_rows", index, row % m, n);
                if (source < 0) {
                    y.segment().asSlice(row * bytes, bytes).fill((byte) 0);
                } else {
                    MemorySegment.copy(x.segment(), (row / m * n + source) * bytes, y.segment(), row * bytes, bytes);
                }
            }
        });
    }

    /** Entry {@code at} of an index list that may have holes. */
    private static int rowOrHole(String op, Buffer index, long at, long n) {
        int row = Elements.getInt(index, at);
        if (row < -1 || row >= n) {
            throw new IllegalArgumentException(op + ": index " + row + " at position " + at + " is outside [-1, " + n
                    + "); pass an existing row, or -1 for a row of zeros");
        }
        return row;
    }

    /** {@inheritDoc} The order is that of j. */
    @Override
    public void sumRows(TokenShape shape, Buffer dy, Buffer index, Buffer dx) {
        int n = Math.toIntExact(shape.tokens());
        int m = Math.toIntExact(shape.selected());
        long d = shape.width();
        int[] start = new int[n + 1];
        int[] uses = usesOfRows(index, n, m, start);
        int parts = (int) Blocks.ceilDiv(d, SUM_COLUMNS);
        long work = Math.max(1, d * m / Math.max(1, n));
        workers.parallelFor(shape.batch() * n * parts, Math.max(1, GRAIN_ELEMENTS / work), (worker, from, to) -> {
            for (long unit = from; unit < to; unit++) {
                int column = (int) (unit % parts) * SUM_COLUMNS;
                long row = unit / parts;
                int i = (int) (row % n);
                int width = (int) Math.min(SUM_COLUMNS, d - column);
                sumUses(dy, row / n * m * d + column, d, uses, start[i], start[i + 1], dx, row * d + column, width);
            }
        });
    }

    /** The places j of each row i one after the other, those of row i from {@code start[i]} to {@code start[i + 1]}. */
    private static int[] usesOfRows(Buffer index, int n, int m, int[] start) {
        int[] rows = new int[m];
        for (int j = 0; j < m; j++) {
            rows[j] = rowOrHole("sum_rows", index, j, n);
            if (rows[j] >= 0) {
                start[rows[j] + 1]++;
            }
        }
        for (int i = 0; i < n; i++) {
            start[i + 1] += start[i];
        }
        int[] uses = new int[start[n]];
        int[] next = start.clone();
        for (int j = 0; j < m; j++) {
            if (rows[j] >= 0) {
                uses[next[rows[j]]++] = j;
            }
        }
        return uses;
    }

    /** Writes to {@code dx} the sum of the rows {@code uses[first..end)} of a sample of {@code dy}, of {@code width} columns. */
    protected void sumUses(
            Buffer dy, long dyFrom, long stride, int[] uses, int first, int end, Buffer dx, long to, int width) {
        double[] sum = new double[width];
        double[] row = new double[width];
        for (int use = first; use < end; use++) {
            Elements.load(dy, dyFrom + uses[use] * stride, width, row, 0);
            add(row, sum);
        }
        Elements.store(sum, 0, width, dx, to);
    }

    @Override
    public void addRows(TokenShape shape, Buffer x, Buffer table, @Nullable Buffer indices, Buffer y) {
        long m = shape.selected();
        long d = shape.width();
        long rows = rows(table, d);
        RowSum[] sums = rowSums(y, Math.toIntExact(d));
        workers.repeatableFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            RowSum sum = sums[worker];
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
        RowSum[] sums = rowSums(y, Math.toIntExact(d));
        workers.repeatableFor(shape.batch() * count, grain(d), (worker, from, to) -> {
            RowSum sum = sums[worker];
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

    /** One for each worker of a loop. */
    private RowSum[] rowSums(Buffer y, int width) {
        RowSum[] sums = new RowSum[workers.threads()];
        Arrays.setAll(sums, worker -> rowSum(y, width));
        return sums;
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
