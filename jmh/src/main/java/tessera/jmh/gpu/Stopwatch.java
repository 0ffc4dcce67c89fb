package tessera.jmh.gpu;

import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import tessera.kernels.Device;
import tessera.kernels.Event;

/**
 * Times work on a device: by events on a GPU, so that the host's part shows only where it is what limits; by the clock on the
 * CPU.
 */
final class Stopwatch {
    /** In which clocks and caches settle. */
    private static final long WARM_NANOS = TimeUnit.MILLISECONDS.toNanos(80);

    private static final long ENOUGH_NANOS = TimeUnit.MILLISECONDS.toNanos(300);
    private static final long SAMPLE_NANOS = TimeUnit.MICROSECONDS.toNanos(2000);
    private static final int MOST_SAMPLES = 50;
    private static final int FEWEST_SAMPLES = 5;

    private final Device device;
    private final boolean once;

    /**
     * A stopwatch.
     *
     * @param once whether to take one sample only, where figures do not matter
     */
    Stopwatch(Device device, boolean once) {
        this.device = device;
        this.once = once;
    }

    /** Median and least microseconds of one call. */
    record Time(double median, double least, int samples) {}

    /**
     * Times calls that do the same on different memory, in turn.
     *
     * @param calls at least one
     */
    Time time(List<Runnable> calls) {
        for (Runnable call : calls) {
            call.run();
        }
        device.synchronize();
        int perSample = calls.size();
        if (!once) {
            double estimate = Math.max(.1, sample(calls, 0, perSample));
            long begin = System.nanoTime();
            while (System.nanoTime() - begin < WARM_NANOS) {
                estimate = Math.max(.1, sample(calls, 0, (int) Math.clamp(WARM_NANOS / 4e3 / estimate, 1, 1000)));
            }
            perSample = (int) Math.clamp(Math.ceil(SAMPLE_NANOS / 1e3 / estimate), 1, 1000);
        }
        double[] samples = new double[once ? 1 : MOST_SAMPLES];
        int taken = 0;
        int next = 0;
        long start = System.nanoTime();
        while (taken < samples.length && (taken < FEWEST_SAMPLES || System.nanoTime() - start < ENOUGH_NANOS)) {
            samples[taken++] = sample(calls, next, perSample);
            next = (next + perSample) % calls.size();
        }
        double[] sorted = Arrays.copyOf(samples, taken);
        Arrays.sort(sorted);
        return new Time(sorted[taken / 2], sorted[0], taken);
    }

    /** Mean microseconds of {@code count} calls from the {@code first} on. */
    private double sample(List<Runnable> calls, int first, int count) {
        try (Event begin = device.newTimer();
                Event end = device.newTimer()) {
            begin.record(device.currentStream());
            run(calls, first, count);
            end.record(device.currentStream());
            end.synchronize();
            return begin.millisecondsTo(end) * 1e3 / count;
        }
    }

    private static void run(List<Runnable> calls, int first, int count) {
        for (int i = 0; i < count; i++) {
            calls.get((first + i) % calls.size()).run();
        }
    }
}
