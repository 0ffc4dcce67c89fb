package tessera.distill.video;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import tessera.nn.inference.FrameSampling;
import tessera.nn.inference.VideoClip;

/**
 * Clips out of a video file, or a folder of numbered JPEG or PNG pictures, whose rate the {@link ClipCut} or {@link DecodeOptions} say.
 *
 * <p>A frame that the video does not have (it is shorter than asked, or damaged) repeats the one before it, and a log line
 * says how many were repeated. Thread-safe: nothing is shared between calls. The exceptions are those of
 * {@link VideoReader#next()}.
 */
public final class Video {
    private static final System.Logger LOG = System.getLogger(Video.class.getName());

    private Video() {}

    /** All frames of a short video. */
    public static VideoClip frames(Path file, DecodeOptions options) {
        try (VideoReader reader = VideoReader.open(file, options)) {
            List<byte[]> frames = new ArrayList<>();
            for (byte[] frame = reader.next(); frame != null; frame = reader.next()) {
                frames.add(frame);
            }
            if (frames.isEmpty()) {
                throw noFrame(file, options.start());
            }
            return join(frames, reader.height(), reader.width());
        }
    }

    /** The number of frames, found by decoding the whole video. */
    public static long count(Path file, DecodeOptions options) {
        try (VideoReader reader = VideoReader.open(file, options.withSize(16, 16))) {
            while (reader.next() != null) {
                // The reader counts.
            }
            return reader.position();
        }
    }

    /**
     * The number of frames that a video has at an even rate: by the times of its packets, or by decoding it where these tell nothing.
     *
     * @param rate frames of a second
     */
    public static long count(Path file, double rate) {
        DecodeOptions options = DecodeOptions.NATIVE.withFrameRate(rate);
        return Headers.span(file, options)
                .map(span -> span.framesAt(rate))
                .orElseGet(() -> Math.max(1, count(file, options)));
    }

    /**
     * The frames with the given numbers.
     *
     * @param indices frame numbers from {@link FrameSampling}, ascending (repetitions allowed), counted from the start that
     *     the options name and at their frame rate
     * @throws VideoException if the video has not even the first of them
     */
    public static VideoClip sample(Path file, DecodeOptions options, long... indices) {
        requireAscending(indices);
        DecodeOptions skipping = options.withStart(Math.addExact(options.start(), indices[0]));
        try (VideoReader reader = VideoReader.open(file, skipping)) {
            byte[] frame = reader.next();
            if (frame == null) {
                throw noFrame(file, skipping.start());
            }
            List<byte[]> frames = new ArrayList<>(indices.length);
            int repeated = 0;
            for (long index : indices) {
                boolean missing = false;
                while (reader.position() <= index - indices[0] && !missing) {
                    byte[] following = reader.next();
                    missing = following == null;
                    frame = following == null ? frame : following;
                }
                repeated += missing ? 1 : 0;
                frames.add(frame);
            }
            logRepeated(file, repeated, indices.length);
            return join(frames, reader.height(), reader.width());
        }
    }

    /**
     * Cuts a recording into clips, in order. Frames are chosen by their time stamps.
     *
     * <p>A part of the recording that is shorter than one clip gives one clip whose last frame is repeated.
     *
     * @throws VideoException if the part has no frame
     */
    public static List<VideoClip> cut(Path file, ClipCut cut) {
        return cut(file, cut, note -> LOG.log(System.Logger.Level.WARNING, note));
    }

    /**
     * As {@link #cut(Path, ClipCut)}, for those who tell their user themselves.
     *
     * @param notes told in one line if the part is shorter than one clip
     */
    public static List<VideoClip> cut(Path file, ClipCut cut, Consumer<String> notes) {
        try (Stream<VideoClip> clips = clips(file, cut, notes)) {
            return clips.toList();
        }
    }

    /** As {@link #clips(Path, ClipCut, Consumer)}; a part that is shorter than one clip is logged. */
    public static Stream<VideoClip> clips(Path file, ClipCut cut) {
        return clips(file, cut, note -> LOG.log(System.Logger.Level.WARNING, note));
    }

    /**
     * The clips that {@link #cut(Path, ClipCut)} gives, each decoded when it is asked for, so that memory does not grow with the length of
     * the recording. Clips share no memory, also where they overlap.
     *
     * @param notes told in one line if the part is shorter than one clip
     * @return to be closed, which ends the decoder; sequential. Asking for clips throws what {@link #cut(Path, ClipCut)} does
     */
    public static Stream<VideoClip> clips(Path file, ClipCut cut, Consumer<String> notes) {
        if (cut.clipSeconds() == 0) {
            return Stream.of(spread(file, cut));
        }
        Part part = part(file, cut);
        ClipReader reader = new ClipReader(part.reader(), cut, part.length(), notes);
        return StreamSupport.stream(reader, false).onClose(reader::close);
    }

    /** Takes the frames of {@link Video#frames(Path, ClipCut, Frames)}. */
    @FunctionalInterface
    public interface Frames {
        /**
         * Called for one frame after the other.
         *
         * @param pixels u8 {@code [height, width, 3]}; the array is the taker's
         * @param time when it begins, in seconds from the beginning of the recording
         */
        void frame(byte[] pixels, double time);
    }

