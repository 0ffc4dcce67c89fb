package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.video.ClipCut;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.Video;
import tessera.distill.video.VideoException;
import tessera.nn.inference.VideoClip;

/** Videos as people have them, made here by the program that reads them: frame N of a second has the luma 20 + 5 N. */
class UnusualVideosTest {
    private static final String PROGRAM = "tessera.ffmpeg";
    private static final Pattern SOUGHT = Pattern.compile(" -ss ([0-9.]+) -i ");

    @TempDir
    Path folder;

    private Path made(String name, String arguments) {
        return MadeVideo.write(folder.resolve(name), arguments);
    }

    private static String ramp(String size, double rate, double seconds) {
        return MadeVideo.ramp(size, rate, seconds);
    }

    private static int number(VideoClip clip, int frame) {
        return numbers(clip)[frame];
    }

    private static int[] numbers(VideoClip clip) {
        return MadeVideo.numbers(clip);
    }

    @Test
    void aDayPassesThroughOneClipAtATime() {
        Path day = made("day.mkv", ramp("16x16", 1, 25) + " -vf setpts=PTS*3600 -fps_mode passthrough -c:v ffv1");
        int[] clips = {0};
        int[] brightest = {0};
        try (Stream<VideoClip> stream = Video.clips(day, ClipCut.every(8, 4, 8, 8))) {
            stream.forEach(clip -> {
                clips[0]++;
                brightest[0] = Math.max(brightest[0], number(clip, 3));
            });
        }
        assertEquals(24 * 3600 / 8, clips[0], "clips of 8 s in a day");
        assertEquals(23, brightest[0], "the picture of the last hour");
        VideoClip noon =
                Video.cut(day, ClipCut.every(8, 4, 8, 8).part(0.52, 0.53)).getFirst();
        assertArrayEquals(new int[] {12, 12, 12, 12}, numbers(noon));
        assertArrayEquals(
                new int[] {3, 9, 15, 21},
                numbers(Video.cut(day, ClipCut.whole(4, 8, 8)).getFirst()));
    }

    @Test
    void theSoughtPartIsThatOfTheDecodedWhole() {
        for (String codec :
                List.of("-c:v mpeg4 -g 50 -bf 2 -q:v 2 s.mp4", "-c:v mpeg2video -q:v 2 s.ts", "-c:v ffv1 s.mkv")) {
            String[] words = codec.split(" ");
            String name = words[words.length - 1];
            Path file = made(
                    name,
                    ramp("64x48", 10, 40) + " -pix_fmt yuv420p "
                            + String.join(" ", Arrays.copyOf(words, words.length - 1)));
            List<VideoClip> all = Video.cut(file, ClipCut.every(1, 5, 8, 8));
            List<VideoClip> half = Video.cut(file, ClipCut.every(1, 5, 8, 8).part(0.5, 1));
            assertEquals(40, all.size(), name);
            assertEquals(20, half.size(), name);
            for (int k = 0; k < 20; k++) {
                assertArrayEquals(numbers(all.get(20 + k)), numbers(half.get(k)), name + " clip " + k);
            }
        }
    }

    @Test
    void framesOfAnyNumberGiveAClip() {
        for (String name : List.of("one.gif", "one.mkv", "one.mp4")) {
            for (int frames = 1; frames <= 3; frames++) {
                Path file = made(
                        frames + name,
                        ramp("32x32", 25, 1) + " -frames:v " + frames
                                + (name.endsWith("gif") ? "" : " -c:v mpeg4 -q:v 2 -pix_fmt yuv420p"));
                for (double seconds : new double[] {0, 2, 1e5}) {
                    for (double from : new double[] {0, 0.5}) {
                        ClipCut cut = new ClipCut(8, 8, 8, seconds, 1, from, 1);
                        List<VideoClip> clips = Video.cut(file, cut);
                        assertEquals(1, clips.size(), file + " " + cut);
                        assertEquals(8, clips.getFirst().frames());
                    }
                }
            }
        }
    }

