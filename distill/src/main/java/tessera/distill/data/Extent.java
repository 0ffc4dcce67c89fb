package tessera.distill.data;

/**
 * How much there is of one clip to choose from. Unlike a {@link Geometry}, which all clips of a set share, it may be higher than wide.
 *
 * @param frames frames that it has, 1 or more
 * @param rows height of its pictures in pixels
 * @param columns their width in pixels
 */
public record Extent(int frames, int rows, int columns) {
    public Extent {
        if (frames < 1 || rows < 1 || columns < 1) {
            throw new IllegalArgumentException(
                    "a clip of " + frames + " frames of " + rows + " x " + columns + " pixels; pass positive numbers");
        }
    }

    /** That of clips which are kept in these sizes. */
    static Extent of(Geometry geometry) {
        return new Extent(geometry.frames(), geometry.size(), geometry.width());
    }
}
