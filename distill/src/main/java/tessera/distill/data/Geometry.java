package tessera.distill.data;

/**
 * Sizes of a clip.
 *
 * @param frames frames T in a clip
 * @param size height and width of RGB and flow in pixels
 * @param poseSize height and width of the pose heat maps in cells
 */
public record Geometry(int frames, int size, int poseSize) {
    /** 16 frames, RGB and flow 64 x 64, pose 16 x 16: patches of 8 and 2 give a grid of 8 x 8 x 8 tokens. */
    public static final Geometry SMALL = new Geometry(16, 64, 16);

    /** 16 frames, RGB and flow 224 x 224, pose 56 x 56: the sizes of the published experiments. */
    public static final Geometry FULL = new Geometry(16, 224, 56);

    public Geometry {
        if (frames < 2 || frames > 1024 || size < 16 || size > 2048 || poseSize < 4 || poseSize > size) {
            throw new IllegalArgumentException("geometry has frames " + frames + ", size " + size
                    + ", poseSize " + poseSize
                    + " but needs 2 <= frames <= 1024, 16 <= size <= 2048, 4 <= poseSize <= size; pass such sizes");
        }
    }

    /** Height and width of a modality's samples. */
    public int side(Modality modality) {
        return modality.layout().grid() == SampleLayout.Grid.MAP ? poseSize : size;
    }

    long length(Modality modality) {
        long side = side(modality);
        return frames * side * side * modality.layout().channels();
    }
}
