package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.segment;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.NarrowChecks;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.OneDnnBf16.Weight;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;

/**
 * Linear layers on bf16: a task rounds blocks of rows that stay in the cache and multiplies them; the hidden values between two
 * layers are bf16 and stay there too.
 */
public final class VectorBf16 implements Bf16Kernels {
    private static final RowBlocks BLOCKS = new RowBlocks(768 << 10, 32, 2);

    private static final long LINE = 64;

    /** Elements to round that are worth a thread. */
    private static final long NARROW_GRAIN = 65_536;

    private static final NarrowChecks<Weight> CHECKS =
            new NarrowChecks<>("bf16", "Bf16Kernels.pack", Weight.class, DType.F32);

    private final Workers workers;
    private final HostMemory memory;

    private final Gemm gemm;
    private final Attention attention;

    private VectorBf16(Workers workers, HostMemory memory) {
        this.workers = workers;
        this.memory = memory;
        this.gemm = Gemm.create(workers, memory);
        this.attention = new VectorBf16Attention(workers, gemm, memory);
    }

    /**
     * These kernels where oneDNN and the processor have the products.
     *
     * @param memory where packed weights lie
     */
    public static Optional<Bf16Kernels> create(Workers workers, HostMemory memory) {
        return OneDnnBf16.usable() ? Optional.of(new VectorBf16(workers, memory)) : Optional.empty();
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        CHECKS.requireWeight(weight, n, k, "rounded");
        return new Weight(memory, n, k, weight.segment());
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = CHECKS.own(weight);
        long n = w.n();
        long k = w.k();
        CHECKS.require("x", x, m * k);
        CHECKS.requireResult(m, n, epilogue, "y", y);
        if (m == 0 || n == 0) {
            return;
        }
        long most = Math.min(m, BLOCKS.rows(2 * k + 4 * n));
        MemorySegment input = x.segment();
        Last last = new Last(w, epilogue, y);
        workers.repeatableFor(
                m,
                BLOCKS.grain(n * k),
                (worker, from, to) -> {
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment narrow = scratch.floats(floats(most, w.depth()));
                        long blocks = RowBlocks.count(from, to, most);
                        for (long i = 0; i < blocks; i++) {
                            long row = RowBlocks.first(from, to, blocks, i);
                            long count = RowBlocks.first(from, to, blocks, i + 1) - row;
                            narrow(input, row, count, w, narrow, 0);
                            last.multiply(count, narrow, 0, row);
                        }
                    }
                },
                w);
    }

    @Override
    public void mlp(
            long m,
            Buffer x,
            PackedWeight first,
            @Nullable Buffer firstBias,
            PackedWeight second,
            Epilogue epilogue,
            Buffer y) {
        Weight w1 = CHECKS.own(first);
        Weight w2 = CHECKS.own(second);
        long k = w1.k();
        long h = w1.n();
        long n = w2.n();
        CHECKS.requireFollowing(w1, w2);
        CHECKS.require("x", x, m * k);
        CHECKS.require("first bias", firstBias, h);
        CHECKS.requireResult(m, n, epilogue, "y", y);
        if (m == 0 || n == 0) {
            return;
        }
        MemorySegment bias = segment(firstBias);
        long most = Math.min(m, BLOCKS.rows(2 * k + 2 * h + 4 * n));
        MemorySegment input = x.segment();
        Last last = new Last(w2, epilogue, y);
        long size = floats(most, w1.depth());
        long hidden = size * Float.BYTES / DType.BF16.bytes();
        workers.repeatableFor(
                m,
                BLOCKS.grain(h * (k + n)),
                (worker, from, to) -> {
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment narrow = scratch.floats(size + floats(most, w2.depth()));
                        long blocks = RowBlocks.count(from, to, most);
                        for (long i = 0; i < blocks; i++) {
                            long row = RowBlocks.first(from, to, blocks, i);
                            long count = RowBlocks.first(from, to, blocks, i + 1) - row;
                            if (h == 0) {
                                narrow(input, row, count, w2, narrow, hidden);
                            } else {
                                narrow(input, row, count, w1, narrow, 0);
                                OneDnnBf16.multiply(
                                        count, narrow, 0, w1, bias, null, Activation.GELU, DType.BF16, narrow, hidden);
                            }
                            last.multiply(count, narrow, hidden, row);
                        }
                    }
                },
                w1,
                w2);
    }

    /** Rounds rows of x to what a weight is multiplied with, from the element {@code to} of the memory on. */
    private static void narrow(MemorySegment x, long row, long count, Weight weight, MemorySegment narrow, long to) {
        long k = weight.k();
        if (k == 0) {
            narrow.asSlice(to * DType.BF16.bytes(), count * DType.BF16.bytes()).fill((byte) 0);
        } else {
            VectorBf16Rows.narrow(x, row * k, count * k, narrow, to);
        }
    }

    /** The last layer of a call and what follows it. */
    private record Last(
            Weight weight,
            @Nullable MemorySegment bias,
            @Nullable MemorySegment addend,
            Activation activation,
            MemorySegment y) {
        Last(Weight weight, Epilogue epilogue, Buffer y) {
            this(weight, segment(epilogue.bias()), segment(epilogue.addend()), epilogue.activation(), y.segment());
        }

        /** The rows of y after {@code row}, from bf16 rows. */
        void multiply(long count, MemorySegment x, long fromX, long row) {
            OneDnnBf16.multiply(count, x, fromX, weight, bias, addend, activation, DType.F32, y, row * weight.n());
        }
    }

    @Override
    public void matmul(MatmulShape s, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
        if (s.lda() != (s.transposeA() ? s.m() : s.k())
                || s.ldb() != (s.transposeB() ? s.k() : s.n())
                || s.ldc() != s.n()) {
            throw new IllegalArgumentException(
                    "bf16: the rows of " + s + " have gaps but whole matrices are rounded; copy them first");
        }
        long sizeA = s.m() * s.k();
        long sizeB = s.k() * s.n();
        CHECKS.require("a", a, sizeA);
        CHECKS.require("b", b, sizeB);
        CHECKS.requireResult(s.m(), s.n(), epilogue, "c", c);
        if (s.m() == 0 || s.n() == 0) {
            return;
        }
        MemorySegment bias = segment(epilogue.bias());
        MemorySegment addend = segment(epilogue.addend());
        if (s.k() == 0) {
            gemm.gemmSerial(DType.F32, s, a.segment(), b.segment(), bias, addend, epilogue.activation(), c.segment());
            return;
        }
        HostMemory.Block block = memory.allocate((floats(1, sizeA) + floats(1, sizeB)) * Float.BYTES);
        try {
            MemorySegment narrowA = block.segment();
            MemorySegment narrowB = narrowA.asSlice(floats(1, sizeA) * Float.BYTES);
            narrow(a.segment(), sizeA, narrowA);
            narrow(b.segment(), sizeB, narrowB);
            workers.parallelFor(s.m(), BLOCKS.grain(s.n() * s.k()), (worker, from, to) -> {
                long row = from * s.n() * Float.BYTES;
                long start = s.transposeA() ? from : from * s.lda();
                OneDnnBf16.multiply(
                        s.rows(to - from),
                        narrowA.asSlice(start * DType.BF16.bytes()),
                        narrowB,
                        bias,
                        addend == null ? null : addend.asSlice(row),
                        epilogue.activation(),
                        c.segment().asSlice(row));
            });
        } finally {
            block.free();
        }
    }

    private void narrow(MemorySegment x, long count, MemorySegment y) {
        workers.parallelFor(
                count, NARROW_GRAIN, (worker, from, to) -> VectorBf16Rows.narrow(x, from, to - from, y, from));
    }

    @Override
    public Attention attention() {
        return attention;
    }

    /** The f32 that take as much memory as rows of bf16, in whole lines. */
    private static long floats(long rows, long columns) {
        return Blocks.ceilDiv(rows * columns * DType.BF16.bytes(), LINE) * LINE / Float.BYTES;
    }
}
