package tessera.tensor;

import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;

/** Samples and bad calls of {@link AttentionOps}. */
final class AttentionSamples {
    private AttentionSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        all.add(new AttentionOps.SelfAttention(2), normal(2, 5, 24));
        all.add(new AttentionOps.SelfAttention(3), "of one token", normal(2, 1, 9));
        all.add(new AttentionOps.SelfAttention(1), normal(1, 37, 24));
        all.add(new AttentionOps.SelfAttention(2), "of nothing", normal(0, 5, 24));
        all.add(new AttentionOps.SelfAttention(2), "of a view", normal(5, 2, 24).seen(t -> t.transpose(0, 1)));
        AttentionOps.Attention plain = new AttentionOps.Attention(.35);
        all.add(plain, normal(2, 2, 5, 4), normal(2, 2, 7, 4), normal(2, 2, 7, 4));
        all.add(plain, normal(1, 1, 1, 1), normal(1, 1, 1, 1), normal(1, 1, 1, 1));
        all.add(plain, normal(1, 2, 33, 8), normal(1, 2, 19, 8), normal(1, 2, 19, 8));
        all.add(plain, "with one bias", normal(2, 2, 5, 4), normal(2, 2, 3, 4), normal(2, 2, 3, 4), normal(1, 2, 5, 3));
        all.add(
                plain,
                "with a bias per sample",
                normal(2, 1, 4, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 4, 6));
        all.add(
                plain,
                "with a fixed bias",
                normal(2, 1, 4, 4),
                normal(2, 1, 6, 4),
                normal(2, 1, 6, 4),
                normal(1, 1, 4, 6).constant());
        all.add(
                plain,
                "of views",
                normal(2, 5, 2, 4).seen(t -> t.transpose(1, 2)),
                normal(2, 7, 2, 4).seen(t -> t.transpose(1, 2)),
                normal(2, 7, 2, 4).seen(t -> t.transpose(1, 2)));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        AttentionOps.Attention attention = new AttentionOps.Attention(.35);
        all.add(attention, normal(0, 2, 5, 4), normal(0, 2, 7, 4), normal(0, 2, 7, 4));
        all.add(attention, normal(1, 2, 19, 27), normal(1, 2, 19, 27), normal(1, 2, 19, 27));
        all.add(new AttentionOps.SelfAttention(1), normal(1, 1, 3));
        all.add(new AttentionOps.SelfAttention(1), normal(2, 3, 57));
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "self-attention width",
                () -> ones(2, 5, 25).selfAttention(2),
                "attention: the packed projection is f32[2, 5, 25] with 2 heads; pass [batch, tokens, 3 * heads *"
                        + " headDim]");
        all.bad("self-attention without heads", () -> ones(2, 5, 24).selfAttention(0), "with 0 heads");
        all.bad(
                "attention widths",
                () -> Tensor.attention(ones(1, 2, 3, 4), ones(1, 2, 3, 5), ones(1, 2, 3, 5), null, 1),
                "attention: q f32[1, 2, 3, 4], k f32[1, 2, 3, 5], v f32[1, 2, 3, 5] do not fit");
        all.bad(
                "attention bias",
                () -> Tensor.attention(ones(2, 2, 3, 4), ones(2, 2, 5, 4), ones(2, 2, 5, 4), ones(2, 3, 5), 1),
                "attention: bias is f32[2, 3, 5] but the scores are [2, 2, 3, 5]");
    }
}
