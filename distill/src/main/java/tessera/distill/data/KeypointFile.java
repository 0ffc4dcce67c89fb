package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.distill.video.ClipFolder;

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
 * hand_left_keypoints_2d} and {@code hand_right_keypoints_2d} of {@code people}. Both count pixels of the video's own picture.
 *
 * @param height of the picture that positions are in
 * @param width of the picture that positions are in
 * @param rate frames of a second, or 0 if they are those of the video
 * @param frames for each frame its hands, x and y of each joint, NaN where it is left out
 */
record KeypointFile(double height, double width, double rate, List<List<double[]>> frames) {
    static final double LEAST_CONFIDENCE = .3;

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
        List<List<double[]>> frames = new ArrayList<>();
        if (Files.isDirectory(path)) {
            for (Path file : ClipFolder.list(path, file -> file.toString().endsWith("_keypoints.json"))) {
                frames.add(new Reader(file).people(parse(file)));
            }
            if (frames.isEmpty()) {
                throw new Reader(path).wrong("holds no file that ends in _keypoints.json");
            }
            return new KeypointFile(height, width, 0, frames);
        }
        Object root = parse(path);
        Reader reader = new Reader(path);
        if (root instanceof Map<?, ?> members && members.get("frames") instanceof List<?> list) {
            for (Object frame : list) {
                frames.add(reader.hands(frame, frames.size()));
            }
            double rate = members.get("fps") == null ? 0 : reader.number(members.get("fps"), "fps", 1e-3, 1000);
            return new KeypointFile(
                    reader.number(members.get("height"), "height", 1, 1e6),
                    reader.number(members.get("width"), "width", 1, 1e6),
                    rate,
                    frames);
        }
        Object instances = root instanceof Map<?, ?> members ? members.get("instance_info") : root;
        if (!(instances instanceof List<?> list)) {
            throw reader.wrong("has neither frames nor instance_info, and is no list");
        }
        for (Object frame : list) {
            frames.add(reader.instances(frame, frames.size()));
        }
        return new KeypointFile(height, width, 0, frames);
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

    /** One file under way. */
    private record Reader(Path file) {

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
