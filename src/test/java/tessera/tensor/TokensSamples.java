package tessera.tensor;

import static tessera.tensor.OpCatalogue.indices;
import static tessera.tensor.OpCatalogue.ints;
import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.zeroInts;

/** Samples and bad calls of {@link TokensOps}. */
final class TokensSamples {
    private TokensSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
        shared(all);
        sharedRefusals(all);
    }

    private static void samples(OpCatalogue all) {
        all.add(new TokensOps.GatherRows(), normal(2, 5, 3), indices(new int[] {0, 2, 4}, new int[] {1, 2, 3}));
        all.add(new TokensOps.GatherRows(), "twice the same", normal(1, 4, 3), indices(new int[] {3, 1, 3, 3}));
        all.add(new TokensOps.GatherRows(), "of none", normal(2, 4, 3), ints(4, 2, 0));
        all.add(
                new TokensOps.GatherRows(),
                "of a view",
                normal(5, 2, 3).seen(t -> t.transpose(0, 1)),
                indices(new int[] {0, 4}, new int[] {1, 2}));
        all.add(new TokensOps.ScatterRows(4), normal(2, 3, 3), indices(new int[] {0, 2, 0}, new int[] {1, 2, 3}));
        all.add(new TokensOps.ScatterRows(2), "often to the same", normal(1, 6, 3), indices(new int[] {1, 1, 1, 1, 1, 1
        }));
        all.add(
                new TokensOps.ScatterRows(5),
                "of a view",
                normal(2, 3, 3).seen(t -> t.transpose(0, 1)),
                indices(new int[] {0, 4}, new int[] {1, 2}, new int[] {3, 3}));
        all.add(new TokensOps.AddPositions(), normal(2, 4, 3), normal(5, 3).constant());
        all.add(
                new TokensOps.AddPositions(),
                "by index",
                normal(2, 2, 3),
                normal(5, 3).constant(),
                indices(new int[] {0, 4}, new int[] {3, 4}));
        TokensOps.AssembleDecoder assemble = new TokensOps.AssembleDecoder();
        all.add(
                assemble,
                normal(2, 2, 3),
                normal(1, 1, 3),
                normal(5, 3).constant(),
                indices(new int[] {0, 2}, new int[] {1, 4}),
                indices(new int[] {1, 3, 4}, new int[] {0, 2, 3}));
        all.add(
                assemble,
                "without masked tokens",
                normal(1, 2, 3),
                normal(3),
                normal(2, 3).constant(),
                indices(new int[] {0, 1}),
                ints(1, 1, 0));
    }

    /** A list without a batch: rows, or places, and -1 for holes. */
    private static OpCatalogue.Input list(int... rows) {
        return indices(rows).seen(t -> t.reshape(-1));
    }

    private static void shared(OpCatalogue all) {
        TokensOps.Rearrange rearrange = new TokensOps.Rearrange();
        all.add(rearrange, normal(2, 5, 3), list(2, -1, 0, 4, -1, 1), list(2, 5, 0, -1, 3));
        all.add(rearrange, "to all holes", normal(2, 2, 3), list(-1, -1, -1), list(-1, -1));
        all.add(rearrange, "of a view", normal(3, 2, 4).seen(t -> t.transpose(0, 1)), list(2, 0), list(1, -1, 0));
        all.add(rearrange, "to nothing", normal(2, 2, 3), ints(2, 0), list(-1, -1));
        all.add(rearrange, normal(2, 0, 3), list(-1, -1), ints(2, 0));
        all.add(rearrange, normal(0, 3, 2), list(1, 0, 2), list(1, 0, 2));
        all.add(rearrange, normal(1, 1, 1), list(-1, 0), list(1));
        all.add(rearrange, normal(2, 3, 37), list(1, -1, 2, 0), list(3, 0, 2));
        TokensOps.Embedding embedding = new TokensOps.Embedding();
        all.add(embedding, normal(4, 3), indices(new int[] {0, 3, -1}, new int[] {3, 3, 1}));
        all.add(embedding, "by one index", normal(4, 3), ints(4, 1).seen(t -> t.reshape()));
        all.add(embedding, "by a view", normal(4, 3), ints(4, 2, 5).seen(t -> t.transpose(0, 1)));
        all.add(embedding, "without rows", normal(0, 3), list(-1, -1));
        all.add(embedding, "often the same", normal(3, 300), ints(3, 50, 3));
        all.add(embedding, normal(3, 2), ints(3, 0));
        all.add(embedding, normal(3, 0), ints(3, 4));
        all.add(embedding, normal(1, 1), list(0, -1, 0));
        all.add(embedding, normal(9, 37), ints(9, 3, 7));
    }

    private static void sharedRefusals(OpCatalogue all) {
        all.bad(
                "rearrange rank",
                () -> ones(2, 3).rearrange(zeroInts(1), zeroInts(2)),
                "rearrange: x is f32[2, 3]; pass [batch, tokens, width]");
        all.bad(
                "rearrange by floats",
                () -> ones(2, 3, 4).rearrange(ones(3), zeroInts(3)),
                "rearrange: x is f32[2, 3, 4], the index f32[3] and the inverse i32[3]; pass");
        all.bad(
                "rearrange by an inverse of another size",
                () -> ones(2, 3, 4).rearrange(zeroInts(2), zeroInts(2)),
                "the inverse i32[2]; pass the row of each place, i32[places], and the place of each row, i32[3]");
        all.bad(
                "row beyond the rows",
                () -> ones(2, 3, 4).rearrange(Tensor.of(new int[] {0, 3}, 2), zeroInts(3)),
                "select_rows: index 3 at position 1 is outside [-1, 3); pass an existing row, or -1 for a row of zeros");
        all.bad(
                "inverse of another index",
                () -> ones(1, 2, 4)
                        .requiresGrad(true)
                        .rearrange(Tensor.of(new int[] {1, 0}, 2), Tensor.of(new int[] {0, 1}, 2)),
                "rearrange: the inverse has row 0 in place 0 but the index has not; pass the place where the index has the row");
        all.bad(
                "row used twice",
                () -> ones(1, 2, 4)
                        .requiresGrad(true)
                        .rearrange(Tensor.of(new int[] {1, 1}, 2), Tensor.of(new int[] {-1, 0}, 2)),
                "rearrange: the index fills 2 places but its inverse knows of 1");
        all.bad(
                "embedding rank",
                () -> ones(2, 3, 4).embedding(zeroInts(2)),
                "embedding: the table is f32[2, 3, 4]; pass [rows, width]");
        all.bad(
                "embedding by floats",
                () -> ones(2, 3).embedding(ones(2)),
                "embedding: the index is f32[2]; pass rows of the table as i32");
        all.bad("embedding beyond the table", () -> ones(2, 3).embedding(Tensor.of(new int[] {-2}, 1)), "index -2");
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new TokensOps.GatherRows(), normal(0, 4, 3), ints(4, 0, 2));
        all.add(new TokensOps.GatherRows(), normal(1, 1, 1), ints(1, 1, 1));
        all.add(new TokensOps.GatherRows(), normal(2, 5, 37), indices(new int[] {0, 2, 4}, new int[] {1, 2, 3}));
        all.add(new TokensOps.ScatterRows(2), normal(0, 4, 3), ints(2, 0, 4));
        all.add(new TokensOps.ScatterRows(2), "of none", normal(2, 0, 3), ints(2, 2, 0));
        all.add(new TokensOps.ScatterRows(1), normal(1, 1, 1), ints(1, 1, 1));
        all.add(new TokensOps.ScatterRows(4), normal(2, 5, 37), ints(4, 2, 5));
        all.add(new TokensOps.AddPositions(), normal(0, 4, 3), normal(5, 3).constant());
        all.add(new TokensOps.AddPositions(), normal(1, 1, 1), normal(1, 1).constant());
        all.add(new TokensOps.AddPositions(), normal(2, 3, 37), normal(5, 37).constant());
        TokensOps.AssembleDecoder assemble = new TokensOps.AssembleDecoder();
        all.add(assemble, normal(0, 2, 3), normal(3), normal(5, 3).constant(), ints(5, 0, 2), ints(5, 0, 3));
        all.add(assemble, normal(1, 1, 1), normal(1), normal(2, 1).constant(), ints(2, 1, 1), ints(2, 1, 1));
        all.add(assemble, normal(2, 2, 37), normal(37), normal(5, 37).constant(), ints(5, 2, 2), ints(5, 2, 3));
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "gather rank",
                () -> ones(2, 3).gatherRows(zeroInts(2, 1)),
                "gather_rows: x is f32[2, 3]; pass [batch, tokens, width]");
        all.bad(
                "gather batch",
                () -> ones(2, 3, 4).gatherRows(zeroInts(3, 1)),
                "gather_rows: indices are i32[3, 1]; pass i32[2, count]");
        all.bad("gather by floats", () -> ones(2, 3, 4).gatherRows(ones(2, 1)), "gather_rows: indices are f32[2, 1]");
        all.bad(
                "scatter rank",
                () -> Tokens.scatterRows(ones(2, 3), zeroInts(2, 1), 2),
                "scatter_rows: x is f32[2, 3]; pass");
        all.bad(
                "scatter by too few indices",
                () -> Tokens.scatterRows(ones(2, 3, 4), zeroInts(2, 2), 2),
                "scatter_rows: x is f32[2, 3, 4] and the indices i32[2, 2] of 2 rows; pass one index for each token");
        all.bad(
                "scatter beyond the rows",
                () -> Tokens.scatterRows(ones(1, 1, 4), Tensor.of(new int[] {2}, 1, 1), 2),
                "index 2",
                "[0, 2)");
        all.bad(
                "index beyond the rows",
                () -> ones(1, 3, 4).gatherRows(Tensor.of(new int[] {3}, 1, 1)),
                "index 3",
                "[0, 3)");
        all.bad(
                "index beyond the positions",
                () -> Tokens.addPositions(ones(1, 1, 4), ones(3, 4), Tensor.of(new int[] {-1}, 1, 1)),
                "index -1",
                "[0, 3)");
        all.bad("positions width", () -> Tokens.addPositions(ones(2, 3, 4), ones(3, 5), null), "the table f32[3, 5]");
        all.bad(
                "too few positions",
                () -> Tokens.addPositions(ones(2, 3, 4), ones(2, 4), null),
                "x has 3 tokens",
                "2 positions");
        all.bad(
                "learned positions",
                () -> Tokens.addPositions(ones(2, 3, 4), ones(3, 4).requiresGrad(true), null),
                "the table requires a gradient but positions are fixed; pass table.detach()");
        all.bad(
                "decoder's mask token",
                () -> Tokens.assembleDecoder(
                        ones(1, 2, 3), ones(4), ones(5, 3), new TokenMask(zeroInts(1, 2), zeroInts(1, 3))),
                "assemble_decoder: visible f32[1, 2, 3], mask token f32[4]");
    }
}
