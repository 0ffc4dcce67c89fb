package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Int8Matmul;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.OneDnnInt8;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.vector.VectorInt8Rows.Finish;

/**
 * Linear layers on bytes: a task takes blocks of rows that stay in the cache from their f32 input over bytes and integer
 * products to their f32 result.
 */
public final class VectorInt8 implements Int8Matmul {
    /** Bytes that a block of rows may take with all that is made of it. */
    private static final long BLOCK_BYTES = 384 << 10;

    private static final long LEAST_ROWS = 16;
    private static final long LINE = 64;
    /** How many times faster than f32 the integer products are. */
    private static final long SPEED = 4;

    private final Workers workers;
    private final HostMemory memory;

    private VectorInt8(Workers workers, HostMemory memory) {
        this.workers = workers;
        this.memory = memory;
    }

    /**
     * These kernels where oneDNN and the processor have the products.
     *
     * @param memory where packed weights lie
     */
    public static Optional<Int8Matmul> create(Workers workers, HostMemory memory) {
        return OneDnnInt8.usable() && VectorInt8Rows.SUPPORTED
                ? Optional.of(new VectorInt8(workers, memory))
                : Optional.empty();
    }

    /** A weight with what is known of its input. */
    private record Weight(OneDnnInt8.Weight bytes, @Nullable InputRange input) implements PackedWeight {
        @Override
        public long n() {
            return bytes.n();
        }

        @Override
        public long k() {
            return bytes.k();
        }

        Finish finish(@Nullable Buffer bias, @Nullable Buffer addend, Activation activation) {
            return new Finish(
                    bytes.scales(), bytes.sums(), segment(bias), segment(addend), activation == Activation.GELU);
        }

        @Override
        public void close() {
            bytes.close();
        }
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        if (weight.dtype() != DType.F32) {
            throw new IllegalArgumentException(
                    "int8: the weight is " + weight.dtype() + " but f32 is quantised; convert first");
        }
        if (k > MOST_INPUTS) {
            throw new IllegalArgumentException("int8: the layer has " + k + " inputs but at most " + MOST_INPUTS
                    + " are added up in 32 bits; keep this layer in f32");
        }
        MemorySegment w = weight.segment();
        HostMemory.Block block = memory.allocate(n * k + 2 * n * Float.BYTES + LINE);
        try {
            MemorySegment scales = block.segment().asSlice(0, n * Float.BYTES);
            MemorySegment sums = block.segment().asSlice(n * Float.BYTES, n * Integer.BYTES);
            MemorySegment bytes = block.segment().asSlice(2 * n * Float.BYTES, n * k);
            for (long row = 0; row < n; row++) {
                set(scales, row, VectorInt8Rows.quantiseWeight(w, row * k, (int) k, bytes, row * k));
                int sum = 0;
                for (long i = row * k; i < (row + 1) * k; i++) {
                    sum += bytes.get(ValueLayout.JAVA_BYTE, i);
                }
                sums.set(ValueLayout.JAVA_INT_UNALIGNED, row * Integer.BYTES, sum);
            }
            return new Weight(new OneDnnInt8.Weight(memory, n, k, bytes, scales, sums), input);
        } finally {
            block.free();
        }
    }

    private static Weight own(PackedWeight weight) {
        if (weight instanceof Weight own) {
            return own;
        }
        throw new IllegalArgumentException(
                "int8: the weight was packed for other kernels; pack it by Int8Matmul.pack of this device");
    }

    private static void require(String name, @Nullable Buffer buffer, long count) {
        if (buffer != null && (buffer.dtype() != DType.F32 || buffer.length() < count)) {
            throw new IllegalArgumentException("int8: " + name + " is " + buffer.dtype() + "[" + buffer.length()
                    + "] but f32[" + count + "] or more is needed");
        }
    }