    /** Where sound or subtitles last longer, or begin before the picture; Matroska states one length for all. */
    @Test
    void fractionsAreThoseOfThePicture() throws IOException {
        Path said = Files.writeString(folder.resolve("said.srt"), "1\n00:00:19,000 --> 00:00:20,000\nend\n");
        String picture = ramp("64x48", 10, 4);
        String sound = " -f lavfi -i sine=f=200:d=20:sample_rate=8000 -map 0:v -map 1:a -map_metadata -1";
        String mpeg = " -c:v mpeg4 -q:v 2 -pix_fmt yuv420p";
        List<Path> files = List.of(
                made("long.mkv", picture + sound + mpeg + " -c:a mp2 -ar 16000"),
                made("long.mp4", picture + sound + mpeg + " -c:a mp2 -ar 16000"),
                made("long.ts", picture + sound + mpeg + " -c:a mp2 -ar 16000"),
                made("long.webm", picture + sound + " -c:v libvpx -deadline realtime -b:v 1M -c:a libopus -ar 48000"),
                made("said.mkv", picture + " -i " + said + " -map 0:v -map 1:s" + mpeg + " -c:s srt"),
                made("late.mkv", "-itsoffset 12 " + picture + sound + mpeg + " -c:a mp2 -ar 16000"));
        for (Path file : files) {
            String name = file.toString();
            ClipCut cut = ClipCut.every(1, 5, 8, 8);
            assertEquals(4, Video.cut(file, cut).size(), name);
            List<VideoClip> half = Video.cut(file, cut.part(0.5, 1));
            assertEquals(2, half.size(), name);
            assertArrayEquals(new int[] {20, 22, 24, 26, 28}, numbers(half.getFirst()), name);
            assertEquals(2, Video.cut(file, cut.part(0, 0.5)).size(), name);
            assertArrayEquals(
                    new int[] {5, 15, 25, 35},
                    numbers(Video.cut(file, ClipCut.whole(4, 8, 8)).getFirst()),
                    name);
        }
    }

    /** As after a correction of a camera's clock: the last picture before it is shown until it goes on. */
    @Test
    void aClockThatJumpsByThirtyHoursIsFollowed() {
        String clock = " -vf setpts=PTS+if(gte(N\\,40)\\,108000/TB\\,0) -fps_mode passthrough -enc_time_base 1/1000";
        for (String name : List.of("jump.mkv", "jump.mp4")) {
            Path file = made(name, ramp("16x16", 10, 8) + clock + " -c:v mpeg4 -q:v 2");
            int[] clips = {0};
            int[] moving = {0};
            try (Stream<VideoClip> stream = Video.clips(file, ClipCut.every(4, 4, 8, 8))) {
                stream.forEach(clip -> {
                    int[] still = {39, 39, 39, 39};
                    moving[0] += Arrays.equals(still, numbers(clip)) ? 0 : 1;
                    clips[0]++;
                });
            }
            assertEquals(27_002, clips[0], name + ": clips of 4 s in 30 hours and 8 s");
            assertEquals(2, moving[0], name + ": clips before and behind");
            List<VideoClip> end = Video.cut(file, ClipCut.every(4, 4, 8, 8).part(27_001 / 27_002.0, 1));
            assertEquals(1, end.size(), name);
            // Once a second the picture that is nearest.
            assertArrayEquals(new int[] {4, 14, 24, 34}, numbers(end.getFirst()), name);
            VideoClip whole = Video.cut(file, ClipCut.whole(4, 8, 8)).getFirst();
            assertArrayEquals(new int[] {39, 39, 39, 39}, numbers(whole), name);
        }
    }

