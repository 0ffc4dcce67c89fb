package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;

import java.util.Map;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise;
import tessera.kernels.cpu.Elements;

/** Element-wise functions, conversions, strided copies and sums on a GPU. */
final class CudaElementwise implements Elementwise {
    private static final int THREADS = 256;
    /** Vectors per thread, as in elementwise.cu. */
    private static final int VECTORS = 4;

    private static final int VECTOR_BYTES = 16;
    /** Rows that a warp adds up alone, in elements. */
    private static final long SHORT_ROW = 2048;
    /** Blocks that keep any GPU busy; a long axis is divided where there are fewer, into as many as make up the second number. */
    private static final long ENOUGH_BLOCKS = 160;

    private static final long BLOCKS = 1024;
    /** The least that a block adds up, in elements of a row and in rows. */
    private static final long ROW_CHUNK = 8192;

    private static final long COLUMN_CHUNK = 64;
    private static final int COLUMN_LANES = 16;
    private static final int F32_COLUMNS = COLUMN_LANES * VECTOR_BYTES / Float.BYTES;
    private static final int WARPS = THREADS / 32;

    /** How an operand of a binary function is laid out, as in elementwise.cu. */
    private static final int DIRECT = 0;

    private static final int SINGLE = 1;
    private static final int ROW = 2;
    private static final int OTHER = 3;

    private final CudaDevice device;
    private final CudaModule module;
    private final Map<UnaryOp, CudaVariants> unary;
    private final Map<UnaryOp, CudaVariants> backward;
    private final Map<BinaryOp, CudaVariants> binary;
    private final CudaVariants affine;
    private final CudaVariants axpy;
    private final CudaVariants scaleBy;
    private final CudaVariants sumRows;
    private final CudaVariants sumShortRows;
    private final CudaVariants sumColumns;

    CudaElementwise(CudaDevice device) {
        this.device = device;
        this.module = new CudaModule(device, "elementwise");
        this.unary = module.variants("unary", UnaryOp.class);
        this.backward = module.variants("backward", UnaryOp.class);
        this.binary = module.variants("binary", BinaryOp.class);
        this.affine = module.variants("affine");
        this.axpy = module.variants("axpy");
        this.scaleBy = module.variants("scale_by");
        this.sumRows = module.variants("sum_rows");
        this.sumShortRows = module.variants("sum_short_rows");
        this.sumColumns = module.variants("sum_columns");
    }

    /** Blocks for n elements, the widest of which takes {@code bytes}. */
    private static long blocks(long n, int bytes) {
        return Math.ceilDiv(n, (long) THREADS * VECTORS * (VECTOR_BYTES / bytes));
    }

    private static long blocks(Buffer y) {
        return blocks(y.length(), y.dtype().bytes());
    }

    private IllegalArgumentException unsupported(String op, DType dtype) {
        return new IllegalArgumentException(
                op + " on " + device + " was given " + dtype + "; convert to f32 or bf16, or compute on the cpu");
    }

    // ------------------------------------------------------------------------------------------- fill and convert

    @Override
    public void fill(Buffer y, double value) {
        int bits = switch (y.dtype()) {
            case F32 -> Float.floatToRawIntBits((float) value);
            case BF16 -> Elements.toBf16(value);
            case I32 -> (int) value;
            case U8 -> Math.clamp((long) value, 0, 255);
            case F64 -> throw unsupported("fill", DType.F64);
        };
        int bytes = y.dtype().bytes();
        module.function(bytes == 4 ? "fill_4" : bytes == 2 ? "fill_2" : "fill_1")
                .begin()
                .buffer(y)
                .i64(y.length())
                .i32(bits)
                .launch(blocks(y), THREADS, 0);
    }

    @Override
    public void cast(Buffer x, Buffer y) {
        if (x.length() < y.length()) {
            throw new IllegalArgumentException(
                    "cast: " + x.length() + " elements were given for " + y.length() + "; pass buffers of one length");
        }
        if (x.dtype() == y.dtype()) {
            copyBytes(x.address(), y.address(), y.byteSize(), y.dtype().bytes());
            return;
        }
        int widest = Math.max(x.dtype().bytes(), y.dtype().bytes());
        module.function(castName(x.dtype(), y.dtype()))
                .begin()
                .buffers(x, y)
                .i64(y.length())
                .launch(blocks(y.length(), widest), THREADS, 0);
    }

