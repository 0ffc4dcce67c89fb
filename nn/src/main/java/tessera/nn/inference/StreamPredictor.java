package tessera.nn.inference;

import java.awt.image.BufferedImage;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import tessera.nn.ClipShape;

/**
 * Recognises what a camera shows, as its frames arrive: at every stride a {@link Prediction} of the window of frames before it.
 *
 * <p>A window is cut into as many equal parts as the model takes frames, and what is shown in the middle of each part is looked at, as
 * {@link Predictor} chooses and resizes frames. So many frames of the model's size are kept, with the newest as it came, and never more,
 * whatever the source's rate; windows begin at the kept frame nearest to a multiple of the stride, counted from the first frame. A
 * window is due when the last of its frames is known, up to half the distance of these before its end.
 *
 * <p>Predictions are made on one thread of the stream's own, or, by {@link Options#inCallersThread}, in the call that brings the frame.
 * The thread of its own bounds the latency: where a window is due while another is computed, one that still waits is dropped for it, which
 * {@link Window#dropped} and {@link #statistics} tell. In the caller's thread nothing is dropped; the caller is slowed instead.
 *
 * <p>A pause of more than a window between two frames is no picture that stands still: windows and smoothing begin anew behind it.
 *
 * <p>Safe to share between threads; calls wait for each other. Frames are copied before a call returns. The predictor stays the caller's,
 * and is closed after the stream. What fails in a prediction or in the listener, such as a {@link tessera.kernels.DeviceException}, ends
 * the stream: the next call throws it.
 */
public final class StreamPredictor implements AutoCloseable {
    private final Predictor predictor;
    private final Options options;
    private final Listener listener;
    private final ClipShape input;
    private final StreamFrames frames;
    private final long opened;
    private final @Nullable Thread worker;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    /** The frames of the window that waits, and of the one that is computed. */
    private byte[] waiting;

    private byte[] computed;
    private @Nullable Due due;
    private boolean computing;
    private boolean finishing;
    private boolean closed;
    private @Nullable Throwable failure;
    private boolean failureTold;
    private Statistics statistics = new Statistics(0, 0, 0, 0, Double.NaN);

    /** Predictions, or the last smoothed one; used by whoever computes. */
    private final Deque<Prediction> recent = new ArrayDeque<>();
    /** Pauses before the window that was computed last. */
    private long recentPauses;

    /** What windows and strides are measured in. */
    public enum Unit {
        /** Seconds of the frames' time stamps. */
        SECONDS,
        /** Frames, whenever they come. */
        FRAMES
    }

    /**
     * How a stream is looked at.
     *
     * @param unit of the window, the stride and the times of predictions
     * @param window length of a window
     * @param stride from the beginning of a window to that of the next: at least the window over the model's frames
     * @param smoothing over the windows
     * @param ownThread whether predictions are made on a thread of the stream's own
     * @param clock nanoseconds from any moment, as {@link System#nanoTime}, which must not go back
     */
    public record Options(
            Unit unit, double window, double stride, Smoothing smoothing, boolean ownThread, LongSupplier clock) {
        public Options {
            if (!(window > 0 && window < Double.POSITIVE_INFINITY)
                    || !(stride > 0 && stride < Double.POSITIVE_INFINITY)) {
                throw new IllegalArgumentException(
                        "stream: a window of " + window + " every " + stride + "; pass positive numbers");
            }
        }

        /** Windows of so many seconds, without smoothing, on a thread of its own, by {@link System#nanoTime}. */
        public static Options seconds(double window, double stride) {
            return new Options(Unit.SECONDS, window, stride, Smoothing.none(), true, System::nanoTime);
        }

        /**
         * Windows of so many frames, otherwise as {@link #seconds}. Of T times r frames every r-th is looked at by a model of T, and where the
         * stride is a multiple of r too, a window shows just what {@link Predictor#predict} would choose of its frames.
         */
        public static Options frames(int window, int stride) {
            return new Options(Unit.FRAMES, window, stride, Smoothing.none(), true, System::nanoTime);
        }

        /** The same with smoothing. */
        public Options withSmoothing(Smoothing other) {
            return new Options(unit, window, stride, other, ownThread, clock);
        }

        /** The same with predictions made in the calls that bring frames. */
        public Options inCallersThread() {
            return new Options(unit, window, stride, smoothing, false, clock);
        }

        /** The same by another clock, such as a test's. */
        public Options withClock(LongSupplier other) {
            return new Options(unit, window, stride, smoothing, ownThread, other);
        }
    }

