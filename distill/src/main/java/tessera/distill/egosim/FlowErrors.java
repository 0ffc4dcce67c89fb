package tessera.distill.egosim;

/** Turns true motion into an estimate: blurred at boundaries, noisy in patches, wrong in a few places. */
final class FlowErrors {
    private static final int CELLS = 8;

    private FlowErrors() {}

    /** Disturbs one frame of flow, [size, size, 2] at an offset, in place. */
    static void disturb(float[] flow, int offset, int size, Draws draws) {
        blur(flow, offset, size);
        float unit = size / 64f;
        var cells = new float[(CELLS + 1) * (CELLS + 1) * 2];
        for (int i = 0; i < cells.length; i += 2) {
            boolean outlier = draws.chance(.025);
            double spread = (outlier ? 1.6 : .12) * unit;
            cells[i] = (float) (spread * draws.normal());
            cells[i + 1] = (float) (spread * draws.normal());
        }
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
                int cell = 2 * (row * (CELLS + 1) + column);
                int below = cell + 2 * (CELLS + 1);
                long bits = draws.bits();
                int o = offset + 2 * (y * size + x);
                for (int k = 0; k < 2; k++) {
                    float top = cells[cell + k] + fx * (cells[cell + 2 + k] - cells[cell + k]);
                    float low = cells[below + k] + fx * (cells[below + 2 + k] - cells[below + k]);
                    flow[o + k] = gain * flow[o + k]
                            + top
                            + fy * (low - top)
                            + .04f * unit * Draws.tableNormal(bits >>> (12 * k));
                }
            }
        }
    }

    /** Binomial weights 1 2 1 in both directions, borders repeated; the step grows with the picture. */
    private static void blur(float[] flow, int offset, int size) {
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
