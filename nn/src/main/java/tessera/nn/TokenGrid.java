package tessera.nn;

/**
 * The tokens a model cuts a clip into, of which masks hide some.
 *
 * @param slots time slots
 * @param rows rows of cells in a slot
 * @param columns cells of a row
 */
public record TokenGrid(int slots, int rows, int columns) {
    /** Cells of one slot. */
    public int plane() {
        return rows * columns;
    }

    /** Tokens of a clip. */
    public int tokens() {
        return slots * plane();
    }
}
