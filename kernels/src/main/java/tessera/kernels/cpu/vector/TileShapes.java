package tessera.kernels.cpu.vector;

import tessera.kernels.Matmul.MatmulShape;

/**
 * Shapes of one kind of product between tiles of queries and tiles of keys, of which the last may be smaller. Made once for a pass, whose
 * tasks then make none.
 */
final class TileShapes {
    private final int queryTile;
    private final int keyTile;
    private final MatmulShape[] shapes;

    /** The shape of a tile with so many queries and keys. */
    interface Maker {
        MatmulShape of(int queries, int keys);
    }

    /** @param queryTile most queries of a tile, 0 only where there are none; so for keys */
    TileShapes(int queries, int queryTile, int keys, int keyTile, Maker maker) {
        this.queryTile = Math.min(queries, queryTile);
        this.keyTile = Math.min(keys, keyTile);
        int lastQueries = last(queries, this.queryTile);
        int lastKeys = last(keys, this.keyTile);
        this.shapes = new MatmulShape[] {
            maker.of(this.queryTile, this.keyTile),
            maker.of(lastQueries, this.keyTile),
            maker.of(this.queryTile, lastKeys),
            maker.of(lastQueries, lastKeys)
        };
    }

    private static int last(int count, int tile) {
        return count == 0 ? 0 : (count - 1) % tile + 1;
    }

    /** The shape of a tile, whole or the last. */
    MatmulShape of(int queries, int keys) {
        return shapes[(queries == queryTile ? 0 : 1) + (keys == keyTile ? 0 : 2)];
    }
}
