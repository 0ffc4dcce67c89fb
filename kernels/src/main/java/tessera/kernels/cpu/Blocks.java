package tessera.kernels.cpu;

/** Splits a range into blocks of one fixed size, so that sums do not depend on the number of threads. */
public final class Blocks {
    public static final int SIZE = 4096;
    private static final int BLOCKS_PER_TASK = 4;

    private final Workers workers;

    public Blocks(Workers workers) {
        this.workers = workers;
    }

    /** Runs {@code body} on every block of {@code [0, count)}, in parallel. */
    public void forEach(long count, Body body) {
        workers.parallelFor(blocks(count), BLOCKS_PER_TASK, (worker, from, to) -> {
            int size = (int) Math.min(SIZE, count);
            double[] a = new double[size];
            double[] b = new double[size];
            for (long block = from; block < to; block++) {
                body.run(block * SIZE, (int) Math.min(SIZE, count - block * SIZE), a, b);
            }
        });
    }

    /** Adds up what {@code body} returns for every block of {@code [0, count)}, in ascending order. */
    public double sum(long count, Term body) {
        double[] terms = new double[Math.toIntExact(blocks(count))];
        forEach(count, (from, n, a, b) -> terms[(int) (from / SIZE)] = body.of(from, n, a, b));
        return total(terms);
    }

    public static double total(double[] terms) {
        double total = 0;
        for (double term : terms) {
            total += term;
        }
        return total;
    }

    private static long blocks(long count) {
        return ceilDiv(count, SIZE);
    }

    public static long ceilDiv(long count, long size) {
        return (count + size - 1) / size;
    }

    /** Work on the {@code count} elements after {@code from}, with two scratch arrays. */
    public interface Body {
        void run(long from, int count, double[] a, double[] b);
    }

    /** One term of a sum over the {@code count} elements after {@code from}, with two scratch arrays. */
    public interface Term {
        double of(long from, int count, double[] a, double[] b);
    }
}