    /** Gets the predictions, in the order of time and never two at once, on the thread on which they are made. It must not bring frames. */
    @FunctionalInterface
    public interface Listener {
        /**
         * Called for every window that is not dropped.
         *
         * @param seen the frames that the student looked at, of its size; valid until the call returns, so copy the pixels to keep them
         */
        void predicted(Window window, VideoClip seen);
    }

    /**
     * What a window shows.
     *
     * @param start when it begins, in the unit of the options: the time stamps' seconds, or the number of its first frame
     * @param end when it ends
     * @param prediction of this window alone
     * @param smoothed over the last windows; the same where nothing is smoothed
     * @param latency seconds of the clock from when the window was due until its prediction was there
     * @param dropped windows that were dropped since the stream was opened
     */
    public record Window(
            double start, double end, Prediction prediction, Prediction smoothed, double latency, long dropped) {}

    /**
     * What a stream did since it was opened.
     *
     * @param frames that came
     * @param windows that were predicted
     * @param dropped windows that were due and not predicted
     * @param pauses that were longer than a window
     * @param latency of the last prediction, see {@link Window#latency}; NaN before the first
     */
    public record Statistics(long frames, long windows, long dropped, long pauses, double latency) {
        private Statistics frame(boolean afterPause) {
            return new Statistics(frames + 1, windows, dropped, pauses + (afterPause ? 1 : 0), latency);
        }

        private Statistics drop() {
            return new Statistics(frames, windows, dropped + 1, pauses, latency);
        }

        private Statistics window(double took) {
            return new Statistics(frames, windows + 1, dropped, pauses, took);
        }
    }

    /**
     * A window to compute.
     *
     * @param at by the clock
     * @param pauses before it
     */
    private record Due(double start, double end, long at, long pauses) {}

    /**
     * Opens a stream.
     *
     * @param predictor with one head or more; it may be used elsewhere at the same time, for which predictions wait
     * @throws IllegalArgumentException if the predictor has no head or takes no RGB pictures, or the stride is shorter than the distance
     *     of the frames that the student looks at
     */
    public StreamPredictor(Predictor predictor, Options options, Listener listener) {
        predictor.requireHead();
        this.predictor = predictor;
        this.options = options;
        this.listener = listener;
        this.input = predictor.student().config().input();
        this.frames = new StreamFrames(input, counted(), options.window(), options.stride());
        this.waiting = new byte[Math.multiplyExact(3 * input.frames(), input.height() * input.width())];
        this.computed = options.ownThread() ? new byte[waiting.length] : waiting;
        this.opened = options.clock().getAsLong();
        this.worker = options.ownThread()
                ? Thread.ofPlatform().daemon().name("tessera-stream").unstarted(this::work)
                : null;
        if (worker != null) {
            worker.start();
        }
    }

    private boolean counted() {
        return options.unit() == Unit.FRAMES;
    }

    /**
     * Takes a frame that came just now: its time stamp is the clock's, 0 when the stream was opened.
     *
     * @param frame u8 {@code [height, width, 3]} in RGB order, of any size, also of another than the last
     * @throws IllegalArgumentException if the pixels do not fit these sizes
     * @throws IllegalStateException if the stream is finished or closed, or this is called by the listener
     */
    public void add(byte[] frame, int height, int width) {
        add(MemorySegment.ofArray(frame), height, width);
    }

    /** As {@link #add(byte[], int, int)}; the frame may lie in the heap or outside, and is only read. */
    public void add(MemorySegment frame, int height, int width) {
        requirePixels(frame, height, width);
        add(height, width, target -> MemorySegment.ofArray(target).copyFrom(frame), null);
    }

    /** As {@link #add(byte[], int, int)}; a picture of any kind and size, whose transparency is not looked at. */
    public void add(BufferedImage frame) {
        add(frame.getHeight(), frame.getWidth(), target -> Pictures.copy(frame, target), null);
    }