    /**
     * The frames that {@link #clips(Path, ClipCut)} puts together, {@code cut.frames()} in every {@code cut.clipSeconds()}, each decoded when the
     * one before it has been taken; the stride means nothing.
     *
     * @param each may throw, which ends the decoder
     * @return when the last frame ends, in seconds from the beginning of the recording
     * @throws IllegalArgumentException if the cut is one clip of the whole part
     * @throws VideoException if the part has no frame
     */
    public static double frames(Path file, ClipCut cut, Frames each) {
        if (cut.clipSeconds() == 0) {
            throw new IllegalArgumentException(
                    "frames: one clip of the whole part has no frame rate; pass a length of clips");
        }
        Part part = part(file, cut);
        try (VideoReader reader = part.reader()) {
            while (reader.position() < part.length()) {
                double time = (reader.start() + reader.position()) / part.rate();
                byte[] frame = reader.next();
                if (frame == null) {
                    break;
                }
                each.frame(frame, time);
            }
            if (reader.position() == 0) {
                throw noFrame(file, reader.start());
            }
            return (reader.start() + reader.position()) / part.rate();
        }
    }

    /**
     * The part of a recording that is cut, opened.
     *
     * @param reader of frames at the cut's size, from the beginning of the part on
     * @param rate of these a second
     * @param length frames of the part; there may be fewer
     */
    private record Part(VideoReader reader, double rate, long length) {}

    private static Part part(Path file, ClipCut cut) {
        double rate = cut.frames() / cut.clipSeconds();
        DecodeOptions options = cut.decoding().withFrameRate(rate).withSize(cut.width(), cut.height());
        Optional<Headers.Span> span = cut.from() > 0 || cut.to() < 1 ? span(file, options) : Optional.empty();
        long from = 0;
        long to = Long.MAX_VALUE;
        if (cut.from() > 0 || cut.to() < 1) {
            long total = span.map(known -> known.framesAt(rate)).orElseGet(() -> Math.max(1, count(file, options)));
            from = firstFrame(cut, total);
            to = cut.to() < 1 ? endFrame(cut, total) : to;
        }
        return new Part(VideoReader.open(file, options.withStart(from), span.orElse(null)), rate, to - from);
    }

    private static Optional<Headers.Span> span(Path file, DecodeOptions options) {
        VideoReader.probe(file);
        return Headers.span(file, options);
    }

    /**
     * What there is to choose frames from: the size of a frame as shown, and how many frames the video has at its even {@link
     * VideoInfo#frameRate rate}, at which {@link #sample} chooses them by their times. Where the file does not say from when to when it
     * shows pictures, it is decoded to count them.
     *
     * @throws VideoException if the file is missing or no video
     */
    public static VideoInfo measure(Path file) {
        return measure(file, DecodeOptions.NATIVE);
    }

    private static VideoInfo measure(Path file, DecodeOptions options) {
        VideoInfo info = Headers.read(file, options).info();
        Optional<Headers.Span> span = Headers.span(file, options);
        // At an even rate, so that fractions are those of time also where the file's frames come irregularly.
        double rate = Math.min(1000, info.frameRate().orElse(0));
        long total = rate > 0 && span.isPresent()
                ? span.orElseThrow().framesAt(rate)
                : Math.max(1, count(file, options.withFrameRate(rate)));
        return new VideoInfo(
                file,
                info.width(),
                info.height(),
                rate > 0 ? OptionalDouble.of(rate) : OptionalDouble.empty(),
                info.duration(),
                OptionalLong.of(total));
    }

    /** One clip with its frames spread over the whole part. */
    private static VideoClip spread(Path file, ClipCut cut) {
        VideoInfo info = measure(file, cut.decoding());
        long total = info.frames().orElseThrow();
        DecodeOptions options = cut.decoding()
                .withSize(cut.width(), cut.height())
                .withFrameRate(info.frameRate().orElse(0));
        return sample(file, options, FrameSampling.uniform(firstFrame(cut, total), endFrame(cut, total), cut.frames()));
    }

    private static long firstFrame(ClipCut cut, long total) {
        return Math.min(total - 1, (long) Math.floor(cut.from() * total));
    }

    private static long endFrame(ClipCut cut, long total) {
        return Math.max(firstFrame(cut, total) + 1, (long) Math.floor(cut.to() * total));
    }

    static VideoClip join(Collection<byte[]> frames, int height, int width) {
        byte[] pixels = new byte[Math.multiplyExact(frames.size(), 3 * height * width)];
        frames.forEach(ByteBuffer.wrap(pixels)::put);
        return new VideoClip(frames.size(), height, width, pixels);
    }

    private static void requireAscending(long[] indices) {
        if (indices.length == 0) {
            throw new IllegalArgumentException("frame sampling: no frame numbers; give at least one");
        }
        for (int k = 0; k < indices.length; k++) {
            if (indices[k] < (k == 0 ? 0 : indices[k - 1])) {
                throw new IllegalArgumentException(
                        "frame sampling: number %d at position %d is negative or descends; sort them"
                                .formatted(indices[k], k));
            }
        }
    }

    private static void logRepeated(Path file, int repeated, int frames) {
        if (repeated > 0) {
            LOG.log(
                    System.Logger.Level.WARNING,
                    "{0}: {1} of {2} frames are missing; the frame before them is repeated",
                    file,
                    repeated,
                    frames);
        }
    }

    static VideoException noFrame(Path file, long start) {
        return new VideoException(
                file,
                start == 0 ? "holds no frame that can be decoded" : "ends before frame " + start,
                start == 0
                        ? "check that it plays elsewhere, or fetch it again"
                        : "give a longer recording or an earlier part of it");
    }
}
