package tessera.distill.data;

import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import tessera.distill.data.SampleLayout.Grid;
import tessera.distill.data.SampleLayout.Values;

/**
 * One way of perceiving a clip: a name with the layout of its samples. The constants are those of the two systems; any other is
 * made by its constructor, for example {@code new Modality("depth", layout)}.
 *
 * <p>Ordered: rgb, flow and pose first, then the others by name, so that sums over modalities and texts about them are the
 * same in every process.
 *
 * @param id in lower case: the name of folders, options and parameters
 * @param layout of a sample
 */
public record Modality(String id, SampleLayout layout) implements Comparable<Modality> {
    /** Frames, u8 {@code [T, H, W, 3]}, normalised with the usual ImageNet figures. */
    public static final Modality RGB = new Modality(
            "rgb",
            new SampleLayout(3, Values.BYTE, Grid.PICTURE, List.of(.485, .456, .406), List.of(.229, .224, .225)));

    /** Optical flow in pixels, f32 {@code [T, H, W, 2]}, normalised with {@link FlowStats}. */
    public static final Modality FLOW =
            new Modality("flow", new SampleLayout(2, Values.REAL, Grid.PICTURE, List.of(), List.of()));

    /** Heat maps of the 21 hand joints, f32 {@code [T, h, w, 21]} in [0, 1]. */
    public static final Modality POSE = new Modality(
            "pose",
            new SampleLayout(21, Values.SHARE, Grid.MAP, Collections.nCopies(21, .3), Collections.nCopies(21, .3)));

    /**
     * Detected hands and objects, f32 {@code [T, 14, 1, 8]}: per frame up to 14 {@linkplain Boxes boxes} of eight numbers, then
     * padding.
     */
    public static final Modality BOXES = new Modality(
            "boxes",
            new SampleLayout(
                    Boxes.NUMBERS,
                    Values.EXACT,
                    new Grid.Fixed(Boxes.PER_FRAME, 1),
                    Collections.nCopies(Boxes.NUMBERS, 0.0),
                    Collections.nCopies(Boxes.NUMBERS, 1.0)));

    /**
     * Mel spectrograms of the sound around each frame in decibel, f32 {@code [T, S, S, 1]}, normalised with the figures of
     * multimodal distillation (Radevski et al., ICCV 2023).
     */
    public static final Modality AUDIO =
            new Modality("audio", new SampleLayout(1, Values.REAL, Grid.SQUARE, List.of(-28.1125), List.of(16.5627)));

    /** The modalities of MM-CDFSL, in order. */
    public static final Set<Modality> ALL = Collections.unmodifiableSortedSet(new TreeSet<>(Set.of(RGB, FLOW, POSE)));

    /** All constants, in order. */
    public static final Set<Modality> KNOWN =
            Collections.unmodifiableSortedSet(new TreeSet<>(Set.of(RGB, FLOW, POSE, BOXES, AUDIO)));

    public Modality {
        if (!id.matches("[a-z][a-z0-9_-]*")) {
            throw new IllegalArgumentException("a modality cannot be called '" + id
                    + "'; pass a name of lower-case letters and digits, for example depth");
        }
    }

    /**
     * The known modality with this name, in any case.
     *
     * @throws IllegalArgumentException if there is none
     */
    public static Modality of(String id) {
        return KNOWN.stream()
                .filter(modality -> modality.id.equalsIgnoreCase(id))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("there is no modality '" + id + "'; pass one of "
                        + KNOWN.stream().map(Modality::id).collect(Collectors.joining(", "))));
    }

    private int rank() {
        int known = List.of("rgb", "flow", "pose").indexOf(id);
        return known < 0 ? 3 : known;
    }

    @Override
    public int compareTo(Modality other) {
        int byRank = Integer.compare(rank(), other.rank());
        return byRank != 0 ? byRank : id.compareTo(other.id);
    }

    /** The id. */
    @Override
    public String toString() {
        return id;
    }
}
