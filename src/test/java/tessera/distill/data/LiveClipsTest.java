package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Clips that are cut anew for every look, straight from their files. */
class LiveClipsTest {
    private static final Geometry SEEN = new Geometry(4, 16, 4);
    private static final Views PLAIN = Views.PLAIN;

    @TempDir
    private Path root;

    private Path place(String... names) throws IOException {
        Path file = root.resolve(String.join("/", names));
        Files.createDirectories(requireNonNull(file.getParent()));
        return file;
    }

    /** Frames whose red tells the column, whose green the row, and whose blue the frame. */
    private void pictures(String label, String name, int frames, int width, int height) throws IOException {
        for (int t = 0; t < frames; t++) {
            BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
            for (int i = 0; i < width * height; i++) {
                image.setRGB(i % width, i / width, ((4 * (i % width)) << 16) | ((4 * (i / width)) << 8) | (5 * t));
            }
            ImageIO.write(image, "png", place("rgb", label, name, t + ".png").toFile());
        }
    }

    private void video(String label, String name, String resource) throws IOException {
        try (InputStream video = requireNonNull(LiveClipsTest.class.getResourceAsStream("/video/" + resource))) {
            Files.copy(video, place("rgb", label, name));
        }
    }

    private ClipSet open(Set<Modality> modalities) {
        ModalityFolders.Options live = ModalityFolders.Options.DEFAULT.withReading(
                ModalityFolders.Reading.DEFAULT.withReaders(2).withLive(PLAIN));
        return ModalityFolders.open(root, modalities, SEEN, live).forTraining(done -> {}, note -> {});
    }

    private static int[] look(ClipSet clips, int clip, ViewOf views) {
        try (Scope scope = Scope.open()) {
            ClipSet.Taken taken =
                    clips.take(Device.cpu(), Set.of(Modality.RGB), new int[] {clip}, new int[] {clip}, SEEN, views);
            return requireNonNull(taken.samples().get(Modality.RGB)).toInts();
        }
    }

    private static ViewOf random(Views views, long epoch) {
        return (place, stored) -> views.train(stored, SEEN, 3, 0, (int) epoch);
    }

    @Test
    void picturesKeepTheirAspectAndEveryFrameMayBeSeen() throws IOException {
        pictures("cut", "wide", 40, 48, 24);
        pictures("cut", "high", 40, 24, 48);
        try (ClipSet clips = open(Set.of(Modality.RGB))) {
            assertTrue(clips.isLive());
            assertEquals(List.of("cut/high", "cut/wide"), clips.names());
            boolean[] seen = new boolean[40];
            int[] places = new int[2];
            for (int epoch = 0; epoch < 120; epoch++) {
                for (int clip = 0; clip < 2; clip++) {
                    int[] shown = look(clips, clip, random(PLAIN, epoch));
                    for (int t = 0; t < 4; t++) {
                        int frame = Math.round(shown[3 * t * 256 + 2] / 5f);
                        assertTrue(frame >= 10 * t && frame < 10 * (t + 1), "one of each quarter, not " + frame);
                        seen[frame] = true;
                    }
                    // 24 pixels of the shorter side are 16: from one to the next it is a pixel and a half both ways.
                    int last = 3 * 255;
                    Close.within(shown[last] - shown[3 * 240], 15 * 1.5 * 4, 5, "across");
                    Close.within(shown[last + 1] - shown[3 * 15 + 1], 15 * 1.5 * 4, 5, "down");
                    places[clip] |= 1 << (shown[clip == 0 ? 1 : 0] / 8);
                }
            }
            for (int frame = 0; frame < 40; frame++) {
                assertTrue(seen[frame], "frame " + frame + " was never seen");
            }
            assertTrue(Integer.bitCount(places[0]) > 5 && Integer.bitCount(places[1]) > 5, "other parts every time");
            assertArrayEquals(look(clips, 1, random(PLAIN, 7)), look(clips, 1, random(PLAIN, 7)));
            assertEquals(0, clips.heldBytes());
        }
    }

    @Test
    void framesOfVideosAreThoseThatTheViewNames() throws IOException {
        video("ramp", "a.mp4", "ramp.mp4");
        try (ClipSet clips = open(Set.of(Modality.RGB))) {
            for (int epoch = 0; epoch < 12; epoch++) {
                int draw = epoch;
                Extent[] extent = new Extent[1];
                View[] view = new View[1];
                int[] shown = look(clips, 0, (place, stored) -> {
                    extent[0] = stored;
                    view[0] = PLAIN.withFrames(Views.Frames.DENSE, 3).train(stored, SEEN, 3, 0, draw);
                    return view[0];
                });
                assertEquals(new Extent(40, 48, 64), extent[0]);
                for (int t = 0; t < 4; t++) {
                    int number = (int) Math.round((shown[3 * (t * 256 + 100)] * 219 / 255.0 + 16 - 20) / 5);
                    assertEquals(view[0].frames().get(t), number);
                }
                View middle = PLAIN.test(extent[0], SEEN, 1, 1).getFirst();
                Close.within(middle.width(), .75, 1e-9, "a square of 64 x 48");
                Close.within(middle.left(), .125, 1e-9, "in the middle");
                assertEquals(List.of(5, 15, 25, 35), middle.frames());
            }
        }
    }

    @Test
    void aTurnedVideoIsHigherThanWide() throws IOException {
        video("turned", "a.mp4", "turned.mp4");
        try (ClipSet clips = open(Set.of(Modality.RGB))) {
            Extent[] extent = new Extent[1];
            int[] shown = look(clips, 0, (place, stored) -> {
                extent[0] = stored;
                return PLAIN.test(stored, SEEN, 1, 1).getFirst();
            });
            assertEquals(64, extent[0].rows());
            assertEquals(48, extent[0].columns());
            assertTrue(shown[3 * (15 * 16 + 8)] > shown[3 * 8] + 100, "bright at the bottom");
        }
    }

