package tessera.nn;

import tessera.tensor.TokenMask;

/** A strategy as a user may write one: every second cell of a slot, the others in the next. It halves every plane of even size. */
public final class Checkerboard implements MaskStrategy {
    private final int first;

    /** Begins with the first cell. */
    public Checkerboard() {
        this("0");
    }

    /** Begins with another cell. */
    public Checkerboard(String first) {
        this.first = Integer.parseInt(first);
    }

    @Override
    public TokenMask draw(MaskContext context) {
        int[][] hidden = new int[(int) context.batch()][context.slots() * context.plane()];
        for (int[] clip : hidden) {
            for (int token = 0; token < clip.length; token++) {
                int slot = token / context.plane();
                int row = token % context.plane() / context.grid().columns();
                int column = token % context.grid().columns();
                clip[token] = (slot + row + column + first + context.member()) % 2;
            }
        }
        return TokenMask.of(hidden);
    }
}
