package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.video.ClipCut;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.SoundTrack;
import tessera.distill.video.Video;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.VideoClip;

/** Kinds of files that readers of videos stumble over: what they hold is shown, or they are refused in a line. */
class VideoKindsTest {
    private static final String MATRIX = "tkhd";

    @TempDir
    private Path folder;

    private Path made(String name, String arguments) {
        return MadeVideo.write(folder.resolve(name), arguments);
    }

    /** Three seconds of ten frames each, in every one the brightness of its number. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "ten-bits.mkv|96x72|-c:v ffv1 -pix_fmt yuv420p10le",
                "alpha.mkv|96x72|-c:v ffv1 -pix_fmt yuva420p",
                "alpha.mov|96x72|-c:v qtrle -pix_fmt argb",
                "grey.mkv|96x72|-c:v ffv1 -pix_fmt gray",
                "full-range.avi|96x72|-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
                "interlaced.avi|96x72|-c:v mpeg4 -flags +ildct+ilme -q:v 2",
                "odd.mkv|97x73|-c:v ffv1 -pix_fmt yuv444p",
                "tiny.mkv|2x2|-c:v ffv1",
                "wide.mkv|1024x8|-c:v ffv1",
                "old.wmv|96x72|-c:v wmv2 -q:v 2",
                "picture.mp4|96x72|-c:v mpeg4 -q:v 2",
                "live.mkv|96x72|-c:v ffv1 -f matroska -live 1",
                "variable.mkv|96x72|-c:v ffv1 -vf select=not(eq(mod(n\\,10)\\,1)) -fps_mode passthrough",
                "fragments.mp4|96x72|-c:v mpeg4 -q:v 2 -movflags frag_keyframe+empty_moov"
            })
    void everyKindShowsItsFrames(String name, String size, String encoding) {
        Path file = made(name, MadeVideo.ramp(size, 10, 3) + " " + encoding);
        List<VideoClip> clips = Video.cut(file, ClipCut.every(1, 5, 16, 16));
        assertEquals(3, clips.size());
        for (int clip = 0; clip < 3; clip++) {
            int[] expected = {10 * clip, 10 * clip + 2, 10 * clip + 4, 10 * clip + 6, 10 * clip + 8};
            assertArrayEquals(expected, MadeVideo.numbers(clips.get(clip)), () -> name + Arrays.toString(expected));
        }
    }

    /**
     * Kinds that not every build of FFmpeg can encode: files of its moving test picture, 30 frames of 96 x 72. The means of red, green and
     * blue in the first, the 16th and the last frame are those of FFmpeg's own decoding into RGB.
     */
    @ParameterizedTest
    @CsvSource({
        "ten-bits-hevc.mp4, 100.27, 78.52, 80.19, 103.64, 74.37, 88.56, 96.16, 85.48, 85.79",
        "av1.mkv,           100.26, 78.53, 80.10, 103.63, 74.62, 88.86, 95.98, 85.55, 85.95",
        "alpha-vp9.webm,    100.30, 78.52, 80.17, 103.43, 74.43, 88.99, 95.87, 85.45, 85.47",
        "raw.h264,          100.88, 78.50, 80.58, 103.23, 75.07, 89.32, 96.11, 85.44, 86.02"
    })
    void codecsOfOthersAreDecoded(
            String name,
            double r0,
            double g0,
            double b0,
            double r15,
            double g15,
            double b15,
            double r,
            double g,
            double b)
            throws URISyntaxException {
        Path file = Path.of(requireNonNull(VideoKindsTest.class.getResource("/video/" + name))
                .toURI());
        VideoClip clip = Video.frames(file, DecodeOptions.NATIVE);
        assertEquals(List.of(30, 72, 96), List.of(clip.frames(), clip.height(), clip.width()));
        double[] expected = {r0, g0, b0, r15, g15, b15, r, g, b};
        int[] frames = {0, 15, 29};
        for (int i = 0; i < 9; i++) {
            Close.within(mean(clip, frames[i / 3], i % 3), expected[i], .5, name + " frame " + frames[i / 3]);
        }
    }

    private static double mean(VideoClip clip, int frame, int colour) {
        long sum = 0;
        for (int i = colour; i < clip.frameLength(); i += 3) {
            sum += clip.pixels()[frame * clip.frameLength() + i] & 0xFF;
        }
        return 3.0 * sum / clip.frameLength();
    }

