package tessera.distill.video;

import java.time.Duration;

/**
 * How a video is turned into frames.
 *
 * @param width width of the frames in pixels, 0 for the video's own
 * @param height height of the frames in pixels, 0 for the video's own; width and height are given together and need not
 *     keep the aspect ratio. FFmpeg scales while decoding (bilinear, widened when shrinking, as an antialiased resize)
 * @param frameRate frames per second to resample to by time stamps (frames are repeated or left out, not blended), 0 for
 *     every frame the file holds
 * @param start how many frames, counted after resampling, are left out at the beginning
 * @param timeout how long the decoder may give no frame before it is stopped; frames that are passed over count as given
 * @param pictureRate pictures per second of a folder of pictures; videos have times of their own
 */
public record DecodeOptions(int width, int height, double frameRate, long start, Duration timeout, double pictureRate) {
    /** Pictures per second of a folder of pictures where nobody says, as FFmpeg has it. */
    public static final double PICTURE_RATE = 25;

    /** Every frame, at its own size. */
    public static final DecodeOptions NATIVE = new DecodeOptions(0, 0, 0, 0, Duration.ofSeconds(60));

    public DecodeOptions {
        if (width < 0 || height < 0 || (width == 0) != (height == 0)) {
            throw new IllegalArgumentException(
                    "decode: the frame size is %d x %d; give a positive width and height, or 0 for both"
                            .formatted(width, height));
        }
        if (!(frameRate >= 0 && frameRate <= 1000)) {
            throw new IllegalArgumentException("decode: the frame rate is " + frameRate
                    + "; give 0 for the video's own or at most 1000 frames per second");
        }
        if (start < 0) {
            throw new IllegalArgumentException("decode: the start is frame " + start + "; give 0 or more");
        }
        if (!(pictureRate > 0 && pictureRate <= 1000)) {
            throw new IllegalArgumentException("decode: " + pictureRate
                    + " pictures per second; give a positive number, at most 1000, or leave it at " + PICTURE_RATE);
        }
        if (timeout.isNegative() || timeout.isZero()) {
            throw new IllegalArgumentException("decode: the time limit is " + timeout + "; give more than nothing");
        }
    }

    /** Options for videos, which have times of their own. */
    public DecodeOptions(int width, int height, double frameRate, long start, Duration timeout) {
        this(width, height, frameRate, start, timeout, PICTURE_RATE);
    }

    /** The same with frames of {@code width} x {@code height} pixels. */
    public DecodeOptions withSize(int width, int height) {
        return new DecodeOptions(width, height, frameRate, start, timeout, pictureRate);
    }

    /** The same, resampled to {@code frameRate} frames per second. */
    public DecodeOptions withFrameRate(double frameRate) {
        return new DecodeOptions(width, height, frameRate, start, timeout, pictureRate);
    }

    /** The same from frame {@code start} on. */
    public DecodeOptions withStart(long start) {
        return new DecodeOptions(width, height, frameRate, start, timeout, pictureRate);
    }

    /** The same with so many pictures of a folder in a second. */
    public DecodeOptions withPictureRate(double pictureRate) {
        return new DecodeOptions(width, height, frameRate, start, timeout, pictureRate);
    }
}
