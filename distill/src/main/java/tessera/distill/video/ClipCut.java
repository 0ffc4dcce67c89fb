package tessera.distill.video;

/**
 * How a recording is cut into clips.
 *
 * @param frames frames of a clip, equally spaced in time
 * @param height height of a frame in pixels; the aspect ratio is not kept
 * @param width width of a frame in pixels
 * @param clipSeconds how long a clip lasts; 0 makes one clip of the whole part
 * @param strideSeconds from the beginning of a clip to the beginning of the next; equal to {@code clipSeconds} for clips
 *     that follow each other without overlap
 * @param from where the part that is cut begins, as a fraction of the recording
 * @param to where it ends, as a fraction of the recording; clips lie completely within the part
 * @param pictureRate pictures per second of a recording that is a folder of pictures; videos have times of their own
 */
public record ClipCut(
        int frames,
        int height,
        int width,
        double clipSeconds,
        double strideSeconds,
        double from,
        double to,
        double pictureRate) {
    /** Above every length of a clip, in seconds. */
    public static final double LONGEST = 1e6;

    public static final int MOST_FRAMES_PER_SECOND = 1000;

    public ClipCut {
        if (frames < 1 || height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    "cut: clips of %d frames of %d x %d pixels; give positive sizes".formatted(frames, height, width));
        }
        if (!(clipSeconds >= 0 && clipSeconds < LONGEST)
                || (clipSeconds > 0 && !(strideSeconds > 0 && strideSeconds < LONGEST))) {
            throw new IllegalArgumentException(
                    "cut: clips of %s s, one every %s s; give positive lengths, or 0 for one clip of the whole part"
                            .formatted(clipSeconds, strideSeconds));
        }
        if (clipSeconds > 0 && frames / clipSeconds > MOST_FRAMES_PER_SECOND) {
            throw new IllegalArgumentException("cut: %d frames in %s s are more than 1000 per second; give longer clips"
                    .formatted(frames, clipSeconds));
        }
        if (!(0 <= from && from < to && to <= 1)) {
            throw new IllegalArgumentException(
                    "cut: the part from %s to %s of a recording; give fractions with 0 <= from < to <= 1"
                            .formatted(from, to));
        }
        DecodeOptions.NATIVE.withPictureRate(pictureRate); // refuses what is none
    }

    /** A cut of videos, which have times of their own; folders of pictures are taken to have 25 in a second. */
    public ClipCut(
            int frames, int height, int width, double clipSeconds, double strideSeconds, double from, double to) {
        this(frames, height, width, clipSeconds, strideSeconds, from, to, DecodeOptions.PICTURE_RATE);
    }

    /** One clip of the whole recording. */
    public static ClipCut whole(int frames, int height, int width) {
        return new ClipCut(frames, height, width, 0, 0, 0, 1);
    }

    /** Clips of {@code clipSeconds} each, one after the other, from the whole recording. */
    public static ClipCut every(double clipSeconds, int frames, int height, int width) {
        return new ClipCut(frames, height, width, clipSeconds, clipSeconds, 0, 1);
    }

    /** The same from a part of each recording, given as fractions. */
    public ClipCut part(double from, double to) {
        return new ClipCut(frames, height, width, clipSeconds, strideSeconds, from, to, pictureRate);
    }

    /** The same where folders of pictures have so many in a second. */
    public ClipCut withPictureRate(double pictureRate) {
        return new ClipCut(frames, height, width, clipSeconds, strideSeconds, from, to, pictureRate);
    }

    /** The same in frames of another size. */
    ClipCut withSize(int height, int width) {
        return new ClipCut(frames, height, width, clipSeconds, strideSeconds, from, to, pictureRate);
    }

    /** How the recording is decoded at its own size and rate. */
    DecodeOptions decoding() {
        return DecodeOptions.NATIVE.withPictureRate(pictureRate);
    }
}