    /** Three seconds at 25 in a second, of which the last packets tell no times: none of its frames is left out, in whatever order they lie. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "plain.mpg -c:v mpeg2video -q:v 2",
                "ordered.mpg -c:v mpeg2video -q:v 2 -bf 2",
                "first.mpg -c:v mpeg1video -q:v 2 -bf 2",
                "disc.vob -c:v mpeg2video -q:v 2 -bf 2 -f vob",
                "ordered.avi -c:v mpeg4 -q:v 2 -bf 2"
            })
    void framesWithoutTimesCount(String kind) {
        int space = kind.indexOf(' ');
        Path file = made(kind.substring(0, space), MadeVideo.ramp("96x72", 25, 3) + kind.substring(space));
        assertEquals(75, Video.measure(file).frames().orElseThrow());
        // Where times are left out, the decoder's may be those of a frame beside.
        int[] spread =
                MadeVideo.numbers(Video.cut(file, ClipCut.whole(5, 16, 16)).getFirst());
        int[] expected = {7, 22, 37, 12, 27};
        for (int i = 0; i < spread.length; i++) {
            assertTrue(Math.abs(spread[i] - expected[i]) <= 1, () -> kind + Arrays.toString(spread));
        }
        VideoClip last =
                Video.cut(file, ClipCut.every(1, 25, 16, 16).part(2 / 3.0, 1)).getFirst();
        assertTrue(MadeVideo.numbers(last)[24] >= 33, () -> kind + Arrays.toString(MadeVideo.numbers(last)));
    }

    /** Thirty frames that all have one time: they are shown at the rate that the file states, none of them lost. */
    @ParameterizedTest
    @ValueSource(strings = {"equal.mkv -c:v ffv1", "equal.nut -c:v rawvideo"})
    void whereTimeStandsFramesAreCounted(String kind) {
        int space = kind.indexOf(' ');
        String encoding = kind.substring(space) + " -bsf:v setts=ts=0";
        Path file = made(kind.substring(0, space), MadeVideo.ramp("96x72", 10, 3) + encoding);
        assertEquals(30, Video.measure(file).frames().orElseThrow());
        List<VideoClip> clips = Video.cut(file, ClipCut.every(1, 5, 16, 16));
        assertEquals(3, clips.size());
        assertArrayEquals(new int[] {20, 22, 24, 26, 28}, MadeVideo.numbers(clips.get(2)));
        VideoClip half =
                Video.cut(file, ClipCut.every(1, 5, 16, 16).part(.5, 1)).getFirst();
        assertArrayEquals(new int[] {14, 16, 18, 20, 22}, MadeVideo.numbers(half));
        assertArrayEquals(
                new int[] {3, 9, 15, 21, 27},
                MadeVideo.numbers(Video.cut(file, ClipCut.whole(5, 16, 16)).getFirst()));
    }

    /** Formats that count milliseconds round the times of such rates, or do not say how long a frame lasts: none is lost by that, and of 500 none is added. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "a.mkv|-c:v ffv1",
                "a.mkv|-c:v ffv1 -bsf:v setts=duration=0",
                "a.webm|-c:v vp8",
                "a.flv|-c:v flv",
                "a.asf|-c:v mpeg4",
                "a.mp4|-c:v mpeg4",
            })
    void everyFrameCountsAtRatesThatAreNoWholeMilliseconds(String name, String encoding) {
        for (String rate : List.of("24000/1001", "30000/1001", "60000/1001", "500")) {
            for (int frames : new int[] {2, 20, 31, 59, 60, 121}) {
                Path file = made(
                        name, "-y -f lavfi -i color=black:s=32x32:r=" + rate + " -frames:v " + frames + " " + encoding);
                String what = name + " " + encoding + ", " + frames + " frames at " + rate;
                assertEquals(frames, Video.count(file, DecodeOptions.NATIVE), what);
                assertEquals(frames, Video.measure(file).frames().orElseThrow(), what);
            }
        }
    }

    /** The size of a frame is that of the picture as players show it, whatever the shape of the file's pixels. */
    @ParameterizedTest
    @CsvSource({"2/1, 192, 72", "1/2, 48, 72", "16/15, 102, 72", "50/1, 96, 72", "1/50, 96, 72"})
    void pixelsMayBeWide(String aspect, int width, int height) {
        Path file = made("wide.mkv", MadeVideo.ramp("96x72", 10, 1) + ",setsar=" + aspect + " -c:v ffv1");
        assertEquals(width, VideoReader.probe(file).width());
        assertEquals(height, VideoReader.probe(file).height());
        assertArrayEquals(new int[] {72, 96}, VideoReader.storedSize(file));
        assertEquals(10, Video.frames(file, DecodeOptions.NATIVE).frames());
    }

