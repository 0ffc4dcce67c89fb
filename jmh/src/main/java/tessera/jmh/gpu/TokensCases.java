package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.Tokens.DecoderShape;
import tessera.kernels.Tokens.TokenIndices;
import tessera.kernels.Tokens.TokenShape;

/** Gathering, scattering and assembling of tokens. */
final class TokensCases extends FamilyCases {
    TokensCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        double kept = (double) visible * d;
        double all = (double) tokens * d;
        moves(
                "tokens.gatherRows",
                "gather rows",
                batched(visible, d),
                (b, s) -> b * 2 * kept * s,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * tokens * d);
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer y = in.output(b * visible * d);
                    TokenShape shape = new TokenShape(b, tokens, visible, d);
                    return () -> kernels.tokens().gatherRows(shape, x, indices, y);
                });
        moves(
                "tokens.scatterRows",
                "scatter rows",
                batched(tokens, d),
                (b, s) -> b * (kept + all) * s,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer dy = in.normal(b * visible * d);
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer dx = in.output(b * tokens * d);
                    TokenShape shape = new TokenShape(b, tokens, visible, d);
                    return () -> kernels.tokens().scatterRows(shape, dy, indices, dx);
                });
        moves(
                "tokens.selectRows",
                "rows in another order",
                batched(tokens, d),
                (b, s) -> b * 2 * all * s,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * tokens * d);
                    Buffer index = in.tokens(1, tokens, tokens);
                    Buffer y = in.output(b * tokens * d);
                    TokenShape shape = new TokenShape(b, tokens, tokens, d);
                    return () -> kernels.tokens().selectRows(shape, x, index, y);
                });
        int pairs = visible * visible;
        moves(
                "tokens.sumRows",
                "gradient of a table of " + tokens + " rows",
                pairs + " x " + heads,
                (b, s) -> ((double) pairs + tokens) * heads * s,
                (b, s) -> (double) pairs * heads,
                (kernels, in, b) -> {
                    Buffer dy = in.normal((long) pairs * heads);
                    Buffer index = in.labels(pairs, tokens);
                    Buffer dx = in.output((long) tokens * heads);
                    TokenShape shape = new TokenShape(1, tokens, pairs, heads);
                    return () -> kernels.tokens().sumRows(shape, dy, index, dx);
                });
        moves(
                "tokens.addRows",
                "add position rows",
                batched(visible, d),
                (b, s) -> (b * 2 * kept + all) * s,
                (b, s) -> b * kept,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * d);
                    Buffer table = in.normal((long) tokens * d);
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer y = in.output(b * visible * d);
                    TokenShape shape = new TokenShape(b, tokens, visible, d);
                    return () -> kernels.tokens().addRows(shape, x, table, indices, y);
                });
        int shown = sizes.visible(PRETRAIN_RHO);
        int masked = tokens - shown;
        int narrow = sizes.config().decoderDim();
        moves(
                "tokens.assembleDecoder",
                "decoder assembly",
                batched(tokens, narrow),
                (b, s) -> b * (shown + tokens) * (double) narrow * s,
                (b, s) -> b * tokens * narrow,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * shown * narrow);
                    TokenIndices indices = new TokenIndices(in.tokens(b, tokens, shown), in.tokens(b, tokens, masked));
                    Buffer token = in.normal(narrow);
                    Buffer table = in.normal((long) tokens * narrow);
                    Buffer y = in.output(b * tokens * narrow);
                    DecoderShape shape = new DecoderShape(b, shown, masked, narrow);
                    return () -> kernels.tokens().assembleDecoder(shape, x, indices, token, table, y);
                });
        moves(
                "tokens.assembleDecoderBackward",
                "decoder assembly backward",
                batched(tokens, narrow),
                (b, s) -> b * (shown + tokens) * (double) narrow * s,
                (b, s) -> b * masked * narrow,
                (kernels, in, b) -> {
                    Buffer dy = in.normal(b * tokens * narrow);
                    Buffer dx = in.output(b * shown * narrow);
                    Buffer dtoken = in.output(narrow);
                    DecoderShape shape = new DecoderShape(b, shown, masked, narrow);
                    return () -> kernels.tokens().assembleDecoderBackward(shape, dy, dx, dtoken);
                });
    }
}
