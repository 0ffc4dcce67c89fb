package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.Video;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.VideoClip;

/** A folder of numbered pictures is a video wherever one is wanted. */
class PicturesAsVideoTest {
    @TempDir
    private Path folder;

    /** Forty pictures of the ramp. */
    private Path pictures(String below, String pattern) throws IOException {
        Path frames = Files.createDirectories(folder.resolve(below));
        MadeVideo.write(frames.resolve(pattern), MadeVideo.ramp("32x24", 10, 4) + " -pix_fmt rgb24 -start_number 3");
        return frames;
    }

    private static int[] range(int from, int to) {
        return IntStream.range(from, to).toArray();
    }

    @ParameterizedTest
    @ValueSource(strings = {"%03d.png", "img_%d.png", "Frame 2.%05d.PNG"})
    void itsPicturesAreItsFramesInOrder(String pattern) throws IOException {
        Path frames = pictures("frames", pattern);
        Files.createFile(frames.resolve("Thumbs.db"));
        ClipCut cut = ClipCut.every(1, 10, 24, 32).withPictureRate(10);
        List<VideoClip> clips = Video.cut(frames, cut);
        assertEquals(4, clips.size());
        for (int i = 0; i < clips.size(); i++) {
            assertArrayEquals(range(10 * i, 10 * i + 10), MadeVideo.numbers(clips.get(i)));
        }
        // The last quarter of ten seconds, which is sought and not counted to.
        List<VideoClip> last =
                Video.cut(frames, ClipCut.every(1, 4, 24, 32).withPictureRate(4).part(.75, 1));
        assertEquals(2, last.size());
        assertArrayEquals(range(30, 34), MadeVideo.numbers(last.getFirst()));
        assertArrayEquals(range(34, 38), MadeVideo.numbers(last.getLast()));
        // All of it at any rate, in another size.
        assertArrayEquals(
                new int[] {5, 15, 25, 35},
                MadeVideo.numbers(Video.cut(frames, ClipCut.whole(4, 8, 8)).getFirst()));
        assertEquals(40, Video.count(frames, DecodeOptions.NATIVE));
        assertEquals(25, VideoReader.probe(frames).frameRate().orElseThrow());
        assertEquals(1.6, VideoReader.probe(frames).duration().orElseThrow());
        List<Double> times = new ArrayList<>();
        double end = Video.frames(frames, cut, (pixels, time) -> times.add(time));
        assertEquals(40, times.size());
        Close.within(times.getLast(), 3.9, 1e-9, "the last begins");
        Close.within(end, 4, 1e-9, "and ends");
    }

    /** Grey pictures and those of more bits show what the video that they were made of shows. */
    @ParameterizedTest
    @ValueSource(
            strings = {"png gray", "png gray16be", "png ya8", "png rgb48be", "png rgba", "jpg gray", "jpg yuvj444p"})
    void picturesOfEveryKindAreAsTheVideoIs(String kind) throws IOException {
        String[] words = kind.split(" ", -1);
        Path frames = Files.createDirectories(folder.resolve("frames"));
        String made = "-f lavfi -i color=black:s=32x24:r=10:d=1,format=gray,geq=lum=20*N+10";
        MadeVideo.write(frames.resolve("%03d." + words[0]), made + " -q:v 1 -pix_fmt " + words[1]);
        VideoClip clip = Video.frames(frames, DecodeOptions.NATIVE);
        for (int frame = 0; frame < 10; frame++) {
            for (int channel = 0; channel < 3; channel++) {
                int level = clip.pixels()[frame * clip.frameLength() + 3 * 100 + channel] & 0xFF;
                Close.within(level, 20 * frame + 10, 2, kind + " frame " + frame + " channel " + channel);
            }
        }
    }

