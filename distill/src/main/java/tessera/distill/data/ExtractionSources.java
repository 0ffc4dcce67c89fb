package tessera.distill.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemLoopException;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.annotation.Annotation;
import tessera.distill.data.annotation.Annotation.Place;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.PictureFolder;
import tessera.distill.video.VideoException;
import tessera.tensor.io.AtomicFile;

/**
 * What an {@link Extraction} cuts, and what it shows.
 *
 * @param sources in the order of their labels and names
 * @param heads for each label what further heads answer, the same heads for all; empty where there are none
 */
public record ExtractionSources(List<Extraction.Source> sources, SortedMap<String, SortedMap<String, String>> heads) {
    /** The label of what has none. */
    public static final String UNLABELLED = "unlabelled";

    private static final Pattern EXTENSION = Pattern.compile("\\.[A-Za-z][A-Za-z0-9]{1,4}$");
    private static final int NAMED = 3;

    /** Bytes of a file's name, of which file systems take 255. */
    private static final int LONGEST_NAME = 200;

    public ExtractionSources {
        sources = List.copyOf(sources);
        heads = Collections.unmodifiableSortedMap(new TreeMap<>(heads));
    }

    /**
     * Labelled recordings: {@code FOLDER/<label>/<a video, or a folder of numbered pictures>}, or {@code FOLDER/<label>.mp4} (or
     * another extension) where a single video shows a label. Hidden files and what operating systems leave in folders are passed over.
     *
     * @throws IllegalArgumentException if there is none, or something there is no recording
     */
    public static ExtractionSources labelled(Path folder) {
        requireFolder(folder);
        List<Extraction.Source> sources = new ArrayList<>();
        for (Path entry : ClipFolder.list(folder, any -> true)) {
            String name = String.valueOf(entry.getFileName());
            if (!Files.isDirectory(entry)) {
                requireRecording(entry);
                sources.add(source(folder, entry, stem(name), Segment.WHOLE, ""));
                continue;
            }
            List<Path> recordings = ClipFolder.list(entry, any -> true);
            if (recordings.isEmpty()) {
                throw new VideoException(
                        entry, "holds no videos for its label", "put videos into it or remove the folder");
            }
            for (Path recording : recordings) {
                requireRecording(recording);
                sources.add(source(folder, recording, name, Segment.WHOLE, ""));
            }
        }
        if (sources.isEmpty()) {
            throw new VideoException(
                    folder,
                    "holds no label folders",
                    "put the videos of each label into a folder of its own in it, or leave the labels out");
        }
        return new ExtractionSources(sources, new TreeMap<>());
    }

