package tessera.kernels;

/** Placeholder with the agreed signatures; the worker pool replaces this file as a whole. */
final class Workers {
    private final int threads;

    Workers(int threads) {
        this.threads = threads;
    }

    int threads() {
        return threads;
    }

    void parallelFor(long count, long grain, RangeBody body) {
        body.run(0, 0, count);
    }

    interface RangeBody {
        void run(int worker, long from, long to);
    }
}
