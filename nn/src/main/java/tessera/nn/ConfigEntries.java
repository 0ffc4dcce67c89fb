package tessera.nn;

import java.util.Arrays;
import java.util.Map;
import tessera.tensor.Patches;

/**
 * What a {@link ModelConfig} reads from a file's metadata: entries {@code tessera.<name>}, each a text, a number or numbers
 * with spaces between.
 *
 * @param metadata text entries of a file
 */
public record ConfigEntries(Map<String, String> metadata) {
    private static final int LARGEST = 1 << 24;

    /** Numbers as {@link #numbers} reads them. */
    public static String join(double... values) {
        return String.join(" ", Arrays.stream(values).mapToObj(Double::toString).toList());
    }

    /** Whole numbers as {@link #integers} reads them. */
    public static String join(int... values) {
        return String.join(
                " ", Arrays.stream(values).mapToObj(Integer::toString).toList());
    }

    /** Writes what {@link #patches} reads. */
    public static void put(Map<String, String> metadata, Patches patches) {
        metadata.put("tessera.channels", Integer.toString(patches.channels()));
        metadata.put("tessera.tubelet", Integer.toString(patches.tubelet()));
        metadata.put("tessera.patch", Integer.toString(patches.patch()));
        metadata.put("tessera.scale", Double.toString(patches.scale()));
        metadata.put("tessera.mean", join(patches.mean()));
        metadata.put("tessera.std", join(patches.std()));
    }

    /**
     * Patch size and normalisation of the input.
     *
     * @throws CheckpointException if an entry is missing or no number
     */
    public Patches patches() {
        return new Patches(
                integer("channels"),
                integer("tubelet"),
                integer("patch"),
                number("scale"),
                numbers("mean"),
                numbers("std"));
    }

    /**
     * The text of an entry.
     *
     * @throws CheckpointException if there is no such entry
     */
    public String text(String name) {
        String value = metadata.get("tessera." + name);
        if (value == null) {
            throw new CheckpointException("the checkpoint's metadata has no entry tessera." + name
                    + (metadata.containsKey(Architecture.ENTRY) ? "" : " and no " + Architecture.ENTRY)
                    + ", so its architecture is unknown; pass a file written by Tessera, or import the weights first");
        }
        return value;
    }

    /**
     * The number of an entry.
     *
     * @throws CheckpointException if there is no such entry or it is no number
     */
    public double number(String name) {
        return parse(name, text(name));
    }

    /**
     * The whole number of an entry.
     *
     * @throws CheckpointException if there is no such entry or it is no whole number of reasonable size
     */
    public int integer(String name) {
        return whole(name, number(name));
    }

    /**
     * The numbers of an entry.
     *
     * @throws CheckpointException if there is no such entry or a part of it is no number
     */
    public double[] numbers(String name) {
        return Arrays.stream(text(name).trim().split("\\s+"))
                .mapToDouble(part -> parse(name, part))
                .toArray();
    }

    /**
     * The whole numbers of an entry.
     *
     * @throws CheckpointException if there is no such entry or a part of it is no whole number of reasonable size
     */
    public int[] integers(String name) {
        return Arrays.stream(numbers(name))
                .mapToInt(value -> whole(name, value))
                .toArray();
    }

    private int whole(String name, double value) {
        if (value != Math.rint(value) || Math.abs(value) > LARGEST) {
            throw new CheckpointException("the checkpoint's metadata entry tessera." + name + " is '" + text(name)
                    + "', no reasonable whole number");
        }
        return (int) value;
    }

    private double parse(String name, String value) {
        try {
            return Double.parseDouble(value);
        } catch (NumberFormatException e) {
            throw new CheckpointException(
                    "the checkpoint's metadata entry tessera." + name + " is '" + text(name) + "', no number");
        }
    }
}
