package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Tokens;

/**
 * Rows gathered, scattered and assembled on a GPU.
 *
 * <p>Indices lie in device memory, so they are not checked before the launch: one that is out of range yields NaN (or -1 for
 * integers) where it is read, and is left out where rows are scattered or summed.
 */
final class CudaTokens implements Tokens {
    private static final int THREADS = 256;
    /** Units per thread, as in tokens.cu. */
    private static final int VECTORS = 4;

    private static final int VECTOR_BYTES = 16;
    /** What a warp reads of an index that is summed over, as in tokens.cu. */
    private static final long INDICES_AT_A_TIME = 32 * VECTORS;

    private static final int WARPS_PER_MULTIPROCESSOR = 32;

    private final CudaDevice device;
    private final CudaElementwise elementwise;
    private final CudaModule module;
    private final Copies gather;
    private final Copies select;
    private final Rows scatter;
    private final Rows sum;
    private final CudaVariants sumOfShares;
    private final Rows add;
    private final Rows assemble;

    CudaTokens(CudaDevice device, CudaElementwise elementwise) {
        this.device = device;
        this.elementwise = elementwise;
        this.module = new CudaModule(device, "tokens");
        this.gather = new Copies(module, "gather_rows");
        this.select = new Copies(module, "select_rows");
        this.scatter = new Rows(module, "scatter_rows");
        this.sum = new Rows(module, "sum_selected");
        this.sumOfShares = module.variants("sum_of_shares");
        this.add = new Rows(module, "add_rows");
        this.assemble = new Rows(module, "assemble_decoder");
    }

    /** A kernel for rows that allow 16-byte accesses, and one for all others. */
    private record Rows(CudaVariants wide, CudaVariants single) {
        Rows(CudaModule module, String name) {
            this(module.variants(name), module.variants(name + "_single"));
        }

        /** Whether rows of d elements that begin at addresses whose bits are joined in {@code addresses} allow wide accesses. */
        static boolean wide(long addresses, long d, DType dtype) {
            return (addresses | d * dtype.bytes()) % VECTOR_BYTES == 0;
        }

        CudaLaunch begin(boolean aligned, DType dtype) {
            return (aligned ? wide : single).begin(dtype);
        }

        static long blocks(boolean aligned, long values, DType dtype) {
            return CudaTokens.blocks(aligned ? values / (VECTOR_BYTES / dtype.bytes()) : values);
        }
    }

    private static long blocks(long units) {
        return Math.ceilDiv(units, (long) THREADS * VECTORS);
    }

    /** Kernels that copy rows in units of 1, 2, 4 or 16 bytes. */
    private record Copies(String op, CudaFunction one, CudaFunction two, CudaFunction four, CudaFunction sixteen) {
        Copies(CudaModule module, String op) {
            this(
                    op,
                    module.function(op + "_1"),
                    module.function(op + "_2"),
                    module.function(op + "_4"),
                    module.function(op + "_16"));
        }

        void launch(TokenShape shape, Buffer x, Buffer indices, Buffer y) {
            CudaTypes.same(op, x, y);
            long d = shape.width();
            int element = x.dtype().bytes();
            int unit = Rows.wide(x.address() | y.address(), d, x.dtype()) ? VECTOR_BYTES : element;
            CudaFunction kernel = switch (unit) {
                case 1 -> one;
                case 2 -> two;
                case 4 -> four;
                case VECTOR_BYTES -> sixteen;
                default ->
                    throw new IllegalArgumentException(op + " on " + x.device() + " does not know " + x.dtype()
                            + "; f64 exists on the cpu only, use f32 here");
            };
            long width = d * element / unit;
            long rows = shape.batch() * shape.selected();
            kernel.begin()
                    .buffers(x, indices, y)
                    .i64(rows, shape.tokens(), shape.selected(), width)
                    .launch(blocks(rows * width), THREADS, 0);
        }
    }

    @Override
    public void gatherRows(TokenShape shape, Buffer x, Buffer indices, Buffer y) {
        gather.launch(shape, x, indices, y);
    }

    @Override
    public void selectRows(TokenShape shape, Buffer x, Buffer index, Buffer y) {
        select.launch(shape, x, index, y);
    }

    /** For each of {@code n} tokens of each sample the one j that names it, or a mark for none or several; see tokens.cu. */
    Buffer invert(Buffer indices, long batch, long n, long m) {
        return device.filled(
                DType.I32,
                batch * n,
                source -> module.function("invert_indices")
                        .begin()
                        .buffers(indices, source)
                        .i64(n, m)
                        .launch(batch, THREADS, 0));
    }

    @Override
    public void scatterRows(TokenShape shape, Buffer dy, Buffer indices, Buffer dx) {
        long batch = shape.batch();
        long n = shape.tokens();
        long m = shape.selected();
        long d = shape.width();
        CudaTypes.same("scatter_rows", dy, dx);
        boolean wide = Rows.wide(dy.address() | dx.address(), d, dx.dtype());
        try (Buffer source = invert(indices, batch, n, m)) {
            scatter.begin(wide, dx.dtype())
                    .buffers(dy, indices, source, dx)
                    .i64(batch * n, n, m, d)
                    .launch(Rows.blocks(wide, batch * n * d, dx.dtype()), THREADS, 0);
        }
    }

