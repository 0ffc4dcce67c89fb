package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.IntConsumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.Video;
import tessera.tensor.io.ArrayInfo;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.Npy;
import tessera.tensor.io.StoredType;

/**
 * Clips of one's own: {@code DIR/<modality>/<label>/<name>.npy}, the same labels and names below every modality.
 *
 * <ul>
 *   <li>{@code rgb}: u8 {@code [T, H, W, 3]}, or a video file, whose frames are then spread over all of it;
 *   <li>{@code flow}: f32 {@code [T, H, W, 2]}, pixels to the right and down from a frame to the next;
 *   <li>{@code pose}: f32 {@code [T, h, w, 21]}, heat maps in [0, 1].
 * </ul>
 *
 * Pictures are square, and all clips have one size. Unlabelled clips lie in a single label folder of any name.
 * Opening checks every name and every npy header; what is wrong is an {@link IllegalArgumentException} of one line.
 * Immutable.
 */
public final class ModalityFolders {
    /** Frames and side of pictures when nothing but videos says how large clips are. */
    private static final Geometry OF_VIDEOS = Geometry.FULL;

    private static final String NPY = ".npy";
    private static final int STATISTICS_CLIPS = 64;

    private final Path root;
    private final Geometry geometry;
    private final List<String> classes;
    private final int[] labels;
    private final Map<Modality, List<Path>> files;

    private ModalityFolders(
            Path root, Geometry geometry, List<String> classes, int[] labels, Map<Modality, List<Path>> files) {
        this.root = root;
        this.geometry = geometry;
        this.classes = classes;
        this.labels = labels;
        this.files = files;
    }

    /**
     * Finds and checks the files.
     *
     * @param modalities what to load of each clip
     * @param wanted sizes that the clips must have, or null if the first clip decides
     * @throws IllegalArgumentException if something is missing or does not fit
     */
    public static ModalityFolders open(Path root, Set<Modality> modalities, @Nullable Geometry wanted) {
        SortedMap<Modality, SortedMap<String, Path>> found = new TreeMap<>();
        for (Modality modality : new TreeSet<>(modalities)) {
            found.put(modality, clips(root.resolve(modality.id())));
        }
        found.forEach(
                (modality, clips) -> found.forEach((other, others) -> requireCounterparts(root, clips, other, others)));

        SortedMap<String, Path> any = found.values().iterator().next();
        List<String> classes =
                any.values().stream().map(ModalityFolders::label).distinct().toList();
        int[] labels = any.values().stream()
                .mapToInt(file -> classes.indexOf(label(file)))
                .toArray();
        SortedMap<Modality, List<Path>> files = new TreeMap<>();
        found.forEach((modality, clips) -> files.put(modality, List.copyOf(clips.values())));
        Geometry geometry = wanted == null ? geometry(files) : wanted;
        files.forEach((modality, list) -> list.forEach(file -> requireArray(file, modality, geometry)));
        return new ModalityFolders(root, geometry, classes, labels, files);
    }

    private static String label(Path file) {
        return String.valueOf(file.getName(file.getNameCount() - 2));
    }

