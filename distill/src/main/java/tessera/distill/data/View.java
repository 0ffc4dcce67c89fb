package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.IntStream;
import tessera.kernels.DType;

/**
 * One way of looking at a clip, the same for all modalities: which frames, which part of the picture, whether mirrored.
 *
 * <ul>
 *   <li>Pictures and maps show the part, resized. Flow is in pixels of what is shown, and right becomes left where it is mirrored.
 *   <li>{@link Modality#RGB} alone changes its colours.
 *   <li>{@link Modality#BOXES} stay in coordinates of the whole frame, as published; mirrored, they and their sides change.
 *   <li>{@link Modality#AUDIO} and every other grid follow the frames alone.
 * </ul>
 *
 * @param seen sizes of what is shown
 * @param frames numbers of the frames shown, as many as {@code seen} has
 * @param top upper edge of the part, as a share of the picture's height
 * @param left left edge, as a share of its width
 * @param height of the part, as a share of the picture's
 * @param width of the part, as a share of the picture's
 * @param mirrored whether left and right are exchanged
 * @param colour what happens to colours
 */
public record View(
        Geometry seen,
        List<Integer> frames,
        double top,
        double left,
        double height,
        double width,
        boolean mirrored,
        Colour colour) {
    private static final double ROUNDING = 1e-9;

    public View {
        frames = List.copyOf(frames);
        if (frames.size() != seen.frames()) {
            throw new IllegalArgumentException("a view of " + seen.frames() + " frames gives the numbers of "
                    + frames.size() + "; give one number for each");
        }
        if (!(top >= 0
                && left >= 0
                && height > 0
                && width > 0
                && top + height <= 1 + ROUNDING
                && left + width <= 1 + ROUNDING)) {
            throw new IllegalArgumentException("a view of the part " + height + " x " + width + " at " + top + ", "
                    + left + " of a picture; give a part that lies within [0, 1]");
        }
    }

    /** Refuses clips that lack a frame of this view, and views of other sizes. */
    void requireOf(int storedFrames, Geometry others) {
        if (!seen.equals(others)) {
            throw new IllegalArgumentException(
                    "views of " + seen + " and of " + others + " in one batch; pass views of one geometry");
        }
        for (int frame : frames) {
            if (frame < 0 || frame >= storedFrames) {
                throw new IllegalArgumentException("a view shows frame " + frame + " but clips have " + storedFrames
                        + "; make views for the clips' own geometry");
            }
        }
    }

    /** The same of clips that hold the frames of this one alone, in order. */
    View ofItsFrames() {
        return ofFrames(IntStream.range(0, seen.frames()).boxed().toList());
    }

    /** The same of other frames. */
    View ofFrames(List<Integer> others) {
        return new View(seen, others, top, left, height, width, mirrored, colour);
    }

    /** As {@link #show(Modality, int, int, MemorySegment, MemorySegment)}, of clips of a geometry. */
    void show(Modality modality, Geometry stored, MemorySegment clip, MemorySegment to) {
        show(modality, stored.rows(modality), stored.columns(modality), clip, to);
    }

    /**
     * Shows a clip.
     *
     * @param storedRows rows of its frames
     * @param columns columns of its frames
     * @param clip as a set keeps it
     * @param to gets what is seen, in the type of batches
     */
    void show(Modality modality, int storedRows, int columns, MemorySegment clip, MemorySegment to) {
        SampleLayout layout = modality.layout();
        int from = Math.multiplyExact(storedRows * columns, layout.channels());
        float[] frame = new float[from];
        for (int t = 0; t < seen.frames(); t++) {
            read(layout.values(), clip, (long) frames.get(t) * from, frame);
            showFrame(modality, frame, storedRows, columns, t, to);
        }
    }

    /**
     * Shows one frame.
     *
     * @param frame its numbers, {@code [storedRows, columns, channels]}
     * @param t place among the frames that are shown
     * @param to gets the clip that is seen, in the type of batches
     */
    void showFrame(Modality modality, float[] frame, int storedRows, int columns, int t, MemorySegment to) {
        SampleLayout layout = modality.layout();
        boolean part =
                layout.grid().equals(SampleLayout.Grid.PICTURE) || layout.grid().equals(SampleLayout.Grid.MAP);
        Resampling rows = part
                ? axis(storedRows, top, height, seen.rows(modality), false)
                : nearest(storedRows, seen.rows(modality));
        Resampling across = part
                ? axis(columns, left, width, seen.columns(modality), mirrored)
                : nearest(columns, seen.columns(modality));
        float[] shown = Resampling.apply(frame, columns, layout.channels(), rows, across);
        if (modality.equals(Modality.RGB)) {
            colour.apply(shown);
        } else if (modality.equals(Modality.FLOW)) {
            scaleFlow(shown, storedRows, columns);
        } else if (modality.equals(Modality.BOXES) && mirrored) {
            Boxes.flip(shown);
        }
        write(layout.values(), shown, to, (long) t * seen.frameLength(modality));
    }

    private static Resampling axis(int inputs, double start, double extent, int outputs, boolean mirrored) {
        return Resampling.of(inputs, start * inputs, extent * inputs, outputs, mirrored);
    }

    private static Resampling nearest(int inputs, int outputs) {
        int[] first = new int[outputs];
        float[][] weights = new float[outputs][];
        for (int i = 0; i < outputs; i++) {
            first[i] = (int) ((long) i * inputs / outputs);
            weights[i] = new float[] {1};
        }
        return new Resampling(first, weights);
    }

    private void scaleFlow(float[] flow, int storedRows, int columns) {
        float right = (float) (seen.width() / (width * columns)) * (mirrored ? -1 : 1);
        float down = (float) (seen.size() / (height * storedRows));
        for (int i = 0; i < flow.length; i += 2) {
            flow[i] *= right;
            flow[i + 1] *= down;
        }
    }

    private static void read(SampleLayout.Values values, MemorySegment clip, long at, float[] frame) {
        switch (values.kept()) {
            case U8 -> {
                for (int i = 0; i < frame.length; i++) {
                    frame[i] = clip.get(ValueLayout.JAVA_BYTE, at + i) & 0xFF;
                }
            }
            case BF16 -> {
                for (int i = 0; i < frame.length; i++) {
                    frame[i] = Float.intBitsToFloat(clip.getAtIndex(ValueLayout.JAVA_SHORT, at + i) << 16);
                }
            }
            default -> MemorySegment.copy(clip, ValueLayout.JAVA_FLOAT, Float.BYTES * at, frame, 0, frame.length);
        }
    }

    private static void write(SampleLayout.Values values, float[] frame, MemorySegment to, long at) {
        if (values.kept() == DType.U8) {
            for (int i = 0; i < frame.length; i++) {
                to.set(ValueLayout.JAVA_BYTE, at + i, (byte) Math.clamp(Math.round(frame[i]), 0, 255));
            }
        } else {
            MemorySegment.copy(frame, 0, to, ValueLayout.JAVA_FLOAT, Float.BYTES * at, frame.length);
        }
    }
}
