package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipFolder;
import tessera.tensor.io.ArrayInfo;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.StoredType;

/**
 * Clips of one's own: {@code DIR/<modality>/<label>/<name>.npy}, the same labels and names below every modality.
 *
 * <ul>
 *   <li>{@code rgb}: u8 {@code [T, H, W, 3]}, or a video file, or a folder {@code <name>} of numbered JPEG or PNG frames;
 *   <li>{@code flow}: f32 {@code [T, H, W, 2]}, pixels to the right and down from a frame to the next, or a folder {@code <name>}
 *       with two folders {@code u} and {@code v} of numbered 8 bit JPEG or PNG pictures: level 0 is {@code -bound} pixels of the
 *       picture, 255 is {@code bound}, of {@link Options#flowBound};
 *   <li>{@code pose}: f32 {@code [T, h, w, 21]}, heat maps in [0, 1];
 *   <li>{@code boxes}: f32 {@code [T, 14, 1, 8]} as {@link Boxes} says, or {@code <name>.json}: <pre>{@code
 * {"width": W, "height": H, "frames": [
 *   [{"box": [x1, y1, x2, y2], "class": "hand", "score": s, "side": "left", "state": n}, ...], ...]}
 * }</pre> with a list for each frame and corners in pixels; class {@code hand}, {@code object} or a number, side {@code left},
 *       {@code right} or a number; score is 1, side and state are 0 where they are left away; the 14 highest scores are taken;
 *   <li>{@code audio}: f32 {@code [T, S, S, 1]} in decibels, or {@code <name>.wav}, which lasts as long as the clip: PCM of 8 to 32
 *       bits or floats, of which {@link tessera.nn.audio.MelSpectrogram} makes an image around each frame.
 * </ul>
 *
 * Frames, flow and boxes of one clip are counted alike and spread evenly over it, the same of each; a video and sound are taken at the
 * same times. Arrays hold exactly the clip's frames. Boxes may also be given for exactly these, and flow for one frame fewer. All
 * clips have one size; videos and frames are resized to it as a whole. Unlabelled clips lie in a single label folder of any name.
 *
 * <p>Where pictures alone are asked for, the label folders may lie in {@code DIR} itself: a folder of labelled videos is such a set.
 *
 * <p>A file {@code DIR/labels.csv} gives further heads: a line {@code label,verb,noun}, then one for each label.
 *
 * <p>Opening checks every name, every npy header and the numbers of frames. What is wrong with the folder is an {@link
 * IllegalArgumentException} of one line. A clip that lacks a modality that is asked for, or of which such a file is broken, is handled
 * as {@link Options} say; nothing is ever made up for it. Clips are known by every modality that the folder has, asked for or not. Immutable.
 */
public final class ModalityFolders {
    private static final String NPY = ".npy";
    private static final String TABLE = "labels.csv";
    /** Of the Java heap the share that as much memory of the system may be taken for clips. */
    private static final double CLIPS_OF_HEAP = .5;

    private static final int STATISTICS_CLIPS = 64;
    private static final System.Logger LOGGER = System.getLogger(ModalityFolders.class.getName());

    /**
     * How folders are read.
     *
     * @param skipBroken whether clips that lack a modality or are broken are left out of every modality, and their number told; if
     *     not, they are refused: the first is named, and how many there are
     * @param flowBound motion in pixels that level 255 of flow pictures stands for, positive
     * @param pictures sizes that videos and pictures are loaded with where no array says how large clips are
     * @param mostBroken share of all clips; where broken ones are left out, more than these are refused all the same
     * @param reading how {@link #forTraining} and {@link #forEvaluation} read clips
     */
    public record Options(boolean skipBroken, double flowBound, Geometry pictures, double mostBroken, Reading reading) {
        /**
         * Broken clips are refused; flow is within 20 pixels, as it was published for EPIC-KITCHENS; clips have 16 frames of 224 x
         * 224.
         */
        public static final Options DEFAULT = new Options(false, 20, Geometry.FULL);

        /** Up to half of the clips may be broken, and {@link Reading#DEFAULT}. */
        public Options(boolean skipBroken, double flowBound, Geometry pictures) {
            this(skipBroken, flowBound, pictures, .5, Reading.DEFAULT);
        }

        public Options {
            if (!(flowBound > 0 && flowBound < 1e4)) {
                throw new IllegalArgumentException(
                        "flow pictures bounded by " + flowBound + " pixels; pass a positive number such as 20");
            }
            if (!(mostBroken >= 0 && mostBroken <= 1)) {
                throw new IllegalArgumentException(
                        "a share of " + mostBroken + " clips that may be broken; pass a number from 0 to 1");
            }
        }

