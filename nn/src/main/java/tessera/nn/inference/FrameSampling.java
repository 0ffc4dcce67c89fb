package tessera.nn.inference;

/** Which frames of a video make a clip: ascending frame numbers, counted from 0. */
public final class FrameSampling {
    private FrameSampling() {}

    /**
     * A dense clip: frame k is {@code start + rate * k}, and at least frame 0.
     *
     * @param start number of the first frame; negative where a clip reaches back before the recording
     * @param rate distance of the frames
     * @param frames length of the clip
     */
    public static long[] dense(long start, int rate, int frames) {
        requireFrames(frames);
        if (rate < 1) {
            throw new IllegalArgumentException("frame sampling: the rate is " + rate + "; give 1 or more");
        }
        long[] indices = new long[frames];
        for (int k = 0; k < frames; k++) {
            indices[k] = Math.max(0, start + (long) rate * k);
        }
        return indices;
    }

    /** The middle frame of each of {@code frames} equal parts of the segment {@code [from, to)}. */
    public static long[] uniform(long from, long to, int frames) {
        requireSegment(from, to, frames);
        long[] indices = new long[frames];
        for (int k = 0; k < frames; k++) {
            indices[k] = from + (long) ((k + 0.5) * (to - from) / frames);
        }
        return indices;
    }

    private static void requireSegment(long from, long to, int frames) {
        requireFrames(frames);
        if (from < 0 || to <= from) {
            throw new IllegalArgumentException(
                    "frame sampling: the segment [%d, %d) holds no frames; give 0 <= from < to".formatted(from, to));
        }
    }

    private static void requireFrames(int frames) {
        if (frames < 1) {
            throw new IllegalArgumentException("frame sampling: a clip of " + frames + " frames; give 1 or more");
        }
    }
}