    /**
     * Takes a frame with its time stamp.
     *
     * @param frame u8 {@code [height, width, 3]} in RGB order, of any size, also of another than the last
     * @param time seconds from any moment, not before the last frame's
     * @throws IllegalArgumentException if the pixels do not fit these sizes, the time is before the last one, or windows are counted in frames
     * @throws IllegalStateException if the stream is finished or closed, or this is called by the listener
     */
    public void add(byte[] frame, int height, int width, double time) {
        add(MemorySegment.ofArray(frame), height, width, time);
    }

    /** As {@link #add(byte[], int, int, double)}; the frame may lie in the heap or outside, and is only read. */
    public void add(MemorySegment frame, int height, int width, double time) {
        requirePixels(frame, height, width);
        add(height, width, target -> MemorySegment.ofArray(target).copyFrom(frame), time);
    }

    /** As {@link #add(byte[], int, int, double)}; a picture of any kind and size, whose transparency is not looked at. */
    public void add(BufferedImage frame, double time) {
        add(frame.getHeight(), frame.getWidth(), target -> Pictures.copy(frame, target), time);
    }

    private static void requirePixels(MemorySegment frame, int height, int width) {
        if (height < 1 || width < 1 || frame.byteSize() != 3L * height * width) {
            throw new IllegalArgumentException(
                    "stream: a frame u8[%d, %d, 3] of %d bytes; pass 3 * height * width of them"
                            .formatted(height, width, frame.byteSize()));
        }
    }

    private void add(int height, int width, Consumer<byte[]> fill, @Nullable Double stamp) {
        if (stamp != null && counted()) {
            throw new IllegalArgumentException(
                    "stream: a frame has a time stamp but windows are counted in frames; leave it away, or use Options.seconds");
        }
        lockForFrames();
        try {
            double time = counted() ? frames.frames() : stamp == null ? now() : stamp;
            requireLater(time, Double.MAX_VALUE);
            boolean afterPause = frames.isGap(time);
            statistics = statistics.frame(afterPause);
            if (afterPause) {
                frames.restart();
            }
            frames.add(height, width, fill, time, this::due);
        } finally {
            lock.unlock();
        }
    }

    private double now() {
        return (options.clock().getAsLong() - opened) / 1e9;
    }

    private void requireLater(double time, double most) {
        double last = frames.frames() == 0 ? -Double.MAX_VALUE : frames.last();
        if (!(time >= last && time <= most)) {
            throw new IllegalArgumentException("stream: the time is " + time + " after a frame at " + last
                    + (most < Double.MAX_VALUE
                            ? "; pass one from there to " + most
                            : "; frames come in the order of time"));
        }
    }

    private void lockForFrames() {
        if (lock.isHeldByCurrentThread() || Thread.currentThread().equals(worker)) {
            throw new IllegalStateException(
                    "the stream's listener brings frames or ends it; hand them to another thread");
        }
        lock.lock();
        try {
            throwFailure();
            if (closed || finishing) {
                throw new IllegalStateException("the stream is " + (closed ? "closed" : "finished") + "; open another");
            }
        } catch (RuntimeException | Error e) {
            lock.unlock();
            throw e;
        }
    }

    /** Takes the window that is complete now, in place of one that waits. */
    private void due(long first) {
        while (finishing && due != null && failure == null && !closed) {
            changed.awaitUninterruptibly(); // the last windows are not dropped
        }
        if (closed || failure != null) {
            return;
        }
        if (due != null) {
            statistics = statistics.drop();
        }
        frames.copy(first, waiting);
        double start = frames.start(first);
        Due next = new Due(start, start + options.window(), options.clock().getAsLong(), statistics.pauses());
        if (worker == null) {
            computeHere(next);
        } else {
            due = next;
            changed.signalAll();
        }
    }

    private void computeHere(Due next) {
        try {
            compute(next);
        } catch (RuntimeException | Error e) {
            failure = e;
            throwFailure();
        }
    }

    private void work() {
        for (Due next = take(); next != null; next = take()) {
            Throwable failed = null;
            try {
                compute(next);
            } catch (RuntimeException | Error e) {
                failed = e;
            }
            lock.lock();
            try {
                computing = false;
                failure = failed;
                changed.signalAll();
            } finally {
                lock.unlock();
            }
        }
    }

