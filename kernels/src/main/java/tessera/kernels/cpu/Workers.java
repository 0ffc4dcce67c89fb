package tessera.kernels.cpu;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A fixed team of threads for data-parallel loops; the calling thread is one of them.
 *
 * <p>A loop is cut into at most {@link #threads()} equal ranges, and where the cuts lie depends only on the loop and on
 * the number of threads. Range {@code i} is meant for worker {@code i}, whose caches may still hold what it wrote in the
 * loop before; a thread that finishes early takes a range whose worker has not come yet. So a result never depends on
 * scheduling as long as the body's only depends on its arguments.
 *
 * <p>Safe for several callers at once: the team works on one loop at a time, and a caller who finds it busy (or is inside
 * a loop already) runs its own ranges one after the other. Waiting threads spin for some tens of microseconds and then
 * park. A loop allocates nothing. The threads are daemons, started by the first loop that needs them.
 */
public final class Workers implements AutoCloseable {
    private static final int SPINS = 2000;
    /** Elements of an int array between two counters, so that each has its own cache line. */
    private static final int STRIDE = 16;

    private final int threads;
    private final AtomicBoolean busy = new AtomicBoolean();
    /** For each range the number of the last loop in which it was taken. */
    private final AtomicIntegerArray taken;

    private final AtomicInteger unfinished = new AtomicInteger();
    private Member @Nullable [] members;

    private @Nullable RangeBody body;
    private long count;
    private int ranges;
    private @Nullable Throwable failure;
    private int failedRange;
    private volatile int loop;
    private volatile @Nullable Thread waitingCaller;
    private volatile boolean closed;

    /**
     * @param threads how many threads work on a loop, the caller among them
     * @throws IllegalArgumentException if {@code threads < 1}
     */
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("thread count is " + threads
                    + " but must be at least 1; 1 means that the calling thread works alone");
        }
        this.threads = threads;
        this.taken = new AtomicIntegerArray(threads * STRIDE);
    }

    /** How many threads work on a loop, the caller among them. */
    public int threads() {
        return threads;
    }

    /**
     * Calls {@code body} for consecutive ranges that together are {@code [0, count)}, and returns when all are done.
     *
     * @param grain a range has at least so many elements, unless there are fewer altogether
     * @param body its {@code worker} argument is below {@link #threads()} and different for ranges of this call that run
     *     at the same time, though not for other calls; if it throws, the exception of the first such range is thrown here
     *     after all have ended
     */
    public void parallelFor(long count, long grain, RangeBody body) {
        if (count <= 0) {
            return;
        }
        int cuts = Math.clamp(count / Math.max(grain, 1), 1, threads);
        if (cuts == 1) {
            body.run(0, 0, count);
        } else if (!busy.compareAndSet(false, true)) {
            runAlone(count, cuts, body);
        } else {
            try {
                runTogether(count, cuts, body);
            } finally {
                busy.set(false);
            }
        }
    }

    private static void runAlone(long count, int ranges, RangeBody body) {
        for (int i = 0; i < ranges; i++) {
            body.run(i, start(count, ranges, i), start(count, ranges, i + 1));
        }
    }

    private void runTogether(long loopCount, int cuts, RangeBody loopBody) {
        Member[] team = startedMembers();
        int next = loop + 1;
        body = loopBody;
        count = loopCount;
        ranges = cuts;
        failure = null;
        unfinished.set(cuts);
        for (int i = cuts; i < threads; i++) {
            taken.set(i * STRIDE, next);
        }
        loop = next;
        for (int i = 1; i < cuts; i++) {
            team[i - 1].wake();
        }
        takeRanges(0, next);
        awaitOthers();
        body = null;
        Throwable thrown = failure;
        failure = null;
        if (thrown instanceof Error error) {
            throw error;
        }
        if (thrown instanceof RuntimeException exception) {
            throw exception;
        }
    }

    /** Runs every range of loop {@code current} that nobody has taken, own range first. */
    private void takeRanges(int own, int current) {
        for (int i = 0; i < threads; i++) {
            int range = own + i < threads ? own + i : own + i - threads;
            // Success proves that the loop is not over, because this range is not, so its fields are the right ones.
            if (taken.compareAndSet(range * STRIDE, current - 1, current)) {
                runRange(range);
            }
        }
    }

    private void runRange(int range) {
        RangeBody current = body;
        try {
            if (current != null) {
                current.run(range, start(count, ranges, range), start(count, ranges, range + 1));
            }
        } catch (Throwable e) {
            fail(range, e);
        } finally {
            if (unfinished.decrementAndGet() == 0) {
                Thread caller = waitingCaller;
                if (caller != null) {
                    LockSupport.unpark(caller);
                }
            }
        }
    }

    private synchronized void fail(int range, Throwable e) {
        if (failure == null || range < failedRange) {
            failure = e;
            failedRange = range;
        }
    }

    private void awaitOthers() {
        for (int i = 0; i < SPINS; i++) {
            if (unfinished.get() == 0) {
                return;
            }
            Thread.onSpinWait();
        }
        waitingCaller = Thread.currentThread();
        while (unfinished.get() != 0) {
            LockSupport.park(this);
        }
        waitingCaller = null;
    }

    private static long start(long count, int ranges, int range) {
        return count / ranges * range + Math.min(range, count % ranges);
    }

    private Member[] startedMembers() {
        if (closed) {
            throw new IllegalStateException("these workers are closed");
        }
        Member[] team = members;
        if (team == null) {
            team = new Member[threads - 1];
            for (int i = 0; i < team.length; i++) {
                team[i] = new Member(i + 1);
                team[i].start();
            }
            members = team;
        }
        return team;
    }

    /** Ends the threads; loops cannot be run any more. No loop may be running. */
    @Override
    public void close() {
        closed = true;
        Member[] team = members;
        if (team != null) {
            for (Member member : team) {
                LockSupport.unpark(member);
            }
        }
    }

    /** What is done with the elements {@code [from, to)}. */
    @FunctionalInterface
    public interface RangeBody {
        void run(int worker, long from, long to);
    }

    private final class Member extends Thread {
        private final int worker;
        /** The last loop this thread has looked at. */
        private int seen;

        private volatile boolean parked;

        Member(int worker) {
            super("tessera-worker-" + worker);
            this.worker = worker;
            this.seen = loop;
            setDaemon(true);
        }

        /** Only called after {@link #loop} was written, so either this sees the thread parked or the thread sees the loop. */
        void wake() {
            if (parked) {
                LockSupport.unpark(this);
            }
        }

        @Override
        public void run() {
            while (awaitLoop()) {
                seen = loop;
                takeRanges(worker, seen);
            }
        }

        private boolean awaitLoop() {
            for (int i = 0; i < SPINS; i++) {
                if (loop != seen) {
                    return true;
                }
                Thread.onSpinWait();
            }
            parked = true;
            while (loop == seen && !closed) {
                LockSupport.park(Workers.this);
            }
            parked = false;
            return !closed;
        }
    }
}
