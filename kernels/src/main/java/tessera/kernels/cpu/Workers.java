package tessera.kernels.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
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
 * <p>Safe for several callers at once: they share the team, none getting more of it than its part while the others are in a loop
 * too, and a caller without helpers (or inside a loop already) runs its ranges one after the other. Members without work spin for a fifth
 * of a millisecond and then park, a caller that waits for them parks sooner. The threads are daemons, started by the first loop that needs them.
 * They end when no loop has needed them for a minute, or for the milliseconds of the system property {@value #IDLE_PROPERTY}, and are started again by
 * the next: so an application that is done with its class loader is not kept in memory by them.
 *
 * <p>{@link #parallelFor} makes no object once the threads run, beyond the body that its caller makes, and neither does the repetition of a
 * {@link #noted} call; {@link #repeatableFor} makes a few, however long the loop.
 */
public final class Workers implements AutoCloseable {
    /** For a caller's wait, some tens of microseconds: whom it waits for may have been put aside and want its core. */
    private static final int SPINS = 2000;
    /**
     * How long a member waits before it parks. Longer than it takes to wake a thread: one that is woken too late for a short loop is
     * still awake for the next, so short loops in a row do not all run on the caller alone.
     */
    private static final long SPIN_NANOS = 200_000;

    private static final int SPINS_PER_LOOK = 32;

    /** System property with the milliseconds after which threads without work end. */
    static final String IDLE_PROPERTY = "tessera.workers.idle";

    private static final long IDLE_NANOS = TimeUnit.MILLISECONDS.toNanos(Long.getLong(IDLE_PROPERTY, 60_000));

    /** Stands where a member's loop stands, once the member has ended for want of loops. */
    private static final Object ENDED = new Object();
    /** More only wait for processors on any machine, and the memory of loops grows with the square of the number. */
    public static final int MOST_THREADS = 1024;
    /** Elements of an int array between two counters, so that each has its own cache line. */
    private static final int STRIDE = 16;

    /** Where the loops of a call are noted that this thread makes; unset inside a loop. */
    private static final ThreadLocal<@Nullable Repeat> NOTING = new ThreadLocal<>();

    private final int threads;
    private final long idleNanos;
    /** Loops that may run at the same time; there is no help for more callers than threads. */
    private final Loop[] loops;

    private volatile Member @Nullable [] members;
    /** Whether a member has ended that is one of the members yet. */
    private volatile boolean someEnded;

    private volatile boolean closed;

    /**
     * @param threads how many threads work on a loop, the caller among them
     * @throws IllegalArgumentException if {@code threads} is not 1 to 1024
     */
    public Workers(int threads) {
        this(threads, IDLE_NANOS);
    }

    /** @param idleNanos after which a thread without work ends */
    Workers(int threads, long idleNanos) {
        if (threads < 1) {
            throw new IllegalArgumentException("thread count is " + threads
                    + " but must be at least 1; 1 means that the calling thread works alone");
        }
        if (threads > MOST_THREADS) {
            throw new IllegalArgumentException("thread count is " + threads + " but must be at most " + MOST_THREADS
                    + "; threads beyond the processors, of which there are "
                    + Runtime.getRuntime().availableProcessors() + ", only wait for them");
        }
        this.threads = threads;
        this.idleNanos = idleNanos;
        this.loops = new Loop[threads];
        for (int i = 0; i < threads; i++) {
            loops[i] = new Loop();
        }
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
        Repeat noting = NOTING.get();
        if (noting != null) {
            noting.repeats = false;
        }
        loop(count, grain, body);
    }

    /**
     * As {@link #parallelFor} for a call of a kernel that does all its work in such loops: {@link #noted} then runs them again with
     * the same bodies, without making the call. So whatever is read or computed outside of the body depends on the
     * call's arguments alone, not on what is in its buffers, and the body may be run any number of times. A body that allocates nothing makes
     * a call that allocates nothing once it is recorded.
     *
     * @param held what each run of the loop keeps from being freed
     */
    public void repeatableFor(long count, long grain, RangeBody body, Held... held) {
        Repeat noting = NOTING.get();
        Part loop = new Part(this, count, grain, body, held);
        if (noting == null) {
            loop.run();
            return;
        }
        noting.loops.add(loop);
        NOTING.remove();
        try {
            loop.run();
        } finally {
            NOTING.set(noting);
        }
    }

    /** Memory that its owner frees only when nobody uses it. */
    public interface Held {
        /**
         * Keeps the memory until {@link #release}.
         *
         * @throws IllegalStateException if it was freed
         */
        void acquire();

        /** Ends what {@link #acquire} began. */
        void release();
    }

    /**
     * Makes a call of a kernel on this thread.
     *
     * @return what makes it again with the same buffers, which may have other contents by then; null where the call was not a sequence
     *     of {@linkplain #repeatableFor repeatable} loops
     */
    public static @Nullable Runnable noted(Runnable call) {
        Repeat repeat = new Repeat();
        NOTING.set(repeat);
        try {
            call.run();
        } finally {
            NOTING.remove();
        }
        return repeat.repeats && !repeat.loops.isEmpty() ? repeat : null;
    }

    /** The loops of a call. */
    private static final class Repeat implements Runnable {
        private final List<Part> loops = new ArrayList<>();
        /** Whether they are all that the call did. */
        private boolean repeats = true;

        @Override
        public void run() {
            for (int i = 0; i < loops.size(); i++) {
                loops.get(i).run();
            }
        }
    }

    /** A loop that may be run again. */
    private record Part(Workers workers, long count, long grain, RangeBody body, Held[] held) {
        void run() {
            int acquired = 0;
            try {
                for (Held each : held) {
                    each.acquire();
                    acquired++;
                }
                workers.loop(count, grain, body);
            } finally {
                for (int i = 0; i < acquired; i++) {
                    held[i].release();
                }
            }
        }
    }

    private void loop(long count, long grain, RangeBody body) {
        if (count <= 0) {
            return;
        }
        int cuts = Math.clamp(count / Math.max(grain, 1), 1, threads);
        Loop loop = cuts == 1 ? null : claimLoop();
        if (loop == null) {
            for (int i = 0; i < cuts; i++) {
                body.run(i, start(count, cuts, i), start(count, cuts, i + 1));
            }
        } else {
            try {
                loop.run(startedMembers(), count, cuts, body);
            } finally {
                loop.caller.set(null);
            }
        }
    }

    /** A loop for this thread, or null where it is inside one already or there are too many callers. */
    private @Nullable Loop claimLoop() {
        Thread current = Thread.currentThread();
        if (current instanceof Member member && member.team() == this) {
            return null;
        }
        for (Loop loop : loops) {
            if (current.equals(loop.caller.get())) {
                return null;
            }
        }
        for (Loop loop : loops) {
            if (loop.caller.get() == null && loop.caller.compareAndSet(null, current)) {
                return loop;
            }
        }
        return null;
    }

    /** How many members may help each of those who are in a loop now. */
    private int share() {
        int callers = 0;
        for (Loop loop : loops) {
            callers += loop.caller.get() == null ? 0 : 1;
        }
        return Math.ceilDiv(threads, Math.max(1, callers)) - 1;
    }

    private static long start(long count, int ranges, int range) {
        return count / ranges * range + Math.min(range, count % ranges);
    }

    private Member[] startedMembers() {
        if (closed) {
            throw new IllegalStateException("these workers are closed");
        }
        Member[] team = members;
        return team == null || someEnded ? startMembers() : team;
    }

    private synchronized Member[] startMembers() {
        someEnded = false;
        Member[] before = members;
        Member[] team = new Member[threads - 1];
        for (int i = 0; i < team.length; i++) {
            if (before != null && !ENDED.equals(before[i].task.get())) {
                team[i] = before[i];
            } else {
                team[i] = new Member(i + 1);
                team[i].start();
            }
        }
        members = team;
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

    /** One caller's loop, used again for the next. */
    private final class Loop {
        /** Who runs it; null where it is free. */
        final AtomicReference<@Nullable Thread> caller = new AtomicReference<>();

        /** For each range 1 once it is taken. */
        private final AtomicIntegerArray taken = new AtomicIntegerArray(threads * STRIDE);
        /** Members that were asked and have not ended, or been told that they need not come. */
        private final AtomicInteger helpers = new AtomicInteger();

        private @Nullable RangeBody body;
        private long count;
        private int ranges;
        private @Nullable Throwable failure;
        private int failedRange;
        private volatile @Nullable Thread waiting;

        void run(Member[] team, long loopCount, int cuts, RangeBody loopBody) {
            count = loopCount;
            ranges = cuts;
            body = loopBody;
            for (int i = 0; i < cuts; i++) {
                taken.set(i * STRIDE, 0);
            }
            askForHelp(team, 0);
            for (int range = 0; range < cuts; range++) {
                if (take(range)) {
                    runRange(range);
                    // Members may have become free, or have to be left to another caller from now on.
                    askForHelp(team, range + 1);
                }
            }
            for (Member member : team) {
                if (member.task.compareAndSet(this, null)) {
                    helpers.decrementAndGet();
                }
            }
            awaitHelpers();
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

        /** Asks idle members to take what this caller leaves from {@code own} on, as many as it may have. */
        private void askForHelp(Member[] team, int own) {
            int open = -1;
            for (int range = own; range < ranges; range++) {
                open += 1 - taken.get(range * STRIDE);
            }
            if (open <= 0) {
                return;
            }
            int most = Math.min(share(), ranges - 1);
            for (Member member : team) {
                if (open == 0 || helpers.get() >= most) {
                    return;
                }
                if (member.task.get() == null) {
                    helpers.incrementAndGet();
                    if (member.task.compareAndSet(null, this)) {
                        member.wake();
                        open--;
                    } else {
                        helpers.decrementAndGet();
                    }
                }
            }
        }

        private boolean take(int range) {
            return taken.get(range * STRIDE) == 0 && taken.compareAndSet(range * STRIDE, 0, 1);
        }

        /** Runs every range that nobody has taken, own range first. */
        void help(int own) {
            for (int i = 0; i < ranges; i++) {
                int range = (own + i) % ranges;
                if (take(range)) {
                    runRange(range);
                }
            }
        }

        /** Ends a member's help. Another caller may have the loop from here on. */
        void leave() {
            if (helpers.decrementAndGet() == 0) {
                Thread thread = waiting;
                if (thread != null) {
                    LockSupport.unpark(thread);
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
            }
        }

        private synchronized void fail(int range, Throwable e) {
            if (failure == null || range < failedRange) {
                failure = e;
                failedRange = range;
            }
        }

        private void awaitHelpers() {
            for (int i = 0; i < SPINS; i++) {
                if (helpers.get() == 0) {
                    return;
                }
                Thread.onSpinWait();
            }
            waiting = Thread.currentThread();
            while (helpers.get() != 0) {
                LockSupport.park(Workers.this);
            }
            waiting = null;
        }
    }

    private final class Member extends Thread {
        private final int worker;
        /**
         * The loop that this thread is asked to help in, until it has ended there; null where it is idle, {@link #ENDED} where it is no
         * more.
         */
        final AtomicReference<@Nullable Object> task = new AtomicReference<>();

        private volatile boolean parked;

        Member(int worker) {
            super("tessera-worker-" + worker);
            this.worker = worker;
            setDaemon(true);
        }

        Workers team() {
            return Workers.this;
        }

        /** Only called after the task was set, so either this sees the thread parked or the thread sees the task. */
        void wake() {
            if (parked) {
                LockSupport.unpark(this);
            }
        }

        @Override
        public void run() {
            while (awaitTask()) {
                // The thread itself stands for being at work: the caller cannot take the task back any more.
                if (task.get() instanceof Loop loop && task.compareAndSet(loop, this)) {
                    loop.help(worker);
                    task.set(null);
                    loop.leave();
                }
            }
        }

        /**
         * Whether there is a task, else the team is closed or has had none for long. A thread that was woken in vain waits awake again before it
         * parks.
         */
        private boolean awaitTask() {
            long began = System.nanoTime();
            while (!closed) {
                if (spin()) {
                    return true;
                }
                parked = true;
                if (task.get() == null && !closed) {
                    LockSupport.parkNanos(Workers.this, idleNanos);
                }
                parked = false;
                if (System.nanoTime() - began >= idleNanos && task.compareAndSet(null, ENDED)) {
                    someEnded = true;
                    return false;
                }
            }
            return false;
        }

        private boolean spin() {
            long start = System.nanoTime();
            do {
                for (int i = 0; i < SPINS_PER_LOOK; i++) {
                    if (task.get() != null) {
                        return true;
                    }
                    Thread.onSpinWait();
                }
            } while (System.nanoTime() - start < SPIN_NANOS);
            return task.get() != null;
        }
    }
}
