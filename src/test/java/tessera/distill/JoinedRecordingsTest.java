package tessera.distill;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.video.ClipCut;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.Video;
import tessera.nn.inference.VideoClip;

/** Recordings of a broadcast or camera that were joined, or went on under another clock or other numbers: all of it is shown. */
class JoinedRecordingsTest {
    @TempDir
    private Path folder;

    /** Eight seconds of ten frames, the second four of which are as the first. */
    private Path stream(String name, String more) {
        return MadeVideo.write(
                folder.resolve(name), MadeVideo.ramp("96x72", 10, 8) + " -c:v mpeg2video -q:v 2 -g 10 " + more);
    }

    private static void assertShowsBoth(Path first, Path second) throws IOException {
        Path both = Files.copy(first, first.resolveSibling(first.getFileName() + "-" + second.getFileName()));
        Files.write(both, Files.readAllBytes(second), StandardOpenOption.APPEND);
        ClipCut cut = ClipCut.every(4, 40, 8, 8);
        int[] ramp = IntStream.range(0, 40).toArray();
        List<VideoClip> all = Video.cut(both, cut);
        assertEquals(4, all.size(), both + ": 16 s");
        all.forEach(clip -> assertArrayEquals(ramp, MadeVideo.numbers(clip), both.toString()));
        assertEquals(160, Video.measure(both).frames().orElseThrow(), both.toString());
        List<VideoClip> half = Video.cut(both, cut.part(0.5, 1));
        assertEquals(2, half.size(), both + ": the second half");
        assertArrayEquals(ramp, MadeVideo.numbers(half.getFirst()), both.toString());
        assertEquals(1, Video.cut(both, cut.part(0, 0.25)).size(), both + ": the first quarter");
        // In the middle of each quarter.
        int[] middles = {20, 20, 20, 20};
        assertArrayEquals(
                middles,
                MadeVideo.numbers(Video.cut(both, ClipCut.whole(4, 8, 8)).getFirst()),
                both.toString());
    }

    @Test
    void aClockThatBeginsAgainOrJumpsByHours() throws IOException {
        Path early = stream("early.ts", "");
        Path late = stream("late.ts", "-output_ts_offset 18000");
        assertShowsBoth(early, early);
        assertShowsBoth(early, late);
        assertShowsBoth(late, early);
    }

    /** At such a joint FFmpeg may set a frame upon the one before it, but the second part is there. */
    @Test
    void picturesUnderOtherNumbers() throws IOException {
        Path both = Files.copy(stream("a.ts", ""), folder.resolve("both.ts"));
        Files.write(both, Files.readAllBytes(stream("b.ts", "-mpegts_start_pid 0x200")), StandardOpenOption.APPEND);
        int shown = Video.frames(both, DecodeOptions.NATIVE).frames();
        assertTrue(shown > 155 && shown <= 160, () -> shown + " of 160 frames");
        ClipCut cut = ClipCut.every(2, 20, 8, 8);
        assertTrue(Video.cut(both, cut).size() >= 7, "clips of 2 s in 16 s");
        assertTrue(Video.cut(both, cut.part(0.5, 1)).size() >= 3, "those of the second half");
    }

    /** As where two stations were recorded into one file; the second's tables lie elsewhere, and nothing of it may be lost. */
    @Test
    void anotherProgramme() throws IOException {
        Path first = stream("one.ts", "-mpegts_service_id 7");
        Path second = stream("two.ts", "-mpegts_service_id 301 -mpegts_pmt_start_pid 0x321 -mpegts_start_pid 0x410");
        Path both = Files.copy(first, folder.resolve("stations.ts"));
        assertEquals(80, Video.frames(both, DecodeOptions.NATIVE).frames(), "of the first alone");
        // What is known of a file holds as long as nobody writes to it.
        Files.write(both, Files.readAllBytes(second), StandardOpenOption.APPEND);
        int shown = Video.frames(both, DecodeOptions.NATIVE).frames();
        assertTrue(shown > 155 && shown <= 160, () -> shown + " of 160 frames");
        ClipCut cut = ClipCut.every(2, 20, 8, 8);
        assertTrue(Video.cut(both, cut).size() >= 7, "clips of 2 s in 16 s");
        assertTrue(Video.cut(both, cut.part(0.5, 1)).size() >= 3, "those of the second half");
        // Back to the first, with the four bytes of a camera before each packet, and cut off within one.
        byte[] plain = Files.readAllBytes(both);
        Path timed = folder.resolve("timed.m2ts");
        try (var out = Files.newOutputStream(timed)) {
            for (byte[] part : List.of(plain, Files.readAllBytes(first))) {
                for (int at = 0; at + 188 <= part.length; at += 188) {
                    out.write(new byte[4]);
                    out.write(part, at, 188);
                }
            }
            out.write(new byte[100]);
        }
        int all = Video.frames(timed, DecodeOptions.NATIVE).frames();
        assertTrue(all > 230 && all <= 240, () -> all + " of 240 frames");
    }
}