    private String castName(DType from, DType to) {
        if (from == DType.F64 || to == DType.F64) {
            throw unsupported("cast", DType.F64);
        }
        return switch (from) {
            case F32 -> to == DType.BF16 ? "cast_f32_bf16" : to == DType.I32 ? "cast_f32_i32" : "cast_f32_u8";
            case BF16 -> to == DType.F32 ? "cast_bf16_f32" : to == DType.I32 ? "cast_bf16_i32" : "cast_bf16_u8";
            case I32 -> to == DType.F32 ? "cast_i32_f32" : to == DType.BF16 ? "cast_i32_bf16" : "cast_i32_u8";
            default -> to == DType.F32 ? "cast_u8_f32" : to == DType.BF16 ? "cast_u8_bf16" : "cast_u8_i32";
        };
    }

    // ------------------------------------------------------------------------------------------------------ copies

    /** Copies contiguous bytes, the most of them 16 at a time; addresses are multiples of {@code element}. */
    private void copyBytes(long x, long y, long bytes, int element) {
        long wide = (x | y) % VECTOR_BYTES == 0 ? bytes / VECTOR_BYTES * VECTOR_BYTES : 0;
        copyRun(x, y, wide / VECTOR_BYTES, VECTOR_BYTES);
        copyRun(x + wide, y + wide, (bytes - wide) / element, element);
    }

    private void copyRun(long x, long y, long units, int unit) {
        copy(x, y, new long[] {units}, new long[] {1}, new long[] {1}, 0, 1, unit);
    }

    @Override
    public void copyStrided(Strided from, Strided to, long[] shape) {
        CudaTypes.same("copy", from.buffer(), to.buffer());
        int element = from.buffer().dtype().bytes();
        CudaAxes axes = new CudaAxes(shape, from.strides(), to.strides());
        long x = from.buffer().address() + from.offset() * element;
        long y = to.buffer().address() + to.offset() * element;
        if (axes.rank == 1 && axes.xStrides[0] == 1 && axes.yStrides[0] == 1) {
            copyBytes(x, y, axes.shape[0] * element, element);
            return;
        }
        int merged = axes.widen(x, y, element);
        copyFrom(axes, 0, x, y, merged * element);
    }

    /** Copies the axes from {@code first} on; those that a kernel has no room for are walked through here. */
    private void copyFrom(CudaAxes axes, int first, long x, long y, int unit) {
        if (axes.rank - first > CudaAxes.MAX_RANK) {
            for (long i = 0; i < axes.shape[first]; i++) {
                long dx = i * axes.xStrides[first] * unit;
                long dy = i * axes.yStrides[first] * unit;
                copyFrom(axes, first + 1, x + dx, y + dy, unit);
            }
            return;
        }
        int row = unit <= 4 ? axes.transposed(first) : -1;
        if (row >= 0) {
            transpose(axes, first, row, x, y, unit);
        } else {
            copy(x, y, axes.shape, axes.xStrides, axes.yStrides, first, axes.rank, unit);
        }
    }

    private void copy(long x, long y, long[] shape, long[] xStrides, long[] yStrides, int first, int rank, int unit) {
        long n = 1;
        for (int axis = first; axis < rank; axis++) {
            n *= shape[axis];
        }
        String name = switch (unit) {
            case 1 -> "copy_1";
            case 2 -> "copy_2";
            case 4 -> "copy_4";
            case 8 -> "copy_8";
            default -> "copy_16";
        };
        CudaLaunch launch = module.function(name).begin().address(x).address(y).i64(n);
        axes(launch, shape, first, rank, -1);
        axes(launch, xStrides, first, rank, -1);
        axes(launch, yStrides, first, rank, -1);
        launch.i32(rank - first).launch(Math.ceilDiv(n, (long) THREADS * VECTORS), THREADS, 0);
    }

