package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.Video;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoInfo;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.FrameSampling;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;

/**
 * The videos were made by FFmpeg's own sources: {@code ramp} has 40 frames of 64 x 48 pixels at 10 frames per second, frame
 * N of the one luma 20 + 5 N (MPEG-4, and FFV1 in a file without a frame count or duration); {@code turned} is 64 x 48 with
 * a bright left half, to be shown turned by 90 degrees counterclockwise.
 */
class VideoTest {
    private static final String PROGRAM = "tessera.ffmpeg";

    @TempDir
    Path folder;

    private static Path video(String name) {
        try {
            return Path.of(Objects.requireNonNull(VideoTest.class.getResource("/video/" + name))
                    .toURI());
        } catch (URISyntaxException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** The number of a ramp's frame, from its brightness. */
    private static int number(byte[] pixels, int frame, int frameLength) {
        int middle = pixels[frame * frameLength + frameLength / 2] & 0xFF;
        return (int) Math.round((middle * 219 / 255.0 + 16 - 20) / 5);
    }

    private static int[] numbers(VideoClip clip) {
        return IntStream.range(0, clip.frames())
                .map(frame -> number(clip.pixels(), frame, clip.frameLength()))
                .toArray();
    }

    private static String refusal(Path file) {
        VideoException refused = assertThrows(VideoException.class, () -> Video.frames(file, DecodeOptions.NATIVE));
        String message = requireNonNull(refused.getMessage());
        assertTrue(message.startsWith(file + ": ") && message.contains("; "), message);
        assertFalse(message.contains("\n"), message);
        return message;
    }

    private static void assertNoChildren() {
        assertEquals(0, ProcessHandle.current().descendants().count(), "child processes left");
    }

    @Test
    void headersTellSizeRateAndLength() {
        VideoInfo info = VideoReader.probe(video("ramp.mp4"));
        assertEquals(64, info.width());
        assertEquals(48, info.height());
        assertEquals(OptionalLong.of(40), info.frames());
        Close.within(info.frameRate().orElseThrow(), 10, 1e-6, "frame rate");
        Close.within(info.duration().orElseThrow(), 4, 1e-6, "duration");
        assertEquals(OptionalLong.of(30), info.framesAt(7.5));
        assertEquals(OptionalLong.empty(), VideoReader.probe(video("ramp.mkv")).frames());
    }

    @Test
    void everyFrameComesInOrder() {
        int[] all = IntStream.range(0, 40).toArray();
        assertArrayEquals(all, numbers(Video.frames(video("ramp.mp4"), DecodeOptions.NATIVE)));
        assertArrayEquals(all, numbers(Video.frames(video("ramp.mkv"), DecodeOptions.NATIVE)));
        assertEquals(40, Video.count(video("ramp.mkv"), DecodeOptions.NATIVE));
    }

    @Test
    void rotationIsRespected() {
        VideoClip clip = Video.frames(video("turned.mp4"), DecodeOptions.NATIVE);
        assertEquals(64, clip.height());
        assertEquals(48, clip.width());
        int top = clip.pixels()[3 * (5 * 48 + 24)] & 0xFF;
        int bottom = clip.pixels()[3 * (58 * 48 + 24)] & 0xFF;
        assertTrue(bottom > top + 100, "the bright left half goes to the bottom: top " + top + ", bottom " + bottom);
    }

    @Test
    void scalingWhileDecodingEqualsTheAntialiasedResize() {
        VideoClip scaled = Video.sample(video("turned.mp4"), DecodeOptions.NATIVE.withSize(20, 17), 0, 3);
        VideoClip resized =
                ImageOps.resize(Video.sample(video("turned.mp4"), DecodeOptions.NATIVE, 0, 3), 17, 20, true);
        for (int i = 0; i < resized.pixels().length; i++) {
            Close.within(scaled.pixels()[i] & 0xFF, resized.pixels()[i] & 0xFF, 4, "value " + i);
        }
    }

    @Test
    void denseClipsStepAndRepeatWhatIsMissing() {
        assertArrayEquals(new long[] {5, 9, 13}, FrameSampling.dense(5, 4, 3));
        assertArrayEquals(new long[] {0, 0, 2}, FrameSampling.dense(-2, 2, 3));
        Path ramp = video("ramp.mp4");
        assertArrayEquals(
                new int[] {5, 9, 13}, numbers(Video.sample(ramp, DecodeOptions.NATIVE, FrameSampling.dense(5, 4, 3))));
        assertArrayEquals(
                new int[] {35, 38, 39, 39},
                numbers(Video.sample(ramp, DecodeOptions.NATIVE, FrameSampling.dense(35, 3, 4))));
        VideoException refused =
                assertThrows(VideoException.class, () -> Video.sample(ramp, DecodeOptions.NATIVE, 40, 41));
        assertTrue(requireNonNull(refused.getMessage()).contains("ends before frame 40"), refused.getMessage());
        assertThrows(IllegalArgumentException.class, () -> Video.sample(ramp, DecodeOptions.NATIVE, 3, 2));
    }

    @Test
    void uniformClipsTakeTheMiddleOfEachPart() {
        assertArrayEquals(new long[] {2, 7, 12, 17}, FrameSampling.uniform(0, 20, 4));
        assertArrayEquals(new long[] {10, 10, 11, 11}, FrameSampling.uniform(10, 12, 4));
    }

    @Test
    void targetFrameRateGoesByTimeStamps() {
        int[] slow = numbers(Video.frames(video("ramp.mp4"), DecodeOptions.NATIVE.withFrameRate(5)));
        assertEquals(20, slow.length);
        for (int k = 0; k < slow.length; k++) {
            Close.within(slow[k], 2 * k, 1, "frame " + k);
        }
        int[] fast = numbers(Video.frames(video("ramp.mp4"), DecodeOptions.NATIVE.withFrameRate(20)));
        assertEquals(80, fast.length);
    }

    @Test
    void recordingsAreCutIntoHalvesThatShareNothing() {
        for (String name : List.of("ramp.mp4", "ramp.mkv")) {
            ClipCut cut = ClipCut.every(0.5, 5, 48, 64);
            List<VideoClip> support = Video.cut(video(name), cut.part(0, 0.5));
            List<VideoClip> queries = Video.cut(video(name), cut.part(0.5, 1));
            assertEquals(4, support.size(), name);
            assertEquals(4, queries.size(), name);
            assertArrayEquals(new int[] {0, 1, 2, 3, 4}, numbers(support.getFirst()));
            assertArrayEquals(new int[] {15, 16, 17, 18, 19}, numbers(support.getLast()));
            assertArrayEquals(new int[] {20, 21, 22, 23, 24}, numbers(queries.getFirst()));
            assertArrayEquals(new int[] {35, 36, 37, 38, 39}, numbers(queries.getLast()));
        }
    }

    @Test
    void clipsOverlapLeaveGapsOrArePadded() {
        ClipCut cut = ClipCut.every(1, 10, 48, 64);
        List<VideoClip> overlapping = Video.cut(video("ramp.mp4"), new ClipCut(10, 48, 64, 1, 0.5, 0, 1));
        assertEquals(7, overlapping.size());
        assertEquals(5, numbers(overlapping.get(1))[0]);
        List<VideoClip> apart = Video.cut(video("ramp.mp4"), new ClipCut(10, 48, 64, 1, 1.5, 0, 1));
        assertEquals(3, apart.size());
        assertArrayEquals(IntStream.range(15, 25).toArray(), numbers(apart.get(1)));
        List<VideoClip> padded = Video.cut(video("ramp.mp4"), cut.part(0.9, 1));
        assertEquals(1, padded.size());
        assertArrayEquals(new int[] {36, 37, 38, 39, 39, 39, 39, 39, 39, 39}, numbers(padded.getFirst()));
        assertArrayEquals(
                new int[] {5, 15, 25, 35},
                numbers(Video.cut(video("ramp.mp4"), ClipCut.whole(4, 48, 64)).getFirst()));
    }

    @Test
    void oneHundredDecodesLeaveNothingBehind() throws IOException {
        Video.frames(video("ramp.mp4"), DecodeOptions.NATIVE);
        long before = openFiles();
        for (int i = 0; i < 100; i++) {
            try (VideoReader reader = VideoReader.open(video("ramp.mp4"))) {
                assertNotNull(reader.next());
                while (i % 2 == 0 && reader.next() != null) {
                    // Every other reader is closed early.
                }
            }
        }
        assertNoChildren();
        assertTrue(openFiles() <= before + 3, "open files: " + before + " before, " + openFiles() + " after");
    }

    private static long openFiles() throws IOException {
        Path descriptors = Path.of("/proc/self/fd");
        if (!Files.isDirectory(descriptors)) {
            return 0;
        }
        try (Stream<Path> files = Files.list(descriptors)) {
            return files.count();
        }
    }

    @Test
    void anInterruptStopsTheDecoder() {
        try (VideoReader reader = VideoReader.open(video("ramp.mp4"))) {
            Thread.currentThread().interrupt();
            assertThrows(UncheckedIOException.class, reader::next);
            assertTrue(Thread.interrupted(), "the interrupt stays set");
            assertNoChildren();
            assertNull(reader.next());
        }
    }

    @Test
    void whatIsNoVideoIsRefusedInOneLine() throws IOException {
        assertTrue(refusal(folder.resolve("missing.mp4")).contains("does not exist"));
        assertTrue(refusal(Path.of("https://example.org/a.mp4"))
                .contains("is an address in a network, not a file; fetch"));
        assertTrue(refusal(folder).contains("is a folder"));
        assertTrue(refusal(Files.createFile(folder.resolve("empty.mp4"))).contains("cannot be decoded"));
        String pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n";
        assertTrue(
                refusal(Files.writeString(folder.resolve("lfs.mp4"), pointer)).contains("git lfs pull"));
        assertTrue(refusal(Files.writeString(folder.resolve("page.mp4"), "\n <!DOCTYPE html><html></html>"))
                .contains("is a web page or other markup, not a video; fetch the file itself"));
        assertTrue(refusal(Files.write(folder.resolve("zip.mp4"), new byte[] {'P', 'K', 3, 4, 0, 0}))
                .contains("is an archive, not a video; unpack it"));
        assertTrue(refusal(Files.write(folder.resolve("zeros.mp4"), new byte[5000]))
                .contains("begins with nothing but zeros"));
        assertTrue(refusal(Files.writeString(folder.resolve("text.mp4"), "no video at all\n".repeat(50)))
                .contains("is a text, not a video"));
        assertTrue(refusal(Files.write(
                        folder.resolve("noise.mp4"), new byte[] {9, 8, 7, 6, 1, 2, 3, 4, 0, 9, 8, 7, 0, 0, 1, 2, 3, 4}))
                .contains("(it begins as no video does)"));
        assertTrue(refusal(Files.writeString(folder.resolve("notes.txt"), "no video at all\n".repeat(50)))
                .contains("not a video"));
        assertTrue(refusal(Files.write(folder.resolve("sound.wav"), silence())).contains("no video stream"));
        Path list = Files.writeString(
                folder.resolve("list.m3u8"), "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n");
        refusal(list);
        byte[] ramp = Files.readAllBytes(video("ramp.mp4"));
        assertTrue(refusal(Files.write(folder.resolve("half.mp4"), Arrays.copyOf(ramp, ramp.length / 2)))
                .contains("it has no index, moov, as where a recording or a copy was cut off"));
        refusal(Files.write(folder.resolve("cut.mp4"), Arrays.copyOf(ramp, 200)));
        assertNoChildren();
    }

    @Test
    void damageIsConcealedOrRefused() throws IOException {
        Path file = folder.resolve("damaged.mp4");
        for (long seed = 0; seed < 12; seed++) {
            Random random = new Random(seed);
            byte[] ramp = Files.readAllBytes(video("ramp.mp4"));
            for (int hit = 0; hit < 40; hit++) {
                ramp[random.nextInt(ramp.length)] = (byte) random.nextInt(256);
            }
            Files.write(file, ramp);
            try {
                VideoClip clip = Video.sample(file, DecodeOptions.NATIVE.withSize(8, 8), 0, 10, 20);
                assertEquals(3, clip.frames());
            } catch (VideoException refused) {
                assertTrue(requireNonNull(refused.getMessage()).startsWith(file + ": "), refused.getMessage());
            }
        }
        assertNoChildren();
    }

    private static byte[] silence() {
        ByteBuffer wave = ByteBuffer.allocate(44 + 1600).order(ByteOrder.LITTLE_ENDIAN);
        wave.put("RIFF".getBytes(StandardCharsets.US_ASCII)).putInt(36 + 1600);
        wave.put("WAVEfmt ".getBytes(StandardCharsets.US_ASCII))
                .putInt(16)
                .putShort((short) 1)
                .putShort((short) 1);
        wave.putInt(8000).putInt(16000).putShort((short) 2).putShort((short) 16);
        wave.put("data".getBytes(StandardCharsets.US_ASCII)).putInt(1600);
        return wave.array();
    }

    @Test
    void fileNamesAreNeverOptionsNorPatterns() throws IOException {
        for (String name : List.of("-i.mp4", "a%03d b'c.mp4", "http:x.mp4", "$(touch oops).mp4")) {
            Path file = Files.copy(video("ramp.mp4"), folder.resolve(name));
            assertEquals(40, Video.count(file, DecodeOptions.NATIVE), name);
        }
    }

    @Test
    void programsThatAreMissingAreNamed() {
        withProgram(folder.resolve("nothing").toString(), () -> {
            VideoException refused = assertThrows(VideoException.class, () -> VideoReader.probe(video("ramp.mp4")));
            assertTrue(requireNonNull(refused.getMessage()).contains("tessera.ffmpeg"), refused.getMessage());
        });
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void decodersThatHangAreStopped() throws IOException {
        withProgram(programThat("sleep 1000"), () -> {
            DecodeOptions hurried = new DecodeOptions(0, 0, 0, 0, Duration.ofSeconds(1));
            try (VideoReader reader = VideoReader.open(video("ramp.mp4"), hurried)) {
                VideoException refused = assertThrows(VideoException.class, reader::next);
                assertTrue(
                        requireNonNull(refused.getMessage()).contains("no frame within 1.0 s"), refused.getMessage());
                assertNoChildren();
            }
        });
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void decodersThatCrashHarmOnlyThemselves() throws IOException {
        withProgram(programThat("printf '0, 0, 0, 1, 12, 0x0\\n0123456789ab'; kill -SEGV $$"), () -> {
            try (VideoReader reader = VideoReader.open(video("ramp.mp4"))) {
                assertNotNull(reader.next());
                VideoException refused = assertThrows(VideoException.class, reader::next);
                assertTrue(requireNonNull(refused.getMessage()).contains("crashed"), refused.getMessage());
            }
        });
    }

    /** A decoder for videos of 2 x 2 pixels that does as it is told in shell. */
    private String programThat(String decoding) throws IOException {
        String start = "#!/bin/sh\ncase \"$*\" in *-version*) exit 0;; esac\n";
        Path program = Files.writeString(folder.resolve("ffmpeg"), start + decoding + "\n");
        Path probe = Files.writeString(
                folder.resolve("ffprobe"), start + "echo streams.stream.0.width=2\necho streams.stream.0.height=2\n");
        assertTrue(program.toFile().setExecutable(true) && probe.toFile().setExecutable(true));
        return program.toString();
    }

    private static void withProgram(String program, Runnable action) {
        System.setProperty(PROGRAM, program);
        try {
            action.run();
        } finally {
            System.clearProperty(PROGRAM);
        }
    }

    @Test
    void foldersOfLabelledVideosBecomeClips() throws IOException {
        for (String label : List.of("pour", "cut")) {
            Files.createDirectory(folder.resolve(label));
            Files.copy(video("ramp.mp4"), folder.resolve(label).resolve("b.mp4"));
            Files.copy(video("ramp.mkv"), folder.resolve(label).resolve("a.mkv"));
            Files.createFile(folder.resolve(label).resolve(".hidden"));
        }
        ClipFolder clips = ClipFolder.open(folder);
        assertEquals(List.of("cut", "pour"), clips.labels());
        assertEquals(folder.resolve("pour").resolve("a.mkv"), clips.videos(1).getFirst());
        List<ClipFolder.LabelledClip> all =
                clips.clips(ClipCut.every(1, 5, 8, 8).part(0, 0.5));
        assertEquals(
                List.of(0, 0, 0, 0, 1, 1, 1, 1),
                all.stream().map(ClipFolder.LabelledClip::label).toList());
        assertEquals(5 * 8 * 8 * 3, all.getFirst().clip().pixels().length);
        assertEquals(2, clips.clips(1, ClipCut.whole(4, 8, 8)).size());
    }

    @Test
    void foldersThatCannotServeAreNamed() throws IOException {
        assertTrue(folderRefusal(folder.resolve("missing")).contains("does not exist"));
        assertTrue(folderRefusal(folder).contains("no label folders"));
        Path label = Files.createDirectory(folder.resolve("wave"));
        assertTrue(folderRefusal(folder).startsWith(label + ": holds no videos"));
        Path text = Files.writeString(label.resolve("x.mp4"), "no video");
        ClipFolder clips = ClipFolder.open(folder);
        VideoException refused = assertThrows(VideoException.class, () -> clips.clips(ClipCut.whole(2, 8, 8)));
        assertTrue(requireNonNull(refused.getMessage()).startsWith(text + ": "), refused.getMessage());
    }

    private static String folderRefusal(Path folder) {
        return requireNonNull(assertThrows(VideoException.class, () -> ClipFolder.open(folder))
                .getMessage());
    }
}
