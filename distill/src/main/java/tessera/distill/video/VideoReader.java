package tessera.distill.video;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Reads the frames of a video one after the other: u8 values {@code [height, width, 3]} in RGB order, rotated as the file
 * asks for.
 *
 * <p>Decoding runs in a child process, the {@code ffmpeg} program that the platform jar of {@code org.bytedeco:ffmpeg}
 * carries, because a decoder fed with damaged files may crash or leak, and then only the child suffers. It also needs
 * neither JavaCPP nor native access, and any other FFmpeg can take its place: name it in the system property
 * {@code tessera.ffmpeg}.
 *
 * <p>For one thread at a time. The child works a few frames ahead; {@link #close()} ends it, and so does an interrupt of
 * the thread that waits for a frame.
 */
public final class VideoReader implements AutoCloseable {
    /** Frames may have so many pixels, 192 MiB in RGB. */
    private static final long MOST_PIXELS = 1 << 26;

    /** Formats in which FFmpeg draws any text as pictures, or follows references to other files. */
    private static final Set<String> NO_VIDEOS = Set.of("tty", "bin", "xbin", "adf", "idf", "hls", "concat", "dash");

    private static final int FRAMES_AHEAD = 2;
    private static final System.Logger LOG = System.getLogger(VideoReader.class.getName());

    private final VideoInfo info;
    private final DecodeOptions options;
    private final Child child;
    /** Frames, then an array of length 0. */
    private final BlockingQueue<byte[]> ahead = new ArrayBlockingQueue<>(FRAMES_AHEAD);

    private final Thread decoder;
    private long position;
    private boolean ended;

    private VideoReader(VideoInfo info, DecodeOptions options, Child child) {
        this.info = info;
        this.options = options;
        this.child = child;
        this.decoder =
                Thread.ofPlatform().daemon().name("tessera-ffmpeg-frames").start(this::readAhead);
    }

    /**
     * Which FFmpeg program reads videos here, for people who ask.
     *
     * @throws VideoException if there is none, with what to do
     */
    public static String program() {
        return FfmpegProgram.find().toString();
    }

    /** Opens a video at its own size and frame rate. */
    public static VideoReader open(Path file) {
        return open(file, DecodeOptions.NATIVE);
    }

    /**
     * Opens a video.
     *
     * @throws VideoException if the file is missing, no video, or no FFmpeg program is found
     */
    public static VideoReader open(Path file, DecodeOptions options) {
        VideoInfo info = probe(file, options.timeout());
        DecodeOptions sized = options.width() == 0 ? options.withSize(info.width(), info.height()) : options;
        if ((long) sized.width() * sized.height() > MOST_PIXELS) {
            throw new IllegalArgumentException(
                    "decode: frames of %d x %d pixels are asked for; at most %d pixels are possible"
                            .formatted(sized.width(), sized.height(), MOST_PIXELS));
        }
        return new VideoReader(info, sized, FfmpegProgram.find().decode(decodeArguments(sized), file));
    }

    /**
     * Reads what the file's headers say, without decoding it.
     *
     * @throws VideoException if the file is missing or no video, or no FFmpeg program is found
     */
    public static VideoInfo probe(Path file) {
        return probe(file, DecodeOptions.NATIVE.timeout());
    }

    private static VideoInfo probe(Path file, Duration timeout) {
        requireReadable(file);
        Map<String, String> fields = new HashMap<>();
        try (Child probe = FfmpegProgram.find()
                .probe(
                        "-v error -protocol_whitelist file -select_streams V:0 -of flat -i VIDEO -show_entries "
                                + "stream=width,height,avg_frame_rate,nb_frames,duration:stream_side_data=rotation"
                                + ":format=duration,format_name",
                        file)) {
            if (!probe.waitFor(timeout)) {
                throw tookTooLong(file, timeout);
            }
            if (probe.exitValue() != 0) {
                throw VideoException.undecodable(file, reason(probe, file));
            }
            try (var lines = probe.outputLines()) {
                lines.forEach(line -> addField(fields, line));
            }
        }
        String format = fields.getOrDefault("format.format_name", "");
        String wanted = "give a file with moving pictures";
        VideoException.require(!NO_VIDEOS.contains(format), file, "is a text or a play list, not a video", wanted);
        VideoException.require(fields.containsKey("width"), file, "holds no video stream", wanted);
        int width = (int) number(fields, "width").orElse(0);
        int height = (int) number(fields, "height").orElse(0);
        if (width <= 0 || height <= 0) {
            throw VideoException.undecodable(file, "its frame size cannot be found");
        }
        String large =
                "has frames of %d x %d pixels, more than the %d that are read".formatted(width, height, MOST_PIXELS);
        VideoException.require((long) width * height <= MOST_PIXELS, file, large, "scale it down first");
        boolean turned = Math.round(Math.abs(number(fields, "rotation").orElse(0)) / 90) % 2 == 1;
        OptionalDouble frames = number(fields, "nb_frames");
        OptionalDouble streamDuration = number(fields, "duration");
        return new VideoInfo(
                file,
                turned ? height : width,
                turned ? width : height,
                rate(fields.getOrDefault("avg_frame_rate", "")),
                streamDuration.isPresent() ? streamDuration : number(fields, "format.duration"),
                frames.isPresent() ? OptionalLong.of((long) frames.getAsDouble()) : OptionalLong.empty());
    }

    /** From a line such as {@code streams.stream.0.width=640} or {@code format.duration="5.0"}; the first value wins. */
    private static void addField(Map<String, String> fields, String line) {
        int equals = line.indexOf('=');
        if (equals > 0) {
            String path = line.substring(0, equals);
            String name = path.startsWith("format.") ? path : path.substring(path.lastIndexOf('.') + 1);
            fields.putIfAbsent(name, line.substring(equals + 1).replace("\"", ""));
        }
    }

    /** A positive or negative number that the file states; zero and N/A stand for unknown. */
    private static OptionalDouble number(Map<String, String> fields, String name) {
        String text = fields.getOrDefault(name, "");
        if (!text.matches("-?\\d{1,15}(\\.\\d{1,12})?")) {
            return OptionalDouble.empty();
        }
        double value = Double.parseDouble(text);
        return value == 0 ? OptionalDouble.empty() : OptionalDouble.of(value);
    }

    private static OptionalDouble rate(String fraction) {
        if (!fraction.matches("\\d{1,15}/\\d{1,15}")) {
            return OptionalDouble.empty();
        }
        int slash = fraction.indexOf('/');
        double rate =
                Double.parseDouble(fraction.substring(0, slash)) / Double.parseDouble(fraction.substring(slash + 1));
        return rate > 0 && Double.isFinite(rate) ? OptionalDouble.of(rate) : OptionalDouble.empty();
    }

    private static String decodeArguments(DecodeOptions options) {
        List<String> filters = new ArrayList<>();
        if (options.frameRate() > 0) {
            filters.add(String.format(Locale.ROOT, "fps=%.9f", options.frameRate()));
        }
        if (options.start() > 0) {
            filters.add("trim=start_frame=" + options.start());
        }
        // Always scaled, so that every frame has one size even if the video changes its own midway.
        filters.add("scale=%d:%d:flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
                .formatted(options.width(), options.height()));
        return "-nostdin -hide_banner -v error -protocol_whitelist file -max_pixels " + MOST_PIXELS
                + " -i VIDEO -map 0:V:0 -vf " + String.join(",", filters)
                + " -fps_mode passthrough -pix_fmt rgb24 -f rawvideo pipe:1";
    }

    private static void requireReadable(Path file) {
        VideoException.require(Files.exists(file), file, "does not exist", "check the path");
        VideoException.require(!Files.isDirectory(file), file, "is a directory, not a video", "name a file");
        VideoException.require(Files.isRegularFile(file), file, "is no ordinary file", "copy the video into a file");
        VideoException.require(Files.isReadable(file), file, "may not be read", "check its permissions");
    }

    private void readAhead() {
        try {
            try {
                int size = Math.multiplyExact(width() * height(), 3);
                InputStream in = child.output();
                byte[] frame = in.readNBytes(size);
                while (frame.length == size) {
                    ahead.put(frame);
                    frame = in.readNBytes(size);
                }
            } catch (IOException closed) {
                LOG.log(System.Logger.Level.DEBUG, "the decoder was stopped", closed);
            }
            ahead.put(new byte[0]);
        } catch (InterruptedException end) {
            // The reader was closed: nobody waits for frames.
        }
    }

    /**
     * The next frame, u8 {@code [height, width, 3]}; the array is the caller's. Null after the last one.
     *
     * @throws VideoException if the file has no frame at all, the decoder crashes, or a frame takes longer than the limit
     * @throws java.io.UncheckedIOException if the thread is interrupted; the reader is closed then
     */
    public byte @Nullable [] next() {
        if (ended) {
            return null;
        }
        byte[] frame;
        try {
            frame = ahead.poll(options.timeout().toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interruption) {
            close();
            throw Child.interrupted();
        }
        if (frame == null) {
            close();
            throw tookTooLong(info.file(), options.timeout());
        }
        if (frame.length == 0) {
            ended = true;
            requireGoodEnd();
            return null;
        }
        position++;
        return frame;
    }

    private void requireGoodEnd() {
        if (!child.waitFor(options.timeout())) {
            close();
            throw tookTooLong(info.file(), options.timeout());
        }
        int exit = child.exitValue();
        if (exit > 128) {
            throw VideoException.undecodable(
                    info.file(), "the decoder crashed with exit code %d after %d frames".formatted(exit, position));
        }
        if (exit != 0 && position == 0) {
            throw VideoException.undecodable(info.file(), reason(child, info.file()));
        }
        if (!child.complaint().isEmpty()) {
            LOG.log(
                    exit == 0 ? System.Logger.Level.DEBUG : System.Logger.Level.WARNING,
                    "{0}: the decoder gave {1} frames and complained ({2})",
                    info.file(),
                    String.valueOf(position),
                    reason(child, info.file()));
        }
    }

    private static String reason(Child child, Path file) {
        return child.complaint().replace(FfmpegProgram.url(file) + ": ", "");
    }

    private static VideoException tookTooLong(Path file, Duration timeout) {
        return new VideoException(
                file,
                "gave no frame within " + timeout.toMillis() / 1000.0 + " s",
                "check that the file is on a disk that answers, or allow more time");
    }

    /** What the file's headers say. */
    public VideoInfo info() {
        return info;
    }

    /** Width in pixels of the frames given. */
    public int width() {
        return options.width();
    }

    /** Height in pixels of the frames given. */
    public int height() {
        return options.height();
    }

    /** How many frames have been given. */
    public long position() {
        return position;
    }

    /** Ends the child process. */
    @Override
    public void close() {
        ended = true;
        decoder.interrupt();
        child.close();
        ahead.clear();
    }
}
