package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Philox;
import tessera.kernels.RandomOps;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Slots;
import tessera.kernels.cpu.Workers;

/** Random masks and numbers, dropout and stochastic depth. Results do not depend on the number of threads. */
public final class ScalarRandom implements RandomOps {
    private static final Slots<Plane> PLANES = new Slots<>(Plane::new, plane -> {});

    private final Workers workers;
    private final Blocks blocks;

    public ScalarRandom(Workers workers) {
        this.workers = workers;
        this.blocks = new Blocks(workers);
    }

    @Override
    public void randomMask(
            RandomStream random, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
        masks(shape, visibleIndices, maskedIndices).draw(random.seed(), random.stream());
    }

    /**
     * Masks that may be drawn any number of times, which makes no object.
     *
     * @throws IllegalArgumentException if more or fewer cells are to be masked than a plane has
     */
    public Masks masks(MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
        int plane = shape.plane();
        int masked = shape.masked();
        if (masked < 0 || masked > plane) {
            throw new IllegalArgumentException("random_mask: cannot mask " + masked + " of " + plane
                    + " cells; pass a number between 0 and " + plane);
        }
        return new Masks(workers, shape, visibleIndices, maskedIndices);
    }

    /** Random masks of one shape, written to the same buffers each time. Not thread-safe. */
    public static final class Masks implements Workers.RangeBody {
        private final Workers workers;
        private final MaskShape shape;
        private final Buffer visibleIndices;
        private final @Nullable Buffer maskedIndices;
        private long seed;
        private long stream;

        private Masks(Workers workers, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
            this.workers = workers;
            this.shape = shape;
            this.visibleIndices = visibleIndices;
            this.maskedIndices = maskedIndices;
        }

        /** As {@link RandomOps#randomMask}. */
        public void draw(long newSeed, long newStream) {
            seed = newSeed;
            stream = newStream;
            workers.parallelFor(shape.batch(), 1, this);
        }

        @Override
        public void run(int worker, long from, long to) {
            int slots = shape.slots();
            int plane = shape.plane();
            int masked = shape.masked();
            Plane drawn = PLANES.borrow();
            for (long b = from; b < to; b++) {
                long visible = b * slots * (plane - masked);
                long invisible = b * slots * masked;
                for (int slot = 0; slot < slots; slot++) {
                    if (slot == 0 || !shape.tube()) {
                        drawn.hide(seed, stream, (b * slots + slot) * plane, plane, masked);
                    }
                    for (int cell = 0; cell < plane; cell++) {
                        int token = slot * plane + cell;
                        if (!drawn.hidden[cell]) {
                            Elements.setInt(visibleIndices, visible++, token);
                        } else if (maskedIndices != null) {
                            Elements.setInt(maskedIndices, invisible++, token);
                        }
                    }
                }
            }
            PLANES.giveBack(drawn);
        }
    }

    /** The mask of one plane at a time; grows to the largest plane and is used again. */
    private static final class Plane {
        private final int[] words = new int[4];
        private long[] keys = {};
        private boolean[] hidden = {};

        /** Marks the cells with the {@code masked} smallest keys; a key's low half is its cell, so ties go by cell. */
        void hide(long seed, long stream, long counter, int plane, int masked) {
            if (keys.length < plane) {
                keys = new long[plane];
                hidden = new boolean[plane];
            }
            for (int cell = 0; cell < plane; cell++) {
                Philox.words(seed, stream, counter + cell, words);
                keys[cell] = (long) (words[0] ^ Integer.MIN_VALUE) << 32 | cell;
            }
            select(plane, masked);
            Arrays.fill(hidden, 0, plane, false);
            for (int i = 0; i < masked; i++) {
                hidden[(int) keys[i]] = true;
            }
        }

        /** Brings the {@code count} smallest keys to the front (Hoare, "Algorithm 65: Find", 1961); a sort of the JDK would make objects. */
        private void select(int plane, int count) {
            int low = 0;
            int high = count == 0 ? 0 : plane - 1;
            while (low < high) {
                long pivot = keys[(low + high) >>> 1];
                int i = low;
                int j = high;
                while (i <= j) {
                    while (keys[i] < pivot) {
                        i++;
                    }
                    while (keys[j] > pivot) {
                        j--;
                    }
                    if (i <= j) {
                        long key = keys[i];
                        keys[i++] = keys[j];
                        keys[j--] = key;
                    }
                }
                if (count <= j) {
                    high = j;
                } else if (count > i) {
                    low = i;
                } else {
                    return;
                }
            }
        }
    }

    @Override
    public void randomUniform(RandomStream random, double low, double high, Buffer y) {
        // Rounding must not reach the excluded upper end.
        double last = y.dtype() == DType.F64 ? Math.nextDown(high) : Math.nextDown((float) high);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            uniforms(random, from, n, a);
            for (int i = 0; i < n; i++) {
                a[i] = Math.max(low, Math.min(last, low + (high - low) * a[i]));
            }
            Elements.store(a, 0, n, y, from);
        });
    }

    @Override
    public void randomNormal(RandomStream random, double mean, double std, Buffer y) {
        blocks.forEach(y.length(), (from, n, a, b) -> {
            double[] v = new double[n + n % 2];
            uniforms(random, from, v.length, v);
            for (int i = 0; i < v.length; i += 2) {
                double radius = std * Math.sqrt(-2 * Math.log(1 - v[i]));
                double angle = 2 * Math.PI * v[i + 1];
                v[i] = mean + radius * Math.cos(angle);
                v[i + 1] = mean + radius * Math.sin(angle);
            }
            Elements.store(v, 0, n, y, from);
        });
    }

    @Override
    public void dropout(RandomStream random, Buffer x, double p, Buffer y) {
        double scale = 1 / (1 - p);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            uniforms(random, from, n, a);
            Elements.load(x, from, n, b, 0);
            for (int i = 0; i < n; i++) {
                b[i] = a[i] >= p ? b[i] * scale : 0;
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    @Override
    public void dropPath(RandomStream random, @Nullable Buffer residual, Buffer x, double p, long batch, Buffer y) {
        double[] uniforms = new double[Math.toIntExact(batch)];
        uniforms(random, 0, uniforms.length, uniforms);
        double scale = 1 / (1 - p);
        long each = y.length() / Math.max(1, batch);
        blocks.forEach(y.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            if (residual == null) {
                Arrays.fill(b, 0, n, 0);
            } else {
                Elements.load(residual, from, n, b, 0);
            }
            for (int i = 0; i < n; ) {
                long sample = (from + i) / each;
                int end = (int) Math.min(n, (sample + 1) * each - from);
                boolean kept = uniforms[(int) sample] >= p;
                for (; i < end; i++) {
                    b[i] += kept ? a[i] * scale : 0;
                }
            }
            Elements.store(b, 0, n, y, from);
        });
    }

    /** Uniform numbers {@code from} and on; {@code from} is a multiple of 4. */
    private static void uniforms(RandomStream random, long from, int n, double[] to) {
        int[] words = new int[4];
        for (int i = 0; i < n; i++) {
            if (i % 4 == 0) {
                Philox.words(random.seed(), random.stream(), (from + i) / 4, words);
            }
            to[i] = Philox.uniform(words[i % 4]);
        }
    }
}
