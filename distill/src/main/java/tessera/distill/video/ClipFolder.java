package tessera.distill.video;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tessera.nn.inference.VideoClip;

/**
 * A folder of labelled videos: {@code FOLDER/<label>/<any video file>}, or {@code FOLDER/<label>.mp4} (or another
 * extension) where a single recording shows a label. A folder of numbered pictures is a video too. Labels and files are sorted by name.
 *
 * <p>Hidden files and what operating systems leave in folders are passed over. Everything else must be a video: what its name does
 * not tell is found by opening it, so that no recording is ever left out for its extension.
 *
 * <p>Immutable. Videos are decoded when clips are asked for; nothing is kept.
 */
public final class ClipFolder {
    /** Files that are called so are taken for videos unopened. */
    private static final Set<String> VIDEOS = Set.of(
            "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "flv", "ogv", "3gp",
            "gif");

    /** What FFmpeg would show as a video of one frame. */
    private static final Set<String> PICTURES =
            Set.of("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "heic", "avif", "thm");

    /** What a folder of clips has that were cut of videos: a line that says how. */
    public static final String EXTRACTED = "cut.txt";

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
     * Lists a folder. Only what its name does not tell to be a video is opened.
     *
     * @throws VideoException if the folder is missing or no folder, holds no label folders, one of these is empty, or something
     *     there is no video
     */
    public static ClipFolder open(Path folder) {
        VideoException.require(
                Files.isDirectory(folder),
                folder,
                Files.exists(folder) ? "is a file, not a folder of labelled videos" : "does not exist",
                "name a folder that holds one folder of videos for each label");
        VideoException.require(
                !Files.isRegularFile(folder.resolve(EXTRACTED)),
                folder,
                "holds clips that extract made of videos",
                "name the folder of these videos");
        SortedMap<String, List<Path>> videos = new TreeMap<>();
        for (Path label : list(folder, Files::isDirectory)) {
            List<Path> files = list(label, file -> true);
            VideoException.require(
                    !files.isEmpty(),
                    label,
                    "holds no videos for its label",
                    "put videos into it or remove the folder");
            files.forEach(file -> requireVideo(file, "take it out of the label's folder"));
            videos.put(String.valueOf(label.getFileName()), new ArrayList<>(files));
        }
        for (Path file : list(folder, file -> !Files.isDirectory(file))) {
            requireVideo(file, "take it out of the folder");
            String name = String.valueOf(file.getFileName());
            int dot = name.lastIndexOf('.');
            videos.computeIfAbsent(dot < 0 ? name : name.substring(0, dot), label -> new ArrayList<>())
                    .add(file);
        }
        VideoException.require(
                !videos.isEmpty(),
                folder,
                "holds no label folders",
                "put the videos of each label into a folder of its own in it");
        return new ClipFolder(List.copyOf(videos.keySet()), List.copyOf(videos.values()));
    }

    private static void requireVideo(Path file, String remedy) {
        refusal(file).ifPresent(problem -> {
            throw new VideoException(file, problem, remedy);
        });
    }

    /**
     * Why a file is no video, or nothing. What is called like a video is not opened.
     *
     * @throws VideoException if no FFmpeg program is found to open it with
     */
    public static Optional<String> refusal(Path file) {
        if (Files.isDirectory(file)) {
            return PictureFolder.isOne(file)
                    ? Optional.empty()
                    : Optional.of("is a folder, not a video nor one of numbered JPEG or PNG frames");
        }
        String name = file.toString().toLowerCase(Locale.ROOT);
        String extension = name.substring(name.lastIndexOf('.') + 1);
        if (VIDEOS.contains(extension)) {
            return Optional.empty();
        }
        Optional<String> animation = VideoException.animation(file);
        if (animation.isPresent()) {
            return animation.map(problem -> problem + " (" + VideoException.CONVERT + ")");
        }
        if (PICTURES.contains(extension)) {
            return Optional.of("is a picture, not a video (frames of a recording lie in a folder of their own)");
        }
        VideoReader.program();
        try {
            VideoReader.probe(file);
            return Optional.empty();
        } catch (VideoException e) {
            return Optional.of(e.problem());
        }
    }

    /**
     * What a folder holds of a kind, in the order of names, without hidden files and what operating systems leave there.
     *
     * @throws VideoException if the folder cannot be read, or the name of one of these
     */
    public static List<Path> list(Path folder, Predicate<Path> kind) {
        List<Path> found;
        try (Stream<Path> entries = Files.list(folder)) {
            found = entries.filter(entry -> !isPassedOver(entry) && kind.test(entry))
                    .sorted()
                    .toList();
        } catch (IOException | UncheckedIOException failure) {
            throw new VideoException(
                    folder, "cannot be listed (" + failure.getMessage() + ")", "check its permissions");
        }
        found.forEach(ClipFolder::requireName);
        return found;
    }

    /** Whether a file or folder is hidden or one of those that operating systems leave anywhere, by its name. */
    public static boolean isPassedOver(Path entry) {
        return SystemFiles.isOne(String.valueOf(entry.getFileName()));
    }

    /** A name whose bytes are no text reaches no other program, and no label can be called so. */
    private static void requireName(Path entry) {
        boolean told;
        try {
            told = Path.of(entry.toString()).equals(entry);
        } catch (InvalidPathException e) {
            told = false;
        }
        if (!told) {
            Charset names = Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"));
            String uri = entry.toUri().getRawPath().replaceFirst("/$", "");
            String bytes = uri.substring(uri.lastIndexOf('/') + 1);
            throw new VideoException(
                    entry,
                    "has a name that is not in " + names + " (" + bytes + " with its bytes after %)",
                    names.equals(StandardCharsets.UTF_8)
                            ? "rename it"
                            : "rename it, or start Java where the locale is one of UTF-8, as LC_ALL=C.UTF-8");
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
        ClipCut small = cut.withSize(16, 16);
        // Not Stream.count, which need not look at what is only mapped.
        return videos.get(label).stream()
                .flatMap(video -> Video.clips(video, small, note -> {}))
                .reduce(0L, (sum, clip) -> sum + 1, Long::sum);
    }
}
