package tessera.nn.inference;

import tessera.kernels.Philox;

/**
 * A rectangle of an image, in pixels.
 *
 * @param top first row
 * @param left first column
 * @param height number of rows
 * @param width number of columns
 */
public record CropBox(int top, int left, int height, int width) {
    private static final int ATTEMPTS = 10;

    public CropBox {
        if (top < 0 || left < 0 || height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    "crop: %d x %d pixels at row %d, column %d; give positive sizes and a place within the image"
                            .formatted(height, width, top, left));
        }
    }

    /** The whole of an image. */
    public static CropBox whole(int height, int width) {
        return new CropBox(0, 0, height, width);
    }

    /** The rectangle in the middle of an image. */
    public static CropBox center(int imageHeight, int imageWidth, int height, int width) {
        return new CropBox((imageHeight - height) / 2, (imageWidth - width) / 2, height, width);
    }

    /** {@link #random(int, int, double, double, double, double, long)} with area .08 to 1 and aspect ratio 3/4 to 4/3. */
    public static CropBox random(int imageHeight, int imageWidth, long seed) {
        return random(imageHeight, imageWidth, 0.08, 1, 3.0 / 4, 4.0 / 3, seed);
    }

    /**
     * A random rectangle (Szegedy et al., "Going deeper with convolutions", CVPR 2015): its share of the area is uniform in
     * {@code [minArea, maxArea]}, the logarithm of its width over height uniform between those of {@code minRatio} and
     * {@code maxRatio}, its place uniform. Where ten draws do not fit into the image, it is the largest rectangle in the
     * middle whose ratio is allowed. Equal seeds give equal rectangles.
     */
    public static CropBox random(
            int imageHeight,
            int imageWidth,
            double minArea,
            double maxArea,
            double minRatio,
            double maxRatio,
            long seed) {
        if (!(0 < minArea && minArea <= maxArea && maxArea <= 1 && 0 < minRatio && minRatio <= maxRatio)) {
            throw new IllegalArgumentException(
                    "random crop: area %s to %s, aspect ratio %s to %s; give 0 < least <= most, and areas up to 1"
                            .formatted(minArea, maxArea, minRatio, maxRatio));
        }
        int[] words = new int[4];
        double imageArea = (double) imageHeight * imageWidth;
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            Philox.words(seed, 0, attempt, words);
            double area = imageArea * (minArea + (maxArea - minArea) * Philox.uniform(words[0]));
            double logRatio = Math.log(minRatio) + Math.log(maxRatio / minRatio) * Philox.uniform(words[1]);
            int width = (int) Math.round(Math.sqrt(area * Math.exp(logRatio)));
            int height = (int) Math.round(Math.sqrt(area * Math.exp(-logRatio)));
            if (width >= 1 && width <= imageWidth && height >= 1 && height <= imageHeight) {
                int top = (int) ((imageHeight - height + 1) * (double) Philox.uniform(words[2]));
                int left = (int) ((imageWidth - width + 1) * (double) Philox.uniform(words[3]));
                return new CropBox(top, left, height, width);
            }
        }
        double ratio = Math.clamp((double) imageWidth / imageHeight, minRatio, maxRatio);
        int width = Math.clamp(Math.round(imageHeight * ratio), 1, imageWidth);
        int height = Math.clamp(Math.round(imageWidth / ratio), 1, imageHeight);
        return center(imageHeight, imageWidth, height, width);
    }
}
