package tessera.distill.egosim;

/**
 * Smears a frame along the motion of what each pixel shows, for as long as the shutter is open, half of it before and half after the
 * frame's time. Used by one thread.
 */
final class MotionBlur {
    /** A shorter way, in pixels, is not seen. */
    private static final float LEAST = .5f;

    private static final int MOST_SAMPLES = 24;

    private final int size;
    private final float share;
    private final float[] sharp;

    /** @param share of the time from frame to frame for which the shutter is open */
    MotionBlur(int size, double share) {
        this.size = size;
        this.share = (float) share;
        sharp = new float[3 * size * size];
    }

    /**
     * Smears in place.
     *
     * @param colours [size, size, 3]
     * @param motion in pixels to the next frame, [size, size, 2] from an offset
     */
    void smear(float[] colours, float[] motion, int offset) {
        System.arraycopy(colours, 0, sharp, 0, sharp.length);
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                int i = y * size + x;
                float dx = share * motion[offset + 2 * i];
                float dy = share * motion[offset + 2 * i + 1];
                float far = Math.max(Math.abs(dx), Math.abs(dy));
                if (far > LEAST) {
                    smear(colours, x, y, dx, dy, Math.min(MOST_SAMPLES, 2 + (int) far));
                }
            }
        }
    }

    private void smear(float[] colours, int x, int y, float dx, float dy, int samples) {
        float red = 0;
        float green = 0;
        float blue = 0;
        float fromX = x + .5f - .5f * dx;
        float fromY = y + .5f - .5f * dy;
        float step = 1f / (samples - 1);
        for (int k = 0; k < samples; k++) {
            int atX = Math.clamp((int) (fromX + k * step * dx), 0, size - 1);
            int atY = Math.clamp((int) (fromY + k * step * dy), 0, size - 1);
            int from = 3 * (atY * size + atX);
            red += sharp[from];
            green += sharp[from + 1];
            blue += sharp[from + 2];
        }
        int to = 3 * (y * size + x);
        colours[to] = red / samples;
        colours[to + 1] = green / samples;
        colours[to + 2] = blue / samples;
    }
}
