package tessera.distill.video;

import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Reads the frames of a video one after the other: u8 values {@code [height, width, 3]} in RGB order, rotated as the file
 * asks for. Of several tracks the one is read that the file marks as the default, else the first; never a cover. A folder of numbered JPEG or PNG pictures is read as a video, too; one that is missing is the one before it, and a log line
 * says how many are, unless there are more than of the others.
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
    private static final System.Logger LOG = System.getLogger(VideoReader.class.getName());

    /** So much is decoded before what is wanted, since the first pictures behind a place that was sought may be spoilt. */
    private static final double SECONDS_BEFORE = 2;

    /** Frames whose times lie in the middle between two wanted ones, but for how files round them, belong to the later. */
    private static final double ROUNDING = 1e-3;

    private final VideoInfo info;
    private final String formatOptions;
    private final String track;
    private final DecodeOptions options;
    /** How long a frame lasts where the file's times all are one; NaN where they tell something. */
    private final double even;

    private FrameSource frames;
    /** How many frames the stream has given. */
    private long streamed;

    /** Whether the stream begins near the frame that is wanted first. */
    private boolean sought;

    /** When the first frame begins, in the stream's time; NaN before it came. */
    private double origin;

    private FrameSource.@Nullable Frame shown;
    private FrameSource.@Nullable Frame coming;
    /** Of resampled frames, the number behind the last one; unknown until the stream ends. */
    private long end = Long.MAX_VALUE;

    private long position;
    private boolean closed;

    private VideoReader(Headers.Found found, DecodeOptions options, Headers.@Nullable Span span) {
        this.info = found.info();
        this.formatOptions = found.options();
        this.track = found.track();
        this.options = options;
        this.even = found.stands() ? 1 / info.frameRate().orElseThrow() : Double.NaN;
        double wait = options.frameRate() > 0 ? options.start() / options.frameRate() - SECONDS_BEFORE : 0;
        boolean searchable = span != null && !span.jumps() && !found.stands() && !TransportStream.isJoined(info.file());
        this.sought = searchable && wait > SECONDS_BEFORE;
        this.origin = sought && span != null ? span.start() : Double.NaN;
        this.frames = start(sought ? origin + wait : Double.NaN);
    }

    /** @param seconds in the file's time, NaN for its beginning */
    private FrameSource start(double seconds) {
        if (Files.isDirectory(info.file())) {
            PictureFolder pictures = PictureFolder.openRecording(info.file());
            if (pictures.missing() > 0) {
                LOG.log(
                        System.Logger.Level.WARNING,
                        "{0}: {1} of {2} frames are missing; the frame before them is repeated",
                        info.file(),
                        pictures.missing(),
                        pictures.size());
            }
            int from = Double.isNaN(seconds) ? 0 : (int) Math.floor(seconds * options.pictureRate());
            return new PictureFrames(pictures, options, from);
        }
        int length = Math.multiplyExact(options.width() * options.height(), 3);
        Child child = FfmpegProgram.find().decode(arguments(seconds), info.file());
        return new FrameStream(info.file(), options.timeout(), length, child);
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
        return open(file, options, null);
    }

    /** @param span of the file where it is known */
    static VideoReader open(Path file, DecodeOptions options, Headers.@Nullable Span span) {
        Headers.Found found = Headers.read(file, options);
        VideoInfo info = found.info();
        DecodeOptions sized = options.width() == 0 ? options.withSize(info.width(), info.height()) : options;
        if ((long) sized.width() * sized.height() > Headers.MOST_PIXELS) {
            throw new IllegalArgumentException(
                    "decode: frames of %s x %s pixels are asked for; at most %s pixels are possible"
                            .formatted(sized.width(), sized.height(), Headers.MOST_PIXELS));
        }
        boolean searched = span == null && options.start() > 0 && options.frameRate() > 0;
        return new VideoReader(
                found, sized, searched ? Headers.span(file, options).orElse(null) : span);
    }

    /**
     * Reads what the file's headers say, without decoding it.
     *
     * @throws VideoException if the file is missing or no video, or no FFmpeg program is found
     */
    public static VideoInfo probe(Path file) {
        return Headers.read(file, DecodeOptions.NATIVE).info();
    }

    /**
     * Height and width of a picture in the video's own pixels, which detectors count; those that {@link #probe} tells are as wide as high.
     *
     * @throws VideoException as {@link #probe}
     */
    public static int[] storedSize(Path file) {
        Headers.Found found = Headers.read(file, DecodeOptions.NATIVE);
        return new int[] {found.height(), found.width()};
    }

    /** Texts for another program, so numbers are written as in Java. */
    private String arguments(double from) {
        int threads = Runtime.getRuntime().availableProcessors();
        return "-nostdin -hide_banner -v error -protocol_whitelist file" + formatOptions + " -filter_threads " + threads
                + " -threads "
                + threads
                + " -max_pixels " + Headers.MOST_PIXELS
                // With the times that the file has, since the decoder begins at one of its own choice before this one.
                + (Double.isNaN(from)
                        ? ""
                        : " -copyts -noaccurate_seek -seek_timestamp 1 -ss "
                                + BigDecimal.valueOf(from).toPlainString())
                + " -i VIDEO -map 0:" + track + " -vf scale=" + options.width() + ":" + options.height()
                + ":flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp " + FrameStream.OUTPUT;
    }

    /**
     * The next frame, u8 {@code [height, width, 3]}; the array is the caller's. Null after the last one.
     *
     * @throws VideoException if the file has no frame at all, the decoder crashes, or a frame takes longer than the limit
     * @throws java.io.UncheckedIOException if the thread is interrupted; the reader is closed then
     */
    public byte @Nullable [] next() {
        if (closed) {
            return null;
        }
        byte[] pixels = options.frameRate() > 0 ? resampled() : original();
        if (pixels != null) {
            position++;
        }
        return pixels;
    }

    private byte @Nullable [] original() {
        for (long left = position == 0 ? options.start() : 0; left > 0 && frames.next() != null; left--) {
            // Numbers of frames that are counted, not timed, are found by counting.
        }
        FrameSource.Frame frame = frames.next();
        return frame == null ? null : frame.pixels();
    }

    private byte @Nullable [] resampled() {
        long number = options.start() + position;
        if (coming == null && shown == null) {
            coming = first(number);
        }
        while (coming != null && (shown == null || number(coming.time()) <= number)) {
            shown = coming;
            coming = following(shown);
        }
        if (shown == null || number >= end) {
            return null;
        }
        boolean last = coming != null && number(coming.time()) <= number + 1;
        return last ? shown.pixels() : shown.pixels().clone();
    }

    /** The stream's first frame; from the file's beginning where the search for a later one went too far. */
    private FrameSource.@Nullable Frame first(long wanted) {
        FrameSource.Frame frame = timed();
        if (sought && (frame == null || number(frame.time()) > wanted)) {
            sought = false;
            frames.close();
            frames = start(Double.NaN);
            origin = Double.NaN;
            frame = timed();
        }
        if (frame != null && Double.isNaN(origin)) {
            origin = frame.time();
        }
        return frame;
    }

    /** The stream's next frame, with a time of its own where the file has one for all. */
    private FrameSource.@Nullable Frame timed() {
        FrameSource.Frame frame = frames.next();
        return frame == null || Double.isNaN(even)
                ? frame
                : new FrameSource.Frame(frame.pixels(), even * streamed++, even);
    }

    private FrameSource.@Nullable Frame following(FrameSource.Frame last) {
        FrameSource.Frame next = timed();
        if (next == null) {
            double lasts =
                    last.duration() > 0 ? last.duration() : 1 / info.frameRate().orElse(options.frameRate());
            end = Math.max(1, number(last.time() + lasts));
        }
        return next;
    }

    /** Of the resampled frame from which on a frame of this time is shown. */
    private long number(double time) {
        return (long) Math.floor((time - origin) * options.frameRate() + 0.5 + ROUNDING);
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

    /** The number of the first frame given. */
    long start() {
        return options.start();
    }

    /** How many frames have been given. */
    public long position() {
        return position;
    }

    /** Ends the child process. */
    @Override
    public void close() {
        closed = true;
        frames.close();
    }
}