    /** Files by {@code label/name}, without their extensions. */
    private static SortedMap<String, Path> clips(Path folder) {
        SortedMap<String, Path> clips = new TreeMap<>();
        for (Path label : list(folder, Files::isDirectory, "it holds one folder for each label")) {
            List<Path> files = list(label, file -> true, "it holds the label's clips");
            if (files.isEmpty()) {
                throw new IllegalArgumentException(label + " holds no clip; put clips there or remove the folder");
            }
            for (Path file : files) {
                String name = String.valueOf(file.getFileName());
                String stem = name.contains(".") ? name.substring(0, name.lastIndexOf('.')) : name;
                Path other = clips.put(label(file) + "/" + stem, file);
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

    private static List<Path> list(Path folder, Predicate<Path> kind, String purpose) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(
                    folder + (Files.exists(folder) ? " is no folder" : " does not exist") + "; " + purpose);
        }
        return ClipFolder.list(folder, kind);
    }

    private static void requireCounterparts(
            Path root, SortedMap<String, Path> clips, Modality modality, SortedMap<String, Path> others) {
        clips.forEach((name, file) -> {
            if (!others.containsKey(name)) {
                throw new IllegalArgumentException(file + " has no counterpart "
                        + root.resolve(modality.id()).resolve(name + NPY)
                        + "; every clip needs all of its modalities under the same label and name");
            }
        });
    }

    /** The sizes that the first array of each modality gives. */
    private static Geometry geometry(Map<Modality, List<Path>> files) {
        int frames = 0;
        int size = 0;
        int poseSize = 0;
        for (Map.Entry<Modality, List<Path>> entry : files.entrySet()) {
            Path file = entry.getValue().stream()
                    .filter(f -> f.toString().endsWith(NPY))
                    .findFirst()
                    .orElse(null);
            if (file != null) {
                ArrayInfo info = info(file);
                long[] shape = info.shape();
                if (shape.length != 4 || shape[1] > 4096 || shape[0] > 4096) {
                    throw misfit(file, info, "four dimensions: frames, height, width, channels");
                }
                frames = (int) shape[0];
                if (entry.getKey().layout().grid() == SampleLayout.Grid.MAP) {
                    poseSize = (int) shape[1];
                } else {
                    size = (int) shape[1];
                }
            }
        }
        if (frames == 0) {
            return OF_VIDEOS;
        }
        // The sizes of what is not loaded mean nothing, but have to be possible.
        return new Geometry(frames, size == 0 ? 4 * poseSize : size, poseSize == 0 ? size : poseSize);
    }

    private static ArrayInfo info(Path file) {
        FileSummary summary = FileSummary.of(file);
        if (summary.format() != FileSummary.Format.NPY) {
            throw new IllegalArgumentException(file + " is "
                    + summary.format().name().toLowerCase(Locale.ROOT) + ", not npy; save one array in it");
        }
        return summary.arrays().getFirst();
    }

    private static void requireArray(Path file, Modality modality, Geometry geometry) {
        if (!file.toString().endsWith(NPY)) {
            if (modality.equals(Modality.RGB) && ClipFolder.isVideo(file)) {
                return;
            }
            throw new IllegalArgumentException(file + " is no clip of " + modality.id() + "; give "
                    + (modality.equals(Modality.RGB) ? "an npy file or a video" : "an npy file"));
        }
        ArrayInfo info = info(file);
        int side = geometry.side(modality);
        StoredType type = StoredType.of(modality.layout().values().given());
        long[] shape = {geometry.frames(), side, side, modality.layout().channels()};
        if (info.type() != type || !Arrays.equals(info.shape(), shape)) {
            throw misfit(file, info, type.name().toLowerCase(Locale.ROOT) + Arrays.toString(shape));
        }
    }

    private static IllegalArgumentException misfit(Path file, ArrayInfo info, String needed) {
        return new IllegalArgumentException(file + " is " + info.type().name().toLowerCase(Locale.ROOT)
                + Arrays.toString(info.shape()) + " but must be " + needed + "; convert it, or remove the clip");
    }

    /** Sizes of every clip. */
    public Geometry geometry() {
        return geometry;
    }

    /** Number of clips. */
    public int size() {
        return labels.length;
    }

    /**
     * Reads all clips.
     *
     * @param progress told after each clip how many are done
     * @throws IllegalArgumentException if a video cannot be decoded, a flow is not finite, or a heat map is not in [0, 1]
     */
    public ClipSet load(IntConsumer progress) {
        return ClipSet.load(geometry, classes, labels, files.keySet(), this::read, progress);
    }

    private Map<Modality, MemorySegment> read(int index) {
        Map<Modality, MemorySegment> clip = new TreeMap<>();
        for (Modality modality : files.keySet()) {
            boolean bytes = modality.layout().values() == SampleLayout.Values.BYTE;
            Path file = file(modality, index);
            clip.put(
                    modality,
                    bytes ? MemorySegment.ofArray(bytes(file)) : MemorySegment.ofArray(values(modality, file)));
        }
        return clip;
    }

    private byte[] bytes(Path file) {
        if (!file.toString().endsWith(NPY)) {
            ClipCut whole = ClipCut.whole(geometry.frames(), geometry.size(), geometry.size());
            return Video.cut(file, whole).getFirst().pixels();
        }
        try (Arena arena = Arena.ofConfined()) {
            return Npy.read(file, arena).data().toArray(ValueLayout.JAVA_BYTE);
        }
    }

    private Path file(Modality modality, int index) {
        List<Path> list = files.get(modality);
        if (list == null) {
            throw new IllegalArgumentException(
                    root + " was opened without " + modality + "; open it with " + modality + " to read it");
        }
        return list.get(index);
    }

    private static float[] values(Modality modality, Path file) {
        float[] values;
        try (Arena arena = Arena.ofConfined()) {
            values = Npy.read(file, arena).floats();
        }
        SampleLayout.Values kind = modality.layout().values();
        for (float value : values) {
            if (!kind.allows(value)) {
                throw new IllegalArgumentException(file + " holds " + value + " but "
                        + (kind == SampleLayout.Values.SHARE
                                ? "heat maps lie in [0, 1]; scale them"
                                : modality + " is finite; write 0 where it is unknown"));
            }
        }
        return values;
    }

    /** Mean and standard deviation of the flow of up to 64 clips, spread evenly: what flow is normalised with. */
    public FlowStats flowStats() {
        int clips = Math.min(STATISTICS_CLIPS, size());
        return FlowStats.measure(
                clips, i -> values(Modality.FLOW, file(Modality.FLOW, (int) ((long) i * size() / clips))));
    }
}
