package tessera.distill.egosim;

/**
 * Turns true motion into an estimate: ragged and blurred at the boundaries of what moves, noisy in patches, wrong in a few places, too short or
 * too long where motion is large. How much of it depends on speed and on the clip's {@link Conditions}; the table in {@link Sensors} has the
 * figures. Used by one thread.
 */
final class FlowErrors {
    private static final int CELLS = 8;
    private static final int WIDE = CELLS + 1;

    /** Speed, in pixels of a picture of 64, at which errors are twice those at rest and half of the bias of large motion is reached. */
    private static final float FAST = 4;

    private final int size;
    /** Pixels of a pixel of a picture of 64. */
    private final float unit;

    private final float haze;
    private final float bias;
    private final Draws draws;
    private final float[] before;
    private final float[] cells = new float[WIDE * WIDE * 2];

    FlowErrors(int size, Conditions conditions, Draws draws) {
        this.size = size;
        this.draws = draws;
        unit = size / 64f;
        haze = (float) conditions.haze();
        bias = (float) (-.08 + .1 * draws.normal());
        before = new float[2 * size * size];
    }

    /** Disturbs one frame of flow, [size, size, 2] at an offset, in place. */
    void disturb(float[] flow, int offset) {
        tear(flow, offset);
        blur(flow, offset);
        drawCells(flow, offset);
        float gain = 1 + .03f * (float) draws.normal();
        float perPixel = CELLS / (float) size;
        for (int y = 0; y < size; y++) {
            float v = (y + .5f) * perPixel;
            int row = (int) v;
            float fy = v - row;
            for (int x = 0; x < size; x++) {
                float u = (x + .5f) * perPixel;
                int column = (int) u;
                float fx = u - column;
                int cell = 2 * (row * WIDE + column);
                int below = cell + 2 * WIDE;
                long bits = draws.bits();
                int o = offset + 2 * (y * size + x);
                float speed = speed(flow, o);
                float scale = gain + bias * speed / (speed + FAST);
                float fine = .04f * unit * haze * (1 + speed / FAST);
                for (int k = 0; k < 2; k++) {
                    float top = cells[cell + k] + fx * (cells[cell + 2 + k] - cells[cell + k]);
                    float low = cells[below + k] + fx * (cells[below + 2 + k] - cells[below + k]);
                    flow[o + k] =
                            scale * flow[o + k] + top + fy * (low - top) + fine * Draws.tableNormal(bits >>> (12 * k));
                }
            }
        }
    }

    /** Errors at the corners of cells, between which those of pixels lie. */
    private void drawCells(float[] flow, int offset) {
        for (int row = 0; row < WIDE; row++) {
            for (int column = 0; column < WIDE; column++) {
                int y = Math.min(size - 1, row * size / CELLS);
                int x = Math.min(size - 1, column * size / CELLS);
                float more = 1 + speed(flow, offset + 2 * (y * size + x)) / FAST;
                boolean outlier = draws.chance(Math.min(.3, .02 * haze * more));
                double spread = unit * more * (outlier ? 1.6 : .12 * haze);
                int cell = 2 * (row * WIDE + column);
                cells[cell] = (float) (spread * draws.normal());
                cells[cell + 1] = (float) (spread * draws.normal());
            }
        }
    }

    /** In pixels of a picture of 64. */
    private float speed(float[] flow, int o) {
        return (float) Math.sqrt(flow[o] * flow[o] + flow[o + 1] * flow[o + 1]) / unit;
    }

    /**
     * Where neighbours move apart, or one covers the other, a pixel takes the motion of one nearby, the farther away the more their
     * motions differ: what is covered in one of two frames cannot be matched.
     */
    private void tear(float[] flow, int offset) {
        System.arraycopy(flow, offset, before, 0, before.length);
        for (int y = 1; y + 1 < size; y++) {
            for (int x = 1; x + 1 < size; x++) {
                int i = 2 * (y * size + x);
                float apart = Math.max(apart(i - 2, i + 2), apart(i - 2 * size, i + 2 * size));
                if (apart <= unit) {
                    continue;
                }
                float reach = Math.min(apart, 6 * unit);
                long bits = draws.bits();
                int dx = Math.round(reach * part(bits));
                int dy = Math.round(reach * part(bits >>> 16));
                int from = 2 * (Math.clamp(y + dy, 0, size - 1) * size + Math.clamp(x + dx, 0, size - 1));
                flow[offset + i] = before[from];
                flow[offset + i + 1] = before[from + 1];
            }
        }
    }

    /** From -.5 to .5. */
    private static float part(long bits) {
        return (bits & 0xFFFF) / 65536f - .5f;
    }

    /** By how much the motions of two pixels differ. */
    private float apart(int a, int b) {
        return Math.max(Math.abs(before[a] - before[b]), Math.abs(before[a + 1] - before[b + 1]));
    }

    /** Binomial weights 1 2 1 in both directions, borders repeated; the step grows with the picture. */
    private void blur(float[] flow, int offset) {
        int step = Math.max(1, size / 64);
        var line = new float[2 * size];
        for (int pass = 0; pass < 2; pass++) {
            int along = pass == 0 ? 2 : 2 * size;
            int across = pass == 0 ? 2 * size : 2;
            for (int i = 0; i < size; i++) {
                int start = offset + i * across;
                for (int j = 0; j < size; j++) {
                    line[2 * j] = flow[start + j * along];
                    line[2 * j + 1] = flow[start + j * along + 1];
                }
                for (int j = 0; j < size; j++) {
                    int a = 2 * Math.max(0, j - step);
                    int b = 2 * Math.min(size - 1, j + step);
                    flow[start + j * along] = .25f * (line[a] + line[b]) + .5f * line[2 * j];
                    flow[start + j * along + 1] = .25f * (line[a + 1] + line[b + 1]) + .5f * line[2 * j + 1];
                }
            }
        }
    }
}
