package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.PictureFolder;

/**
 * Joints of hands that a detector found in a video, as JSON:
 *
 * <pre>{@code
 * {"width": W, "height": H, "fps": r, "frames": [
 *   [{"joints": [[x, y, confidence], ... 21 of them]}, ...], ...]}
 * }</pre>
 *
 * <p>One list of hands for each frame of the video (or of those taken at {@code fps}, which may be left away), corners in pixels of a
 * picture of this size; with width and height 1 they are shares. Confidence is 1 where it is left away; joints below
 * {@value #LEAST_CONFIDENCE} are left out.
 *
 * <p>What tools write is read too: MMPose's list of frames with {@code instances} of {@code keypoints} and {@code keypoint_scores}
 * (or this list in {@code instance_info}), and OpenPose's folder of a file {@code *_keypoints.json} for each frame with {@code
 * hand_left_keypoints_2d} and {@code hand_right_keypoints_2d} of {@code people}. Both count pixels of the video's own picture. Frames have
 * the numbers that they tell, by {@code frame_id} or the file's name, and none may be missing between two others.
 *
 * @param height of the picture that positions are in
 * @param width of the picture that positions are in
 * @param rate frames of a second, or 0 if they are those of the video
 * @param frames for each frame its hands, x and y of each joint, NaN where it is left out
 * @param first the number of the first frame, 0 where they tell none
 * @param step by how much numbers rise from each frame to the next, 1 where they tell none
 */
record KeypointFile(double height, double width, double rate, List<List<double[]>> frames, long first, long step) {
    static final double LEAST_CONFIDENCE = .3;

    private static final Pattern NUMBERED = Pattern.compile("(\\d{1,18})_keypoints\\.json$");

    /** Detectors and decoders may count a frame more or less at the end. */
    static final int SURPLUS = 2;

    /**
     * Reads a file, or a folder of OpenPose's.
     *
     * @param height of the video's picture, for files that do not tell
     * @param width likewise
     * @throws IllegalArgumentException if it cannot be read or is not so
     */
    static KeypointFile read(Path path, int height, int width) {
        Reader reader = new Reader(path);
        if (Files.isDirectory(path)) {
            NavigableMap<Long, List<double[]>> numbered = new TreeMap<>();
            for (Path file : ClipFolder.list(path, file -> file.toString().endsWith("_keypoints.json"))) {
                Matcher name = NUMBERED.matcher(file.toString());
                if (!name.find()) {
                    throw reader.wrong("holds " + file.getFileName() + ", whose name tells no number of a frame");
                }
                reader.put(numbered, Long.parseLong(name.group(1)), new Reader(file).people(parse(file)));
            }
            if (numbered.isEmpty()) {
                throw reader.wrong("holds no file that ends in _keypoints.json");
            }
            return reader.numbered(numbered, height, width);
        }
        Object root = parse(path);
        if (root instanceof Map<?, ?> members && members.get("frames") instanceof List<?> list) {
            List<List<double[]>> frames = new ArrayList<>();
            for (Object frame : list) {
                frames.add(reader.hands(frame, frames.size()));
            }
            double rate = members.get("fps") == null ? 0 : reader.number(members.get("fps"), "fps", 1e-3, 1000);
            double high = reader.number(members.get("height"), "height", 1, 1e6);
            double wide = reader.number(members.get("width"), "width", 1, 1e6);
            reader.requireUnit(frames, high, wide);
            return new KeypointFile(high, wide, rate, frames, 0, 1);
        }
        Object instances = root instanceof Map<?, ?> members ? members.get("instance_info") : root;
        if (!(instances instanceof List<?> list)) {
            throw reader.wrong("has neither frames nor instance_info, and is no list");
        }
        NavigableMap<Long, List<double[]>> numbered = new TreeMap<>();
        for (Object frame : list) {
            Object told = frame instanceof Map<?, ?> members ? members.get("frame_id") : null;
            double number = told == null ? numbered.size() : reader.number(told, "frame_id", 0, 1e12);
            reader.put(numbered, Math.round(number), reader.instances(frame, numbered.size()));
        }
        return reader.numbered(numbered, height, width);
    }

