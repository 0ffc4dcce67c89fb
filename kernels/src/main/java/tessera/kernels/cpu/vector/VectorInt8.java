package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.NarrowChecks;
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

    private static final NarrowChecks<Weight> CHECKS =
            new NarrowChecks<>("int8", "Int8Kernels.pack", Weight.class, DType.F32);

    private final Workers workers;
    private final HostMemory memory;
    private final Attention attention;
    private final int largestInput = OneDnnInt8.largestInput();

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
    public int largestInput() {
        return largestInput;
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        CHECKS.requireWeight(weight, n, k, "quantised");
        CHECKS.requireInputs(k);
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
        long most = Math.min(m, BLOCKS.rows(k + 4 * n));
        // Where the result is not read as an addend it takes the products itself.
        boolean inResult = epilogue.addend() == null;
        Layer layer = new Layer(w, epilogue.bias(), false, most, 0);
        Layer.Result result = new Layer.Result(epilogue, y);
        MemorySegment input = x.segment();
        workers.repeatableFor(
                m,
                BLOCKS.grain(n * k),
                (worker, from, to) -> {
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment memory = scratch.floats(layer.end());
                        layer.begin(memory);
                        long blocks = RowBlocks.count(from, to, most);
                        for (long i = 0; i < blocks; i++) {
                            long row = RowBlocks.first(from, to, blocks, i);
                            long count = RowBlocks.first(from, to, blocks, i + 1) - row;
                            MemorySegment products = inResult ? result.y : memory;
                            long at = inResult ? row * n : layer.products;
                            layer.quantise(memory, count, input, row * k);
                            layer.multiply(memory, count, products, at);
                            layer.finish(memory, count, products, at, result, row * n);
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
        long n = w2.n();
        CHECKS.requireFollowing(w1, w2);
        CHECKS.require("x", x, m * k);
        CHECKS.require("first bias", firstBias, w1.n());
        CHECKS.requireResult(m, n, epilogue, "y", y);
        if (m == 0 || n == 0) {
            return;
        }
        long most = Math.min(m, BLOCKS.rows(k + 5 * w1.n() + 4 * n));
        Layer one = new Layer(w1, firstBias, false, most, 0);
        Layer two = new Layer(w2, epilogue.bias(), w2.inputScale() == 0, most, one.end());
        Layer.Result result = new Layer.Result(epilogue, y);
        MemorySegment input = x.segment();
        workers.repeatableFor(
                m,
                BLOCKS.grain(w1.n() * (k + n)),
                (worker, from, to) -> {
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment memory = scratch.floats(two.end());
                        one.begin(memory);
                        two.begin(memory);
                        long blocks = RowBlocks.count(from, to, most);
                        for (long i = 0; i < blocks; i++) {
                            long row = RowBlocks.first(from, to, blocks, i);
                            long count = RowBlocks.first(from, to, blocks, i + 1) - row;
                            one.quantise(memory, count, input, row * k);
                            one.multiply(memory, count, memory, one.products);
                            one.finishInto(memory, count, two);
                            two.multiply(memory, count, memory, two.products);
                            two.finish(memory, count, memory, two.products, result, row * n);
                        }
                    }
                },
                w1,
                w2);
    }

    @Override
    public Attention attention() {
        return attention;
    }

    private static long lines(long bytes) {
        return Blocks.ceilDiv(bytes, LINE) * LINE;
    }

    /**
     * One layer at work on blocks of rows. It only knows where its parts lie in the memory of a task, in elements from its start, so tasks
     * share it.
     */
    private static final class Layer {
        private final Weight weight;
        private final int n;
        private final int k;
        private final @Nullable MemorySegment givenBias;
        /** Whether the bytes are those of GELUs above {@link #GELU_OFFSET}, with the zero 0. */
        private final boolean ofGelu;

        /** Scale of each row's bytes. */
        private final long scales;
        /** What is added to every row, {@code [n]}. */
        private final long bias;

        private final long products;
        private final long bytes;
        private final long end;

        /** Where results go, and what is done to them before. */
        private record Result(@Nullable MemorySegment addend, boolean gelu, MemorySegment y) {
            Result(Epilogue epilogue, Buffer y) {
                this(segment(epilogue.addend()), epilogue.activation() == Activation.GELU, y.segment());
            }
        }

        /**
         * A layer for blocks of so many rows.
         *
         * @param ofGelu whether it takes the bytes of GELUs with {@link #GELU_OFFSET} added
         * @param from f32 of the memory before its own
         */
        Layer(Weight weight, @Nullable Buffer bias, boolean ofGelu, long rows, long from) {
            this.weight = weight;
            this.n = (int) weight.n();
            this.k = (int) weight.k();
            this.givenBias = segment(bias);
            this.ofGelu = ofGelu;
            this.scales = from;
            this.bias = scales + lines(Float.BYTES * rows) / Float.BYTES;
            this.products = this.bias + lines((long) Float.BYTES * n) / Float.BYTES;
            long behind = products + lines(Float.BYTES * rows * n) / Float.BYTES;
            this.bytes = behind * Float.BYTES;
            this.end = behind + lines(rows * k) / Float.BYTES;
        }

        /** How many f32 of memory it needs with those before. */
        long end() {
            return end;
        }

        /** Writes what is the same for all blocks of a task. */
        void begin(MemorySegment memory) {
            if (givenBias == null) {
                for (int j = 0; j < n; j++) {
                    set(memory, bias + j, 0);
                }
            } else {
                MemorySegment.copy(givenBias, 0, memory, bias * Float.BYTES, (long) n * Float.BYTES);
            }
            if (ofGelu) {
                // A shift is the zero times the sum of the weights.
                for (int j = 0; j < n; j++) {
                    set(
                            memory,
                            bias + j,
                            get(memory, bias + j) + GELU_OFFSET / weight.inputZero() * get(weight.shifts(), j));
                }
            }
        }

        private void quantiseRow(MemorySegment memory, long row, MemorySegment x, long at) {
            float scale = weight.inputScale() == 0
                    ? VectorInt8Rows.quantise(x, at, k, weight.largestInput(), memory, bytes + row * k)
                    : VectorInt8Rows.quantise(
                            x,
                            at,
                            k,
                            weight.inputScale(),
                            weight.inputZero(),
                            weight.largestInput(),
                            memory,
                            bytes + row * k);
            set(memory, scales + row, scale);
        }

        /** Makes bytes of {@code count} rows of x. */
        void quantise(MemorySegment memory, long count, MemorySegment x, long at) {
            for (long row = 0; row < count; row++) {
                quantiseRow(memory, row, x, at + row * k);
            }
        }

        /** Products of the bytes. */
        void multiply(MemorySegment memory, long count, MemorySegment to, long at) {
            if (k == 0) {
                to.asSlice(at * Float.BYTES, count * n * Float.BYTES).fill((byte) 0);
            } else if (n > 0) {
                OneDnnInt8.multiply(count, memory, bytes, weight, !ofGelu, to, at);
            }
        }

        void finish(MemorySegment memory, long count, MemorySegment from, long at, Result result, long to) {
            for (long row = 0; row < count; row++) {
                float scale = get(memory, scales + row);
                VectorInt8Rows.finish(
                        from, at + row * n, n, scale, memory, bias, result.addend, result.gelu, result.y, to + row * n);
            }
        }

        /** Makes the bytes of the next layer, row by row while the row is in the nearest cache. */
        void finishInto(MemorySegment memory, long count, Layer next) {
            for (long row = 0; row < count; row++) {
                long at = products + row * n;
                float scale = get(memory, scales + row);
                if (next.ofGelu) {
                    float step = VectorInt8Rows.quantiseGelu(
                            memory,
                            at,
                            n,
                            scale,
                            memory,
                            bias,
                            GELU_OFFSET,
                            next.weight.largestInput(),
                            memory,
                            next.bytes + row * n);
                    set(memory, next.scales + row, step);
                } else {
                    VectorInt8Rows.finish(memory, at, n, scale, memory, bias, null, true, memory, at);
                    next.quantiseRow(memory, row, memory, at);
                }
            }
        }
    }
}