    /** Writes values of the axes from {@code first} on but the one named {@code without}, and fills up to the kernel's rank. */
    private static void axes(CudaLaunch launch, long[] values, int first, int end, int without) {
        int written = 0;
        for (int axis = first; axis < end; axis++) {
            if (axis != without) {
                launch.i64(values[axis]);
                written++;
            }
        }
        launch.zeros(CudaAxes.MAX_RANK - written);
    }

    private void transpose(CudaAxes axes, int first, int row, long x, long y, int unit) {
        int last = axes.rank - 1;
        int edge = unit == 4 ? 32 : 64;
        long tiles = Math.ceilDiv(axes.shape[row], edge) * Math.ceilDiv(axes.shape[last], edge);
        for (int axis = first; axis < last; axis++) {
            tiles *= axis == row ? 1 : axes.shape[axis];
        }
        CudaLaunch launch = module.function(unit == 4 ? "transpose_4" : unit == 2 ? "transpose_2" : "transpose_1")
                .begin()
                .address(x)
                .address(y)
                .i64(axes.shape[row], axes.shape[last])
                .i64(axes.xStrides[last], axes.yStrides[row]);
        axes(launch, axes.shape, first, last, row);
        axes(launch, axes.xStrides, first, last, row);
        axes(launch, axes.yStrides, first, last, row);
        launch.i32(last - first - 1).launch(tiles, THREADS, 0);
    }

    // --------------------------------------------------------------------------------------------------- functions

    @Override
    public void unary(UnaryOp op, Buffer x, Buffer y) {
        CudaTypes.like(y, "unary", x);
        requireNonNull(unary.get(op))
                .begin(y.dtype())
                .buffers(x, null, y)
                .i64(y.length())
                .launch(blocks(y), THREADS, 0);
    }