    private static Object parse(Path file) {
        try {
            return Json.value(Files.readString(file));
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is there and is text in UTF-8", e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + " is no JSON; run the detector again, or leave the video out", e);
        }
    }

    /**
     * The hands of a frame.
     *
     * @param order number of the frame in the video, from 0
     * @param seconds its time
     * @throws IllegalArgumentException if the file ends before
     */
    List<double[]> hands(Path path, long order, double seconds) {
        if (rate > 0 && Double.isNaN(seconds)) {
            throw new IllegalArgumentException(path + " counts " + rate
                    + " frames a second but those of the frames' folder are not known; tell them");
        }
        long frame = rate > 0 ? Math.round(seconds * rate) : order;
        if (frame >= frames.size() + SURPLUS || frames.isEmpty()) {
            throw new IllegalArgumentException(path + " holds " + frames.size() + " frames but the video has frame "
                    + frame + " (counted from 0); run the detector over all of it, or leave the video out");
        }
        return frames.get((int) Math.min(frame, frames.size() - 1));
    }

    /**
     * Refuses frames of other numbers than the recording's, of which none could be told to belong to it.
     *
     * @throws IllegalArgumentException if they begin elsewhere, or only every so many-th was looked at
     */
    void requireOf(Path path, Footage footage) {
        boolean same = step == 1 || footage.order(footage.first() + step) == 1;
        if (!same || (first > 1 && first != footage.first())) {
            throw new IllegalArgumentException(path + " begins with frame " + first
                    + (step > 1 ? " and has every " + step + "th" : "") + ", but " + footage.path()
                    + " begins with frame " + footage.first() + (same ? "" : " and has others between")
                    + "; run the detector over all of it, or leave the video out");
        }
    }

    /** One file under way. */
    private record Reader(Path file) {
        void put(Map<Long, List<double[]>> numbered, long number, List<double[]> hands) {
            if (numbered.put(number, hands) != null) {
                throw wrong("has frame " + number + " twice");
            }
        }

        KeypointFile numbered(NavigableMap<Long, List<double[]>> numbered, int height, int width) {
            long step = PictureFolder.step(numbered.navigableKeySet());
            long first = numbered.isEmpty() ? 0 : numbered.firstKey();
            long expected = first;
            for (long number : numbered.navigableKeySet()) {
                if (number != expected) {
                    throw new IllegalArgumentException(file + " lacks frame " + expected + " before frame " + number
                            + "; run the detector over all of the video and keep what it writes of frames without hands,"
                            + " or leave the video out");
                }
                expected += step;
            }
            List<List<double[]>> frames = List.copyOf(numbered.values());
            requireUnit(frames, height, width);
            return new KeypointFile(height, width, 0, frames, first, step);
        }

        private void requireUnit(List<List<double[]>> frames, double height, double width) {
            double furthest = frames.stream()
                    .flatMap(List::stream)
                    .flatMapToDouble(Arrays::stream)
                    .filter(Double::isFinite)
                    .max()
                    .orElse(0);
            Unit.of(furthest, width, height).ifPresent(problem -> {
                throw wrong(problem);
            });
        }

        List<double[]> hands(@Nullable Object frame, int number) {
            if (!(frame instanceof List<?> list)) {
                throw wrong("has no list of hands for frame " + number);
            }
            List<double[]> hands = new ArrayList<>();
            for (Object hand : list) {
                String where = "hand " + hands.size() + " of frame " + number;
                if (!(hand instanceof Map<?, ?> members) || !(members.get("joints") instanceof List<?> joints)) {
                    throw wrong("has no list of joints for " + where);
                }
                hands.addAll(split(joints, null, where));
            }
            return hands;
        }

