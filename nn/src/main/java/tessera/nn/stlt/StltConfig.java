package tessera.nn.stlt;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.nn.Architecture;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.ModelConfig;
import tessera.nn.TokenGrid;

/**
 * Sizes of an STLT. Immutable.
 *
 * <p>Its clips are f32 {@code [B, frames, boxes, 1, 8]}. The channels of a box are the corners x1, y1, x2, y2 in [0, 1] of the frame's
 * width and height, the detector's score in [0, 1], and three whole numbers: class (1 object, 2 hand), side (1 left, 2 right) and
 * contact state (1 none, 2 self, 3 another person, 4 portable object, 5 stationary object). Number 0 means that there is none; a box
 * of class 0 is padding, and is not looked at. The authors' padding is {@code (0, 0, 1e-9, 1e-9, 0, 0, 0, 0)}.
 *
 * @param frames frames of a clip
 * @param boxes most boxes of a frame
 * @param width width of both transformers, D
 * @param heads attention heads of both transformers
 * @param spatialLayers layers of the transformer over the boxes of a frame
 * @param temporalLayers layers of the transformer over frames
 * @param classes numbers of a class, 0 among them
 * @param sides numbers of a side, 0 among them
 * @param states numbers of a contact state, 0 among them
 * @param dropout share of elements that training drops
 */
public record StltConfig(
        int frames,
        int boxes,
        int width,
        int heads,
        int spatialLayers,
        int temporalLayers,
        int classes,
        int sides,
        int states,
        double dropout)
        implements ModelConfig {
    /** Values of a box. */
    public static final int CHANNELS = 8;

    private static final int DEEPEST = 1024;
    private static final int WIDEST = 1 << 14;
    private static final int LONGEST = 1 << 16;
    private static final int MOST_NUMBERS = 1 << 12;

    public StltConfig {
        // A damaged file must not make a reader allocate what its numbers claim.
        require(
                within(frames, 1, LONGEST) && within(boxes, 1, LONGEST),
                frames + " frames of " + boxes + " boxes are not possible; pass 1 to " + LONGEST + " of each");
        require(
                within(width, 1, WIDEST) && heads > 0 && width % heads == 0,
                "a width of " + width + " with " + heads + " heads is not possible; pass at most " + WIDEST
                        + ", a multiple of the heads");
        require(
                within(spatialLayers, 1, DEEPEST) && within(temporalLayers, 1, DEEPEST),
                spatialLayers + " spatial and " + temporalLayers + " temporal layers are not possible; pass 1 to "
                        + DEEPEST + " of each");
        require(
                within(classes, 2, MOST_NUMBERS) && within(sides, 2, MOST_NUMBERS) && within(states, 2, MOST_NUMBERS),
                classes + " classes, " + sides + " sides and " + states + " states are not possible; pass 2 to "
                        + MOST_NUMBERS + " of each, 0 among them");
        require(dropout >= 0 && dropout < 1, "dropout " + dropout + " is not possible; pass one in [0, 1)");
    }

    private static boolean within(int value, int least, int most) {
        return value >= least && value <= most;
    }

    private static void require(boolean ok, String problem) {
        if (!ok) {
            throw new IllegalArgumentException("STLT: " + problem);
        }
    }

    /** The published model: 14 boxes, width 768, 8 heads, 6 and 6 layers, dropout .1. */
    public static StltConfig of(int frames) {
        return of(frames, 14, 768, 8, 6, 6);
    }

    /** A model of other sizes for the same boxes: 3 classes, 3 sides and 6 contact states, dropout .1. */
    public static StltConfig of(int frames, int boxes, int width, int heads, int spatialLayers, int temporalLayers) {
        return new StltConfig(frames, boxes, width, heads, spatialLayers, temporalLayers, 3, 3, 6, .1);
    }

    /** The same model trained with another dropout. */
    public StltConfig withDropout(double probability) {
        return new StltConfig(
                frames, boxes, width, heads, spatialLayers, temporalLayers, classes, sides, states, probability);
    }

    @Override
    public ClipShape input() {
        return new ClipShape(frames, boxes, 1, CHANNELS);
    }

    @Override
    public @Nullable TokenGrid grid() {
        return null;
    }

    @Override
    public int featureWidth() {
        return width;
    }

    @Override
    public Map<String, String> toMetadata() {
        Map<String, String> entries = new LinkedHashMap<>();
        entries.put(Architecture.ENTRY, StltArchitecture.NAME);
        entries.put("tessera.frames", Integer.toString(frames));
        entries.put("tessera.boxes", Integer.toString(boxes));
        entries.put("tessera.width", Integer.toString(width));
        entries.put("tessera.heads", Integer.toString(heads));
        entries.put("tessera.spatialLayers", Integer.toString(spatialLayers));
        entries.put("tessera.temporalLayers", Integer.toString(temporalLayers));
        entries.put("tessera.classes", Integer.toString(classes));
        entries.put("tessera.sides", Integer.toString(sides));
        entries.put("tessera.states", Integer.toString(states));
        entries.put("tessera.dropout", Double.toString(dropout));
        return entries;
    }

    /**
     * Reads what {@link #toMetadata} wrote.
     *
     * @throws CheckpointException if an entry is missing or no number, or the numbers make no model
     */
    public static StltConfig fromMetadata(Map<String, String> entries) {
        try {
            return new StltConfig(
                    integer(entries, "frames"),
                    integer(entries, "boxes"),
                    integer(entries, "width"),
                    integer(entries, "heads"),
                    integer(entries, "spatialLayers"),
                    integer(entries, "temporalLayers"),
                    integer(entries, "classes"),
                    integer(entries, "sides"),
                    integer(entries, "states"),
                    number(entries, "dropout"));
        } catch (CheckpointException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new CheckpointException("the checkpoint's metadata describe no model: " + e.getMessage());
        }
    }

    private static double number(Map<String, String> entries, String name) {
        String value = entries.get("tessera." + name);
        if (value == null) {
            throw new CheckpointException("the checkpoint's metadata has no entry tessera." + name
                    + ", which an STLT needs; pass a file written by Tessera, or import the weights first");
        }
        try {
            return Double.parseDouble(value);
        } catch (NumberFormatException e) {
            throw new CheckpointException(
                    "the checkpoint's metadata entry tessera." + name + " is '" + value + "', no number");
        }
    }

    private static int integer(Map<String, String> entries, String name) {
        double value = number(entries, name);
        if (value != (int) value) {
            throw new CheckpointException(
                    "the checkpoint's metadata entry tessera." + name + " is '" + value + "', no whole number");
        }
        return (int) value;
    }
}
