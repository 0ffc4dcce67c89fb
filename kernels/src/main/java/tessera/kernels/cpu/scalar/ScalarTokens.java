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
        int width = Math.toIntExact(d);
        workers.parallelFor(shape.batch(), 1, (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            long bytes = n * d * dx.dtype().bytes();
            dx.segment().asSlice(from * bytes, (to - from) * bytes).fill((byte) 0);
            for (long j = from * m; j < to * m; j++) {
                long target = (j / m * n + Elements.index("scatter_rows", indices, j, n)) * d;
                Elements.load(dx, target, width, sum, 0);
                Elements.load(dy, j * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, dx, target);
            }
        });
    }

    @Override
    public void addRows(TokenShape shape, Buffer x, Buffer table, @Nullable Buffer indices, Buffer y) {
        long m = shape.selected();
        long d = shape.width();
        int width = Math.toIntExact(d);
        workers.parallelFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            for (long j = from; j < to; j++) {
                long position = indices == null ? j % m : Elements.index("add_rows", indices, j, rows(table, d));
                Elements.load(x, j * d, width, sum, 0);
                Elements.load(table, position * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, y, j * d);
            }
        });
    }

    @Override
    public void assembleDecoder(
            DecoderShape shape, Buffer visible, TokenIndices indices, Buffer maskToken, Buffer table, Buffer y) {
        long visibleCount = shape.visible();
        long maskedCount = shape.masked();
        long d = shape.width();
        int width = Math.toIntExact(d);
        long count = visibleCount + maskedCount;
        workers.parallelFor(shape.batch() * count, grain(d), (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            for (long token = from; token < to; token++) {
                long b = token / count;
                long j = token % count;
                long position;
                if (j < visibleCount) {
                    long source = b * visibleCount + j;
                    Elements.load(visible, source * d, width, sum, 0);
                    position = Elements.index("assemble_decoder", indices.visible(), source, rows(table, d));
                } else {
                    Elements.load(maskToken, 0, width, sum, 0);
                    position = Elements.index(
                            "assemble_decoder", indices.masked(), b * maskedCount + j - visibleCount, rows(table, d));
                }
                Elements.load(table, position * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, y, token * d);
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
    protected static long rows(Buffer table, long d) {
        return d == 0 ? Integer.MAX_VALUE : table.length() / d;
    }
}