    @Override
    public void sumRows(TokenShape shape, Buffer dy, Buffer index, Buffer dx) {
        long batch = shape.batch();
        long n = shape.tokens();
        long m = shape.selected();
        long d = shape.width();
        CudaTypes.same("sum_rows", dy, dx);
        DType dtype = dx.dtype();
        boolean wide = Rows.wide(dy.address() | dx.address(), d, dtype);
        int lanes = wide ? VECTOR_BYTES / dtype.bytes() : 1;
        long warps = batch * Math.ceilDiv(n, lanes > 4 ? 4L : 8L) * Math.ceilDiv(d, 32L * lanes);
        if (warps == 0) {
            return;
        }
        // Where its tokens and columns alone are too few warps to fill the device, the sum is cut into shares.
        long wanted = Math.ceilDiv((long) WARPS_PER_MULTIPROCESSOR * device.multiprocessors(), warps);
        long share = Math.ceilDiv(Math.max(1, Math.ceilDiv(m, wanted)), INDICES_AT_A_TIME) * INDICES_AT_A_TIME;
        long shares = Math.max(1, Math.ceilDiv(m, share));
        if (shares == 1) {
            sum(wide, shape, dy, index, dx, dtype, warps, share, 1);
            return;
        }
        long count = batch * n * d;
        try (Buffer partials = device.allocate(DType.F32, shares * count)) {
            sum(wide, shape, dy, index, partials, dtype, warps, share, shares);
            sumOfShares
                    .begin(dtype)
                    .buffers(partials, dx)
                    .i64(count, shares)
                    .launch(Math.ceilDiv(count, (long) THREADS), THREADS, 0);
        }
    }

    private void sum(
            boolean wide,
            TokenShape shape,
            Buffer dy,
            Buffer index,
            Buffer to,
            DType dtype,
            long warps,
            long share,
            long shares) {
        sum.begin(wide, dtype)
                .buffers(dy, index, to)
                .i64(shape.batch(), shape.tokens(), shape.selected(), shape.width())
                .i64(share, shares)
                .launch(Math.ceilDiv(warps * shares, THREADS / 32L), THREADS, 0);
    }

    private static long rows(Buffer table, long d) {
        return d == 0 ? Integer.MAX_VALUE : table.length() / d;
    }

    @Override
    public void addRows(TokenShape shape, Buffer x, Buffer table, @Nullable Buffer indices, Buffer y) {
        long batch = shape.batch();
        long m = shape.selected();
        long d = shape.width();
        CudaTypes.same("add_rows", x, y);
        CudaTypes.same("add_rows", x, table);
        boolean wide = Rows.wide(x.address() | table.address() | y.address(), d, y.dtype());
        add.begin(wide, y.dtype())
                .buffers(x, table, indices, y)
                .i64(batch * m, m, d, rows(table, d))
                .launch(Rows.blocks(wide, batch * m * d, y.dtype()), THREADS, 0);
    }

    @Override
    public void assembleDecoder(
            DecoderShape shape, Buffer visible, TokenIndices indices, Buffer maskToken, Buffer table, Buffer y) {
        long d = shape.width();
        CudaTypes.same("assemble_decoder", y, visible);
        CudaTypes.same("assemble_decoder", y, maskToken);
        CudaTypes.same("assemble_decoder", y, table);
        long tokens = shape.batch() * (shape.visible() + shape.masked());
        long addresses = visible.address() | maskToken.address() | table.address() | y.address();
        boolean wide = Rows.wide(addresses, d, y.dtype());
        assemble.begin(wide, y.dtype())
                .buffers(visible, indices.visible(), indices.masked())
                .buffers(maskToken, table, y)
                .i64(shape.batch(), shape.visible(), shape.masked())
                .i64(d, rows(table, d))
                .launch(Rows.blocks(wide, tokens * d, y.dtype()), THREADS, 0);
    }

    @Override
    public void assembleDecoderBackward(DecoderShape shape, Buffer dy, Buffer dvisible, Buffer dmaskToken) {
        long batch = shape.batch();
        long d = shape.width();
        long tokens = shape.visible() + shape.masked();
        long visible = shape.visible() * d;
        elementwise.copyStrided(
                new Strided(dy, 0, tokens * d, 1), new Strided(dvisible, 0, visible, 1), new long[] {batch, visible});
        long start = batch == 0 ? 0 : visible;
        Buffer masked = dy.slice(start, dy.length() - start);
        try (Buffer parts = device.allocate(DType.F32, batch * d)) {
            elementwise.sum(masked, batch, tokens * d, shape.masked(), d, 1, parts);
            if (dmaskToken.dtype() == DType.F32) {
                elementwise.sum(parts, 1, batch, d, 1, dmaskToken);
                return;
            }
            try (Buffer whole = device.allocate(DType.F32, d)) {
                elementwise.sum(parts, 1, batch, d, 1, whole);
                elementwise.cast(whole, dmaskToken);
            }
        }
    }
}
