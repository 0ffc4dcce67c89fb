package tessera.distill.video;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Spliterator;
import java.util.Spliterators.AbstractSpliterator;
import java.util.function.Consumer;
import tessera.nn.inference.VideoClip;

/** Cuts clips out of the frames of a reader, which it closes, as they come. */
final class ClipReader extends AbstractSpliterator<VideoClip> implements AutoCloseable {
    private final VideoReader reader;
    private final ClipCut cut;
    private final long length;
    private final Consumer<String> notes;
    private final long stride;
    private final Deque<byte[]> window = new ArrayDeque<>();
    /** Number of the frame that the next clip begins with. */
    private long next;

    /**
     * @param reader of frames at the cut's size and rate, from the beginning of the part on
     * @param length frames of the part
     */
    ClipReader(VideoReader reader, ClipCut cut, long length, Consumer<String> notes) {
        super(Long.MAX_VALUE, Spliterator.ORDERED | Spliterator.NONNULL);
        this.reader = reader;
        this.cut = cut;
        this.length = length;
        this.notes = notes;
        this.stride = Math.max(1, Math.round(cut.strideSeconds() * cut.frames() / cut.clipSeconds()));
    }

    @Override
    public boolean tryAdvance(Consumer<? super VideoClip> clips) {
        while (window.size() < cut.frames()) {
            byte[] frame = reader.position() < length ? reader.next() : null;
            if (frame == null) {
                return padded(clips);
            }
            window.add(frame);
            leaveOut();
        }
        VideoClip clip = Video.join(window, cut.height(), cut.width());
        next += stride;
        leaveOut();
        clips.accept(clip);
        return true;
    }

    /** What lies before the next clip. */
    private void leaveOut() {
        while (!window.isEmpty() && reader.position() - window.size() < next) {
            window.remove();
        }
    }

    /** The only clip of a part that is shorter than one. */
    private boolean padded(Consumer<? super VideoClip> clips) {
        boolean only = next == 0;
        if (only) {
            if (window.isEmpty()) {
                throw Video.noFrame(reader.info().file(), reader.start());
            }
            notes.accept(reader.info().file() + ": the part that is looked at is shorter than a clip of "
                    + cut.clipSeconds() + " s (" + window.size() + " of its " + cut.frames()
                    + " frames); the last frame is repeated");
            while (window.size() < cut.frames()) {
                window.add(window.getLast());
            }
            next = Long.MAX_VALUE;
            VideoClip clip = Video.join(window, cut.height(), cut.width());
            window.clear();
            clips.accept(clip);
        }
        close();
        return only;
    }

    @Override
    public void close() {
        reader.close();
    }
}
