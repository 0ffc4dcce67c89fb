package tessera.distill.data;

/**
 * Bilinear resize of a part of a picture, antialiased where it shrinks: as if the whole were resized and then cut.
 *
 * @param first for each output position of one axis, the first input position it looks at
 * @param weights those of the inputs from there on; they sum to 1
 */
record Resampling(int[] first, float[][] weights) {
    /**
     * One axis. Pixel centres lie at half coordinates; weights that fall outside are left out and the rest normalised.
     *
     * @param start where the part begins, in input pixels
     * @param extent its length, in input pixels
     * @param mirrored whether the outputs are in reverse order
     */
    static Resampling of(int inputs, double start, double extent, int outputs, boolean mirrored) {
        double scale = extent / outputs;
        double support = Math.max(1, scale);
        int[] first = new int[outputs];
        float[][] weights = new float[outputs][];
        for (int i = 0; i < outputs; i++) {
            double center = start + (i + 0.5) * scale;
            int begin = Math.clamp((long) Math.floor(center - support + 0.5), 0, inputs - 1);
            int end = Math.clamp((long) Math.floor(center + support + 0.5), begin + 1, inputs);
            double[] exact = new double[end - begin];
            double sum = 0;
            for (int k = 0; k < exact.length; k++) {
                exact[k] = Math.max(0, 1 - Math.abs(begin + k + 0.5 - center) / support);
                sum += exact[k];
            }
            int to = mirrored ? outputs - 1 - i : i;
            first[to] = begin;
            weights[to] = new float[exact.length];
            for (int k = 0; k < exact.length; k++) {
                weights[to][k] = (float) (exact[k] / sum);
            }
        }
        return new Resampling(first, weights);
    }

    /** The whole of an axis, resized. */
    static Resampling whole(int inputs, int outputs) {
        return of(inputs, 0, inputs, outputs, false);
    }

    /**
     * A picture {@code [rows, columns, channels]}, of which only the rows that are looked at are read.
     *
     * @return {@code [outputs of rows, outputs of columns, channels]}
     */
    static float[] apply(float[] in, int columns, int channels, Resampling rows, Resampling across) {
        int height = rows.first.length;
        int width = across.first.length;
        int top = Integer.MAX_VALUE;
        int bottom = 0;
        for (int y = 0; y < height; y++) {
            top = Math.min(top, rows.first[y]);
            bottom = Math.max(bottom, rows.first[y] + rows.weights[y].length);
        }
        int row = width * channels;
        float[] narrow = new float[(bottom - top) * row];
        for (int y = top; y < bottom; y++) {
            for (int x = 0; x < width; x++) {
                float[] weights = across.weights[x];
                int from = (y * columns + across.first[x]) * channels;
                int to = (y - top) * row + x * channels;
                for (int k = 0; k < weights.length; k++) {
                    for (int c = 0; c < channels; c++) {
                        narrow[to + c] += weights[k] * in[from + k * channels + c];
                    }
                }
            }
        }
        float[] out = new float[height * row];
        for (int y = 0; y < height; y++) {
            float[] weights = rows.weights[y];
            for (int k = 0; k < weights.length; k++) {
                int from = (rows.first[y] - top + k) * row;
                for (int i = 0; i < row; i++) {
                    out[y * row + i] += weights[k] * narrow[from + i];
                }
            }
        }
        return out;
    }
}
