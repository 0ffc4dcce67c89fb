package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/**
 * Clips that are read anew whenever they are looked at, and of them only what the view shows: its frames out of all that the clip has, and
 * its part of the whole picture, which keeps its aspect. Nothing is kept.
 *
 * <p>Pictures tell what there is to choose from. The other modalities are read at the times of the chosen frames and in the sizes of the
 * set, and show the same part.
 */
final class LiveClips extends ReadClips {
    /** What was found of each video; it is looked for once. */
    private final Map<Integer, Recording.Film> films = new ConcurrentHashMap<>();

    private final Views cut;

    /**
     * Nothing is read yet.
     *
     * @param threads that read, 1 or more
     * @param cut views of training that has none of its own
     */
    LiveClips(ClipFiles files, int threads, Views cut) {
        super(files, threads);
        this.cut = cut;
        if (!files.modalities().contains(Modality.RGB)) {
            super.close();
            throw new IllegalArgumentException(
                    "clips are to be cut anew for every look but there are no pictures among " + files.modalities()
                            + ", which would tell what there is to cut; load them with rgb");
        }
    }

    Views cut() {
        return cut;
    }

    private Recording pictures(int clip) {
        Recording recording = files.recording(clip, Modality.RGB);
        if (recording instanceof Recording.Film film) {
            Recording.Film known = films.get(clip);
            if (known == null) {
                known = film.measured();
                films.put(clip, known);
            }
            return known;
        }
        return recording;
    }

    @Override
    public void show(int clip, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to) {
        if (views == null) {
            Map<Modality, MemorySegment> given = reading(() -> files.read(clip));
            to.forEach((modality, target) -> Samples.keep(
                    modality,
                    Objects.requireNonNull(given.get(modality), modality::id),
                    files.geometry().length(modality),
                    target));
            return;
        }
        Recording pictures = reading(() -> pictures(clip));
        Extent extent = reading(() -> pictures.extent(files.geometry()));
        View view = views.at(place, extent);
        reading(() -> {
            show(clip, pictures, extent, view, to);
            return clip;
        });
    }

    private void show(int clip, Recording pictures, Extent extent, View view, Map<Modality, MemorySegment> to) {
        Map<Modality, Recording> recordings = new TreeMap<>();
        to.keySet().forEach(modality -> {
            recordings.put(modality, modality.equals(Modality.RGB) ? pictures : files.recording(clip, modality));
        });
        if (pictures.frames() > 0) {
            recordings.forEach((modality, recording) -> files.requireSameFrames(modality, recording, pictures));
        }
        recordings.forEach((modality, recording) ->
                show(modality, recording, extent, view, Objects.requireNonNull(to.get(modality), modality::id)));
    }

    private void show(Modality modality, Recording recording, Extent extent, View view, MemorySegment target) {
        Geometry geometry = files.geometry();
        if (recording instanceof Recording.Film film) {
            film.show(view, target);
        } else if (recording instanceof Recording.Frames frames) {
            frames.show(view, target);
        } else {
            boolean array = recording instanceof Recording.Array;
            int of = array ? geometry.frames() : recording.frames() == 0 ? extent.frames() : recording.frames();
            int[] chosen = view.frames().stream()
                    .mapToInt(frame -> place(frame, extent.frames(), of))
                    .toArray();
            // An array holds all of its frames, everything else gives those that are asked for.
            View own = array ? view.ofFrames(IntStream.of(chosen).boxed().toList()) : view.ofItsFrames();
            long[] numbers = IntStream.of(chosen).asLongStream().toArray();
            MemorySegment given = recording.read(geometry, numbers, of);
            Geometry read = array ? geometry : geometry.withFrames(numbers.length);
            MemorySegment kept = MemorySegment.ofArray(
                    new float[Math.toIntExact((Samples.bytes(modality, read) + Float.BYTES - 1) / Float.BYTES)]);
            Samples.keep(modality, given, read.length(modality), kept);
            own.show(modality, geometry, kept, target);
        }
    }

    /** Which of other frames is at the time of a frame; one fewer are those from each frame to the next. */
    private static int place(int frame, int frames, int others) {
        return others == frames - 1 ? Math.min(frame, others - 1) : (int) ((long) frame * others / frames);
    }

    @Override
    public long heldBytes() {
        return 0;
    }

    @Override
    public String addTo(CRC32 checksum) {
        super.addTo(checksum);
        checksum.update(cut.toString().getBytes(StandardCharsets.UTF_8));
        return "clips cut anew by their files";
    }
}