    @Test
    void itLiesInALabelsFolderAsAVideoDoes() throws IOException {
        Path frames = pictures("label/take", "%04d.png");
        ClipFolder videos = ClipFolder.open(folder);
        assertEquals(List.of("label"), videos.labels());
        assertEquals(List.of(frames), videos.videos(0));
        ClipCut cut = ClipCut.every(2, 4, 8, 8).withPictureRate(10);
        assertEquals(2, videos.clips(0, cut).size());
        assertEquals(2, videos.count(0, cut));
    }

    @Test
    void whatIsNoSuchFolderIsRefusedWithWhatWouldBe() throws IOException {
        Path frames = pictures("frames", "%03d.png");
        refused("of frames as pictures name the folder that holds them, not a pattern", frames.resolve("%03d.png"));
        refused("not a pattern", frames.resolve("x%d.png"));
        refused("not a pattern", frames.resolve("*.png"));
        refused("a folder that holds nothing but frames", folder);
        Path picture = frames.resolve("010.png");
        byte[] bytes = Files.readAllBytes(picture);
        Files.write(picture, new byte[] {1, 2, 3});
        refused("010.png cannot be read as a picture", frames);
        Files.write(picture, bytes);
        for (int number = 20; number < 42; number++) {
            Files.delete(frames.resolve("%03d.png".formatted(number)));
        }
        refused("lacks the frame 20 after 019.png, and more of them than it has", frames);
        Files.delete(frames.resolve("042.png"));
        for (int number = 3; number < 20; number++) {
            if (number % 4 != 3) {
                Files.delete(frames.resolve("%03d.png".formatted(number)));
            }
        }
        Files.move(frames.resolve("019.png"), frames.resolve("021.png"));
        refused("lacks the frame 19 after 015.png; extract the frames again", frames);
    }

    /** As where a recording is extracted: the one before stands for it, in every way of reading. */
    @Test
    void aFrameThatIsMissingIsTheOneBefore() throws IOException {
        Path frames = pictures("frames", "%03d.png");
        for (int number : new int[] {10, 11, 30}) {
            Files.delete(frames.resolve("%03d.png".formatted(number)));
        }
        int[] shown = range(0, 40);
        shown[7] = 6;
        shown[8] = 6;
        shown[27] = 26;
        ClipCut cut = ClipCut.every(4, 40, 24, 32).withPictureRate(10);
        assertArrayEquals(shown, MadeVideo.numbers(Video.cut(frames, cut).getFirst()));
        assertEquals(40, Video.count(frames, DecodeOptions.NATIVE));
        assertEquals(40, Video.measure(frames).frames().orElseThrow());
        // Thinned out to every second one, of which one is missing.
        for (int number = 4; number <= 42; number += 2) {
            Files.deleteIfExists(frames.resolve("%03d.png".formatted(number)));
        }
        assertEquals(20, Video.count(frames, DecodeOptions.NATIVE));
        int[] second =
                MadeVideo.numbers(Video.cut(frames, ClipCut.every(2, 20, 24, 32).withPictureRate(10))
                        .getFirst());
        assertArrayEquals(new int[] {6, 6, 10}, Arrays.copyOfRange(second, 3, 6));
    }

    private static void refused(String words, Path video) {
        ClipCut cut = ClipCut.every(1, 10, 24, 32).withPictureRate(10);
        IllegalArgumentException refusal = assertThrows(IllegalArgumentException.class, () -> Video.cut(video, cut));
        String message = requireNonNull(refusal.getMessage());
        assertTrue(message.contains(words), message);
        assertEquals(1, message.lines().count(), message);
    }

    @Test
    void anImpossibleRateIsRefused() {
        ClipCut cut = ClipCut.whole(4, 8, 8);
        for (double rate : new double[] {0, -1, Double.NaN, 1001}) {
            assertTrue(String.valueOf(assertThrows(IllegalArgumentException.class, () -> cut.withPictureRate(rate))
                            .getMessage())
                    .contains(rate + " pictures per second; give a positive number"));
        }
    }
}
