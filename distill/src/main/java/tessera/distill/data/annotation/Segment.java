package tessera.distill.data.annotation;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * A part of a recording: in seconds, in frame numbers, in both where a data set gives both, or all of it where neither is given.
 *
 * @param seconds from the first frame
 * @param frames numbers, of which 1 is the first frame's, the last included
 * @param rate frames of a second by which the numbers count, or 0 if that is the recording's own rate
 * @param step distance of a clip's frames, which begin with the first of {@code frames} and go on as far as a clip needs; 0 spreads
 *     them evenly over the part
 */
public record Segment(@Nullable Span seconds, @Nullable Span frames, double rate, int step) {
    /** All of a recording. */
    public static final Segment WHOLE = new Segment(null, null, 0, 0);

    /**
     * From where to where.
     *
     * @param start 0 or more
     * @param end at least {@code start}
     */
    public record Span(double start, double end) {
        public Span {
            if (!(start >= 0 && end >= start && end < 1e9)) {
                throw new IllegalArgumentException("a part from " + start + " to " + end + "; pass 0 <= start <= end");
            }
        }
    }

    public Segment {
        if (!(rate >= 0 && rate <= 1000) || step < 0 || (step > 0 && frames == null)) {
            throw new IllegalArgumentException("a part with " + rate + " frames a second, every " + step
                    + "th; pass 0 to 1000, and a distance of 0 or more from a numbered frame on");
        }
    }

    /** A part that is known by its times. */
    public static Segment seconds(double start, double end) {
        return new Segment(new Span(start, end), null, 0, 0);
    }

    /** A part that is known by its first and last frame. */
    public static Segment frames(double first, double last, double rate) {
        return new Segment(null, new Span(first, last), rate, 0);
    }

    /** Frames at a distance of each other, from a numbered one on. */
    public static Segment every(int step, double first, double rate) {
        return new Segment(null, new Span(first, first), rate, step);
    }

    /** What tells parts of one recording apart in the names of files, sorted as they begin; empty for {@link #WHOLE}. */
    public String name() {
        if (seconds != null) {
            return String.format(
                    Locale.ROOT, "%09d_%09d", Math.round(1000 * seconds.start), Math.round(1000 * seconds.end));
        }
        if (frames != null) {
            return String.format(Locale.ROOT, "f%08d_%08d", Math.round(frames.start), Math.round(frames.end));
        }
        return "";
    }
}
