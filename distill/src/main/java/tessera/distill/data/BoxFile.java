package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;

/**
 * Boxes of a clip as JSON:
 *
 * <pre>{@code
 * {"width": W, "height": H, "frames": [
 *   [{"box": [x1, y1, x2, y2], "class": "hand", "score": s, "side": "left", "state": n}, ...], ...]}
 * }</pre>
 *
 * One list for each frame, empty where nothing was found. Corners are in pixels of the picture, cut to it. Class is {@code hand},
 * {@code object} or its number; side is {@code left}, {@code right} or its number; score is 1, side and state are 0 where they
 * are left away. Of more than {@value Boxes#PER_FRAME} boxes those with the highest scores are taken. Other members are ignored.
 */
final class BoxFile {
    private static final int LARGEST_SIDE = 2;

    /** Of contact; see {@code StltConfig}. */
    private static final int LARGEST_STATE = 5;

    private final Path file;

    /** The largest corner of all boxes, as it is told; 0 of none. */
    private double furthest;

    private BoxFile(Path file) {
        this.file = file;
    }

    /**
     * Reads a file.
     *
     * @return per frame {@code [14, 8]} numbers, as {@link Boxes} says
     * @throws IllegalArgumentException if it cannot be read or is not so
     */
    static List<float[]> read(Path file) {
        String text;
        try {
            text = Files.readString(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is there and is text in UTF-8", e);
        }
        BoxFile reader = new BoxFile(file);
        Map<String, @Nullable Object> members;
        try {
            members = Json.object(text);
        } catch (IllegalArgumentException e) {
            Throwable cause = e.getCause();
            String why = cause == null
                    ? ""
                    : " ("
                            + String.valueOf(cause.getMessage())
                                    .lines()
                                    .findFirst()
                                    .orElse("")
                                    .replaceFirst(" \\([^()]*\\[Source.*", "")
                            + ")"; // where, which it does not know
            throw reader.wrong("is no JSON object" + why, e);
        }
        double width = reader.number(members.get("width"), "width", 1, 1e6);
        double height = reader.number(members.get("height"), "height", 1, 1e6);
        if (!(members.get("frames") instanceof List<?> frames)) {
            throw reader.wrong("has no list 'frames'", null);
        }
        List<float[]> boxes = new ArrayList<>();
        for (Object frame : frames) {
            boxes.add(reader.frame(frame, "frame " + boxes.size(), width, height));
        }
        Unit.of(reader.furthest, width, height).ifPresent(problem -> {
            throw reader.wrong(problem, null);
        });
        return boxes;
    }

    private float[] frame(@Nullable Object frame, String where, double width, double height) {
        if (!(frame instanceof List<?> list)) {
            throw wrong("has no list of boxes for " + where, null);
        }
        List<float[]> found = new ArrayList<>();
        for (Object box : list) {
            found.add(box(box, where + ", box " + found.size(), width, height));
        }
        found.sort(Comparator.comparingDouble(box -> -box[Boxes.SCORE]));
        float[] numbers = new float[Boxes.PER_FRAME * Boxes.NUMBERS];
        for (int i = 0; i < Boxes.PER_FRAME; i++) {
            if (i < found.size()) {
                System.arraycopy(found.get(i), 0, numbers, i * Boxes.NUMBERS, Boxes.NUMBERS);
            } else {
                Boxes.pad(numbers, i * Boxes.NUMBERS);
            }
        }
        return numbers;
    }

    private float[] box(@Nullable Object value, String where, double width, double height) {
        if (!(value instanceof Map<?, ?> box) || !(box.get("box") instanceof List<?> corners) || corners.size() != 4) {
            throw wrong("has no \"box\": [x1, y1, x2, y2] in " + where, null);
        }
        float[] numbers = new float[Boxes.NUMBERS];
        for (int i = 0; i < 4; i++) {
            double pixels = number(corners.get(i), "corner of " + where, -1e9, 1e9);
            furthest = Math.max(furthest, pixels);
            numbers[i] = (float) Math.clamp(pixels / (i % 2 == 0 ? width : height), 0, 1);
        }
        if (numbers[2] < numbers[0] || numbers[3] < numbers[1]) {
            throw wrong("has its corners exchanged in " + where, null);
        }
        Object score = box.get("score");
        numbers[Boxes.SCORE] = score == null ? 1 : (float) number(score, "score of " + where, 0, 1);
        Map<String, Integer> classes = Map.of("object", Boxes.OBJECT, "hand", Boxes.HAND);
        numbers[Boxes.CLASS] = whole(box.get("class"), classes, "class of " + where, 1, Boxes.HAND);
        Map<String, Integer> sides = Map.of("left", Boxes.LEFT, "right", Boxes.RIGHT);
        numbers[Boxes.SIDE] =
                box.get("side") == null ? 0 : whole(box.get("side"), sides, "side of " + where, 0, LARGEST_SIDE);
        numbers[Boxes.STATE] =
                box.get("state") == null ? 0 : whole(box.get("state"), Map.of(), "state of " + where, 0, LARGEST_STATE);
        return numbers;
    }

    private int whole(@Nullable Object value, Map<String, Integer> words, String what, int least, int most) {
        if (value instanceof String word && words.containsKey(word)) {
            return words.getOrDefault(word, 0);
        }
        double number = number(value, what, least, most);
        if (number != Math.rint(number)) {
            throw wrong("gives " + value + " as " + what, null);
        }
        return (int) number;
    }

    private double number(@Nullable Object value, String what, double least, double most) {
        if (value instanceof Number number && number.doubleValue() >= least && number.doubleValue() <= most) {
            return number.doubleValue();
        }
        boolean printable = value instanceof Number || value instanceof String;
        throw wrong("gives " + (value == null ? "none" : printable ? value : "no number") + " as " + what, null);
    }

    private IllegalArgumentException wrong(String what, @Nullable Throwable cause) {
        return new IllegalArgumentException(
                file + " " + what + "; write it as the README's section on arrays says, or remove the clip", cause);
    }
}
