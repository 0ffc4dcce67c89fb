package tessera.distill.video;

import java.nio.file.Path;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/**
 * What a video file says about its first video stream. Headers may be wrong or silent; decoding decides.
 *
 * @param file the file
 * @param width width in pixels of a frame as shown, that is, in square pixels and after the rotation the file asks for
 * @param height height in pixels of a frame as shown
 * @param frameRate mean frames per second
 * @param duration seconds
 * @param frames number of frames at the file's own frame rate
 */
public record VideoInfo(
        Path file, int width, int height, OptionalDouble frameRate, OptionalDouble duration, OptionalLong frames) {
    /** Some formats count whole milliseconds: of when the first frame begins, when the last one does, and how long that lasts. */
    private static final double ROUNDING = .002;

    /** How many whole frames of so many in a second there are in a time that formats may have rounded, by less than half a frame. */
    static long frames(double seconds, double rate) {
        return Math.max(1, (long) Math.floor(seconds * rate + Math.min(.5, ROUNDING * rate)));
    }

    /** The number of frames when the video is resampled to {@code rate} frames per second, if the file says how long it is. */
    public OptionalLong framesAt(double rate) {
        OptionalDouble seconds = duration.isPresent() || frames.isEmpty() || frameRate.isEmpty()
                ? duration
                : OptionalDouble.of(frames.getAsLong() / frameRate.getAsDouble());
        if (seconds.isPresent()) {
            return OptionalLong.of(frames(seconds.getAsDouble(), rate));
        }
        return OptionalLong.empty();
    }
}
