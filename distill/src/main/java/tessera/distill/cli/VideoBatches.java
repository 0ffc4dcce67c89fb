package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.LongConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Tensor;

/**
 * The clips of a folder of videos as a student takes them, in batches that are decoded when they are asked for, anew whenever it is
 * iterated. A batch is freed when the next is asked for. For one thread, and one iteration at a time; closing ends a decoder that works.
 */
final class VideoBatches implements Iterable<Tensor>, AutoCloseable {
    private final Predictor predictor;
    private final List<Path> videos;
    private final ClipCut cut;
    private final int size;
    private final LongConsumer done;
    private @Nullable Stream<VideoClip> open;

    /**
     * Nothing is decoded yet.
     *
     * @param size clips of a batch
     * @param done hears how many videos of an iteration have been decoded whenever one has
     */
    VideoBatches(Predictor predictor, List<Path> videos, ClipCut cut, int size, LongConsumer done) {
        this.predictor = predictor;
        this.videos = List.copyOf(videos);
        this.cut = cut;
        this.size = size;
        this.done = done;
    }

    @Override
    public Iterator<Tensor> iterator() {
        return new Batches();
    }

    @Override
    public void close() {
        if (open != null) {
            open.close();
            open = null;
        }
    }

    private Iterator<VideoClip> decode(Path video) {
        close();
        Stream<VideoClip> next = Video.clips(video, cut);
        open = next;
        return next.iterator();
    }

    private final class Batches implements Iterator<Tensor> {
        private int decoded;
        private Iterator<VideoClip> clips = Collections.emptyIterator();
        private @Nullable Tensor last;

        @Override
        public boolean hasNext() {
            while (!clips.hasNext() && decoded < videos.size()) {
                if (decoded > 0) {
                    done.accept(decoded);
                }
                clips = decode(videos.get(decoded++));
            }
            if (!clips.hasNext()) {
                done.accept(decoded);
            }
            return clips.hasNext();
        }

        @Override
        public Tensor next() {
            if (!hasNext()) {
                throw new NoSuchElementException("there is no further batch");
            }
            if (last != null) {
                last.close();
            }
            List<VideoClip> batch = new ArrayList<>();
            while (batch.size() < size && hasNext()) {
                batch.add(clips.next());
            }
            Tensor made = predictor.prepare(batch);
            last = made;
            return made;
        }
    }
}
