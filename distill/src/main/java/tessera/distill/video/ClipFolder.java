package tessera.distill.video;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tessera.nn.inference.VideoClip;

/**
 * A folder of labelled videos: {@code FOLDER/<label>/<any video file>}, or {@code FOLDER/<label>.mp4} (or another usual
 * extension) where a single recording shows a label. Labels and files are sorted by name; hidden files are left out.
 *
 * <p>Immutable. Videos are decoded when clips are asked for; nothing is kept.
 */
public final class ClipFolder {
    private static final Set<String> EXTENSIONS = Set.of(
            "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "wmv", "flv", "ogv", "3gp", "gif");

    private final List<String> labels;
    private final List<List<Path>> videos;

    private ClipFolder(List<String> labels, List<List<Path>> videos) {
        this.labels = List.copyOf(labels);
        this.videos = List.copyOf(videos);
    }

    /**
     * A clip with its label.
     *
     * @param label position in {@link #labels()}
     * @param source the video it was cut from
     * @param clip the frames
     */
    public record LabelledClip(int label, Path source, VideoClip clip) {}

    /**
     * Lists a folder; no video is opened yet.
     *
     * @throws VideoException if the folder is missing or no folder, holds no label folders, or one of these is empty
     */
    public static ClipFolder open(Path folder) {
        VideoException.require(
                Files.isDirectory(folder),
                folder,
                Files.exists(folder) ? "is a file, not a folder of labelled videos" : "does not exist",
                "name a folder that holds one folder of videos for each label");
        SortedMap<String, List<Path>> videos = new TreeMap<>();
        for (Path label : list(folder, Files::isDirectory)) {
            List<Path> files = list(label, file -> !Files.isDirectory(file));
            VideoException.require(
                    !files.isEmpty(),
                    label,
                    "holds no videos for its label",
                    "put videos into it or remove the folder");
            videos.put(label.getFileName().toString(), new ArrayList<>(files));
        }
        for (Path file : list(folder, ClipFolder::isVideo)) {
            String name = file.getFileName().toString();
            videos.computeIfAbsent(name.substring(0, name.lastIndexOf('.')), label -> new ArrayList<>())
                    .add(file);
        }
        VideoException.require(
                !videos.isEmpty(),
                folder,
                "holds no label folders",
                "put the videos of each label into a folder of its own in it");
        return new ClipFolder(List.copyOf(videos.keySet()), List.copyOf(videos.values()));
    }

    /** Whether a file is called like a video. */
    public static boolean isVideo(Path file) {
        String name = file.toString().toLowerCase(Locale.ROOT);
        return EXTENSIONS.contains(name.substring(name.lastIndexOf('.') + 1)) && !Files.isDirectory(file);
    }

    /**
     * What a folder holds of a kind, in the order of names, without hidden files.
     *
     * @throws VideoException if the folder cannot be read
     */
    public static List<Path> list(Path folder, Predicate<Path> kind) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(entry -> !entry.getFileName().toString().startsWith(".") && kind.test(entry))
                    .sorted()
                    .toList();
        } catch (IOException | UncheckedIOException failure) {
            throw new VideoException(
                    folder, "cannot be listed (" + failure.getMessage() + ")", "check its permissions");
        }
    }

    /** The labels, sorted. */
    public List<String> labels() {
        return labels;
    }

    /** The videos of a label, sorted by name. */
    public List<Path> videos(int label) {
        return videos.get(label);
    }

    /**
     * Decodes the clips of a label: video by video, and in the order of time within each.
     *
     * @throws VideoException if one of the videos cannot be decoded
     */
    public List<LabelledClip> clips(int label, ClipCut cut) {
        return stream(label, cut).toList();
    }

    /** Decodes the clips of all labels, label by label. */
    public List<LabelledClip> clips(ClipCut cut) {
        return stream(cut).toList();
    }

    /**
     * As {@link #clips(int, ClipCut)}, but clips are decoded one by one when they are asked for, so that hardly more than one is in memory.
     * Where the stream is consumed as a whole ({@code forEach}, {@code toList} and the like) nothing is left to close.
     */
    public Stream<LabelledClip> stream(int label, ClipCut cut) {
        return videos.get(label).stream()
                .flatMap(video -> Video.clips(video, cut).map(clip -> new LabelledClip(label, video, clip)));
    }

    /** As {@link #stream(int, ClipCut)} of all labels, label by label. */
    public Stream<LabelledClip> stream(ClipCut cut) {
        return IntStream.range(0, labels.size()).boxed().flatMap(label -> stream(label, cut));
    }

    /** How many clips {@link #clips(int, ClipCut)} gives, found by decoding; frames are kept small meanwhile. */
    public long count(int label, ClipCut cut) {
        ClipCut small = new ClipCut(cut.frames(), 16, 16, cut.clipSeconds(), cut.strideSeconds(), cut.from(), cut.to());
        // Not Stream.count, which need not look at what is only mapped.
        return videos.get(label).stream()
                .flatMap(video -> Video.clips(video, small, note -> {}))
                .reduce(0L, (sum, clip) -> sum + 1, Long::sum);
    }
}