    /** Flow as an array, boxes in a list: what is shown of them is of the same moments and places. */
    @Test
    void otherModalitiesFollowThePictures() throws IOException {
        pictures("cut", "a", 40, 48, 24);
        float[] flow = new float[4 * 16 * 16 * 2];
        for (int i = 0; i < flow.length; i++) {
            flow[i] = i % 2 == 0 ? i / 512 : i / 2 % 16;
        }
        Npy.write(place("flow", "cut", "a.npy"), ArrayData.of("flow", flow, 4, 16, 16, 2));
        StringBuilder boxes = new StringBuilder("{\"width\": 40, \"height\": 40, \"frames\": [");
        for (int t = 0; t < 40; t++) {
            boxes.append(t == 0 ? "" : ",").append("[{\"box\": [0, 0, %d, 40], \"class\": \"hand\"}]".formatted(t + 1));
        }
        Files.writeString(place("boxes", "cut", "a.json"), boxes + "]}");
        Set<Modality> all = Set.of(Modality.RGB, Modality.FLOW, Modality.BOXES);
        View view = new View(SEEN, List.of(3, 12, 13, 39), 0, .5, 1, .5, false, Colour.SAME);
        try (ClipSet clips = open(all);
                Scope scope = Scope.open()) {
            ClipSet.Taken taken =
                    clips.take(Device.cpu(), all, new int[] {0}, new int[] {0}, SEEN, (place, stored) -> view);
            float[] shown = requireNonNull(taken.samples().get(Modality.FLOW)).toFloats();
            float[] found = requireNonNull(taken.samples().get(Modality.BOXES)).toFloats();
            int[] rgb = requireNonNull(taken.samples().get(Modality.RGB)).toInts();
            int[] quarters = {0, 1, 1, 3};
            for (int t = 0; t < 4; t++) {
                int frame = view.frames().get(t);
                assertEquals(5 * frame, rgb[3 * t * 256 + 2]);
                Close.within(shown[t * 512], 2 * quarters[t], 1e-5, "half of the width became all of it");
                Close.within(shown[t * 512 + 15 * 2 + 1], 15, .5, "the right half, in pixels down");
                Close.within(found[t * 14 * 8 + 2], (frame + 1) / 40.0, 1e-6, "the frame's own box");
            }
        }
    }

    @Test
    void withoutViewsAClipIsAsItWouldBeLoaded() throws IOException {
        pictures("cut", "a", 12, 32, 32);
        try (ClipSet live = open(Set.of(Modality.RGB));
                ClipSet loaded =
                        ModalityFolders.open(root, Set.of(Modality.RGB), SEEN).load(done -> {});
                Scope scope = Scope.open()) {
            assertArrayEquals(
                    loaded.batch(Modality.RGB, new int[] {0}).toInts(),
                    live.batch(Modality.RGB, new int[] {0}).toInts());
            assertFalse(loaded.isLive());
            assertTrue(live.checksum().startsWith("1 clips cut anew by their files "), live.checksum());
        }
    }

    @Test
    void clipsWithoutPicturesCannotBeCut() throws IOException {
        Npy.write(place("flow", "cut", "a.npy"), ArrayData.of("flow", new float[4 * 16 * 16 * 2], 4, 16, 16, 2));
        Exception refused = assertThrows(IllegalArgumentException.class, () -> open(Set.of(Modality.FLOW)));
        assertTrue(String.valueOf(refused.getMessage()).endsWith("load them with rgb"), refused.getMessage());
    }

    /** A folder of labelled videos, as learn takes it, needs no folder rgb around it. */
    @Test
    void labelFoldersMayLieInTheFolderItself() throws IOException {
        pictures("one", "a", 8, 16, 16);
        pictures("two", "b", 8, 16, 16);
        Files.move(root.resolve("rgb/one"), root.resolve("one"));
        Files.move(root.resolve("rgb/two"), root.resolve("two"));
        Files.delete(root.resolve("rgb"));
        Files.writeString(root.resolve("labels.csv"), "label,verb\none,open\ntwo,cut\n");
        try (ClipSet clips =
                ModalityFolders.open(root, Set.of(Modality.RGB), SEEN).load(done -> {})) {
            assertEquals(List.of("one/a", "two/b"), clips.names());
            assertEquals(List.of("cut", "open"), clips.head("verb").classes());
        }
        Exception refused = assertThrows(
                IllegalArgumentException.class, () -> ModalityFolders.open(root, Set.of(Modality.FLOW), SEEN));
        assertTrue(String.valueOf(refused.getMessage()).startsWith(root + " has no folder flow"), refused.getMessage());
    }

    @Test
    void viewsOfAnyExtentLieWithinIt() {
        for (Extent extent : new Extent[] {new Extent(3, 50, 20), new Extent(900, 20, 50), new Extent(4, 16, 16)}) {
            for (int i = 0; i < 200; i++) {
                View view = Views.PUBLISHED.train(extent, SEEN, 1, 2, i);
                int[] frames =
                        view.frames().stream().mapToInt(Integer::intValue).toArray();
                assertTrue(Arrays.stream(frames).allMatch(frame -> frame >= 0 && frame < extent.frames()));
                double high = view.height() * extent.rows();
                double wide = view.width() * extent.columns();
                Close.relative(new double[] {high}, new double[] {wide}, .05, "a square of " + extent);
            }
        }
    }
}
