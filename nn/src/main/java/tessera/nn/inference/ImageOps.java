package tessera.nn.inference;

import tessera.kernels.Philox;

/**
 * Operations on the images of a clip; every frame is treated alike. Each returns a new clip and leaves its input as it is.
 * Thread-safe.
 */
public final class ImageOps {
    /** Bits behind the point of a filter weight; with the 8 of a value and the rounding they fit into an int. */
    private static final int WEIGHT_BITS = 22;

    /** Apart from the crop's numbers, which are drawn from stream 0. */
    private static final long FLIP_STREAM = 1;

    private ImageOps() {}

    /**
     * Bilinear resize of the whole image; the aspect ratio is not kept.
     *
     * @param antialias when shrinking, widen the filter by the factor of shrinking, so that every pixel counts; without it
     *     the two pixels nearest in each direction decide
     */
    public static VideoClip resize(VideoClip clip, int height, int width, boolean antialias) {
        return resize(clip, CropBox.whole(clip.height(), clip.width()), height, width, antialias);
    }

    /**
     * Bilinear resize of a rectangle of the image, as if it had been cropped first.
     *
     * <p>Pixel centres lie at half coordinates: output i looks at input {@code (i + .5) * scale - .5}. Weights that fall
     * outside the image are left out and the rest normalised. Rows first, then columns, each rounded to u8.
     */
    public static VideoClip resize(VideoClip clip, CropBox box, int height, int width, boolean antialias) {
        requireWithin(clip, box, "resize");
        if (height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    "resize: to %d x %d pixels; give a positive height and width".formatted(height, width));
        }
        if (box.height() == height && box.width() == width) {
            return crop(clip, box);
        }
        Taps columns = Taps.of(box.width(), width, antialias);
        Taps rows = Taps.of(box.height(), height, antialias);
        byte[] narrow = new byte[3 * box.height() * width];
        byte[] out = new byte[Math.multiplyExact(clip.frames(), Math.multiplyExact(3 * height, width))];
        for (int frame = 0; frame < clip.frames(); frame++) {
            for (int y = 0; y < box.height(); y++) {
                int in = frame * clip.frameLength() + 3 * ((box.top() + y) * clip.width() + box.left());
                for (int x = 0; x < width; x++) {
                    for (int channel = 0; channel < 3; channel++) {
                        narrow[3 * (y * width + x) + channel] = columns.apply(x, clip.pixels(), in + channel, 3);
                    }
                }
            }
            int outStart = frame * 3 * height * width;
            for (int y = 0; y < height; y++) {
                for (int i = 0; i < 3 * width; i++) {
                    out[outStart + y * 3 * width + i] = rows.apply(y, narrow, i, 3 * width);
                }
            }
        }
        return new VideoClip(clip.frames(), height, width, out);
    }

    /** A rectangle of the image. */
    public static VideoClip crop(VideoClip clip, CropBox box) {
        requireWithin(clip, box, "crop");
        int row = 3 * box.width();
        byte[] out = new byte[clip.frames() * box.height() * row];
        for (int frame = 0; frame < clip.frames(); frame++) {
            for (int y = 0; y < box.height(); y++) {
                int from = frame * clip.frameLength() + 3 * ((box.top() + y) * clip.width() + box.left());
                System.arraycopy(clip.pixels(), from, out, (frame * box.height() + y) * row, row);
            }
        }
        return new VideoClip(clip.frames(), box.height(), box.width(), out);
    }

    /** Left and right exchanged. */
    public static VideoClip flip(VideoClip clip) {
        byte[] in = clip.pixels();
        byte[] out = new byte[in.length];
        int width = clip.width();
        for (int row = 0; row < clip.frames() * clip.height(); row++) {
            int start = 3 * row * width;
            for (int x = 0; x < width; x++) {
                System.arraycopy(in, start + 3 * x, out, start + 3 * (width - 1 - x), 3);
            }
        }
        return new VideoClip(clip.frames(), clip.height(), width, out);
    }

    /**
     * The transform for training: one random crop for the whole clip, resized (antialiased) to {@code size} x {@code size},
     * and flipped with probability one half. Equal seeds give equal results.
     */
    public static VideoClip trainTransform(VideoClip clip, int size, long seed) {
        CropBox box = CropBox.random(clip.height(), clip.width(), seed);
        VideoClip resized = resize(clip, box, size, size, true);
        return Philox.uniform(Philox.word(seed, FLIP_STREAM, 0)) < 0.5f ? flip(resized) : resized;
    }

    private static void requireWithin(VideoClip clip, CropBox box, String operation) {
        if (box.top() + box.height() > clip.height() || box.left() + box.width() > clip.width()) {
            throw new IllegalArgumentException(
                    "%s: the rectangle %s does not lie within the image of %d x %d pixels; give one that does"
                            .formatted(operation, box, clip.height(), clip.width()));
        }
    }

    /** For each output position of one axis: the first input position it looks at, and the weights from there on. */
    private record Taps(int[] first, int[][] weights) {
        static Taps of(int inputs, int outputs, boolean antialias) {
            double scale = (double) inputs / outputs;
            double support = antialias ? Math.max(1, scale) : 1;
            int[] first = new int[outputs];
            int[][] weights = new int[outputs][];
            for (int i = 0; i < outputs; i++) {
                double center = (i + 0.5) * scale;
                int begin = Math.max(0, (int) (center - support + 0.5));
                int end = Math.min(inputs, (int) (center + support + 0.5));
                double[] exact = new double[end - begin];
                double sum = 0;
                for (int k = 0; k < exact.length; k++) {
                    exact[k] = Math.max(0, 1 - Math.abs(begin + k + 0.5 - center) / support);
                    sum += exact[k];
                }
                first[i] = begin;
                weights[i] = new int[exact.length];
                for (int k = 0; k < exact.length; k++) {
                    weights[i][k] = (int) Math.round(exact[k] / sum * (1 << WEIGHT_BITS));
                }
            }
            return new Taps(first, weights);
        }

        byte apply(int output, byte[] in, int start, int stride) {
            int sum = 1 << (WEIGHT_BITS - 1);
            int at = start + first[output] * stride;
            for (int weight : weights[output]) {
                sum += weight * (in[at] & 0xFF);
                at += stride;
            }
            // Rounded weights may add up to a little more than one.
            return (byte) Math.min(255, sum >>> WEIGHT_BITS);
        }
    }
}
