package tessera.distill.data;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/**
 * What was computed of one recording before, in folders that are laid out as that of the recordings: flow and heat maps of each frame as
 * arrays, joints, boxes. Read when it is first asked for. Thread-safe.
 */
final class Beside {
    /** Deviation of a joint's heat map, in pixels of a picture of {@link #SIGMA_HEIGHT} rows, which MM-CDFSL's frames have. */
    private static final double SIGMA = 10;

    private static final double SIGMA_HEIGHT = 256;

    /** What resizing may add to numbers between 0 and 1. */
    private static final float ROUNDING = 1e-5f;

    /** What folders may hold. */
    static final Set<Modality> KINDS = Set.of(Modality.FLOW, Modality.POSE, Modality.BOXES);

    private final Map<Modality, Path> folders;
    private final String key;
    private final Footage footage;
    private final Footage.Gaps gaps;

    private @Nullable KeypointFile keypoints;
    private @Nullable List<float[]> boxes;

    /**
     * @param folders by what they hold
     * @param key the recording's path below its own folder, without an extension
     */
    Beside(Map<Modality, Path> folders, String key, Footage footage, Footage.Gaps gaps) {
        this.folders = folders;
        this.key = key;
        this.footage = footage;
        this.gaps = gaps;
    }

    /** Where something of the recording may lie, the likeliest first. */
    private List<Path> places(Modality modality, String extension) {
        Path folder = folders.get(modality);
        if (folder == null) {
            throw new IllegalArgumentException("extraction: no folder of " + modality + " is given; pass one");
        }
        return places(folder, key, footage.path(), extension);
    }

    private static List<Path> places(Path folder, String key, Path recording, String extension) {
        String name = String.valueOf(recording.getFileName());
        String stem = key.substring(key.lastIndexOf('/') + 1);
        List<Path> places = new ArrayList<>();
        for (String each : List.of(key, stem, name)) {
            places.add(folder.resolve(each + extension));
        }
        return places;
    }

    /** What there is of a recording, as far as a look tells; what it says changes with that. */
    static String state(Map<Modality, Path> folders, String key, Path recording) throws IOException {
        StringBuilder state = new StringBuilder();
        for (Map.Entry<Modality, Path> folder : new TreeMap<>(folders).entrySet()) {
            Set<Path> places = new LinkedHashSet<>(places(folder.getValue(), key, recording, ".json"));
            places.addAll(places(folder.getValue(), key, recording, ""));
            for (Path place : places) {
                if (Files.exists(place)) {
                    state.append(' ').append(folder.getKey()).append(' ').append(Fingerprint.of(place));
                }
            }
        }
        return state.toString();
    }

    private Optional<FrameFiles> arrays(Modality modality) {
        for (Path place : places(modality, "")) {
            for (Path folder : List.of(place, place.resolve("npy"))) {
                Optional<FrameFiles> found = Files.isDirectory(folder) ? FrameFiles.find(folder) : Optional.empty();
                if (found.isPresent()) {
                    return found;
                }
            }
        }
        return Optional.empty();
    }

    private IllegalArgumentException missing(Modality modality, String needed) {
        return new IllegalArgumentException(footage.path() + " has no " + modality + ": there is no "
                + places(modality, "").getFirst() + needed + "; make it, or leave the recording out");
    }

    /** Flow of chosen frames, {@code [T, height, width, 2]} in pixels of this size. */
    float[] flow(long[] numbers, int height, int width) {
        FrameFiles files = arrays(Modality.FLOW).orElseThrow(() -> missing(Modality.FLOW, " with npy files"));
        return stack(files, numbers, new int[] {height, width, 2}, true);
    }

    /**
     * Heat maps of chosen frames, {@code [T, rows, columns, 21]}: as they are given, or painted of joints.
     *
     * @param times of the frames in seconds
     */
    float[] pose(long[] numbers, double[] times, int rows, int columns) {
        Optional<FrameFiles> files = arrays(Modality.POSE);
        if (files.isPresent()) {
            float[] maps = stack(files.get(), numbers, new int[] {rows, columns, JointMaps.JOINTS}, false);
            for (int i = 0; i < maps.length; i++) {
                if (!(maps[i] >= -ROUNDING && maps[i] <= 1 + ROUNDING)) {
                    throw new IllegalArgumentException(
                            files.get().folder() + " holds " + maps[i] + " but heat maps lie in [0, 1]; scale them");
                }
                maps[i] = Math.clamp(maps[i], 0f, 1f);
            }
            return maps;
        }
        Path path = file(Modality.POSE, true);
        int[] size = footage.size();
        KeypointFile found = keypoints(path);
        int length = rows * columns * JointMaps.JOINTS;
        float[] maps = new float[Math.multiplyExact(numbers.length, length)];
        // Whatever positions are counted in, a joint is as large as in a picture of that shape.
        double aspect = (double) size[1] / size[0];
        double height = SIGMA_HEIGHT;
        double width = SIGMA_HEIGHT * aspect;
        for (int k = 0; k < numbers.length; k++) {
            for (double[] hand : found.hands(path, footage.order(numbers[k]), times[k])) {
                double[] scaled = hand.clone();
                for (int j = 0; j < JointMaps.JOINTS; j++) {
                    scaled[2 * j] *= width / found.width();
                    scaled[2 * j + 1] *= height / found.height();
                }
                JointMaps.paint(scaled, height, width, SIGMA, rows, columns, maps, k * length);
            }
        }
        return maps;
    }