        /** The same with broken clips left out, or refused. */
        public Options withSkipBroken(boolean wanted) {
            return new Options(wanted, flowBound, pictures, mostBroken, reading);
        }

        /** The same with another bound of flow. */
        public Options withFlowBound(double pixels) {
            return new Options(skipBroken, pixels, pictures, mostBroken, reading);
        }

        /** The same with another share of clips that may be broken. */
        public Options withMostBroken(double share) {
            return new Options(skipBroken, flowBound, pictures, share, reading);
        }

        /** The same, read otherwise for training. */
        public Options withReading(Reading other) {
            return new Options(skipBroken, flowBound, pictures, mostBroken, other);
        }
    }

    /**
     * How clips are read for training and evaluation.
     *
     * @param memory bytes of memory outside the Java heap that clips may take
     * @param readers threads that read clips which do not fit, or are cut anew
     * @param live if every look cuts its clip anew out of all that the files have, other frames and another part of the whole picture,
     *     which keeps its aspect: the views by which training does so that has none of its own. Null for clips as they are loaded
     */
    public record Reading(
            long memory, int readers, @Nullable Views live) {
        /** As much memory as half of the largest Java heap, a reader for each processor, and clips as they are. */
        public static final Reading DEFAULT = new Reading(
                (long) (CLIPS_OF_HEAP * Runtime.getRuntime().maxMemory()),
                Runtime.getRuntime().availableProcessors(),
                null);

        public Reading {
            if (memory < 1 || readers < 1) {
                throw new IllegalArgumentException(
                        "clips read by " + readers + " threads into " + memory + " bytes; pass 1 or more of each");
            }
        }

        /** The same with another bound of memory. */
        public Reading withMemory(long bytes) {
            return new Reading(bytes, readers, live);
        }

        /** The same with other threads. */
        public Reading withReaders(int threads) {
            return new Reading(memory, threads, live);
        }

        /** The same with clips cut anew for every look, {@link Views#PLAIN} for example, or null for clips as they are. */
        public Reading withLive(@Nullable Views views) {
            return new Reading(memory, readers, views);
        }
    }

    private final Path root;
    private final Geometry geometry;
    private final Options options;
    private final List<String> classes;
    private final Map<String, List<String>> heads;
    /** Of each clip that is not known to be broken, by label/name. */
    private final ClipFiles files;

    private final List<String> names;
    private final int[] labels;
    private final Faults faults;

    private ModalityFolders(
            Path root,
            Geometry geometry,
            Options options,
            List<String> classes,
            SortedMap<String, Map<Modality, Path>> clips,
            Faults faults) {
        this.root = root;
        this.geometry = geometry;
        this.options = options;
        this.classes = classes;
        this.files = new ClipFiles(geometry, List.copyOf(clips.values()), options.flowBound());
        this.names = List.copyOf(clips.keySet());
        this.labels =
                names.stream().mapToInt(name -> classes.indexOf(label(name))).toArray();
        this.faults = faults;
        Path table = root.resolve(TABLE);
        this.heads = Files.exists(table) ? HeadTable.read(table, classes) : Map.of();
    }

    /** As {@link #open(Path, Set, Geometry, Options)}, refusing broken clips. */
    public static ModalityFolders open(Path root, Set<Modality> modalities, @Nullable Geometry wanted) {
        return open(root, modalities, wanted, Options.DEFAULT);
    }