    /** Files that were put together by their bytes are shown to the end of the first, and that is told once; other files are not suspected. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "joined.mp4|-c:v mpeg4 -q:v 2|true",
                "first.mp4|-c:v mpeg4 -q:v 2 -movflags +faststart|true",
                "joined.mkv|-c:v ffv1|true",
                "live.mkv|-c:v ffv1 -f matroska -live 1|false",
                "fragments.mp4|-c:v mpeg4 -q:v 2 -movflags frag_keyframe+empty_moov|false"
            })
    void aSecondRecordingBehindTheFirstIsTold(String name, String encoding, boolean told) throws IOException {
        Path file = made(name, MadeVideo.ramp("96x72", 10, 1) + " " + encoding);
        List<String> notes = Collections.synchronizedList(new ArrayList<>());
        Handler handler = new Handler() {
            @Override
            public void publish(LogRecord entry) {
                notes.add(entry.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        Logger logger = Logger.getLogger("tessera.distill.video.Headers");
        logger.addHandler(handler);
        try {
            assertEquals(10, Video.measure(file).frames().orElseThrow());
            assertEquals(List.of(), notes);
            byte[] once = Files.readAllBytes(file);
            byte[] twice = Arrays.copyOf(once, 2 * once.length);
            System.arraycopy(once, 0, twice, once.length, once.length);
            Files.write(file, twice);
            Video.measure(file);
            Video.measure(file);
            assertEquals(told ? 1 : 0, notes.size(), notes.toString());
            assertTrue(notes.stream().allMatch(note -> note.contains("only the first is shown")), notes.toString());
        } finally {
            logger.removeHandler(handler);
        }
    }

    /** Digital video's own files state sixty thousand frames a second on average. */
    @Test
    void aRateThatNoCameraHasIsNotTaken() {
        Path file = made("tape.dv", MadeVideo.ramp("720x576", 25, 1) + " -c:v dvvideo -pix_fmt yuv420p");
        assertEquals(25, VideoReader.probe(file).frameRate().orElseThrow());
        assertEquals(25, Video.measure(file).frames().orElseThrow());
    }

    /** A picture whose left half is white, turned and mirrored as the matrix in the file's header says. */
    @ParameterizedTest
    @CsvSource({
        "none,     1,  0,  0,  1, left",
        "quarter,  0,  1, -1,  0, top",
        "half,    -1,  0,  0, -1, right",
        "back,     0, -1,  1,  0, bottom",
        "mirror,  -1,  0,  0,  1, right",
        "twice,    2,  0,  0,  2, left",
        "nothing,  0,  0,  0,  0, left"
    })
    void picturesAreTurnedAsTheFileSays(String name, int a, int b, int c, int d, String white) throws IOException {
        Path file = Files.write(folder.resolve(name + ".mp4"), withMatrix(a, b, c, d));
        VideoClip clip = Video.cut(file, ClipCut.whole(1, 16, 16)).getFirst();
        int[][] places = {{8, 2}, {2, 8}, {8, 13}, {13, 8}};
        List<String> sides = List.of("left", "top", "right", "bottom");
        int[] light = new int[4];
        for (int i = 0; i < 4; i++) {
            light[i] = clip.pixels()[3 * (16 * places[i][0] + places[i][1])] & 0xFF;
        }
        int side = sides.indexOf(white);
        assertTrue(
                light[side] > 200 && light[(side + 2) % 4] < 50,
                name + ": left, top, right, bottom " + Arrays.toString(light));
    }

    /** By angles that are no right ones something is shown of the size that is asked for. */
    @Test
    void oddAnglesAreDecoded() throws IOException {
        double half = Math.sqrt(.5);
        Path file = Files.write(folder.resolve("odd.mp4"), withMatrix(half, half, -half, half));
        VideoClip clip = Video.cut(file, ClipCut.whole(2, 16, 16)).getFirst();
        assertEquals(List.of(2, 16, 16), List.of(clip.frames(), clip.height(), clip.width()));
    }

    private byte[] withMatrix(double a, double b, double c, double d) throws IOException {
        Path plain = made(
                "plain.mp4",
                "-y -f lavfi -i color=black:s=96x48:r=10:d=1,drawbox=x=0:y=0:w=48:h=48:color=white:t=fill -c:v mpeg4 -q:v 2");
        byte[] bytes = Files.readAllBytes(plain);
        int box = new String(bytes, StandardCharsets.ISO_8859_1).indexOf(MATRIX);
        // Behind the box's name: version and flags, times and numbers, what is reserved, layer and volume.
        ByteBuffer matrix = ByteBuffer.wrap(bytes).position(box + 4 + 4 + 20 + 8 + 8);
        double[] numbers = {a, b, 0, c, d, 0, 0, 0, 1};
        for (int i = 0; i < 9; i++) {
            matrix.putInt((int) Math.round(numbers[i] * (i % 3 == 2 ? 1 << 30 : 1 << 16)));
        }
        return bytes;
    }

