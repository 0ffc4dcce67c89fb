package tessera.nn.swin;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.nn.TokenGrid;

/**
 * The index lists of Swin's rearrangements, so that padding, cyclic shift and window partition are one gather, as are their reverse
 * and patch merging. All grids are in row-major order of (slot, row, column).
 *
 * @param window tokens of a window, which is no larger than the grid
 * @param count windows of a clip
 * @param index the token in each place, window by window, or -1 for padding: {@code [count * window]}
 * @param inverse the place of each token: {@code [grid]}
 * @param regions which of up to 27 regions of the shifted grid each place belongs to; tokens of different ones were no neighbours
 *     before the shift. Null without a shift
 */
record Windows(TokenGrid window, int count, int[] index, int[] inverse, int @Nullable [] regions) {

    /**
     * Partitions a grid into windows. Along an axis that is no longer than the window, the window is the axis and nothing
     * shifts.
     *
     * @param shifted whether the windows are shifted by half a window
     */
    static Windows of(TokenGrid grid, TokenGrid window, boolean shifted) {
        Axis t = Axis.of(grid.slots(), window.slots(), shifted);
        Axis y = Axis.of(grid.rows(), window.rows(), shifted);
        Axis x = Axis.of(grid.columns(), window.columns(), shifted);
        boolean moves = t.shift + y.shift + x.shift > 0;
        int places = t.padded * y.padded * x.padded;
        int[] index = new int[places];
        int[] inverse = new int[grid.tokens()];
        int[] regions = moves ? new int[places] : null;
        TokenGrid cut = new TokenGrid(t.window, y.window, x.window);
        int place = 0;
        for (int wt = 0; wt < t.padded; wt += t.window) {
            for (int wy = 0; wy < y.padded; wy += y.window) {
                for (int wx = 0; wx < x.padded; wx += x.window) {
                    for (int token = 0; token < cut.tokens(); token++) {
                        int pt = wt + token / cut.plane();
                        int py = wy + token / cut.columns() % cut.rows();
                        int px = wx + token % cut.columns();
                        int st = t.source(pt);
                        int sy = y.source(py);
                        int sx = x.source(px);
                        boolean there = st < t.size && sy < y.size && sx < x.size;
                        index[place] = there ? (st * y.size + sy) * x.size + sx : -1;
                        if (there) {
                            inverse[index[place]] = place;
                        }
                        if (regions != null) {
                            regions[place] = (t.region(pt) * 3 + y.region(py)) * 3 + x.region(px);
                        }
                        place++;
                    }
                }
            }
        }
        return new Windows(cut, places / cut.tokens(), index, inverse, regions);
    }

    /** One axis of the grid: its length, that of a window, what the shift moves it by and its length with padding. */
    private record Axis(int size, int window, int shift, int padded) {
        static Axis of(int size, int window, boolean shifted) {
            return size <= window
                    ? new Axis(size, size, 0, size)
                    : new Axis(size, window, shifted ? window / 2 : 0, Math.ceilDiv(size, window) * window);
        }

        /** What the cyclic shift brings to a place; at or beyond the size it is padding. */
        int source(int place) {
            return (place + shift) % padded;
        }

        int region(int place) {
            return shift == 0 || place < padded - window ? 0 : place < padded - shift ? 1 : 2;
        }
    }

    /** Whether every place holds the token of its own number, so that nothing need be moved. */
    boolean isIdentity() {
        for (int place = 0; place < index.length; place++) {
            if (index[place] != place) {
                return false;
            }
        }
        return index.length == inverse.length;
    }

    /** The grid after patch merging. */
    static TokenGrid merged(TokenGrid grid) {
        return new TokenGrid(grid.slots(), Math.ceilDiv(grid.rows(), 2), Math.ceilDiv(grid.columns(), 2));
    }

    /**
     * The four tokens of each merged one: (0, 0), (1, 0), (0, 1), (1, 1) of (row, column), -1 beyond an odd edge. {@code [4 *
     * merged grid]}.
     */
    static int[] merging(TokenGrid grid) {
        TokenGrid merged = merged(grid);
        int[] index = new int[4 * merged.tokens()];
        for (int place = 0; place < index.length; place++) {
            int token = place / 4;
            int slot = token / merged.plane();
            int row = 2 * (token / merged.columns() % merged.rows()) + place % 2;
            int column = 2 * (token % merged.columns()) + place / 2 % 2;
            boolean there = row < grid.rows() && column < grid.columns();
            index[place] = there ? (slot * grid.rows() + row) * grid.columns() + column : -1;
        }
        return index;
    }

    /** The place of each of some rows in an index list. */
    static int[] inverse(int[] index, int rows) {
        int[] inverse = new int[rows];
        Arrays.fill(inverse, -1);
        for (int place = 0; place < index.length; place++) {
            if (index[place] >= 0) {
                inverse[index[place]] = place;
            }
        }
        return inverse;
    }

    /** Rows of the table of relative positions: {@code (2 t - 1) (2 y - 1) (2 x - 1)}. */
    static int relativePositions(TokenGrid window) {
        return (2 * window.slots() - 1) * (2 * window.rows() - 1) * (2 * window.columns() - 1);
    }

    /**
     * The row of the table for each pair of the first tokens of a window: {@code [tokens, tokens]}.
     *
     * <p>For a window that an axis of the grid made smaller, the public implementations take the top left corner of the full window's
     * matrix: right where only the time axis is shorter, and what their weights were trained with in any case.
     *
     * @param window the full window, whose table it is
     * @param tokens of the window in use
     */
    static int[] relativeIndex(TokenGrid window, int tokens) {
        int[] index = new int[tokens * tokens];
        for (int q = 0; q < tokens; q++) {
            for (int k = 0; k < tokens; k++) {
                int dt = q / window.plane() - k / window.plane() + window.slots() - 1;
                int dy =
                        q / window.columns() % window.rows() - k / window.columns() % window.rows() + window.rows() - 1;
                int dx = q % window.columns() - k % window.columns() + window.columns() - 1;
                index[q * tokens + k] = (dt * (2 * window.rows() - 1) + dy) * (2 * window.columns() - 1) + dx;
            }
        }
        return index;
    }

    /** {@code 8 x 7 x 7}, for messages. */
    static String text(TokenGrid grid) {
        return grid.slots() + " x " + grid.rows() + " x " + grid.columns();
    }
}