    @Override
    public void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
        CudaTypes.like(dx, "unary_backward", x);
        CudaTypes.like(dx, "unary_backward", dy);
        requireNonNull(backward.get(op))
                .begin(dx.dtype())
                .buffers(x, dy, dx)
                .i64(dx.length())
                .launch(blocks(dx), THREADS, 0);
    }

    @Override
    public void binary(BinaryOp op, Strided a, Strided b, Buffer y, long[] shape) {
        CudaTypes.same("binary", y, a.buffer());
        CudaTypes.same("binary", y, b.buffer());
        if (y.length() == 0) {
            return;
        }
        CudaAxes axes = new CudaAxes(shape, a.strides(), b.strides(), false);
        int aKind = kind(axes, axes.xStrides);
        int bKind = kind(axes, axes.yStrides);
        // An operand that is laid out in another way is copied to the layout of the result first; one of two rows too.
        boolean copyA = aKind == OTHER || (aKind != DIRECT && bKind != DIRECT);
        boolean copyB = bKind == OTHER;
        try (Buffer wholeA = copyA ? expand(a, y, shape) : rest(a);
                Buffer wholeB = copyB ? expand(b, y, shape) : rest(b)) {
            requireNonNull(binary.get(op))
                    .begin(y.dtype())
                    .buffers(wholeA, wholeB, y)
                    .i64(y.length(), axes.shape[axes.rank - 1])
                    .i32(copyA ? DIRECT : aKind, copyB ? DIRECT : bKind)
                    .launch(blocks(y), THREADS, 0);
        }
    }

    private static int kind(CudaAxes axes, long[] strides) {
        if (axes.rank == 2 && strides[0] == 0 && strides[1] == 1) {
            return ROW;
        }
        long expected = 1;
        boolean direct = true;
        boolean single = true;
        for (int axis = axes.rank - 1; axis >= 0; axis--) {
            direct &= strides[axis] == expected;
            single &= strides[axis] == 0;
            expected *= axes.shape[axis];
        }
        return direct ? DIRECT : single ? SINGLE : OTHER;
    }

    private static long[] contiguous(long[] shape) {
        long[] strides = new long[shape.length];
        long step = 1;
        for (int axis = shape.length - 1; axis >= 0; axis--) {
            strides[axis] = step;
            step *= shape[axis];
        }
        return strides;
    }

    private Buffer expand(Strided x, Buffer y, long[] shape) {
        return device.filled(
                y.dtype(), y.length(), whole -> copyStrided(x, new Strided(whole, 0, contiguous(shape)), shape));
    }

    /** The operand's memory from its first element on; closing it frees nothing. */
    private static Buffer rest(Strided x) {
        return x.buffer().slice(x.offset(), x.buffer().length() - x.offset());
    }

    @Override
    public void affine(Buffer x, double alpha, double beta, Buffer y) {
        CudaTypes.like(y, "affine", x);
        affine.begin(y.dtype()).buffers(x, y).i64(y.length()).f32(alpha, beta).launch(blocks(y), THREADS, 0);
    }

    @Override
    public void axpy(double alpha, Buffer x, Buffer y) {
        boolean mixed = x.dtype() == DType.BF16 && y.dtype() == DType.F32 && x.length() >= y.length();
        if (!mixed) {
            CudaTypes.like(y, "axpy", x);
        }
        (mixed ? module.function("axpy_bf16_to_f32").begin() : axpy.begin(y.dtype()))
                .buffers(x, y)
                .i64(y.length())
                .f32(alpha, 0)
                .launch(blocks(y), THREADS, 0);
    }

    @Override
    public void scaleBy(Buffer x, Buffer scale, Buffer y) {
        if (scale.dtype() != DType.F32 && scale.dtype() != DType.BF16) {
            throw unsupported("scale_by", scale.dtype());
        }
        CudaTypes.like(y, "scale_by", x);
        scaleBy.begin(y.dtype())
                .buffers(x, scale, y)
                .i64(y.length())
                .i32(CudaTypes.isBf16(scale))
                .launch(blocks(y), THREADS, 0);
    }

    // -------------------------------------------------------------------------------------------------------- sums

    @Override
    public void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        sum(x, outer, reduced * inner, reduced, inner, scale, y);
    }

    /** The same with any number of elements, a multiple of {@code inner} or more, from one outer slice of x to the next. */
    void sum(Buffer x, long outer, long outerStride, long reduced, long inner, double scale, Buffer y) {
        if (y.dtype() != DType.F32 && y.dtype() != DType.BF16) {
            throw unsupported("sum", y.dtype());
        }
        boolean rows = inner == 1;
        boolean shortRows = rows && reduced <= SHORT_ROW;
        int columns = COLUMN_LANES * VECTOR_BYTES / x.dtype().bytes();
        CudaVariants kernel = shortRows ? sumShortRows : rows ? sumRows : sumColumns;
        long blocks = shortRows ? Math.ceilDiv(outer, WARPS) : outer * Math.ceilDiv(inner, rows ? 1 : columns);
        long chunk = reduced;
        if (!shortRows && blocks > 0 && blocks < ENOUGH_BLOCKS) {
            long least = rows ? ROW_CHUNK : COLUMN_CHUNK;
            chunk = least * Math.ceilDiv(reduced, least * (BLOCKS / blocks));
        }
        if (chunk >= reduced) {
            launchSum(kernel, x, outer, outerStride, reduced, inner, reduced, 1, scale, y, blocks);
            return;
        }
        long chunks = Math.ceilDiv(reduced, chunk);
        try (Buffer parts = device.allocate(DType.F32, outer * chunks * inner)) {
            launchSum(kernel, x, outer, outerStride, reduced, inner, chunk, chunks, 1, parts, blocks * chunks);
            CudaVariants last = rows ? sumShortRows : sumColumns;
            long lastBlocks = rows ? Math.ceilDiv(outer, WARPS) : outer * Math.ceilDiv(inner, F32_COLUMNS);
            launchSum(last, parts, outer, chunks * inner, chunks, inner, chunks, 1, scale, y, lastBlocks);
        }
    }

    private static void launchSum(
            CudaVariants kernel,
            Buffer x,
            long outer,
            long outerStride,
            long reduced,
            long inner,
            long chunk,
            long chunks,
            double scale,
            Buffer y,
            long blocks) {
        kernel.begin(x.dtype())
                .buffers(x, y)
                .i64(outer, outerStride)
                .i64(reduced, inner, chunk, chunks)
                .f32(scale)
                .i32(CudaTypes.isBf16(y))
                .launch(blocks, THREADS, 0);
    }
}
