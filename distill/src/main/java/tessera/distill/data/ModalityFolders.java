package tessera.distill.data;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.IntConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.egosim.Clip;
import tessera.distill.egosim.FlowStats;
import tessera.distill.egosim.Geometry;
import tessera.distill.egosim.Modality;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.Video;
import tessera.tensor.io.ArrayData;
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
        EnumMap<Modality, SortedMap<String, Path>> found = new EnumMap<>(Modality.class);
        for (Modality modality : EnumSet.copyOf(modalities)) {
            found.put(modality, clips(root.resolve(name(modality))));
        }
        found.forEach(
                (modality, clips) -> found.forEach((other, others) -> requireCounterparts(root, clips, other, others)));

        SortedMap<String, Path> any = found.values().iterator().next();
        List<String> classes =
                any.values().stream().map(ModalityFolders::label).distinct().toList();
        int[] labels = any.values().stream()
                .mapToInt(file -> classes.indexOf(label(file)))
                .toArray();
        Map<Modality, List<Path>> files = new EnumMap<>(Modality.class);
        found.forEach((modality, clips) -> files.put(modality, List.copyOf(clips.values())));
        Geometry geometry = wanted == null ? geometry(files) : wanted;
        files.forEach((modality, list) -> list.forEach(file -> requireArray(file, modality, geometry)));
        return new ModalityFolders(root, geometry, classes, labels, files);
    }

    private static String label(Path file) {
        return String.valueOf(file.getName(file.getNameCount() - 2));
    }

    private static String name(Modality modality) {
        return modality.name().toLowerCase(Locale.ROOT);
    }

    /** Files by {@code label/name}, without their extensions. */
    private static SortedMap<String, Path> clips(Path folder) {
        SortedMap<String, Path> clips = new TreeMap<>();
        for (Path label : list(folder, "it holds one folder for each label")) {
            if (Files.isDirectory(label)) {
                List<Path> files = list(label, "it holds the label's clips");
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
        }
        if (clips.isEmpty()) {
            throw new IllegalArgumentException(
                    folder + " holds no folder with clips; it needs one for each label, or a single one of any name");
        }
        return clips;
    }

    /** What a folder holds, in the order of names, without hidden files. */
    private static List<Path> list(Path folder, String purpose) {
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

    private static void requireCounterparts(
            Path root, SortedMap<String, Path> clips, Modality modality, SortedMap<String, Path> others) {
        clips.forEach((name, file) -> {
            if (!others.containsKey(name)) {
                throw new IllegalArgumentException(file + " has no counterpart "
                        + root.resolve(name(modality)).resolve(name + NPY)
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
                if (entry.getKey() == Modality.POSE) {
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
            throw new IllegalArgumentException(
                    file + " is " + name(summary.format()) + ", not npy; save one array in it");
        }
        return summary.arrays().getFirst();
    }

    private static String name(FileSummary.Format format) {
        return format.name().toLowerCase(Locale.ROOT);
    }

    private static void requireArray(Path file, Modality modality, Geometry geometry) {
        if (!file.toString().endsWith(NPY)) {
            if (modality == Modality.RGB && ClipFolder.isVideo(file)) {
                return;
            }
            throw new IllegalArgumentException(file + " is no clip of " + name(modality) + "; give "
                    + (modality == Modality.RGB ? "an npy file or a video" : "an npy file"));
        }
        ArrayInfo info = info(file);
        int side = modality == Modality.POSE ? geometry.poseSize() : geometry.size();
        StoredType type = modality == Modality.RGB ? StoredType.U8 : StoredType.F32;
        long[] shape = {geometry.frames(), side, side, ClipSet.channels(modality)};
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

    private Clip read(int index) {
        return new Clip(rgb(index), values(Modality.FLOW, index), values(Modality.POSE, index), labels[index]);
    }

    private byte[] rgb(int index) {
        List<Path> list = files.get(Modality.RGB);
        if (list == null) {
            return new byte[0];
        }
        Path file = list.get(index);
        if (!file.toString().endsWith(NPY)) {
            return Video.cut(file, ClipCut.whole(geometry.frames(), geometry.size(), geometry.size()))
                    .getFirst()
                    .pixels();
        }
        try (Arena arena = Arena.ofConfined()) {
            return Npy.read(file, arena).data().toArray(ValueLayout.JAVA_BYTE);
        }
    }

    private float[] values(Modality modality, int index) {
        List<Path> list = files.get(modality);
        if (list == null) {
            return new float[0];
        }
        Path file = list.get(index);
        float[] values;
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = Npy.read(file, arena);
            values = array.floats();
        }
        boolean pose = modality == Modality.POSE;
        for (float value : values) {
            if (!(pose ? value >= 0 && value <= 1 : Math.abs(value) <= Float.MAX_VALUE)) {
                throw new IllegalArgumentException(file + " holds " + value + " but "
                        + (pose
                                ? "heat maps lie in [0, 1]; scale them"
                                : "flow is finite; write 0 where it is unknown"));
            }
        }
        return values;
    }

    /** Mean and standard deviation of the flow of up to 64 clips, spread evenly: what flow is normalised with. */
    public FlowStats flowStats() {
        double[] sum = new double[2];
        double[] squares = new double[2];
        long count = 0;
        int clips = Math.min(STATISTICS_CLIPS, size());
        for (int i = 0; i < clips; i++) {
            float[] flow = values(Modality.FLOW, (int) ((long) i * size() / clips));
            for (int k = 0; k < flow.length; k++) {
                sum[k & 1] += flow[k];
                squares[k & 1] += (double) flow[k] * flow[k];
            }
            count += flow.length / 2;
        }
        if (count == 0) {
            throw new IllegalArgumentException(root + " was opened without flow; open it with flow to measure it");
        }
        List<Float> mean = new ArrayList<>();
        List<Float> std = new ArrayList<>();
        for (int k = 0; k < 2; k++) {
            double m = sum[k] / count;
            mean.add((float) m);
            std.add((float) Math.sqrt(Math.max(squares[k] / count - m * m, 1e-12)));
        }
        return new FlowStats(mean, std);
    }
}
