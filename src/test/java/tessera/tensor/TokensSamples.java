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

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        all.add(new TokensOps.GatherRows(), normal(0, 4, 3), ints(4, 0, 2));
        all.add(new TokensOps.GatherRows(), normal(1, 1, 1), ints(1, 1, 1));
        all.add(new TokensOps.GatherRows(), normal(2, 5, 37), indices(new int[] {0, 2, 4}, new int[] {1, 2, 3}));
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
