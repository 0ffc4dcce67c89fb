package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Labelled recordings: {@code DIR/<label>/<any video>}, or {@code DIR/<label>.mp4} where one recording shows one label.
 */
public final class VideoFolders {
    private static final Set<String> EXTENSIONS =
            Set.of("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "wmv", "flv", "ogv", "3gp", "gif");

    private VideoFolders() {}

    /**
     * The videos of each label, in the order of their names. Files that are no videos by their names are left alone.
     *
     * @throws IllegalArgumentException if the folder is missing or holds no video, or a label's folder holds none
     */
    public static SortedMap<String, List<Path>> find(Path folder) {
        SortedMap<String, List<Path>> videos = new TreeMap<>();
        for (Path entry : list(folder, "it holds one folder of videos for each label")) {
            String name = String.valueOf(entry.getFileName());
            if (Files.isDirectory(entry)) {
                List<Path> found = list(entry, "it holds the label's videos").stream()
                        .filter(VideoFolders::isVideo)
                        .toList();
                if (found.isEmpty()) {
                    throw new IllegalArgumentException(
                            entry + " holds no video; put videos of this label there or remove the folder");
                }
                videos.computeIfAbsent(name, label -> new ArrayList<>()).addAll(found);
            } else if (isVideo(entry)) {
                videos.computeIfAbsent(name.substring(0, name.lastIndexOf('.')), label -> new ArrayList<>())
                        .add(entry);
            }
        }
        if (videos.isEmpty()) {
            throw new IllegalArgumentException(
                    folder + " holds no labelled video; give DIR/<label>/<video>, or DIR/<label>.mp4 for one of each");
        }
        return videos;
    }

    /** Whether a file's name ends like a video's. */
    static boolean isVideo(Path file) {
        String name = file.toString().toLowerCase(Locale.ROOT);
        return EXTENSIONS.contains(name.substring(name.lastIndexOf('.') + 1));
    }

    /** What a folder holds, in the order of names, without hidden files. */
    static List<Path> list(Path folder, String purpose) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(
                    folder + (Files.exists(folder) ? " is no folder" : " does not exist") + "; " + purpose);
        }
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(entry -> !entry.getFileName().toString().startsWith("."))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    folder + " cannot be read (" + e.getMessage() + "); check its permissions", e);
        }
    }
}