    @Test
    void noFrameIsLostWhereThePictureChanges() throws IOException {
        String codec = " -c:v mjpeg -q:v 2 -pix_fmt yuvj420p";
        byte[] wide = Files.readAllBytes(made("wide.mjpeg", ramp("64x48", 10, 2) + codec));
        byte[] high = Files.readAllBytes(made("high.mjpeg", ramp("48x64", 10, 2) + codec));
        Path both = Files.write(folder.resolve("both.mjpeg"), wide);
        Files.write(both, high, StandardOpenOption.APPEND);
        int[] twice = IntStream.range(0, 40).map(k -> k % 20).toArray();
        assertArrayEquals(twice, numbers(Video.frames(both, DecodeOptions.NATIVE)));
        assertArrayEquals(
                twice, numbers(Video.cut(both, ClipCut.every(1.6, 40, 8, 8)).getFirst()));
        assertArrayEquals(
                Arrays.copyOfRange(twice, 25, 35),
                numbers(Video.sample(
                        both,
                        DecodeOptions.NATIVE.withStart(25),
                        IntStream.range(0, 10).asLongStream().toArray())));
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void aDecoderThatWorksMayTakeItsTime() throws IOException {
        String frame = "printf '0, 0, %s, 1, 12, 0x0\\n0123456789ab' $n; ";
        withDecoder("n=0; while [ $n -lt 12 ]; do " + frame + "n=$((n+1)); sleep .5; done", () -> {
            DecodeOptions hurried = new DecodeOptions(0, 0, 0, 11, Duration.ofSeconds(5));
            assertEquals(1, Video.frames(folder.resolve("ffmpeg"), hurried).frames());
        });
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void onlySignalsAreCrashes() throws IOException {
        for (String end : List.of("exit 234", "exit 183", "exit 254", "exit 1")) {
            withDecoder("echo '[x @ 0x1] no decoder found for: zcam' >&2; " + end, () -> {
                String message = refusal(folder.resolve("ffmpeg"));
                assertTrue(message.contains("(no decoder found for: zcam)"), message);
                assertFalse(message.contains("crash"), message);
            });
        }
        for (String signal : List.of("SEGV", "ABRT", "KILL", "ILL")) {
            withDecoder("kill -" + signal + " $$", () -> {
                String message = refusal(folder.resolve("ffmpeg"));
                assertTrue(message.contains("the decoder crashed"), message);
            });
        }
    }

    @Test
    void unknownKindsOfPicturesAreNamed() throws IOException {
        String[][] kinds = {
            {"known.mov", "png -pix_fmt rgb24", "png ", "zcam"},
            {"other.mov", "png -pix_fmt rgb24", "png ", "encv"},
            {"known.avi", "ffv1", "FFV1", "ZQXW"},
            {"known.mkv", "ffv1", "V_FFV1", "V_ZCAM"}
        };
        for (String[] kind : kinds) {
            Path file = made(kind[0], ramp("64x48", 10, 1) + " -c:v " + kind[1]);
            String bytes = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
            Files.write(file, bytes.replace(kind[2], kind[3]).getBytes(StandardCharsets.ISO_8859_1));
            String message = refusal(file);
            assertTrue(
                    message.contains(
                            "cannot be decoded as a video (its pictures are of a kind that FFmpeg does not know, "
                                    + kind[3] + ");"),
                    message);
        }
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void theDecoderIsToldHowManyThreadsAndInPlainDigits() throws IOException {
        Locale before = Locale.getDefault();
        Locale.setDefault(Locale.forLanguageTag("ar-EG-u-nu-arab"));
        try {
            withDecoder("echo \"[x @ 0x1] $*\" >&2; exit 1", () -> {
                String message = refusal(folder.resolve("ffmpeg"));
                int processors = Runtime.getRuntime().availableProcessors();
                assertTrue(message.contains(" -threads " + Integer.toString(processors) + " "), message);
                assertTrue(message.chars().allMatch(c -> c < 128), message);
            });
        } finally {
            Locale.setDefault(before);
        }
    }

    /** One that decodes from the beginning would find the same frames, after as long as what lies before takes. */
    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void aLatePartIsSoughtAndAnEarlyOneIsNot() throws IOException {
        withDecoder("echo \"[x @ 0x1] $*\" >&2; exit 1", () -> {
            Matcher late = SOUGHT.matcher(refusal(folder.resolve("ffmpeg"), .9));
            assertTrue(late.find(), "-ss in front of -i");
            double seconds = Double.parseDouble(late.group(1));
            assertTrue(seconds > 60 && seconds < 90, "near second 90, not at " + seconds);
            String early = refusal(folder.resolve("ffmpeg"), .01);
            assertTrue(early.contains(" -i ") && !early.contains(" -ss "), early);
        });
    }

    private static String refusal(Path file, double from) {
        ClipCut cut = ClipCut.every(1, 5, 2, 2).part(from, 1);
        return requireNonNull(
                assertThrows(VideoException.class, () -> Video.cut(file, cut)).getMessage());
    }

    private static String refusal(Path file) {
        return requireNonNull(assertThrows(VideoException.class, () -> Video.frames(file, DecodeOptions.NATIVE))
                .getMessage());
    }

    /** With a decoder for videos of 100 s of 2 x 2 pixels that does as it is told in shell. */
    private void withDecoder(String decoding, Runnable action) throws IOException {
        String start = "#!/bin/sh\ncase \"$*\" in *-version*) exit 0;; esac\n";
        Path program = Files.writeString(folder.resolve("ffmpeg"), start + decoding + "\n");
        Path probe = Files.writeString(
                folder.resolve("ffprobe"),
                start + "case \"$*\" in *csv=p=0*packet=*) echo 0.000000,0.000000,100.000000,K__; exit 0;; esac\n"
                        + "echo streams.stream.0.width=2\necho streams.stream.0.height=2\n");
        assertTrue(program.toFile().setExecutable(true) && probe.toFile().setExecutable(true));
        System.setProperty(PROGRAM, program.toString());
        try {
            action.run();
        } finally {
            System.clearProperty(PROGRAM);
        }
    }
}
