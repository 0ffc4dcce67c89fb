package tessera.distill.data;

import tessera.nn.inference.VideoClip;

/** How pictures of any shape become pictures of one size. */
public enum Aspect {
    /** The whole picture, squeezed to the size. */
    SQUASH,
    /** The largest part in the middle that has the shape of the size; the rest on two sides is left out. */
    KEEP;

    /**
     * What becomes of pictures of a shape.
     *
     * @param shape height and width
     * @param rows wanted
     * @param columns wanted
     */
    Middle of(int[] shape, int rows, int columns) {
        if (this == SQUASH) {
            return new Middle(rows, columns, rows, columns);
        }
        int high = Math.max(rows, (int) Math.round((double) columns * shape[0] / shape[1]));
        int wide = Math.max(columns, (int) Math.round((double) rows * shape[1] / shape[0]));
        return new Middle(high, wide, rows, columns);
    }

    /**
     * The middle of whole pictures that were resized.
     *
     * @param high rows of the whole, at least as many as
     * @param rows of the middle
     * @param wide columns of the whole, at least as many as
     * @param columns of the middle
     */
    record Middle(int high, int wide, int rows, int columns) {
        private boolean isWhole() {
            return high == rows && wide == columns;
        }

        VideoClip of(VideoClip whole) {
            if (isWhole()) {
                return whole;
            }
            byte[] pixels = new byte[Math.multiplyExact(whole.frames(), 3 * rows * columns)];
            copy(whole.pixels(), pixels, whole.frames(), 3);
            return new VideoClip(whole.frames(), rows, columns, pixels);
        }

        /** Of {@code [frames, high, wide, channels]} the {@code [frames, rows, columns, channels]} in the middle. */
        float[] of(float[] whole, int frames, int channels) {
            if (isWhole()) {
                return whole;
            }
            float[] middle = new float[Math.multiplyExact(frames, channels * rows * columns)];
            copy(whole, middle, frames, channels);
            return middle;
        }

        private void copy(Object whole, Object middle, int frames, int channels) {
            int top = (high - rows) / 2;
            int left = (wide - columns) / 2;
            int length = columns * channels;
            for (int t = 0; t < frames; t++) {
                for (int y = 0; y < rows; y++) {
                    int from = ((t * high + top + y) * wide + left) * channels;
                    System.arraycopy(whole, from, middle, (t * rows + y) * length, length);
                }
            }
        }
    }
}
