package tessera.distill.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import tessera.kernels.Philox;
import tessera.nn.inference.FrameSampling;

/**
 * How clips are looked at in training and in tests (Radevski et al., ICCV 2023): one draw of frames, crop, mirror and colours for
 * all modalities of a clip, so that teachers and student see the same. Immutable; what it gives is a function of its arguments
 * alone.
 *
 * @param frames how frames are chosen from those a clip holds; a clip of exactly as many frames as are seen shows them all
 * @param stride frames from one to the next where they are chosen {@link Frames#DENSE}ly
 * @param smallest in training, the picture's shorter side is at least this many times as long as what is seen of it, 1 or more
 * @param largest and at most this many times as long
 * @param mirror whether every second clip of training is mirrored
 * @param jitter in training, brightness, contrast and saturation are within 1 +- this, in [0, 1]
 * @param hue in training, hues turn by at most this share of the colour circle, in [0, .5]
 */
public record Views(
        Frames frames, int stride, double smallest, double largest, boolean mirror, double jitter, double hue) {
    /** Which frames of a clip are seen. */
    public enum Frames {
        /** One of each of as many equal parts of the clip: a random one in training, the middle one in tests. */
        UNIFORM,
        /**
         * Every {@code stride}-th of a window: at a random place in training, evenly spaced ones in tests. A window that is longer
         * than the clip repeats the last frame.
         */
        DENSE
    }

    /** The published settings. */
    public static final Views PUBLISHED = new Views(Frames.UNIFORM, 8, 1.15, 1.43, false, .25, .1);

    /** The middle of the picture in every clip, and frames at random. */
    public static final Views PLAIN = new Views(Frames.UNIFORM, 8, 1, 1, false, 0, 0);

    private static final int CROP = 0;
    private static final int COLOUR = 1;
    private static final int FRAMES = 2;

    public Views {
        if (stride < 1
                || !(smallest >= 1 && smallest <= largest && largest <= 16)
                || !(jitter >= 0 && jitter <= 1 && hue >= 0 && hue <= .5)) {
            throw new IllegalArgumentException("views with stride " + stride + ", pictures " + smallest + " to "
                    + largest + " times as large as what is seen, jitter " + jitter + ", hue " + hue
                    + "; pass a stride of 1 or more, 1 <= smallest <= largest <= 16, a jitter in [0, 1] and a hue in"
                    + " [0, 0.5]");
        }
    }

    /**
     * Views from their parts, as the settings of a run keep them.
     *
     * @param parts by their names; those that are not there are the published ones
     * @throws IllegalArgumentException if a part has a value that it cannot have
     */
    public static Views of(Map<String, String> parts) {
        Views views = PUBLISHED;
        try {
            return new Views(
                    Frames.valueOf(parts.getOrDefault("frames", views.frames.name())),
                    Integer.parseInt(parts.getOrDefault("stride", "" + views.stride)),
                    Double.parseDouble(parts.getOrDefault("smallest", "" + views.smallest)),
                    Double.parseDouble(parts.getOrDefault("largest", "" + views.largest)),
                    Boolean.parseBoolean(parts.getOrDefault("mirror", "" + views.mirror)),
                    Double.parseDouble(parts.getOrDefault("jitter", "" + views.jitter)),
                    Double.parseDouble(parts.getOrDefault("hue", "" + views.hue)));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    parts + " does not say how clips are looked at; it must be like " + PUBLISHED, e);
        }
    }

    /** The same with frames chosen otherwise. */
    public Views withFrames(Frames choice, int distance) {
        return new Views(choice, distance, smallest, largest, mirror, jitter, hue);
    }

    /** The same with pictures of other sizes in training. */
    public Views withSizes(double least, double most) {
        return new Views(frames, stride, least, most, mirror, jitter, hue);
    }

    /** The same with or without mirrored clips in training. */
    public Views withMirror(boolean wanted) {
        return new Views(frames, stride, smallest, largest, wanted, jitter, hue);
    }

    /** The same with other changes of colours in training. */
    public Views withColours(double most, double mostHue) {
        return new Views(frames, stride, smallest, largest, mirror, most, mostHue);
    }

    /**
     * A random view.
     *
     * @param stored sizes of the clips
     * @param seen sizes of what is seen, at most as many frames
     * @param i place of the clip in the batch of the step
     * @throws IllegalArgumentException if clips of these sizes have no such view
     */
    public View train(Geometry stored, Geometry seen, long seed, long step, int i) {
        requireEnough(stored, seen);
        return train(Extent.of(stored), seen, seed, step, i);
    }

    /**
     * A random view of a clip of any extent. Where it has fewer frames than are seen, some are seen more than once; where it is narrower,
     * it is stretched.
     *
     * @param i place of the clip in the batch of the step
     */
    public View train(Extent stored, Geometry seen, long seed, long step, int i) {
        int[] words = new int[4];
        Philox.words(seed, step, i, words);
        long key = ((long) words[0] << 32) | (words[1] & 0xFFFFFFFFL);

        Philox.words(key, CROP, 0, words);
        // The shorter side is a whole number of pixels, and so is the place of the crop.
        double times = smallest + (largest - smallest) * Philox.uniform(words[0]);
        boolean upright = stored.rows() > stored.columns();
        int high = (int) (seen.size() * times);
        int wide = (int) (seen.width() * times);
        if (upright) {
            high = Math.max(seen.size(), Math.round((float) wide * stored.rows() / stored.columns()));
        } else {
            wide = Math.max(seen.width(), Math.round((float) high * stored.columns() / stored.rows()));
        }
        int top = (int) ((high - seen.size() + 1) * (double) Philox.uniform(words[1]));
        int left = (int) ((wide - seen.width() + 1) * (double) Philox.uniform(words[2]));
        boolean mirrored = mirror && Philox.uniform(words[3]) < 0.5f;
        return new View(
                seen,
                numbers(trainFrames(stored.frames(), seen.frames(), key)),
                (double) top / high,
                (double) left / wide,
                (double) seen.size() / high,
                (double) seen.width() / wide,
                mirrored,
                colour(key));
    }

    private Colour colour(long key) {
        if (jitter == 0 && hue == 0) {
            return Colour.SAME;
        }
        int[] words = new int[4];
        Philox.words(key, COLOUR, 0, words);
        double[] factors = new double[4];
        Arrays.setAll(factors, k -> 2 * Philox.uniform(words[k]) - 1);
        int order = (int) (Colour.ORDERS * (double) Philox.uniform(Philox.word(key, COLOUR, 1)));
        return new Colour(
                1 + jitter * factors[0], 1 + jitter * factors[1], 1 + jitter * factors[2], hue * factors[3], order);
    }

    private long[] trainFrames(int stored, int seen, long key) {
        return switch (frames) {
            case UNIFORM -> {
                long[] chosen = new long[seen];
                for (int k = 0; k < seen; k++) {
                    double within = Philox.uniform(Philox.word(key, FRAMES, k));
                    chosen[k] = (long) ((k + within) * stored / seen);
                }
                yield chosen;
            }
            case DENSE -> {
                double place = Philox.uniform(Philox.word(key, FRAMES, 0));
                yield window((long) (place * (lastWindow(stored, seen) + 1)), stored, seen);
            }
        };
    }

    /**
     * The views of a test, whose scores are averaged: {@code clips} choices of frames, each with {@code crops} parts of the picture.
     *
     * <p>The shorter side is shown whole; one crop is the middle, three are left, middle and right, which are the same where
     * pictures are square.
     *
     * @param crops 1 or 3
     * @return {@code clips * crops} views, the crops of the first clip first
     * @throws IllegalArgumentException if clips of these sizes have no such view
     */
    public List<View> test(Geometry stored, Geometry seen, int clips, int crops) {
        requireEnough(stored, seen);
        return test(Extent.of(stored), seen, clips, crops);
    }

    /** As {@link #test(Geometry, Geometry, int, int)}, of a clip of any extent; see {@link #train(Extent, Geometry, long, long, int)}. */
    public List<View> test(Extent stored, Geometry seen, int clips, int crops) {
        if (clips < 1 || clips > 1000 || (crops != 1 && crops != 3)) {
            throw new IllegalArgumentException(
                    clips + " x " + crops + " views of a clip; pass 1 to 1000 clips, and 1 or 3 crops");
        }
        double across = Math.min(1, (double) stored.rows() * seen.width() / ((double) seen.size() * stored.columns()));
        double down = Math.min(1, (double) stored.columns() * seen.size() / ((double) seen.width() * stored.rows()));
        List<View> views = new ArrayList<>();
        for (int clip = 0; clip < clips; clip++) {
            List<Integer> numbers = numbers(testFrames(stored.frames(), seen.frames(), clip, clips));
            for (int crop = 0; crop < crops; crop++) {
                double place = crops == 1 ? .5 : crop / 2.0;
                views.add(new View(
                        seen, numbers, (1 - down) * place, (1 - across) * place, down, across, false, Colour.SAME));
            }
        }
        return views;
    }

    private long[] testFrames(int stored, int seen, int clip, int clips) {
        return switch (frames) {
            case UNIFORM -> {
                // The clips take turns, so that each of them covers the whole.
                long[] all = FrameSampling.uniform(0, stored, seen * clips);
                long[] chosen = new long[seen];
                Arrays.setAll(chosen, k -> all[k * clips + clip]);
                yield chosen;
            }
            case DENSE -> {
                long last = lastWindow(stored, seen);
                yield window(clips == 1 ? last / 2 : clip * last / (clips - 1), stored, seen);
            }
        };
    }

    private long lastWindow(int stored, int seen) {
        return Math.max(0, stored - (long) seen * step(stored, seen));
    }

    private long[] window(long start, int stored, int seen) {
        return LongStream.range(0, seen)
                .map(k -> Math.min(stored - 1, start + k * step(stored, seen)))
                .toArray();
    }

    private int step(int stored, int seen) {
        return stored == seen ? 1 : stride;
    }

    private static List<Integer> numbers(long[] frames) {
        return Arrays.stream(frames).mapToObj(Math::toIntExact).toList();
    }

    /**
     * Refuses clips that cannot be seen so.
     *
     * @throws IllegalArgumentException if they have too few frames, or are too narrow
     */
    public void requireEnough(Geometry stored, Geometry seen) {
        boolean wide = (long) seen.width() * stored.size() > (long) seen.size() * stored.width();
        if ((frames == Frames.UNIFORM && seen.frames() > stored.frames()) || wide) {
            throw new IllegalArgumentException("clips of " + stored.frames() + " frames of " + stored.size() + " x "
                    + stored.width() + " pixels cannot be seen as " + seen.frames() + " frames of " + seen.size()
                    + " x " + seen.width() + "; load clips with at least as many frames, and as wide");
        }
    }
}
