package tessera.distill.video;

import org.jspecify.annotations.Nullable;

/** Frames of one size with their times, one after the other. For one thread at a time. */
interface FrameSource extends AutoCloseable {
    /**
     * A frame.
     *
     * @param pixels u8 {@code [height, width, 3]}
     * @param time seconds
     * @param duration seconds, 0 where unknown
     */
    record Frame(byte[] pixels, double time, double duration) {}

    /** The next frame, or null after the last; exceptions as {@link VideoReader#next()}. */
    @Nullable
    Frame next();

    @Override
    void close();
}
