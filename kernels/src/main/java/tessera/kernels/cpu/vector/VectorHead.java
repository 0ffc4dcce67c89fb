package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.Scratch;

/** The two products of one head of attention after the other, tile by tile; used by one thread. */
abstract sealed class VectorHead implements AutoCloseable {
    final AttentionShape shape;
    final AttentionTensors in;
    long sample;
    long head;

    private VectorHead(AttentionShape shape, AttentionTensors in) {
        this.shape = shape;
        this.in = in;
    }

    /** Goes to a head of a sample. */
    void at(long newSample, long newHead) {
        sample = newSample;
        head = newHead;
    }

    /** Products of {@code rows} queries after {@code row} with {@code count} keys after {@code key}, rows {@code ld} apart. */
    abstract void scores(int row, int rows, int key, int count, MemorySegment scores, long ld);

    /** A row of {@code n} scores, whole vectors, becomes what {@link #mix} takes, {@code exp(factor * x + shift)}; returns its sum. */
    abstract float exps(MemorySegment scores, long at, int n, float factor, float shift);

    /**
     * Products of the probabilities with the values.
     *
     * @param accumulate whether they are added to {@code out}
     */
    abstract void mix(MemorySegment p, long ld, int rows, int key, int count, MemorySegment out, boolean accumulate);

    @Override
    public void close() {}

    final MemorySegment rowsOf(Buffer x, Strides strides, long row) {
        long element = sample * strides.batch() + head * strides.head() + row * strides.row();
        return x.segment().asSlice(element * Float.BYTES);
    }

    /** In f32. */
    static final class Wide extends VectorHead {
        private final Gemm gemm;

        Wide(Gemm gemm, AttentionShape shape, AttentionTensors in) {
            super(shape, in);
            this.gemm = gemm;
        }

        @Override
        void scores(int row, int rows, int key, int count, MemorySegment scores, long ld) {
            long ldq = shape.q().row();
            long ldk = shape.k().row();
            MatmulShape product = new MatmulShape(false, true, rows, count, shape.headDim(), ldq, ldk, ld);
            MemorySegment queries = rowsOf(in.q(), shape.q(), row);
            MemorySegment keys = rowsOf(in.k(), shape.k(), key);
            gemm.gemmSerial(DType.F32, product, queries, keys, null, null, Activation.NONE, scores);
        }

        @Override
        float exps(MemorySegment scores, long at, int n, float factor, float shift) {
            return VectorRuns.exps(scores, at, n, factor, shift, scores, at);
        }

        @Override
        void mix(MemorySegment p, long ld, int rows, int key, int count, MemorySegment out, boolean accumulate) {
            long ldv = shape.v().row();
            long ldo = shape.out().row();
            MatmulShape product = new MatmulShape(false, false, rows, shape.headDim(), count, ld, ldv, ldo);
            MemorySegment values = rowsOf(in.v(), shape.v(), key);
            gemm.gemmSerial(DType.F32, product, p, values, null, accumulate ? out : null, Activation.NONE, out);
        }
    }

    /** With factors rounded to bf16: keys and values once for each head, the others with their tile. */
    static final class Narrow extends VectorHead {
        private final Scratch scratch = Scratch.borrow();
        private final MemorySegment keys;
        private final MemorySegment values;
        private final MemorySegment queries;
        private boolean rounded;

        /** @param tile most queries of a tile */
        Narrow(AttentionShape shape, AttentionTensors in, int tile) {
            super(shape, in);
            long size = (long) shape.keys() * shape.headDim() * DType.BF16.bytes();
            MemorySegment memory = scratch.floats((2 * size + tile * (size / shape.keys())) / Float.BYTES + 1);
            keys = memory;
            values = memory.asSlice(size);
            queries = memory.asSlice(2 * size);
        }

        @Override
        void at(long newSample, long newHead) {
            rounded &= newSample == sample && newHead == head;
            super.at(newSample, newHead);
            if (!rounded) {
                narrow(in.k(), shape.k(), 0, shape.keys(), keys);
                narrow(in.v(), shape.v(), 0, shape.keys(), values);
                rounded = true;
            }
        }

        private void narrow(Buffer x, Strides strides, int row, int rows, MemorySegment to) {
            MemorySegment from = rowsOf(x, strides, row);
            int dim = shape.headDim();
            for (long r = 0; r < rows; r++) {
                VectorBf16Rows.narrow(from, r * strides.row(), dim, to.asSlice(r * dim * DType.BF16.bytes()));
            }
        }

        private MemorySegment after(MemorySegment rows, int row) {
            return rows.asSlice((long) row * shape.headDim() * DType.BF16.bytes());
        }

        @Override
        void scores(int row, int rows, int key, int count, MemorySegment scores, long ld) {
            int dim = shape.headDim();
            narrow(in.q(), shape.q(), row, rows, queries);
            MatmulShape product = new MatmulShape(false, true, rows, count, dim, dim, dim, ld);
            OneDnnBf16.multiply(product, queries, after(keys, key), null, null, Activation.NONE, scores);
        }

        @Override
        float exps(MemorySegment scores, long at, int n, float factor, float shift) {
            // The rounded row lies over the first half of its own.
            return VectorBf16Rows.exps(scores, at, n, factor, shift);
        }

        @Override
        void mix(MemorySegment p, long ld, int rows, int key, int count, MemorySegment out, boolean accumulate) {
            int dim = shape.headDim();
            MatmulShape product = new MatmulShape(
                    false, false, rows, dim, count, 2 * ld, dim, shape.out().row());
            OneDnnBf16.multiply(product, p, after(values, key), null, accumulate ? out : null, Activation.NONE, out);
        }

        @Override
        public void close() {
            scratch.close();
        }
    }
}