    private static void require(long m, long n, Epilogue epilogue, Buffer y) {
        require("bias", epilogue.bias(), n);
        require("addend", epilogue.addend(), m * n);
        require("y", y, m * n);
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = own(weight);
        long n = w.n();
        long k = w.k();
        require("x", x, m * k);
        require(m, n, epilogue, y);
        if (m == 0 || n == 0) {
            return;
        }
        Finish finish = w.finish(epilogue.bias(), epilogue.addend(), epilogue.activation());
        long most = rows(k + 4 * n);
        w.bytes.acquire();
        try {
            workers.parallelFor(m, grain(n * k), (worker, from, to) -> {
                long rows = Math.min(most, to - from);
                try (Scratch scratch = Scratch.borrow()) {
                    Layer layer = new Layer(w, finish, rows, scratch.floats(Layer.bytes(w, rows) / Float.BYTES));
                    forEachBlock(from, to, most, (first, count) -> {
                        layer.multiply(count, x.segment(), first * k);
                        layer.finish(count, y.segment(), first * n);
                    });
                }
            });
        } finally {
            w.bytes.release();
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
        Weight w1 = own(first);
        Weight w2 = own(second);
        long k = w1.k();
        long n = w2.n();
        if (w2.k() != w1.n()) {
            throw new IllegalArgumentException("int8: the first layer has " + w1.n() + " outputs but the second "
                    + w2.k() + " inputs; pass two layers that follow each other");
        }
        require("x", x, m * k);
        require("first bias", firstBias, w1.n());
        require(m, n, epilogue, y);
        if (m == 0 || n == 0) {
            return;
        }
        Finish inside = w1.finish(firstBias, null, Activation.GELU);
        Finish outside = w2.finish(epilogue.bias(), epilogue.addend(), epilogue.activation());
        long most = rows(k + 5 * w1.n() + 4 * n);
        w1.bytes.acquire();
        try {
            w2.bytes.acquire();
            try {
                workers.parallelFor(m, grain(w1.n() * (k + n)), (worker, from, to) -> {
                    long rows = Math.min(most, to - from);
                    long own = Layer.bytes(w1, rows);
                    try (Scratch scratch = Scratch.borrow()) {
                        MemorySegment all = scratch.floats((own + Layer.bytes(w2, rows)) / Float.BYTES);
                        Layer one = new Layer(w1, inside, rows, all);
                        Layer two = new Layer(w2, outside, rows, all.asSlice(own));
                        forEachBlock(from, to, most, (block, count) -> {
                            one.multiply(count, x.segment(), block * k);
                            one.finishInto(count, two);
                            two.multiply(count);
                            two.finish(count, y.segment(), block * n);
                        });
                    }
                });
            } finally {
                w2.bytes.release();
            }
        } finally {
            w1.bytes.release();
        }
    }

    /** Rows of a block, of which each takes so many bytes. */
    private static long rows(long bytes) {
        return Math.max(LEAST_ROWS, BLOCK_BYTES / Math.max(1, bytes) / LEAST_ROWS * LEAST_ROWS);
    }

    private static long grain(long work) {
        return Math.max(1, SPEED * Gemm.WORTH_A_THREAD / Math.max(1, work));
    }

    /** What is done with the {@code count} rows after {@code first}. */
    private interface BlockBody {
        void run(long first, long count);
    }

    /** Runs blocks of about equal size. */
    private static void forEachBlock(long from, long to, long most, BlockBody body) {
        long blocks = Blocks.ceilDiv(to - from, most);
        for (long i = 0; i < blocks; i++) {
            long first = from + (to - from) * i / blocks;
            body.run(first, from + (to - from) * (i + 1) / blocks - first);
        }
    }

    private static long lines(long bytes) {
        return Blocks.ceilDiv(bytes, LINE) * LINE;
    }

    /** One layer at work on a block of rows, with the memory for its bytes and products; used by one thread. */
    private static final class Layer {
        private final Weight weight;
        private final Finish finish;
        private final int n;
        private final int k;
        private final MemorySegment bytes;
        private final MemorySegment products;
        private final MemorySegment meaning;

        Layer(Weight weight, Finish finish, long rows, MemorySegment memory) {
            this.weight = weight;
            this.finish = finish;
            this.n = (int) weight.n();
            this.k = (int) weight.k();
            this.meaning = memory;
            this.bytes = memory.asSlice(lines(2 * Float.BYTES * rows));
            this.products = bytes.asSlice(lines(rows * k));
        }

        /** Bytes of memory for so many rows. */
        static long bytes(Weight weight, long rows) {
            return lines(2 * Float.BYTES * rows) + lines(rows * weight.k()) + lines(rows * weight.n() * Integer.BYTES);
        }

        private void quantise(long row, MemorySegment x, long at) {
            VectorInt8Rows.quantise(x, at, k, weight.input, bytes, row * k, meaning, row);
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
                products.asSlice(0, count * n * Integer.BYTES).fill((byte) 0);
            } else if (n > 0) {
                OneDnnInt8.multiply(count, bytes, weight.bytes, products);
            }
        }

        void finish(long count, MemorySegment y, long to) {
            for (long row = 0; row < count; row++) {
                VectorInt8Rows.finish(products, row * n, n, meaning, row, finish, y, to + row * n);
            }
        }

        /** Makes the bytes of the next layer, row by row while the row is in the nearest cache. */
        void finishInto(long count, Layer next) {
            for (long row = 0; row < count; row++) {
                VectorInt8Rows.finish(products, row * n, n, meaning, row, finish, products, row * n);
                next.quantise(row, products, row * n);
            }
        }
    }
}
