package tessera.distill.video;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.nn.inference.FrameSampling;
import tessera.nn.inference.VideoClip;

/**
 * Clips out of a video file.
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
        List<VideoClip> clips = new ArrayList<>();
        cut(file, cut, notes, clips::add);
        return clips;
    }

    /**
     * As {@link #cut(Path, ClipCut, Consumer)}, with each clip handed on as soon as it is cut: memory for one clip, however long the
     * recording is.
     *
     * @param notes told, before the clip comes, if the part is shorter than one clip
     */
    public static void cut(Path file, ClipCut cut, Consumer<String> notes, Consumer<VideoClip> clips) {
        if (cut.clipSeconds() == 0) {
            clips.accept(spread(file, cut));
            return;
        }
        double rate = cut.frames() / cut.clipSeconds();
        DecodeOptions options = DecodeOptions.NATIVE.withFrameRate(rate).withSize(cut.width(), cut.height());
        OptionalLong known = VideoReader.probe(file).framesAt(rate);
        long total = known.isPresent() ? known.getAsLong() : Math.max(1, count(file, options));
        long from = firstFrame(cut, total);
        long to = endFrame(cut, total);
        long stride = Math.max(1, Math.round(cut.strideSeconds() * rate));
        boolean found = false;
        Deque<byte[]> window = new ArrayDeque<>();
        try (VideoReader reader = VideoReader.open(file, options.withStart(from))) {
            long next = from;
            for (byte[] frame = nextBefore(reader, from, to); frame != null; frame = nextBefore(reader, from, to)) {
                window.add(frame);
                if (from + reader.position() - window.size() < next) {
                    window.remove();
                }
                if (window.size() == cut.frames()) {
                    clips.accept(join(window, cut.height(), cut.width()));
                    found = true;
                    next += stride;
                    while (!window.isEmpty() && from + reader.position() - window.size() < next) {
                        window.remove();
                    }
                }
            }
            if (reader.position() == 0) {
                throw noFrame(file, from);
            }
        }
        if (!found) {
            notes.accept(file + ": the part that is looked at is shorter than a clip of " + cut.clipSeconds() + " s ("
                    + window.size() + " of its " + cut.frames() + " frames); the last frame is repeated");
            while (window.size() < cut.frames()) {
                window.add(window.getLast());
            }
            clips.accept(join(window, cut.height(), cut.width()));
        }
    }

    private static byte @Nullable [] nextBefore(VideoReader reader, long from, long to) {
        return from + reader.position() < to ? reader.next() : null;
    }

    /** One clip with its frames spread over the whole part. */
    private static VideoClip spread(Path file, ClipCut cut) {
        VideoInfo info = VideoReader.probe(file);
        // At an even rate, so that fractions are those of time also where the file's frames come irregularly.
        DecodeOptions options = DecodeOptions.NATIVE
                .withSize(cut.width(), cut.height())
                .withFrameRate(Math.min(1000, info.frameRate().orElse(0)));
        OptionalLong known = info.framesAt(options.frameRate());
        boolean timed = options.frameRate() > 0 && known.isPresent();
        long total = timed ? known.getAsLong() : Math.max(1, count(file, options));
        return sample(file, options, FrameSampling.uniform(firstFrame(cut, total), endFrame(cut, total), cut.frames()));
    }

    private static long firstFrame(ClipCut cut, long total) {
        return Math.min(total - 1, (long) Math.floor(cut.from() * total));
    }

    private static long endFrame(ClipCut cut, long total) {
        return Math.max(firstFrame(cut, total) + 1, (long) Math.floor(cut.to() * total));
    }

    private static VideoClip join(Collection<byte[]> frames, int height, int width) {
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

    private static VideoException noFrame(Path file, long start) {
        return new VideoException(
                file,
                start == 0 ? "holds no frame that can be decoded" : "ends before frame " + start,
                start == 0
                        ? "check that it plays elsewhere, or fetch it again"
                        : "give a longer recording or an earlier part of it");
    }
}