    private static void requireFolder(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(folder + (Files.exists(folder) ? " is no folder" : " does not exist")
                    + "; name a folder with videos in it");
        }
    }

    private static boolean isPictures(Path path) {
        return Files.isDirectory(path) && PictureFolder.isRecording(path);
    }

    private static void requireRecording(Path path) {
        if (!isPictures(path)) {
            ClipFolder.refusal(path).ifPresent(problem -> {
                throw new VideoException(path, problem, "take it out of the label's folder, or leave the labels out");
            });
        }
    }

    private static String stem(String name) {
        int dot = name.lastIndexOf('.');
        return dot <= 0 ? name : name.substring(0, dot);
    }

    private static Extraction.Source source(Path folder, Path recording, String label, Segment segment, String origin) {
        String below = folder.relativize(recording).toString().replace('\\', '/');
        String key = Files.isDirectory(recording) ? below : stem(below);
        String part = segment.name();
        String name = part.isEmpty()
                ? String.valueOf(recording.getFileName())
                : key.substring(key.lastIndexOf('/') + 1) + "_" + part;
        return new Extraction.Source(label, shortened(name), recording, key, segment, origin);
    }

    /** A name that leaves room for what the files of clips have behind it; a long one keeps its beginning, and a hash tells it from others. */
    private static String shortened(String name) {
        if (name.getBytes(StandardCharsets.UTF_8).length <= LONGEST_NAME) {
            return name;
        }
        String hash = "~" + Fingerprint.ofText(name);
        int end = name.length();
        while (name.substring(0, end).getBytes(StandardCharsets.UTF_8).length + hash.length() > LONGEST_NAME
                || Character.isHighSurrogate(name.charAt(end - 1))) {
            end--;
        }
        return name.substring(0, end) + hash;
    }

    /**
     * All videos in a folder and those below it, in the order of their names, told by their extensions or, without a usual one, by what
     * is in them, and folders of numbered pictures; hidden ones and other files are left out.
     *
     * @param label that all of them get
     * @param pictures whether folders of pictures are taken, too
     * @throws IllegalArgumentException if there is none, or the folder cannot be read
     */
    public static ExtractionSources unlabelled(Path folder, String label, boolean pictures) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(folder + (Files.exists(folder) ? " is no folder" : " does not exist")
                    + "; name a folder with videos in it, at any depth");
        }
        List<Extraction.Source> sources = new ArrayList<>();
        Set<String> names = new LinkedHashSet<>();
        for (Path recording : recordings(folder, pictures)) {
            if (!Files.isDirectory(recording) && ClipFolder.refusal(recording).isPresent()) {
                continue;
            }
            Extraction.Source source = source(folder, recording, label, Segment.WHOLE, "");
            String name =
                    folder.relativize(recording).toString().replace('/', '_').replace('\\', '_');
            if (!names.add(name)) {
                throw new IllegalArgumentException(
                        recording + " and another video would both be called " + name + "; rename one of them");
            }
            sources.add(new Extraction.Source(label, shortened(name), recording, source.key(), Segment.WHOLE, ""));
        }
        if (sources.isEmpty()) {
            throw new IllegalArgumentException(
                    folder + " holds no video, at any depth; put videos (such as .mp4 or .mkv) there");
        }
        return new ExtractionSources(sources, new TreeMap<>());
    }

    /** Files, and folders of numbered pictures if these are wanted, at any depth, sorted. */
    private static List<Path> recordings(Path folder, boolean pictures) {
        List<Path> found = new ArrayList<>();
        try {
            Files.walkFileTree(
                    folder, Set.of(FileVisitOption.FOLLOW_LINKS), Integer.MAX_VALUE, new SimpleFileVisitor<>() {
                        @Override
                        public FileVisitResult preVisitDirectory(Path each, BasicFileAttributes attributes) {
                            if (each.equals(folder)) {
                                return FileVisitResult.CONTINUE;
                            }
                            if (ClipFolder.isPassedOver(each)) {
                                return FileVisitResult.SKIP_SUBTREE;
                            }
                            if (pictures && isPictures(each)) {
                                found.add(each);
                                return FileVisitResult.SKIP_SUBTREE;
                            }
                            return FileVisitResult.CONTINUE;
                        }

                        @Override
                        public FileVisitResult visitFile(Path each, BasicFileAttributes attributes) {
                            if (attributes.isRegularFile() && !ClipFolder.isPassedOver(each)) {
                                found.add(each);
                            }
                            return FileVisitResult.CONTINUE;
                        }

                        @Override
                        public FileVisitResult visitFileFailed(Path each, IOException failure) throws IOException {
                            // What a system keeps for itself may be closed to users; a link to a folder around it shows
                            // nothing new.
                            if (failure instanceof FileSystemLoopException || ClipFolder.isPassedOver(each)) {
                                return FileVisitResult.CONTINUE;
                            }
                            throw failure;
                        }
                    });
        } catch (IOException | UncheckedIOException e) {
            throw new IllegalArgumentException(
                    folder + " cannot be listed (" + e.getMessage() + "); check its permissions", e);
        }
        Collections.sort(found);
        return found;
    }

    /**
     * Annotated parts of recordings.
     *
     * @param folder of the recordings, at any depth
     * @param split only annotations of this split, in any case, or null for all
     * @param notes told in one line each which splits come together, and how many annotations name recordings that are not there
     * @throws IllegalArgumentException if no annotation names a recording that is there, two recordings have the name that one gives,
     *     two labels would be called alike, or one label has two values for a head
     */
    public static ExtractionSources annotated(
            Path folder, List<Annotation> annotations, @Nullable String split, Consumer<String> notes) {
        requireFolder(folder);
        List<Annotation> chosen = ofSplit(annotations, split, notes);
        Index index = new Index(folder);
        SortedMap<String, Extraction.Source> sources = new TreeMap<>();
        Labels labels = new Labels();
        Set<String> missing = new LinkedHashSet<>();
        int lost = 0;
        for (Annotation annotation : chosen) {
            Extraction.Source found = null;
            for (Place place : annotation.places()) {
                Optional<Path> recording = found == null ? index.find(place.video()) : Optional.empty();
                if (recording.isPresent()) {
                    String label = labels.folder(annotation);
                    found = source(folder, recording.get(), label, place.segment(), annotation.origin());
                }
            }
            if (found == null) {
                lost++;
                missing.add(annotation.places().getFirst().video());
                continue;
            }
            Extraction.Source other = sources.put(found.label() + "/" + found.name(), found);
            if (other != null && !other.video().equals(found.video())) {
                throw new IllegalArgumentException(other.video() + " and " + found.video()
                        + " would give clips of one name, " + found.name() + "; rename one of them");
            }
        }
        String named = missing.stream().limit(NAMED).collect(Collectors.joining(", "))
                + (missing.size() > NAMED ? ", ..." : "");
        if (sources.isEmpty()) {
            throw new IllegalArgumentException("none of the " + missing.size() + " annotated videos is in " + folder
                    + ": " + named + "; name the folder that holds them, at any depth");
        }
        if (lost > 0) {
            notes.accept(lost + " of " + chosen.size() + " annotations name videos that are not there (" + named + ")");
        }
        return new ExtractionSources(List.copyOf(sources.values()), labels.heads());
    }

    private static List<Annotation> ofSplit(
            List<Annotation> annotations, @Nullable String split, Consumer<String> notes) {
        Map<String, Long> splits = annotations.stream()
                .collect(Collectors.groupingBy(Annotation::split, TreeMap::new, Collectors.counting()));
        if (split == null) {
            if (splits.size() > 1) {
                notes.accept("annotations of several splits come together, " + splits + "; --split takes one of them");
            }
            return annotations;
        }
        List<Annotation> chosen = annotations.stream()
                .filter(annotation -> annotation.split().equalsIgnoreCase(split))
                .toList();
        if (chosen.isEmpty()) {
            splits.remove("");
            throw new IllegalArgumentException("no annotation is of the split '" + split + "'; "
                    + (splits.isEmpty()
                            ? "they name none, so leave it away"
                            : "pass one of " + splits.keySet() + ", or none for all"));
        }
        return chosen;
    }

    /** Recordings by what annotations call them. */
    private static final class Index {
        private final Path folder;
        private final Map<String, List<Path>> byName = new HashMap<>();
        private final Map<String, Optional<Path>> found = new HashMap<>();

        Index(Path folder) {
            this.folder = folder;
            for (Path recording : recordings(folder, true)) {
                String name = String.valueOf(recording.getFileName());
                for (String each : Files.isDirectory(recording) ? Set.of(name) : Set.of(name, stem(name))) {
                    byName.computeIfAbsent(each, n -> new ArrayList<>()).add(recording);
                }
            }
        }

        Optional<Path> find(String video) {
            return found.computeIfAbsent(video, this::search);
        }

        private Optional<Path> search(String video) {
            Optional<Path> exact = below(video).filter(Index::isRecording);
            if (exact.isPresent()) {
                return exact;
            }
            List<String> words = words(video);
            String name = words.isEmpty() ? video : words.getLast();
            List<Path> called = byName.getOrDefault(name, List.of());
            if (called.isEmpty() && EXTENSION.matcher(name).find()) {
                called = byName.getOrDefault(stem(name), List.of()); // as the video before it was converted
            }
            List<Path> named = called.stream()
                    .filter(path -> isBelow(path, words) && isRecording(path))
                    .toList();
            if (named.size() > 1) {
                throw new IllegalArgumentException("annotations name " + video + ", but " + named.get(0) + " and "
                        + named.get(1) + " are both called so; move one of them away");
            }
            return named.stream().findFirst();
        }

        /** The parts of a path, of whichever system. */
        private static List<String> words(String path) {
            return Pattern.compile("[/\\\\]+")
                    .splitAsStream(path)
                    .filter(word -> !word.isEmpty() && !word.equals("."))
                    .toList();
        }

        /**
         * Whether the folders of a recording are those that an annotation names, as far up as both go: annotations may have been written
         * where the videos lay in other folders.
         */
        private boolean isBelow(Path recording, List<String> words) {
            List<String> folders = words(folder.relativize(recording).toString());
            int both = Math.min(folders.size(), words.size());
            return folders.subList(folders.size() - both, folders.size() - 1)
                    .equals(words.subList(words.size() - both, words.size() - 1));
        }

        private Optional<Path> below(String video) {
            try {
                // Told from the root on, as "." is nothing that a path begins with.
                Path root = folder.toAbsolutePath().normalize();
                Path path = root.resolve(video).normalize();
                return path.startsWith(root) && Files.exists(path)
                        ? Optional.of(folder.resolve(root.relativize(path)))
                        : Optional.empty();
            } catch (InvalidPathException noName) {
                return Optional.empty();
            }
        }

        private static boolean isRecording(Path path) {
            return Files.isDirectory(path)
                    ? isPictures(path)
                    : ClipFolder.refusal(path).isEmpty();
        }
    }

    /** What labels are called as folders, and what further heads answer. */
    private static final class Labels {
        private final Map<String, String> byFolder = new HashMap<>();
        private final SortedMap<String, SortedMap<String, String>> heads = new TreeMap<>();

        String folder(Annotation annotation) {
            String label = annotation.label().isEmpty() ? UNLABELLED : annotation.label();
            // labels.csv knows no commas.
            String named = annotation.heads().isEmpty() ? label : cell(label);
            String folder = named.replaceAll("[\\\\/:*?\"<>|\\p{Cntrl}]", "_").replaceAll("^[.\\s]+|[.\\s]+$", "");
            if (folder.isEmpty() || folder.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) {
                throw new IllegalArgumentException("no folder can be called '" + label + "'; give the label another"
                        + " name, of at most " + LONGEST_NAME + " bytes");
            }
            String other = byFolder.putIfAbsent(folder, label);
            if (other != null && !other.equals(label)) {
                throw new IllegalArgumentException("the labels '" + other + "' and '" + label
                        + "' would both have the folder " + folder + "; give one of them another name");
            }
            SortedMap<String, String> values = new TreeMap<>();
            annotation.heads().forEach((head, value) -> values.put(cell(head), cell(value)));
            SortedMap<String, String> before = heads.putIfAbsent(folder, values);
            if (before != null && !before.equals(values)) {
                throw new IllegalArgumentException("the label '" + label + "' goes with " + before + " and with "
                        + values + "; heads belong to labels, so leave the column out or give labels of their own");
            }
            return folder;
        }

        /** Empty unless every label has the same heads. */
        SortedMap<String, SortedMap<String, String>> heads() {
            Collection<Set<String>> names = new LinkedHashSet<>();
            heads.values().forEach(values -> names.add(values.keySet()));
            boolean alike = names.size() == 1 && !names.iterator().next().isEmpty();
            return alike ? heads : new TreeMap<>();
        }

        /** The table of heads knows neither commas in a cell nor quotes. */
        private static String cell(String text) {
            return text.replace(',', ';')
                    .replace("\"", "")
                    .replaceAll("\\p{Cntrl}", " ")
                    .strip();
        }
    }

    /**
     * Writes {@code labels.csv}, from which training knows further heads, unless there are none.
     *
     * @param out where clips are extracted to
     */
    public void writeHeads(Path out) {
        if (heads.isEmpty()) {
            return;
        }
        StringBuilder table = new StringBuilder("label");
        heads.firstEntry().getValue().keySet().forEach(head -> table.append(',').append(head));
        heads.forEach((label, values) -> {
            table.append('\n').append(label);
            values.values().forEach(value -> table.append(',').append(value));
        });
        byte[] bytes = table.append('\n').toString().getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(out.resolve("labels.csv"), to -> to.write(bytes));
    }
}