    /**
     * Finds and checks the files.
     *
     * @param modalities what to load of each clip, 1 or more
     * @param wanted sizes that the clips must have, or null if the first whole array of each modality decides
     * @throws IllegalArgumentException if something is missing or does not fit
     */
    public static ModalityFolders open(
            Path root, Set<Modality> modalities, @Nullable Geometry wanted, Options options) {
        SortedMap<Modality, SortedMap<String, Path>> found = new TreeMap<>();
        for (Modality modality : new TreeSet<>(modalities)) {
            found.put(modality, clips(root.resolve(modality.id()), root, modalities));
        }
        SortedMap<Modality, SortedMap<String, Path>> known = new TreeMap<>(found);
        for (Modality modality : Modality.KNOWN) {
            known.computeIfAbsent(modality, other -> named(root.resolve(other.id())));
        }
        SortedMap<String, Map<Modality, Path>> clips = new TreeMap<>();
        known.forEach(
                (modality, files) -> files.keySet().forEach(name -> clips.computeIfAbsent(name, n -> new TreeMap<>())));
        found.forEach((modality, files) -> files.forEach(
                (name, file) -> clips.getOrDefault(name, new TreeMap<>()).put(modality, file)));
        List<String> classes =
                clips.keySet().stream().map(ModalityFolders::label).distinct().toList();

        Faults faults = new Faults(clips.size());
        known.forEach((modality, files) ->
                found.forEach((other, others) -> requireCounterparts(root, files, other, others, faults)));
        clips.keySet().removeAll(faults.names());
        Geometry geometry = wanted == null ? geometry(clips.values(), options.pictures()) : wanted;
        for (Modality modality : found.keySet()) {
            clips.forEach((name, files) -> faults.check(name, () -> {
                Path file = files.get(modality);
                if (file != null) {
                    requireClip(file, modality, geometry, options);
                }
            }));
        }
        clips.keySet().removeAll(faults.names());
        if (!options.skipBroken() || clips.isEmpty()) {
            faults.refuse();
        }
        faults.refuseMoreThan(options.mostBroken());
        return new ModalityFolders(root, geometry, options, classes, clips, faults);
    }

    private static String label(String name) {
        return name.substring(0, name.indexOf('/'));
    }

    /** Files by {@code label/name}, without their extensions. */
    private static SortedMap<String, Path> clips(Path place, Path root, Set<Modality> modalities) {
        Path folder = modalities.equals(Set.of(Modality.RGB)) && isOfVideos(root) ? root : place;
        SortedMap<String, Path> clips = new TreeMap<>();
        requirePlace(root, folder);
        Predicate<Path> wanted = entry -> !folder.equals(root) || !entry.equals(root.resolve(TABLE));
        for (Path label : list(folder, wanted, "it holds one folder for each label")) {
            if (!Files.isDirectory(label)) {
                throw new IllegalArgumentException(
                        label + " lies in no label's folder; put it into that of its label, or take it out");
            }
            List<Path> files = list(label, file -> true, "it holds the label's clips");
            if (files.isEmpty()) {
                throw new IllegalArgumentException(label + " holds no clip; put clips there or remove the folder");
            }
            for (Path file : files) {
                Path other = clips.put(name(label, file), file);
                if (other != null) {
                    throw new IllegalArgumentException(
                            other + " and " + file + " are the same clip twice; keep one of them");
                }
            }
        }
        if (clips.isEmpty()) {
            throw new IllegalArgumentException(
                    folder + " holds no folder with clips; it needs one for each label, or a single one of any name");
        }
        return clips;
    }

    private static void requirePlace(Path root, Path place) {
        if (!Files.isDirectory(root)) {
            throw new IllegalArgumentException(root + (Files.exists(root) ? " is no folder" : " does not exist")
                    + "; name a folder with clips in it, DIR/"
                    + place.getFileName() + "/<label>/<clip>");
        }
        if (!Files.isDirectory(place)) {
            throw new IllegalArgumentException(root + " has no folder " + place.getFileName() + "; clips lie in "
                    + place + "/<label>/, as extract makes them of videos");
        }
    }

    /** Whether label folders lie in a folder themselves, and no modality has one of its own. */
    private static boolean isOfVideos(Path root) {
        return Files.isDirectory(root)
                && Modality.KNOWN.stream().noneMatch(known -> Files.exists(root.resolve(known.id())))
                && !ClipFolder.list(root, Files::isDirectory).isEmpty();
    }

    private static String name(Path label, Path file) {
        String name = String.valueOf(file.getFileName());
        boolean extended = name.contains(".") && !Files.isDirectory(file);
        return label.getFileName() + "/" + (extended ? name.substring(0, name.lastIndexOf('.')) : name);
    }

    /** The clips of a modality that is not asked for, by which those lacking are known; whatever else lies there is passed over. */
    private static SortedMap<String, Path> named(Path folder) {
        SortedMap<String, Path> clips = new TreeMap<>();
        if (Files.isDirectory(folder)) {
            ClipFolder.list(folder, Files::isDirectory)
                    .forEach(label ->
                            ClipFolder.list(label, file -> true).forEach(file -> clips.put(name(label, file), file)));
        }
        return clips;
    }

