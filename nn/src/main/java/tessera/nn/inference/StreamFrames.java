package tessera.nn.inference;

import java.util.function.Consumer;
import java.util.function.LongConsumer;
import tessera.nn.ClipShape;

/**
 * The frames of a stream's windows, and no others: whatever the rate at which frames come, the last of as many <em>samples</em> as a
 * model takes frames are kept in a ring, at the model's size, and beside them the one frame that came last, as it came.
 *
 * <p>A window of the length W is cut into T equal parts, T the model's frames, and sample n is the frame that is shown in the middle of
 * part n, counted on from the stream's first frame; windows begin at the sample nearest to each multiple of the stride. So overlapping
 * windows share their samples, and a frame is resized only where it becomes one. Not thread-safe.
 */
final class StreamFrames {
    /** Frames whose times lie in the middle of a part, but for rounding, are those of the next; as in reading videos. */
    private static final double ROUNDING = 1e-3;

    private static final byte[] NONE = {};

    private final ClipShape input;
    private final boolean counted;
    private final double window;
    private final double stride;
    private final int length;
    private final byte[] ring;
    /** What is shown now, as it came. */
    private byte[] shown = NONE;

    private int shownHeight;
    private int shownWidth;
    /** The same at the model's size; empty until it is a sample. */
    private byte[] fitted = NONE;

    /** When the first frame came; NaN before it. */
    private double origin = Double.NaN;

    private double last;
    private long frames;
    /** Samples since the first frame. */
    private long samples;
    /** Windows since the first frame. */
    private long windows;

    /**
     * @param counted whether times are numbers of frames
     * @param window length
     * @param stride from the beginning of a window to that of the next
     * @throws IllegalArgumentException if the stride is less than the distance of two samples
     */
    StreamFrames(ClipShape input, boolean counted, double window, double stride) {
        double distance = window / input.frames();
        if (stride < distance * (1 - 1e-9)) {
            throw new IllegalArgumentException("stream: a window every " + stride + " of windows of " + window
                    + ", in which the student looks at " + input.frames() + " frames, one every " + distance
                    + "; pass a stride of at least that, or shorter windows");
        }
        this.input = input;
        this.counted = counted;
        this.window = window;
        this.stride = stride;
        this.length = 3 * input.height() * input.width();
        this.ring = new byte[Math.multiplyExact(input.frames(), length)];
    }

    /** The number of frames that came since the stream began, or began anew. */
    long frames() {
        return frames;
    }

    /** Whether a frame of this time would come so late that what is shown until then says nothing: more than a window after the last. */
    boolean isGap(double time) {
        return !counted && frames > 0 && time - last > window;
    }

    /** Forgets all frames: the next is the first. */
    void restart() {
        origin = Double.NaN;
        frames = 0;
        samples = 0;
        windows = 0;
    }

    /**
     * Takes a frame.
     *
     * @param fill writes its pixels, u8 {@code [height, width, 3]}
     * @param time not before the last frame's; its number where frames are counted
     * @param complete told the first sample of each window that is complete now, at once: the next sample takes the place of the first
     */
    void add(int height, int width, Consumer<byte[]> fill, double time, LongConsumer complete) {
        if (Double.isNaN(origin)) {
            origin = time;
        } else if (!counted) {
            advance(samplesBefore(time), complete);
        }
        show(height, width, fill);
        last = time;
        frames++;
        if (counted) { // it is shown until the next, whenever that comes
            advance(samplesBefore(time + 1), complete);
        }
    }

    /** What was shown last is shown until then. */
    void holdUntil(double time, LongConsumer complete) {
        if (frames > 0) {
            advance(samplesBefore(time), complete);
        }
    }

    /** The time of the last frame. */
    double last() {
        return last;
    }

    private void show(int height, int width, Consumer<byte[]> fill) {
        int size = Math.multiplyExact(3, Math.multiplyExact(height, width));
        if (shown.length != size) {
            shown = new byte[size];
        }
        fill.accept(shown);
        shownHeight = height;
        shownWidth = width;
        fitted = NONE;
    }

    /** How many samples show what came before a time. */
    private long samplesBefore(double time) {
        double parts = (time - origin) * input.frames() / window;
        return (long) (counted ? Math.ceil(parts - 0.5) : Math.floor(parts + 0.5 + ROUNDING));
    }

    private void advance(long until, LongConsumer complete) {
        while (samples < until) {
            long first = first();
            if (samples >= first) {
                System.arraycopy(fitted(), 0, ring, slot(samples), length);
            }
            samples++;
            if (samples == first + input.frames()) {
                windows++;
                complete.accept(first);
            }
        }
    }

    /** The first sample of the next window. */
    private long first() {
        return Math.round(windows * stride * input.frames() / window);
    }

    private int slot(long sample) {
        return Math.toIntExact(sample % input.frames()) * length;
    }

    private byte[] fitted() {
        if (fitted.length == 0) {
            VideoClip frame = new VideoClip(1, shownHeight, shownWidth, shown);
            fitted = isFitted()
                    ? shown
                    : ImageOps.resize(frame, input.height(), input.width(), true)
                            .pixels();
        }
        return fitted;
    }

    /** Whether what is shown came at the model's size. */
    private boolean isFitted() {
        return shownHeight == input.height() && shownWidth == input.width();
    }

    /** Writes the samples of a window that was told just now, u8 {@code [T, height, width, 3]}. */
    void copy(long first, byte[] target) {
        for (int k = 0; k < input.frames(); k++) {
            System.arraycopy(ring, slot(first + k), target, k * length, length);
        }
    }

    /** When a window begins. */
    double start(long first) {
        return origin + first * window / input.frames();
    }

    /** Bytes that are held now. */
    long bytes() {
        return (long) ring.length + shown.length + (isFitted() ? 0 : fitted.length);
    }
}
