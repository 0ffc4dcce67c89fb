package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.OneDnnInt8;
import tessera.kernels.cpu.OneDnnInt8.Weight;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;

/**
 * Linear layers on bytes: a task takes blocks of rows that stay in the cache from their f32 input over bytes and integer
 * products to their f32 result.
 */
public final class VectorInt8 implements Int8Kernels {
    private static final RowBlocks BLOCKS = new RowBlocks(384 << 10, 16, 4);

    private static final long LINE = 64;

    private static final NarrowChecks<Weight> CHECKS = new NarrowChecks<>("int8", "Int8Kernels.pack", Weight.class);

    private final Workers workers;
    private final HostMemory memory;
    private final Attention attention;

    private VectorInt8(Workers workers, HostMemory memory, Attention exact) {
        this.workers = workers;
        this.memory = memory;
        this.attention =
                OneDnnBf16.usable() ? new VectorBf16Attention(workers, Gemm.create(workers, memory), memory) : exact;
    }

    /**
     * These kernels where oneDNN and the processor have the products.
     *
     * @param memory where packed weights lie
     * @param exact attention in f32, for processors without bf16
     */
    public static Optional<Int8Kernels> create(Workers workers, HostMemory memory, Attention exact) {
        return OneDnnInt8.usable() && VectorInt8Rows.SUPPORTED
                ? Optional.of(new VectorInt8(workers, memory, exact))
                : Optional.empty();
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        CHECKS.requireWeight(weight, n, k, "quantised");
        if (k > MOST_INPUTS) {
            throw new IllegalArgumentException("int8: the layer has " + k + " inputs but at most " + MOST_INPUTS
                    + " are added up in 32 bits; keep this layer in f32");
        }
        MemorySegment w = weight.segment();
        HostMemory.Block block = memory.allocate(n * k + 2 * n * Float.BYTES + LINE);
        try {
            MemorySegment scales = block.segment().asSlice(0, n * Float.BYTES);
            MemorySegment sums = block.segment().asSlice(n * Float.BYTES, n * Float.BYTES);
            MemorySegment bytes = block.segment().asSlice(2 * n * Float.BYTES, n * k);
            workers.parallelFor(n, Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, k)), (worker, from, to) -> {
                for (long row = from; row < to; row++) {
                    VectorInt8Rows.quantiseWeight(w, row, (int) k, bytes, scales, sums);
                }
            });
            return new Weight(memory, n, k, bytes, scales, sums, input);
        } finally {
            block.free();
        }
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
        long most = BLOCKS.rows(k + 4 * n);
        w.acquire();
        try {
            workers.parallelFor(m, BLOCKS.grain(n * k), (worker, from, to) -> {
                long rows = Math.min(most, to - from);
                try (Scratch scratch = Scratch.borrow()) {
                    Layer layer = new Layer(w, epilogue.bias(), rows, scratch.floats(Layer.floats(w, rows)));
                    RowBlocks.forEach(from, to, most, (first, count) -> {
                        layer.multiply(count, x.segment(), first * k);
                        layer.finish(count, epilogue, y.segment(), first * n);
                    });
                }
            });
        } finally {
            w.release();
        }
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
        long n = w2.n();
        CHECKS.requireFollowing(w1, w2);
        CHECKS.require("x", x, m * k);
        CHECKS.require("first bias", firstBias, w1.n());
        CHECKS.requireResult(m, n, epilogue, "y", y);
        if (m == 0 || n == 0) {
            return;
        }
        long most = BLOCKS.rows(k + 5 * w1.n() + 4 * n);
        w1.acquire();
        try {
            w2.acquire();
            try {
                workers.parallelFor(m, BLOCKS.grain(w1.n() * (k + n)), (worker, from, to) -> {
                    long rows = Math.min(most, to - from);
                    long own = Layer.floats(w1, rows);
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment all = scratch.floats(own + Layer.floats(w2, rows));
                        Layer one = new Layer(w1, firstBias, rows, all);
                        Layer two = new Layer(w2, epilogue.bias(), rows, all.asSlice(own * Float.BYTES));
                        if (w2.inputScale() == 0) {
                            two.expectGelu();
                        }
                        RowBlocks.forEach(from, to, most, (block, count) -> {
                            one.multiply(count, x.segment(), block * k);
                            one.finishInto(count, two);
                            two.multiply(count);
                            two.finish(count, epilogue, y.segment(), block * n);
                        });
                    }
                });
            } finally {
                w2.release();
            }
        } finally {
            w1.release();
        }
    }

    @Override
    public Attention attention() {
        return attention;
    }

    private static long lines(long bytes) {
        return Blocks.ceilDiv(bytes, LINE) * LINE;
    }

    /** One layer at work on a block of rows, with memory of its own; used by one thread. */
    private static final class Layer {
        private final Weight weight;
        private final int n;
        private final int k;
        /** What is added to every row, {@code [n]}. */
        private final MemorySegment bias;
        /** Scale of each row's bytes. */
        private final MemorySegment scales;

        private final MemorySegment bytes;
        private final MemorySegment products;
        /** Whether the bytes are those of GELUs above {@link #GELU_OFFSET}, with the zero 0. */
        private boolean ofGelu;

        Layer(Weight weight, @Nullable Buffer bias, long rows, MemorySegment memory) {
            this.weight = weight;
            this.n = (int) weight.n();
            this.k = (int) weight.k();
            this.scales = memory;
            this.bias = memory.asSlice(lines(Float.BYTES * rows));
            this.products = this.bias.asSlice(lines(Float.BYTES * weight.n()));
            this.bytes = products.asSlice(lines(Float.BYTES * rows * n));
            MemorySegment own = this.bias.asSlice(0, (long) Float.BYTES * n);
            if (bias == null) {
                own.fill((byte) 0);
            } else {
                own.copyFrom(bias.segment().asSlice(0, own.byteSize()));
            }
        }

        /** How many floats of memory so many rows take. */
        static long floats(Weight weight, long rows) {
            return (lines(Float.BYTES * rows)
                            + lines(Float.BYTES * weight.n())
                            + lines(Float.BYTES * rows * weight.n())
                            + lines(rows * weight.k()))
                    / Float.BYTES;
        }

        /** Takes bytes of GELUs with {@link #GELU_OFFSET} added, which the bias takes away. */
        void expectGelu() {
            ofGelu = true;
            for (int j = 0; j < n; j++) {
                // A shift is the zero, 128, times the sum of the weights.
                set(bias, j, get(bias, j) + GELU_OFFSET / ZERO * get(weight.shifts(), j));
            }
        }

        private void quantise(long row, MemorySegment x, long at) {
            float scale = weight.inputScale() == 0
                    ? VectorInt8Rows.quantise(x, at, k, bytes, row * k)
                    : VectorInt8Rows.quantise(x, at, k, weight.inputScale(), weight.inputZero(), bytes, row * k);
            set(scales, row, scale);
        }

        /** Products of {@code count} rows of x. */
        void multiply(long count, MemorySegment x, long at) {
            for (long row = 0; row < count; row++) {
                quantise(row, x, at + row * k);
            }
            multiply(count);
        }

        /** Products of the bytes. */
        void multiply(long count) {
            if (k == 0) {
                products.asSlice(0, count * n * Float.BYTES).fill((byte) 0);
            } else if (n > 0) {
                OneDnnInt8.multiply(count, bytes, weight, !ofGelu, products);
            }
        }

        void finish(long count, Epilogue epilogue, MemorySegment y, long to) {
            MemorySegment addend = segment(epilogue.addend());
            boolean gelu = epilogue.activation() == Activation.GELU;
            for (long row = 0; row < count; row++) {
                long at = row * n;
                VectorInt8Rows.finish(products, at, n, get(scales, row), bias, addend, gelu, y, to + at);
            }
        }

        /** Makes the bytes of the next layer, row by row while the row is in the nearest cache. */
        void finishInto(long count, Layer next) {
            for (long row = 0; row < count; row++) {
                long at = row * n;
                float scale = get(scales, row);
                if (next.ofGelu) {
                    set(
                            next.scales,
                            row,
                            VectorInt8Rows.quantiseGelu(products, at, n, scale, bias, GELU_OFFSET, next.bytes, at));
                } else {
                    VectorInt8Rows.finish(products, at, n, scale, bias, null, true, products, at);
                    next.quantise(row, products, at);
                }
            }
        }
    }
}
