package tessera.distill.data;

import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * An endless sequence of indices that visits each of n once per epoch, shuffled anew every time. A pure function of the
 * seed and the position, so a run resumes without replaying it. Not thread-safe.
 */
public final class EpochOrder {
    private static final RandomGeneratorFactory<RandomGenerator> GENERATORS =
            RandomGeneratorFactory.of("L64X128MixRandom");

    private final int[] order;
    private final long seed;
    private long epoch = -1;

    public EpochOrder(int count, long seed) {
        if (count < 1) {
            throw new IllegalArgumentException("there are no clips to train on; pass a set with at least one clip");
        }
        this.order = new int[count];
        this.seed = seed;
    }

    /** The indices at positions {@code [step * batch, (step + 1) * batch)}. */
    public int[] batch(long step, int batch) {
        int[] indices = new int[batch];
        for (int i = 0; i < batch; i++) {
            indices[i] = at(step * batch + i);
        }
        return indices;
    }

    private int at(long position) {
        long wanted = position / order.length;
        if (wanted != epoch) {
            shuffle(wanted);
        }
        return order[(int) (position % order.length)];
    }

    private void shuffle(long wanted) {
        RandomGenerator random = GENERATORS.create(seed * 0x9E3779B97F4A7C15L + wanted);
        for (int i = 0; i < order.length; i++) {
            int j = random.nextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        epoch = wanted;
    }
}