    private void refused(Path file, String part) {
        for (ClipCut cut : List.of(ClipCut.every(1, 5, 16, 16), ClipCut.whole(5, 16, 16))) {
            String message = requireNonNull(assertThrows(VideoException.class, () -> Video.cut(file, cut))
                    .getMessage());
            assertTrue(message.startsWith(file + ": ") && message.contains(part), message);
            assertEquals(1, message.lines().count(), message);
        }
    }

    /** Sound alone, with a cover, a track without a picture as lossless cutters leave one, nothing at all. */
    @Test
    void whatHasNoPictureSaysSo() throws IOException {
        String sound = "-f lavfi -i sine=d=1:sample_rate=8000 ";
        refused(made("sound.m4a", sound + "-c:a aac"), "holds no video stream");
        Path cover = made("cover.png", "-f lavfi -i color=green:s=64x64 -frames:v 1");
        refused(
                made(
                        "cover.m4a",
                        sound + "-i " + cover + " -map 0:a -map 1:v -c:a aac -c:v png -disposition:v:0 attached_pic"),
                "holds no video stream");
        Path whole = made("whole.mp4", MadeVideo.ramp("96x72", 10, 2) + " -c:v mpeg4");
        refused(made("after-end.mp4", "-ss 60 -i " + whole + " -c copy"), "no frame");
        refused(Files.write(folder.resolve("empty.mp4"), new byte[0]), "cannot be decoded as a video (it is empty");
        byte[] bytes = Files.readAllBytes(whole);
        refused(
                Files.write(folder.resolve("head-only.mp4"), Arrays.copyOf(bytes, bytes.length / 4)),
                "cannot be decoded as a video");
    }

    /** A last quarter of zeros, with the index in front: what comes before is shown. */
    @Test
    void aBrokenEndHidesNothingBefore() throws IOException {
        Path whole = made("whole.mp4", MadeVideo.ramp("96x72", 10, 3) + " -c:v mpeg4 -q:v 2 -g 5 -movflags faststart");
        byte[] bytes = Files.readAllBytes(whole);
        Arrays.fill(bytes, bytes.length * 3 / 4, bytes.length, (byte) 0);
        Path broken = Files.write(folder.resolve("broken-end.mp4"), bytes);
        List<VideoClip> clips = Video.cut(broken, ClipCut.every(1, 5, 16, 16));
        assertTrue(clips.size() >= 1, clips::toString);
        assertArrayEquals(new int[] {0, 2, 4, 6, 8}, MadeVideo.numbers(clips.getFirst()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"mp4", "mkv", "mov"})
    void ofSeveralTracksTheDefaultIsShown(String kind) {
        String second =
                " -f lavfi -i color=white:s=24x16:r=10:d=2 -f lavfi -i sine=r=16000:d=2 -f lavfi -i anullsrc=r=16000:d=2";
        String all = MadeVideo.ramp("16x16", 10, 2) + second
                + " -t 2 -map 0 -map 1 -map 2 -map 3 -c:v mpeg4 -q:v 2 -c:a aac";
        Path last = MadeVideo.write(
                folder.resolve("last." + kind),
                all + " -disposition:v:0 0 -disposition:v:1 default -disposition:a:0 0 -disposition:a:1 default");
        assertEquals(24, VideoReader.probe(last).width());
        VideoClip white = Video.cut(last, ClipCut.every(1, 4, 8, 8).part(.5, 1)).getFirst();
        assertTrue((white.pixels()[0] & 0xFF) > 240, "the second track is white, not " + (white.pixels()[0] & 0xFF));
        assertTrue(loudest(last) < 100, "the second track is silent, not " + loudest(last));
        Path none = MadeVideo.write(
                folder.resolve("none." + kind),
                all + " -disposition:v:0 0 -disposition:v:1 0 -disposition:a:0 0 -disposition:a:1 0");
        assertEquals(16, VideoReader.probe(none).width());
        assertTrue(loudest(none) > 1000, "the first track sounds, not " + loudest(none));
    }

    private static int loudest(Path video) {
        int loudest = 0;
        for (short sample : SoundTrack.read(video, 0, 1, 16_000)) {
            loudest = Math.max(loudest, Math.abs(sample));
        }
        return loudest;
    }
}