        List<double[]> instances(@Nullable Object frame, int number) {
            if (!(frame instanceof Map<?, ?> told) || !(told.get("instances") instanceof List<?> list)) {
                throw wrong("has no list of instances for frame " + number);
            }
            List<double[]> hands = new ArrayList<>();
            for (Object instance : list) {
                String where = "instance " + hands.size() + " of frame " + number;
                if (!(instance instanceof Map<?, ?> members) || !(members.get("keypoints") instanceof List<?> points)) {
                    throw wrong("has no keypoints in " + where);
                }
                hands.addAll(
                        split(points, members.get("keypoint_scores") instanceof List<?> scores ? scores : null, where));
            }
            return hands;
        }

        List<double[]> people(Object root) {
            if (!(root instanceof Map<?, ?> members) || !(members.get("people") instanceof List<?> people)) {
                throw wrong("has no list of people");
            }
            List<double[]> hands = new ArrayList<>();
            for (Object person : people) {
                for (String side : List.of("hand_left_keypoints_2d", "hand_right_keypoints_2d")) {
                    if (person instanceof Map<?, ?> told && told.get(side) instanceof List<?> flat && !flat.isEmpty()) {
                        if (flat.size() != 3 * JointMaps.JOINTS) {
                            throw wrong("has " + flat.size() + " numbers in " + side);
                        }
                        List<List<?>> points = new ArrayList<>();
                        for (int j = 0; j < JointMaps.JOINTS; j++) {
                            points.add(flat.subList(3 * j, 3 * j + 3));
                        }
                        hands.addAll(split(points, null, side));
                    }
                }
            }
            return hands;
        }

        /** One hand, or two whose joints follow each other. */
        private List<double[]> split(List<?> points, @Nullable List<?> scores, String where) {
            int count = points.size() / JointMaps.JOINTS;
            if (count < 1 || count > 2 || points.size() % JointMaps.JOINTS != 0) {
                throw wrong(
                        "has " + points.size() + " joints in " + where + ", not " + JointMaps.JOINTS + " of a hand");
            }
            if (scores != null && scores.size() != points.size()) {
                throw wrong("has " + scores.size() + " scores of " + points.size() + " joints in " + where);
            }
            List<double[]> hands = new ArrayList<>();
            for (int hand = 0; hand < count; hand++) {
                double[] places = new double[2 * JointMaps.JOINTS];
                for (int j = 0; j < JointMaps.JOINTS; j++) {
                    int at = hand * JointMaps.JOINTS + j;
                    if (!(points.get(at) instanceof List<?> point) || point.size() < 2 || point.size() > 3) {
                        throw wrong("has no [x, y] or [x, y, confidence] in " + where);
                    }
                    Object told = scores != null ? scores.get(at) : point.size() > 2 ? point.get(2) : null;
                    double confidence = told == null ? 1 : number(told, "confidence of " + where, -1e9, 1e9);
                    boolean sure = confidence >= LEAST_CONFIDENCE;
                    places[2 * j] = sure ? number(point.get(0), "x of " + where, -1e9, 1e9) : Double.NaN;
                    places[2 * j + 1] = sure ? number(point.get(1), "y of " + where, -1e9, 1e9) : Double.NaN;
                }
                hands.add(places);
            }
            return hands;
        }

        double number(@Nullable Object value, String what, double least, double most) {
            if (value instanceof Number number && number.doubleValue() >= least && number.doubleValue() <= most) {
                return number.doubleValue();
            }
            boolean printable = value instanceof Number || value instanceof String;
            throw wrong("gives " + (value == null ? "none" : printable ? value : "no number") + " as " + what);
        }

        IllegalArgumentException wrong(String what) {
            return new IllegalArgumentException(file + " " + what
                    + "; write it as the README's section on extracting says, or leave the video out");
        }
    }
}
