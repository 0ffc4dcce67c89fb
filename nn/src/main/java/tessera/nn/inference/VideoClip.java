package tessera.nn.inference;

/**
 * Consecutive frames of one size: u8 values {@code [frames, height, width, 3]} in RGB order, row-major.
 *
 * @param frames number of frames
 * @param height height in pixels
 * @param width width in pixels
 * @param pixels the values; kept, not copied
 */
public record VideoClip(int frames, int height, int width, byte[] pixels) {
    public VideoClip {
        if (frames < 1 || height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    "clip: u8[%d, %d, %d, 3] has no pixels; give positive sizes".formatted(frames, height, width));
        }
        if (pixels.length != 3L * frames * height * width) {
            throw new IllegalArgumentException(
                    "clip: u8[%d, %d, %d, 3] needs %d values but the array has %d; pass an array of that length"
                            .formatted(frames, height, width, 3L * frames * height * width, pixels.length));
        }
    }

    /** Number of values of one frame. */
    public int frameLength() {
        return 3 * height * width;
    }

    /** A clip of the frames with these numbers, in their order; a number may come more than once. */
    public VideoClip select(long... numbers) {
        byte[] chosen = new byte[Math.multiplyExact(numbers.length, frameLength())];
        for (int k = 0; k < numbers.length; k++) {
            System.arraycopy(
                    pixels, Math.toIntExact(numbers[k] * frameLength()), chosen, k * frameLength(), frameLength());
        }
        return new VideoClip(numbers.length, height, width, chosen);
    }
}
