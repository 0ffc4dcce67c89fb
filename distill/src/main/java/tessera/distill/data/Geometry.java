package tessera.distill.data;

/**
 * Sizes of a clip. Pictures are square unless a width is given.
 *
 * @param frames frames T in a clip
 * @param size height of RGB and flow in pixels
 * @param width their width, at least the height
 * @param poseSize height of the pose heat maps in cells
 * @param poseWidth their width, at least the height
 */
public record Geometry(int frames, int size, int width, int poseSize, int poseWidth) {
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
        if (width < size || width > 4096 || poseWidth < poseSize || poseWidth > width) {
            throw new IllegalArgumentException("geometry has pictures " + size + " x " + width + " and maps " + poseSize
                    + " x " + poseWidth + " but needs size <= width <= 4096, poseSize <= poseWidth <= width;"
                    + " pass pictures that are at least as wide as high");
        }
    }

    /** Square pictures and maps. */
    public Geometry(int frames, int size, int poseSize) {
        this(frames, size, size, poseSize, poseSize);
    }

    /** The same with another number of frames. */
    public Geometry withFrames(int other) {
        return new Geometry(other, size, width, poseSize, poseWidth);
    }

    /** The same with pictures of another width; maps widen with them. */
    public Geometry withWidth(int other) {
        return new Geometry(frames, size, other, poseSize, Math.round((float) poseSize * other / size));
    }

    /** Rows of a modality's samples. */
    public int rows(Modality modality) {
        return switch (modality.layout().grid()) {
            case SampleLayout.Grid.Fixed grid -> grid.rows();
            case SampleLayout.Grid.Scaled grid -> grid == SampleLayout.Grid.MAP ? poseSize : size;
        };
    }

    /** Columns of a modality's samples. */
    public int columns(Modality modality) {
        return switch (modality.layout().grid()) {
            case SampleLayout.Grid.Fixed grid -> grid.columns();
            case SampleLayout.Grid.Scaled grid ->
                switch (grid) {
                    case PICTURE -> width;
                    case MAP -> poseWidth;
                    case SQUARE -> size;
                };
        };
    }

    /**
     * Height and width of a modality's samples.
     *
     * @throws IllegalArgumentException if these differ
     */
    public int side(Modality modality) {
        int rows = rows(modality);
        if (rows != columns(modality)) {
            throw new IllegalArgumentException(modality + " has " + rows + " x " + columns(modality)
                    + " cells in a frame but square pictures are needed; choose another modality, or square clips");
        }
        return rows;
    }

    long length(Modality modality) {
        return (long) frames * frameLength(modality);
    }

    int frameLength(Modality modality) {
        return Math.multiplyExact(
                rows(modality) * columns(modality), modality.layout().channels());
    }
}