    /** Boxes of chosen frames, {@code [T, 14, 8]}. */
    float[] boxes(long[] numbers) {
        Path path = file(Modality.BOXES, false);
        List<float[]> found = boxes(path);
        int length = Boxes.PER_FRAME * Boxes.NUMBERS;
        float[] numbersOfBoxes = new float[numbers.length * length];
        for (int k = 0; k < numbers.length; k++) {
            long order = footage.order(numbers[k]);
            if (order >= found.size() + KeypointFile.SURPLUS || found.isEmpty()) {
                throw new IllegalArgumentException(path + " holds " + found.size() + " frames but the video has frame "
                        + order + " (counted from 0); run the detector over all of it, or leave the video out");
            }
            float[] frame = found.get((int) Math.min(order, found.size() - 1));
            System.arraycopy(frame, 0, numbersOfBoxes, k * length, length);
        }
        return numbersOfBoxes;
    }

    private synchronized KeypointFile keypoints(Path path) {
        KeypointFile known = keypoints;
        if (known == null) {
            int[] size = footage.stored();
            known = KeypointFile.read(path, size[0], size[1]);
            known.requireOf(path, footage);
            keypoints = known;
        }
        return known;
    }

    private synchronized List<float[]> boxes(Path path) {
        List<float[]> known = boxes;
        if (known == null) {
            known = BoxFile.read(path);
            boxes = known;
        }
        return known;
    }

    private Path file(Modality modality, boolean alsoFolder) {
        for (Path place : places(modality, ".json")) {
            if (Files.isRegularFile(place)) {
                return place;
            }
        }
        for (Path place : alsoFolder ? places(modality, "") : List.<Path>of()) {
            if (Files.isDirectory(place)) {
                return place;
            }
        }
        throw missing(modality, ".json" + (alsoFolder ? " nor such a folder" : ""));
    }

    /**
     * Arrays of chosen frames, resized as a whole. A missing one is the one before it, and counted.
     *
     * @param shape rows, columns and channels
     * @param motion whether numbers are pixels across and down, which change with the size
     */
    private float[] stack(FrameFiles files, long[] numbers, int[] shape, boolean motion) {
        int length = shape[0] * shape[1] * shape[2];
        float[] all = new float[Math.multiplyExact(numbers.length, length)];
        for (int k = 0; k < numbers.length; k++) {
            Path file = files.file(numbers[k]).orElse(null);
            if (file == null) {
                if (k == 0) {
                    throw new IllegalArgumentException(files.name(numbers[k])
                            + " is missing and nothing of its clip comes before it; compute it, or leave the clip out");
                }
                gaps.add(files.name(numbers[k]));
                System.arraycopy(all, (k - 1) * length, all, k * length, length);
            } else {
                System.arraycopy(array(file, shape, motion), 0, all, k * length, length);
            }
        }
        return all;
    }

    private static float[] array(Path file, int[] shape, boolean motion) {
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = Npy.read(file, arena);
            long[] found = array.shape();
            if (found.length != 3 || found[2] != shape[2] || found[0] < 1 || found[1] < 1) {
                throw new IllegalArgumentException(file + " is " + Arrays.toString(found)
                        + " but must be [rows, columns, " + shape[2] + "]; compute it again, or leave the clip out");
            }
            int rows = (int) found[0];
            int columns = (int) found[1];
            float[] values = Recording.floats(array);
            for (float value : values) {
                if (!Float.isFinite(value)) {
                    throw new IllegalArgumentException(
                            file + " holds " + value + "; compute it again, or leave the clip out");
                }
            }
            if (rows == shape[0] && columns == shape[1]) {
                return values;
            }
            float[] resized = Resampling.apply(
                    values, columns, shape[2], Resampling.whole(rows, shape[0]), Resampling.whole(columns, shape[1]));
            if (motion) {
                for (int i = 0; i < resized.length; i += 2) {
                    resized[i] *= (float) shape[1] / columns;
                    resized[i + 1] *= (float) shape[0] / rows;
                }
            }
            return resized;
        }
    }
}
