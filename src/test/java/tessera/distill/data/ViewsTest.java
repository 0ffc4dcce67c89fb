package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.Device;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** One draw of a view holds for all modalities of a clip. */
class ViewsTest {
    private static final Geometry STORED = new Geometry(8, 32, 8).withWidth(48);
    private static final Geometry SEEN = new Geometry(4, 16, 4);
    private static final List<Integer> ALL = List.of(0, 1, 2, 3, 4, 5, 6, 7);

    private static View part(Geometry seen, double top, double left, double height, double width, boolean mirrored) {
        List<Integer> frames = ALL.subList(0, seen.frames());
        return new View(seen, frames, top, left, height, width, mirrored, Colour.SAME);
    }

    private static double[] show(ClipSet clips, Modality modality, View view) {
        try (Scope scope = Scope.open()) {
            return clips.view(Device.cpu(), modality, new int[] {2}, view).toDoubles();
        }
    }

    private static double[] stored(ClipSet clips, Modality modality) {
        try (Scope scope = Scope.open()) {
            return clips.batch(modality, new int[] {2}).toDoubles();
        }
    }

    /** One clip of a modality whose every frame has the same values, by row, column and channel. */
    private static ClipSet ramp(Geometry geometry, Modality modality, ValueAt value) {
        int rows = geometry.rows(modality);
        int columns = geometry.columns(modality);
        int channels = modality.layout().channels();
        float[] values = new float[geometry.frames() * rows * columns * channels];
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) value.at(i / channels / columns % rows, i / channels % columns, i % channels);
            bytes[i] = (byte) Math.round(values[i]);
        }
        boolean u8 = modality.layout().values() == SampleLayout.Values.BYTE;
        return ClipSet.load(
                geometry,
                List.of("one"),
                new int[] {0, 0, 0},
                Set.of(modality),
                i -> Map.of(modality, u8 ? MemorySegment.ofArray(bytes) : MemorySegment.ofArray(values)),
                done -> {});
    }

    private interface ValueAt {
        double at(int row, int column, int channel);
    }

    @Test
    void theWholeOfAClipIsTheClip() {
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            View whole = part(STORED, 0, 0, 1, 1, false);
            for (Modality modality : Modality.KNOWN) {
                assertArrayEquals(stored(clips, modality), show(clips, modality, whole), modality.id());
            }
        }
    }

    @Test
    void theSameFramesAreSeenOfEveryModality() {
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            Geometry four = STORED.withFrames(4);
            View view = new View(four, List.of(1, 3, 3, 6), 0, 0, 1, 1, false, Colour.SAME);
            for (Modality modality : Modality.KNOWN) {
                double[] all = stored(clips, modality);
                double[] seen = show(clips, modality, view);
                int frame = all.length / 8;
                for (int t = 0; t < 4; t++) {
                    for (int i = 0; i < frame; i++) {
                        assertEquals(all[view.frames().get(t) * frame + i], seen[t * frame + i], modality.id());
                    }
                }
            }
        }
    }

    @Test
    void picturesAreResizedAsInEvaluation() {
        Geometry seen = new Geometry(8, 20, 20, 5, 5);
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            byte[] pixels = new byte[8 * 32 * 48 * 3];
            double[] all = stored(clips, Modality.RGB);
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] = (byte) all[i];
            }
            VideoClip expected = ImageOps.resize(new VideoClip(8, 32, 48, pixels), 20, 20, true);
            double[] seenPixels = show(clips, Modality.RGB, part(seen, 0, 0, 1, 1, false));
            for (int i = 0; i < seenPixels.length; i++) {
                Close.within(seenPixels[i], expected.pixels()[i] & 0xFF, 1, "one rounding instead of two");
            }
        }
    }

    @Test
    void aPartIsThatOfTheResizedWhole() {
        Geometry large = new Geometry(8, 40, 60, 10, 15);
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            for (Modality modality : List.of(Modality.RGB, Modality.FLOW)) {
                double[] whole = show(clips, modality, part(large, 0, 0, 1, 1, false));
                Geometry seen = new Geometry(8, 16, 16, 4, 4);
                double[] part = show(clips, modality, part(seen, 5 / 40.0, 7 / 60.0, 16 / 40.0, 16 / 60.0, false));
                int channels = modality.layout().channels();
                for (int i = 0; i < part.length; i++) {
                    int x = i / channels % 16;
                    int y = i / channels / 16 % 16;
                    int t = i / channels / 256;
                    double expected = whole[((t * 40 + y + 5) * 60 + x + 7) * channels + i % channels];
                    Close.within(part[i], expected, modality.equals(Modality.RGB) ? 1 : 1e-3, modality + " at " + i);
                }
            }
        }
    }

    @Test
    void mapsShowThePartThatPicturesShow() {
        View view = part(SEEN.withFrames(8), .25, .5, .5, 1 / 3.0, false);
        // Brightness rises with the place, so every cell shows where it is.
        try (ClipSet rgb = ramp(STORED, Modality.RGB, (y, x, c) -> (x + .5) / 48 * 240);
                ClipSet pose = ramp(STORED, Modality.POSE, (y, x, c) -> (x + .5) / 12 * 240 / 255)) {
            double[] pixels = show(rgb, Modality.RGB, view);
            double[] cells = show(pose, Modality.POSE, view);
            for (int x = 0; x < 4; x++) {
                double mean = IntStream.range(4 * x, 4 * x + 4)
                        .mapToDouble(column -> pixels[3 * column])
                        .average()
                        .orElseThrow();
                Close.within(cells[21 * x], mean, 1, "cell " + x);
            }
        }
    }

    @Test
    void mirroredClipsExchangeLeftAndRightInEveryModality() {
        Geometry same = STORED;
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            View plain = part(same, 0, 0, 1, 1, false);
            View mirrored = part(same, 0, 0, 1, 1, true);
            for (Modality modality : List.of(Modality.RGB, Modality.FLOW, Modality.POSE)) {
                double[] left = show(clips, modality, plain);
                double[] right = show(clips, modality, mirrored);
                int channels = modality.layout().channels();
                int columns = same.columns(modality);
                for (int i = 0; i < left.length; i++) {
                    int x = i / channels % columns;
                    int at = i + (columns - 1 - 2 * x) * channels;
                    boolean across = modality.equals(Modality.FLOW) && i % 2 == 0;
                    Close.within(right[at], across ? -left[i] : left[i], 0, modality + " at " + i);
                }
            }
            assertArrayEquals(show(clips, Modality.AUDIO, plain), show(clips, Modality.AUDIO, mirrored));
            double[] boxes = show(clips, Modality.BOXES, plain);
            double[] others = show(clips, Modality.BOXES, mirrored);
            for (int at = 0; at < boxes.length; at += Boxes.NUMBERS) {
                boolean padding = boxes[at + Boxes.CLASS] == Boxes.PADDING;
                Close.within(others[at], padding ? 0 : 1 - boxes[at + 2], 1e-6, "x1");
                Close.within(others[at + 2], padding ? 1e-9f : 1 - boxes[at], 1e-6, "x2");
                Close.within(others[at + Boxes.SIDE], padding ? 0 : 3 - boxes[at + Boxes.SIDE], 0, "side");
                for (int same8 : new int[] {1, 3, Boxes.SCORE, Boxes.CLASS, Boxes.STATE}) {
                    Close.within(others[at + same8], boxes[at + same8], 0, "number " + same8);
                }
            }
        }
    }

    @Test
    void flowIsInPixelsOfWhatIsSeen() {
        Geometry seen = new Geometry(8, 32, 8);
        try (ClipSet clips = ramp(STORED, Modality.FLOW, (y, x, c) -> c == 0 ? 3 : -2)) {
            double[] flow = show(clips, Modality.FLOW, part(seen, .25, 0, .5, 1 / 3.0, false));
            for (int i = 0; i < flow.length; i += 2) {
                Close.within(flow[i], 6, 1e-5, "16 columns became 32");
                Close.within(flow[i + 1], -4, 1e-5, "16 rows became 32");
            }
        }
    }

    @Test
    void soundIsResizedByTheNearestAndBoxesStay() {
        Geometry seen = new Geometry(8, 16, 4);
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true)) {
            View view = part(seen, .3, .3, .5, .4, false);
            double[] all = stored(clips, Modality.AUDIO);
            double[] sound = show(clips, Modality.AUDIO, view);
            for (int i = 0; i < sound.length; i++) {
                int at = (i / 256 * 32 + i / 16 % 16 * 2) * 32 + i % 16 * 2;
                assertEquals(all[at], sound[i]);
            }
            assertArrayEquals(stored(clips, Modality.BOXES), show(clips, Modality.BOXES, view));
        }
    }

    @Test
    void randomViewsAreAFunctionOfSeedStepAndPlace() {
        Views views = Views.PUBLISHED.withMirror(true);
        Set<View> different = new HashSet<>();
        for (int step = 0; step < 3; step++) {
            for (int i = 0; i < 3; i++) {
                View view = views.train(STORED, SEEN, 7, step, i);
                assertEquals(view, views.train(STORED, SEEN, 7, step, i));
                different.add(view);
            }
        }
        different.add(views.train(STORED, SEEN, 8, 0, 0));
        assertEquals(10, different.size());
    }

    @Test
    void randomViewsKeepTheirBounds() {
        Views views = Views.PUBLISHED.withMirror(true);
        double least = 9;
        double most = 0;
        int mirrored = 0;
        Set<Integer> first = new HashSet<>();
        for (int i = 0; i < 400; i++) {
            View view = views.train(STORED, SEEN, 1, 5, i);
            double high = SEEN.size() / view.height();
            Close.within(high, Math.rint(high), 1e-9, "a whole number of pixels");
            assertTrue(high >= (int) (16 * 1.15) && high <= 16 * 1.43, "short side " + high);
            Close.within(view.width() / view.height(), 32 / 48.0, .05, "squares of a picture of 3 : 2");
            least = Math.min(least, view.left());
            most = Math.max(most, view.left() + view.width());
            mirrored += view.mirrored() ? 1 : 0;
            for (int t = 0; t < 4; t++) {
                assertEquals(t, view.frames().get(t) / 2, "frame t is of the t-th quarter");
            }
            first.add(view.frames().getFirst());
            Colour colour = view.colour();
            for (double factor : new double[] {colour.brightness(), colour.contrast(), colour.saturation()}) {
                Close.within(factor, 1, .25, "factor");
            }
            Close.within(colour.hue(), 0, .1, "hue");
        }
        assertEquals(Set.of(0, 1), first);
        Close.within(least, 0, 1e-9, "crops reach the left edge");
        Close.within(most, 1, 1e-9, "and the right one");
        assertTrue(mirrored > 150 && mirrored < 250, mirrored + " of 400 mirrored");
        assertEquals(Colour.SAME, Views.PLAIN.train(STORED, SEEN, 1, 5, 0).colour());
    }

    @Test
    void framesAreThoseOfTheClipWhereItHasNoMore() {
        Geometry eight = SEEN.withFrames(8);
        assertEquals(ALL, Views.PUBLISHED.train(STORED, eight, 3, 1, 4).frames());
        assertEquals(ALL, Views.PUBLISHED.test(STORED, eight, 1, 1).getFirst().frames());
        Views dense = Views.PUBLISHED.withFrames(Views.Frames.DENSE, 3);
        assertEquals(ALL, dense.train(STORED, eight, 3, 1, 4).frames());
        assertEquals(ALL, dense.test(STORED, eight, 2, 1).getLast().frames());
    }

    @Test
    void testViewsAreMiddlesAndThreeCrops() {
        List<View> one = Views.PUBLISHED.test(STORED, SEEN, 1, 1);
        assertEquals(List.of(1, 3, 5, 7), one.getFirst().frames());
        Close.within(one.getFirst().left(), 1 / 6.0, 1e-12, "the middle");

        List<View> six = Views.PUBLISHED.test(STORED, SEEN, 2, 3);
        assertEquals(6, six.size());
        for (int i = 0; i < 6; i++) {
            View view = six.get(i);
            assertEquals(i < 3 ? List.of(0, 2, 4, 6) : List.of(1, 3, 5, 7), view.frames());
            Close.within(view.left(), i % 3 / 6.0, 1e-12, "left, middle, right");
            Close.within(view.width(), 2 / 3.0, 1e-12, "as wide as high");
            Close.within(view.height(), 1, 0, "the whole height");
        }
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> Views.PUBLISHED.test(STORED, SEEN, 1, 2));
        assertEquals("1 x 2 views of a clip; pass 1 to 1000 clips, and 1 or 3 crops", refused.getMessage());
    }

    @Test
    void denseWindowsAreSpreadAndRepeatTheLastFrame() {
        Geometry two = SEEN.withFrames(2);
        Views dense = Views.PUBLISHED.withFrames(Views.Frames.DENSE, 3);
        assertEquals(
                List.of(List.of(0, 3), List.of(1, 4), List.of(2, 5)),
                dense.test(STORED, two, 3, 1).stream().map(View::frames).toList());
        assertEquals(
                List.of(0, 3, 6, 7), dense.test(STORED, SEEN, 1, 1).getFirst().frames());
        Set<List<Integer>> random = new HashSet<>();
        for (int i = 0; i < 60; i++) {
            random.add(dense.train(STORED, two, 1, 0, i).frames());
        }
        assertEquals(Set.of(List.of(0, 3), List.of(1, 4), List.of(2, 5)), random);
    }

    @Test
    void clipsThatAreTooShortOrTooNarrowAreRefused() {
        Geometry twelve = SEEN.withFrames(12);
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> Views.PUBLISHED.train(STORED, twelve, 1, 0, 0));
        assertEquals(
                "clips of 8 frames of 32 x 48 pixels cannot be seen as 12 frames of 16 x 16; load clips with at least as"
                        + " many frames, and as wide",
                requireNonNull(refused.getMessage()));
        Geometry wide = SEEN.withWidth(32);
        assertThrows(IllegalArgumentException.class, () -> Views.PUBLISHED.test(STORED, wide, 1, 1));
        try (ClipSet clips = SmallClips.make(SEEN, Map.of(), i -> true)) {
            View later = new View(SEEN, List.of(0, 1, 2, 7), 0, 0, 1, 1, false, Colour.SAME);
            assertThrows(IllegalArgumentException.class, () -> show(clips, Modality.RGB, later));
        }
    }

    @Test
    void coloursOfRgbAloneChange() {
        try (ClipSet clips = SmallClips.make(SEEN, Map.of(), i -> true)) {
            View plain = part(SEEN, 0, 0, 1, 1, false);
            View dark = new View(SEEN, plain.frames(), 0, 0, 1, 1, false, new Colour(.5, 1, 1, 0, 0));
            for (Modality modality : Modality.KNOWN) {
                double[] before = show(clips, modality, plain);
                double[] after = show(clips, modality, dark);
                for (int i = 0; i < before.length; i++) {
                    boolean rgb = modality.equals(Modality.RGB);
                    Close.within(after[i], rgb ? before[i] / 2 : before[i], rgb ? .5 : 0, modality.id());
                }
            }
        }
    }

    private static float[] changed(Colour colour, float... frame) {
        colour.apply(frame);
        return frame;
    }

    @Test
    void huesTurnOnTheColourCircle() {
        float[] turned = changed(new Colour(1, 1, 1, 1 / 3.0, 0), 255, 0, 0, 0, 255, 0, 90, 90, 90, 200, 100, 50);
        float[] expected = {0, 255, 0, 0, 0, 255, 90, 90, 90, 50, 200, 100};
        Close.relative(turned, expected, 1e-5, "red, green, grey, brown a third further");
        float[] back = changed(new Colour(1, 1, 1, -1 / 6.0, 0), 255, 0, 0);
        Close.relative(back, new float[] {255, 0, 255}, 1e-5, "red a sixth back is magenta");
    }

    @Test
    void contrastAndSaturationBlendWithGreys() {
        float[] flat = changed(new Colour(1, 0, 1, 0, 0), 255, 0, 0, 0, 0, 255);
        float mean = (float) (255 * (.2989 + .114) / 2);
        Close.relative(flat, new float[] {mean, mean, mean, mean, mean, mean}, 1e-5, "no contrast");
        float[] grey = changed(new Colour(1, 1, 0, 0, 0), 255, 0, 0);
        float red = (float) (255 * .2989);
        Close.relative(grey, new float[] {red, red, red}, 1e-5, "no saturation");
    }

    @Test
    void theOrderOfChangesMatters() {
        Set<String> results = new HashSet<>();
        for (int order = 0; order < Colour.ORDERS; order++) {
            float[] frame = changed(new Colour(1.2, .8, 1.2, .1, order), 250, 20, 90, 10, 200, 120);
            results.add(Arrays.toString(frame));
        }
        assertTrue(results.size() > 12, results.size() + " different results");
        assertThrows(IllegalArgumentException.class, () -> new Colour(1, 1, 1, 0, Colour.ORDERS));
        assertNotEquals(Views.PUBLISHED, Views.PLAIN);
    }

    @Test
    void batchesOfViewsAreWhatEachViewShows() {
        try (ClipSet clips = SmallClips.make(STORED, Map.of(), i -> true);
                Scope scope = Scope.open()) {
            List<View> each =
                    List.of(Views.PUBLISHED.train(STORED, SEEN, 1, 0, 0), Views.PUBLISHED.train(STORED, SEEN, 1, 0, 1));
            Tensor both = clips.view(Device.cpu(), Modality.RGB, new int[] {0, 2}, each);
            assertEquals("[2, 4, 16, 16, 3]", both.shape().toString());
            double[] second = new double[4 * 16 * 16 * 3];
            System.arraycopy(both.toDoubles(), second.length, second, 0, second.length);
            assertArrayEquals(show(clips, Modality.RGB, each.get(1)), second);
        }
    }

    @Test
    void viewsAreMadeOfNamedParts() {
        Views own = new Views(Views.Frames.DENSE, 3, 1.5, 2.25, true, .125, .0625);
        Map<String, String> parts = new HashMap<>(Map.of("frames", "DENSE", "stride", "3", "smallest", "1.5"));
        parts.putAll(Map.of("largest", "2.25", "mirror", "true", "jitter", "0.125", "hue", "0.0625"));
        assertEquals(own, Views.of(parts));
        assertEquals(Views.PUBLISHED, Views.of(Map.of()));
        assertEquals(Views.PUBLISHED.withMirror(true), Views.of(Map.of("mirror", "true")), "the rest is published");
        for (Map<String, String> wrong :
                List.of(Map.of("stride", "x"), Map.of("stride", "0"), Map.of("frames", "ALL"), Map.of("hue", "2"))) {
            Exception refused = assertThrows(IllegalArgumentException.class, () -> Views.of(wrong));
            assertTrue(String.valueOf(refused.getMessage()).startsWith(wrong + " does not say how"), wrong::toString);
        }
    }
}