    /** The next window, whose frames are now those to compute, or null at the end. */
    private @Nullable Due take() {
        lock.lock();
        try {
            while (due == null && !closed && failure == null) {
                changed.awaitUninterruptibly();
            }
            Due next = closed || failure != null ? null : due;
            if (next != null) {
                byte[] free = computed;
                computed = waiting;
                waiting = free;
                due = null;
                computing = true;
                changed.signalAll();
            }
            return next;
        } finally {
            lock.unlock();
        }
    }

    private void compute(Due window) {
        Prediction prediction = predictor.predict(computed, input.frames(), input.height(), input.width());
        if (window.pauses() != recentPauses) {
            recent.clear();
            recentPauses = window.pauses();
        }
        Prediction smoothed = smoothed(prediction);
        double latency = (options.clock().getAsLong() - window.at()) / 1e9;
        long dropped;
        lock.lock();
        try {
            statistics = statistics.window(latency);
            dropped = statistics.dropped();
        } finally {
            lock.unlock();
        }
        listener.predicted(
                new Window(window.start(), window.end(), prediction, smoothed, latency, dropped),
                new VideoClip(input.frames(), input.height(), input.width(), computed));
    }

    private Prediction smoothed(Prediction prediction) {
        return switch (options.smoothing()) {
            case Smoothing.Mean(int windows) -> {
                recent.add(prediction);
                if (recent.size() > windows) {
                    recent.remove();
                }
                yield windows == 1 ? prediction : Prediction.mean(List.copyOf(recent));
            }
            case Smoothing.Exponential(double weight) -> {
                Prediction before = recent.poll();
                Prediction smoothed = before == null ? prediction : prediction.mixed(before, weight);
                recent.add(smoothed);
                yield smoothed;
            }
        };
    }

    /** What the stream did so far. While a prediction is made in a caller's thread, others wait for it here. */
    public Statistics statistics() {
        lock.lock();
        try {
            return statistics;
        } finally {
            lock.unlock();
        }
    }

    /** Bytes of frames that the stream holds now. */
    public long heldBytes() {
        lock.lock();
        try {
            return frames.bytes() + waiting.length + (worker == null ? 0 : computed.length);
        } finally {
            lock.unlock();
        }
    }

    /**
     * Ends the stream behind its last frame: waits until every window that is due has been predicted. Frames are refused from here on.
     *
     * @throws IllegalStateException if the stream is finished or closed, or this is called by the listener
     */
    public void finish() {
        end(null);
    }

    /**
     * As {@link #finish()}, with the last frame shown until a time, which completes the windows up to there.
     *
     * @param end seconds, from the last frame's time stamp to a window after it
     * @throws IllegalArgumentException if it is another time, or windows are counted in frames
     */
    public void finish(double end) {
        end(Double.valueOf(end));
    }

    private void end(@Nullable Double end) {
        if (end != null && counted()) {
            throw new IllegalArgumentException(
                    "stream: it ends at a time but windows are counted in frames; call finish without one");
        }
        lockForFrames();
        try {
            if (end != null) {
                requireLater(end, frames.last() + options.window());
            }
            finishing = true;
            if (end != null) {
                frames.holdUntil(end, this::due);
            }
            while ((due != null || computing) && failure == null && !closed) {
                changed.awaitUninterruptibly();
            }
            throwFailure();
        } finally {
            lock.unlock();
        }
    }

    /** Under the lock. */
    private void throwFailure() {
        Throwable failed = failure;
        if (failed != null) {
            failureTold = true;
            if (failed instanceof Error error) {
                throw error;
            }
            throw (RuntimeException) failed;
        }
    }

    /**
     * Ends the stream at once: a window that still waits is dropped, and one that is computed is waited for, unless this is called by the
     * listener. Call {@link #finish} first to have all of them. A second call does nothing. Throws what failed, unless a call before did.
     */
    @Override
    public void close() {
        lock.lock();
        try {
            closed = true;
            if (due != null) {
                due = null;
                statistics = statistics.drop();
            }
            changed.signalAll();
            while (computing && !Thread.currentThread().equals(worker)) {
                changed.awaitUninterruptibly();
            }
            if (!failureTold) {
                throwFailure();
            }
        } finally {
            lock.unlock();
        }
    }
}
