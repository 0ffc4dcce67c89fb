package tessera.distill.data;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.PictureFolder;
import tessera.nn.inference.FrameSampling;

/**
 * The files of clips, which are read when they are asked for. Immutable.
 *
 * @param geometry sizes of every clip
 * @param clips files of each clip by what they show, the same modalities of each; 1 or more
 * @param flowBound motion in pixels that level 255 of flow pictures stands for
 */
record ClipFiles(Geometry geometry, List<Map<Modality, Path>> clips, double flowBound) {
    private static final String NPY = ".npy";
    /** Of a file so many bytes at its beginning and its end tell it from others of its size. */
    private static final int LOOKED_AT = 1 << 14;

    ClipFiles {
        clips = List.copyOf(clips);
    }

    /** Those of some clips. */
    ClipFiles only(boolean[] wanted) {
        return new ClipFiles(
                geometry,
                IntStream.range(0, wanted.length)
                        .filter(i -> wanted[i])
                        .mapToObj(clips::get)
                        .toList(),
                flowBound);
    }

    int size() {
        return clips.size();
    }

    SortedSet<Modality> modalities() {
        return new TreeSet<>(clips.getFirst().keySet());
    }

    static boolean isArray(Path file) {
        return hasExtension(file, NPY);
    }

    static boolean hasExtension(Path file, String extension) {
        return file.toString().toLowerCase(Locale.ROOT).endsWith(extension);
    }

    static Recording recording(Path file, Modality modality, double flowBound) {
        if (isArray(file)) {
            return new Recording.Array(file, modality.layout().values());
        }
        return switch (modality.id()) {
            case "flow" ->
                new Recording.FlowPairs(
                        file, PictureFolder.open(file.resolve("u")), PictureFolder.open(file.resolve("v")), flowBound);
            case "boxes" -> new Recording.BoxList(file, BoxFile.read(file));
            case "audio" -> new Recording.Sound(file);
            default ->
                Files.isDirectory(file) ? new Recording.Frames(PictureFolder.open(file)) : new Recording.Film(file);
        };
    }

    /** One modality of a clip. */
    Recording recording(int clip, Modality modality) {
        Path file = clips.get(clip).get(modality);
        if (file == null) {
            throw new IllegalArgumentException("the clips were opened without " + modality + "; open them with it");
        }
        return recording(file, modality, flowBound);
    }

    /**
     * A clip's samples of every modality, in the types of the layouts.
     *
     * @throws IllegalArgumentException if a file is broken or those of the clip do not fit together
     */
    Map<Modality, MemorySegment> read(int clip) {
        Map<Modality, Recording> recordings = new TreeMap<>();
        clips.get(clip).keySet().forEach(modality -> recordings.put(modality, recording(clip, modality)));
        // Boxes of exactly the clip's frames count nothing, and flow may have one fewer.
        Recording counted = Stream.of(Modality.RGB, Modality.BOXES, Modality.FLOW)
                .filter(modality -> recordings.containsKey(modality) && !exact(modality, recordings.get(modality)))
                .map(recordings::get)
                .filter(recording -> recording.frames() > 0)
                .findFirst()
                .orElse(null);
        int of = counted == null ? geometry.frames() : counted.frames();
        if (counted != null && of < geometry.frames()) {
            throw new IllegalArgumentException(counted.path() + " holds " + of + " frames but clips have "
                    + geometry.frames() + "; load clips of fewer frames, or remove the clip");
        }
        long[] spread = FrameSampling.uniform(0, of, geometry.frames());
        Map<Modality, MemorySegment> samples = new TreeMap<>();
        recordings.forEach((modality, recording) -> {
            if (counted != null) {
                requireSameFrames(modality, recording, counted);
            }
            int frames = recording.frames();
            long[] chosen = exact(modality, recording) ? FrameSampling.uniform(0, frames, frames) : spread;
            samples.put(modality, recording.read(geometry, chosen, of));
        });
        return samples;
    }

    /** Refuses a recording of other moments than the one that tells how many frames the clip has. */
    void requireSameFrames(Modality modality, Recording recording, Recording counted) {
        int frames = recording.frames();
        int of = counted.frames();
        boolean steps = modality.equals(Modality.FLOW) && frames == of - 1;
        if (frames != 0 && frames != of && !exact(modality, recording) && !steps) {
            throw new IllegalArgumentException(recording.path() + " holds " + frames + " frames but " + counted.path()
                    + " " + of + "; extract the clip again, or remove it");
        }
    }

    private boolean exact(Modality modality, @Nullable Recording recording) {
        return modality.equals(Modality.BOXES) && recording != null && recording.frames() == geometry.frames();
    }

    /**
     * Adds what tells these clips from others without reading them all: sizes, names, and of every file its length and what stands at
     * both ends. Of a folder of pictures these are the first and the last. Where the files lie does not matter.
     */
    void addTo(CRC32 checksum) {
        add(checksum, geometry + " " + flowBound);
        clips.forEach(clip -> clip.forEach((modality, file) -> {
            add(checksum, modality.id());
            add(checksum, file);
        }));
    }

    private static void add(CRC32 checksum, String text) {
        checksum.update(text.getBytes(StandardCharsets.UTF_8));
        checksum.update(0);
    }

    private static void add(CRC32 checksum, Path file) {
        add(checksum, String.valueOf(file.getFileName()));
        if (Files.isDirectory(file)) {
            List<Path> inside = ClipFolder.list(file, each -> true);
            add(checksum, Integer.toString(inside.size()));
            for (int i = 0; i < inside.size(); i++) {
                if (i == 0 || i == inside.size() - 1 || Files.isDirectory(inside.get(i))) {
                    add(checksum, inside.get(i));
                }
            }
            return;
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long length = channel.size();
            add(checksum, Long.toString(length));
            for (long from : new long[] {0, Math.max(0, length - LOOKED_AT)}) {
                ByteBuffer part = ByteBuffer.allocate(LOOKED_AT);
                while (part.hasRemaining() && channel.read(part, from + part.position()) >= 0) {}
                checksum.update(part.flip());
            }
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check its permissions", e);
        }
    }
}
