package tessera.distill;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.video.ClipCut;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.Video;

/** Recordings that hold more than they show, as lossless cutters and phones leave them: what is presented counts, not what is stored. */
class EditListsTest {
    /** Units of a second: those of the film, in which parts are as long, and those of its pictures, in which they begin. */
    private static final int FILM = 1000;

    private static final int PICTURES = 10240;

    @TempDir
    private Path folder;

    /** Four seconds of ten frames, with whole pictures every second. */
    private Path whole(String coding) {
        return MadeVideo.write(
                folder.resolve("whole.mp4"),
                "-y " + MadeVideo.ramp("96x72", 10, 4) + " -c:v mpeg4 -q:v 2 -g 10 " + coding);
    }

    /** The numbers of the frames that a file shows, found in every way in which it is read. */
    private static void assertShows(Path file, int... shown) {
        assertArrayEquals(shown, MadeVideo.numbers(Video.frames(file, DecodeOptions.NATIVE)), "all of " + file);
        assertEquals(shown.length, Video.count(file, 10), "counted " + file);
        assertEquals(shown.length, Video.measure(file).frames().orElseThrow(), "measured " + file);
        ClipCut cut = ClipCut.every(1, 10, 8, 8);
        for (double from : new double[] {0, 0.5}) {
            int first = (int) (from * shown.length);
            assertArrayEquals(
                    IntStream.range(first, first + 10).map(i -> shown[i]).toArray(),
                    MadeVideo.numbers(Video.cut(file, cut.part(from, 1)).getFirst()),
                    file + " from " + from);
        }
        int[] middles = IntStream.range(0, 4)
                .map(k -> shown[(2 * k + 1) * shown.length / 8])
                .toArray();
        assertArrayEquals(
                middles,
                MadeVideo.numbers(Video.cut(file, ClipCut.whole(4, 8, 8)).getFirst()),
                "whole " + file);
    }

    @Test
    void aLosslessCutShowsNothingBeforeIt() {
        for (String coding : List.of("-bf 0", "-bf 2")) {
            Path whole = whole(coding);
            for (String name : List.of("cut.mp4", "cut.mov")) {
                Path cut = MadeVideo.write(folder.resolve(name), "-y -ss 1.5 -i " + whole + " -c copy");
                assertShows(cut, IntStream.range(15, 40).toArray());
            }
        }
    }

    @Test
    void partsAreShownInTheOrderOfTheList() throws IOException {
        Path whole = whole("-bf 0");
        assertShows(
                listed(whole, "begins.mp4", 2500, 1.5), IntStream.range(15, 40).toArray());
        assertShows(listed(whole, "ends.mp4", 2200, 0), IntStream.range(0, 22).toArray());
        assertShows(
                listed(whole, "waits.mp4", 1000, -1, 4000, 0),
                IntStream.range(0, 40).toArray());
        assertShows(
                listed(whole, "two-parts.mp4", 1000, 1, 1000, 3),
                IntStream.concat(IntStream.range(10, 20), IntStream.range(30, 40))
                        .toArray());
    }

    /**
     * The same pictures with another list of edits.
     *
     * @param edits how long each part is, in thousandths, and where it begins in the pictures, in seconds; -1 for a wait
     */
    private Path listed(Path whole, String name, double... edits) throws IOException {
        byte[] bytes = Files.readAllBytes(whole);
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        int list = text.indexOf("elst") - 4;
        ByteBuffer film = ByteBuffer.wrap(bytes);
        int before = film.getInt(list);
        ByteBuffer entries = ByteBuffer.allocate(16 + 6 * edits.length);
        entries.putInt(entries.capacity()).put("elst".getBytes(StandardCharsets.US_ASCII));
        entries.putInt(0).putInt(edits.length / 2);
        for (int i = 0; i < edits.length; i += 2) {
            entries.putInt((int) (edits[i] * FILM / 1000));
            entries.putInt(edits[i + 1] < 0 ? -1 : (int) (edits[i + 1] * PICTURES))
                    .putInt(1 << 16);
        }
        // The index lies behind the pictures, so nothing but the boxes around the list moves.
        for (String box : List.of("edts", "trak", "moov")) {
            int at = text.lastIndexOf(box, list) - 4;
            film.putInt(at, film.getInt(at) + entries.capacity() - before);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes, 0, list);
        out.writeBytes(entries.array());
        out.write(bytes, list + before, bytes.length - list - before);
        return Files.write(folder.resolve(name), out.toByteArray());
    }
}