    private static List<Path> list(Path folder, Predicate<Path> kind, String purpose) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(
                    folder + (Files.exists(folder) ? " is no folder" : " does not exist") + "; " + purpose);
        }
        return ClipFolder.list(folder, kind);
    }

    private static void requireCounterparts(
            Path root,
            SortedMap<String, Path> clips,
            Modality modality,
            SortedMap<String, Path> others,
            Faults faults) {
        clips.forEach((name, file) -> faults.check(name, () -> {
            if (!others.containsKey(name)) {
                throw new IllegalArgumentException(file + " has no counterpart "
                        + root.resolve(modality.id()).resolve(name + NPY)
                        + "; every clip needs all of its modalities under the same label and name");
            }
        }));
    }

    /** The sizes that the first array of each modality gives. */
    private static Geometry geometry(Collection<Map<Modality, Path>> clips, Geometry pictures) {
        int frames = 0;
        int[] picture = {0, 0};
        int[] map = {0, 0};
        Set<Modality> seen = new TreeSet<>();
        for (Map<Modality, Path> clip : clips) {
            for (Map.Entry<Modality, Path> entry : clip.entrySet()) {
                Path file = entry.getValue();
                long[] shape = ClipFiles.isArray(file) && !seen.contains(entry.getKey()) ? shape(file) : null;
                if (shape != null) {
                    seen.add(entry.getKey());
                    frames = (int) shape[0];
                    if (entry.getKey().layout().grid() instanceof SampleLayout.Grid.Scaled grid) {
                        int[] side = {(int) shape[1], (int) shape[2]};
                        switch (grid) {
                            case PICTURE -> picture = side;
                            case MAP -> map = side;
                            case SQUARE -> picture = picture[0] == 0 ? side : picture;
                        }
                    }
                }
            }
        }
        if (frames == 0) {
            return pictures;
        }
        // The sizes of what is not loaded mean nothing, but have to be possible.
        if (picture[0] == 0) {
            picture = map[0] == 0 ? new int[] {pictures.size(), pictures.width()} : new int[] {4 * map[0], 4 * map[1]};
        }
        if (map[0] == 0) {
            map = picture;
        }
        return new Geometry(frames, picture[0], picture[1], map[0], map[1]);
    }

    /** A clip's shape, or null if the file holds none: what is wrong with it is told with the other broken clips. */
    private static long @Nullable [] shape(Path file) {
        try {
            long[] shape = info(file).shape();
            return isPossible(shape) ? shape : null;
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    private static boolean isPossible(long[] shape) {
        return shape.length == 4 && shape[0] <= 4096 && shape[1] <= 4096 && shape[2] <= 4096;
    }

    private static ArrayInfo info(Path file) {
        FileSummary summary = FileSummary.of(file);
        if (summary.format() != FileSummary.Format.NPY) {
            throw new IllegalArgumentException(file + " is "
                    + summary.format().name().toLowerCase(Locale.ROOT) + ", not npy; save one array in it");
        }
        return summary.arrays().getFirst();
    }

    /** What can be told of a clip without reading it. */
    private static void requireClip(Path file, Modality modality, Geometry geometry, Options options) {
        if (!ClipFiles.isArray(file)) {
            requireKind(file, modality);
            if (Files.isDirectory(file)) {
                ClipFiles.recording(file, modality, options.flowBound());
            }
            return;
        }
        ArrayInfo info = info(file);
        if (!isPossible(info.shape())) {
            throw misfit(file, info, "four dimensions: frames, height, width, channels");
        }
        StoredType type = StoredType.of(modality.layout().values().given());
        long[] shape = {
            geometry.frames(),
            geometry.rows(modality),
            geometry.columns(modality),
            modality.layout().channels()
        };
        if (!isReadAs(info.type(), type) || !Arrays.equals(info.shape(), shape)) {
            throw misfit(file, info, type.name().toLowerCase(Locale.ROOT) + Arrays.toString(shape));
        }
    }

    /** Floats of any width are read as f32. */
    private static boolean isReadAs(StoredType found, StoredType wanted) {
        return found == wanted || (wanted == StoredType.F32 && (found == StoredType.F16 || found == StoredType.F64));
    }

    private static void requireKind(Path file, Modality modality) {
        boolean folder = Files.isDirectory(file);
        String refusal = " is no clip of " + modality.id();
        boolean fits = switch (modality.id()) {
            case "rgb" -> {
                if (!folder) {
                    ClipFolder.refusal(file).ifPresent(problem -> {
                        throw new IllegalArgumentException(file + refusal + ", it " + problem + "; give "
                                + kinds(modality) + ", or take it out of the label's folder");
                    });
                }
                yield true;
            }
            case "flow" -> folder;
            case "boxes" -> ClipFiles.hasExtension(file, ".json") && !folder;
            case "audio" -> ClipFiles.hasExtension(file, ".wav") && !folder;
            default -> false;
        };
        if (!fits) {
            throw new IllegalArgumentException(
                    file + refusal + "; give " + kinds(modality) + ", or take it out of the label's folder");
        }
    }

    private static String kinds(Modality modality) {
        return switch (modality.id()) {
            case "rgb" -> "an npy file, a video, or a folder of frames";
            case "flow" -> "an npy file, or a folder with u and v";
            case "boxes" -> "an npy or json file";
            case "audio" -> "an npy or wav file";
            default -> "an npy file";
        };
    }

    private static IllegalArgumentException misfit(Path file, ArrayInfo info, String needed) {
        return new IllegalArgumentException(file + " is " + info.type().name().toLowerCase(Locale.ROOT)
                + Arrays.toString(info.shape()) + " but must be " + needed + "; convert it, or remove the clip");
    }

    /** Sizes of every clip. */
    public Geometry geometry() {
        return geometry;
    }

    /** Number of clips that opening found whole. */
    public int size() {
        return labels.length;
    }

    /** Names {@code label/name} of all clips that are there, whole or broken. */
    public SortedSet<String> names() {
        SortedSet<String> all = new TreeSet<>(names);
        all.addAll(faults.names());
        return all;
    }

    /** How many clips of each label opening found whole, in the order of the labels. */
    public SortedMap<String, Integer> counts() {
        SortedMap<String, Integer> counts = new TreeMap<>();
        classes.forEach(label -> counts.put(label, 0));
        names.forEach(name -> counts.merge(label(name), 1, Integer::sum));
        return counts;
    }

    /**
     * What the clips that opening found whole are for a head, without reading them.
     *
     * @throws IllegalArgumentException if there are no labels for it
     */
    public HeadLabels head(String name) {
        Heads all = new Heads(classes, heads);
        int[] ofClass = all.ofClass(name);
        return new HeadLabels(
                all.classes(name),
                IntStream.of(labels).map(label -> ofClass[label]).toArray());
    }

    /**
     * Refuses heads for which the clips have no labels, without reading them.
     *
     * @throws IllegalArgumentException with the heads for which there are some
     */
    public void requireHeads(List<String> names) {
        Heads all = new Heads(classes, heads);
        names.forEach(all::ofClass);
    }

    /** Clips are left out with one warning in the log; see {@link #load(IntConsumer, Consumer)}. */
    public ClipSet load(IntConsumer progress) {
        return load(progress, note -> LOGGER.log(System.Logger.Level.WARNING, note));
    }

    /**
     * Reads all clips.
     *
     * @param progress told after each clip how many are done
     * @param notes told at the end, if clips were left out, in one line how many and why the first of them
     * @throws IllegalArgumentException if clips are broken and not left out, or none is left
     */
    public ClipSet load(IntConsumer progress, Consumer<String> notes) {
        Faults all = new Faults(faults);
        int opened = all.names().size();
        ClipSet set = ClipSet.load(
                geometry,
                classes,
                heads,
                new ClipSet.Listing(names, labels, faults.names()),
                files.modalities(),
                i -> {
                    Map<Modality, MemorySegment> clip = new TreeMap<>();
                    return all.check(names.get(i), opened + i, () -> clip.putAll(files.read(i))) ? clip : null;
                },
                progress);
        if (all.isEmpty()) {
            return set;
        }
        if (!options.skipBroken() || set.size() == 0) {
            set.close();
            all.refuse();
        }
        try {
            all.refuseMoreThan(options.mostBroken());
        } catch (IllegalArgumentException e) {
            set.close();
            throw e;
        }
        notes.accept(all.leftOut());
        return set;
    }

    /**
     * Clips as training wants them: all in memory where they fit into what {@link Options#reading} allows, as {@link #load} reads them;
     * otherwise read from their files when a batch needs them, and kept as far as memory allows. Batches are the same, whatever the memory
     * and the number of readers. {@link Reading#live} clips are never kept.
     *
     * <p>A file that is found broken only when it is read for a batch is refused there; or it is told and another clip stands in for it, where
     * broken clips are left out.
     *
     * @param progress told how many are done
     * @param notes told in one line of clips that are left out, also later, while the set is used, by several threads
     * @throws IllegalArgumentException as {@link #load} does, or if not even one clip fits into memory
     */
    public ClipSet forTraining(IntConsumer progress, Consumer<String> notes) {
        Reading reading = options.reading();
        Views live = reading.live();
        if (live == null && fit()) {
            return load(progress, notes);
        }
        if (!faults.isEmpty()) {
            notes.accept(faults.leftOut());
        }
        LOGGER.log(
                System.Logger.Level.INFO,
                "clips of {0} take {1} MB; they are read when they are looked at",
                root,
                bytes() >> 20);
        ClipStore store = live == null
                ? new ClipCache(files, reading.memory(), reading.readers())
                : new LiveClips(files, reading.readers(), live);
        progress.accept(size());
        Set<String> known = faults.names();
        return ClipSet.read(
                geometry,
                new Heads(classes, heads),
                new ClipSet.Listing(names, labels, known),
                files.modalities(),
                store,
                new BrokenClips(names, options.skipBroken(), options.mostBroken(), known.size(), notes));
    }

    /**
     * Clips as evaluation wants them, which looks at one after the other: all in memory where they fit into what {@link Options#reading}
     * allows, otherwise read from their files when a batch needs them, and kept as far as memory allows. Both give the same batches.
     *
     * <p>Where broken clips are left out, every file that does not fit is read once before, for which clips there are decides on masks and
     * episodes. Where they are not, the first that is met is refused when it is looked at.
     *
     * @param progress told how many are done
     * @param notes as of {@link #load(IntConsumer, Consumer)}
     * @throws IllegalArgumentException as {@link #load(IntConsumer, Consumer)} does, or if not even one clip fits into memory
     */
    public ClipSet forEvaluation(IntConsumer progress, Consumer<String> notes) {
        if (fit()) {
            return load(progress, notes);
        }
        Faults all = new Faults(faults);
        boolean[] whole = new boolean[size()];
        if (options.skipBroken()) {
            int opened = all.names().size();
            AtomicInteger done = new AtomicInteger();
            ClipMemory.inParallel(size(), i -> {
                whole[i] = all.check(names.get(i), opened + i, () -> files.read(i));
                progress.accept(done.incrementAndGet());
            });
            if (all.names().size() == names().size()) {
                all.refuse();
            }
            all.refuseMoreThan(options.mostBroken());
            if (!all.isEmpty()) {
                notes.accept(all.leftOut());
            }
        } else {
            Arrays.fill(whole, true);
            progress.accept(size());
        }
        ClipSet.Listing listing = new ClipSet.Listing(names, labels, faults.names()).without(whole);
        ClipFiles chosen = files.only(whole);
        Reading reading = options.reading();
        return ClipSet.read(
                geometry,
                new Heads(classes, heads),
                listing,
                chosen.modalities(),
                new ClipCache(chosen, reading.memory(), reading.readers()),
                new BrokenClips(listing.names(), false, 0, 0, note -> {}));
    }

    private boolean fit() {
        return bytes() <= options.reading().memory();
    }

    private long bytes() {
        return size()
                * files.modalities().stream()
                        .mapToLong(modality -> Samples.bytes(modality, geometry))
                        .sum();
    }

    /** As {@link #flowStats(Predicate)}, of all clips. */
    public FlowStats flowStats() {
        return flowStats(name -> true);
    }

    /**
     * Mean and standard deviation of the flow of up to 64 clips, spread evenly: what flow is normalised with.
     *
     * @param chosen of which clips, by their names {@code label/name}
     * @throws IllegalArgumentException if the folders were opened without flow, one of these clips is broken and not left out, or
     *     there is none
     */
    public FlowStats flowStats(Predicate<String> chosen) {
        int[] of = IntStream.range(0, size())
                .filter(i -> chosen.test(names.get(i)))
                .toArray();
        int count = Math.min(STATISTICS_CLIPS, of.length);
        return FlowStats.measure(count, i -> flow(of[(int) ((long) i * of.length / count)]));
    }

    private float[] flow(int index) {
        if (!files.modalities().contains(Modality.FLOW)) {
            throw new IllegalArgumentException(root + " was opened without flow; open it with flow to measure it");
        }
        try {
            MemorySegment flow = files.read(index).get(Modality.FLOW);
            return flow == null ? new float[0] : flow.toArray(ValueLayout.JAVA_FLOAT);
        } catch (IllegalArgumentException e) {
            if (options.skipBroken()) {
                return new float[0];
            }
            if (fit()) {
                load(done -> {}).close(); // refuses this clip or one before it, and tells how many there are
            }
            throw e;
        }
    }
}
