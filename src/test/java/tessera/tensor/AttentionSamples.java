package tessera.tensor;

import static tessera.tensor.OpCatalogue.indices;
import static tessera.tensor.OpCatalogue.ints;
import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.zeroInts;

/** Samples and bad calls of {@link AttentionOps}. */
final class AttentionSamples {
    private AttentionSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        windows(all);
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

    /** As in Swin: a bias of all samples, regions of some. */
    private static void windows(OpCatalogue all) {
        AttentionOps.SelfAttention biased = new AttentionOps.SelfAttention(2, true, false);
        AttentionOps.SelfAttention divided = new AttentionOps.SelfAttention(2, false, true);
        AttentionOps.SelfAttention both = new AttentionOps.SelfAttention(2, true, true);
        int[] whole = {7, 7, 7, 7, 7};
        int[] halves = {0, 1, 0, 1, 1};
        all.add(biased, "with one bias", normal(6, 5, 24), normal(1, 2, 5, 5));
        all.add(biased, "with a bias per sample", normal(2, 5, 12), normal(2, 2, 5, 5));
        all.add(
                biased,
                "with a fixed bias",
                normal(2, 5, 12),
                normal(1, 2, 5, 5).constant());
        all.add(
                biased,
                "with a bias that is a view",
                normal(2, 3, 12),
                normal(3, 3, 2, 1).seen(t -> t.permute(3, 2, 0, 1)));
        all.add(biased, "of nothing, with one bias", normal(0, 5, 12), normal(1, 2, 5, 5));
        all.add(divided, "with regions", normal(4, 5, 24), indices(whole, halves));
        all.add(divided, "with one row of regions", normal(3, 5, 12), indices(halves));
        all.add(both, "with a bias and regions", normal(4, 5, 24), normal(1, 2, 5, 5), indices(halves, whole));
        all.add(
                both,
                "with a bias per sample and regions",
                normal(2, 5, 12),
                normal(2, 2, 5, 5),
                indices(whole, new int[] {-3, 4, 0, -3, 4}));
        all.add(both, "of many windows", normal(20, 19, 54), normal(1, 2, 19, 19), ints(2, 5, 19));
        AttentionOps.SelfAttention keys = new AttentionOps.SelfAttention(2, true, false);
        all.add(keys, "with a bias of the keys", normal(3, 5, 24), normal(3, 5).constant());
        all.add(
                keys,
                "with a bias of many keys",
                normal(2, 37, 54),
                normal(2, 37).constant());
        all.add(
                keys,
                "with a bias of keys that is a view",
                normal(2, 3, 12),
                normal(3, 2).constant().seen(t -> t.transpose(0, 1)));
        all.add(
                both,
                "with a bias of the keys and regions",
                normal(4, 5, 24),
                normal(4, 5).constant(),
                indices(halves, whole));
        all.add(
                keys,
                "of nothing, with a bias of the keys",
                normal(0, 5, 12),
                normal(0, 5).constant());
        all.add(both, "of nothing, with regions", normal(0, 5, 12), normal(1, 2, 5, 5), indices(halves));
    }

    private static void refusals(OpCatalogue all) {
        all.bad(
                "self-attention width",
                () -> ones(2, 5, 25).selfAttention(2),
                "attention: the packed projection is f32[2, 5, 25] with 2 heads; pass [batch, tokens, 3 * heads *"
                        + " headDim]");
        all.bad(
                "self-attention bias",
                () -> ones(2, 5, 24).selfAttention(2, ones(2, 5, 5), null),
                "attention: bias is f32[2, 5, 5] but the scores are [2, 2, 5, 5]; pass that shape or 1 in front");
        all.bad(
                "bias of the keys of one sample",
                () -> ones(2, 5, 24).selfAttention(2, ones(1, 5), null),
                "attention: the bias of keys is f32[1, 5] beside f32[2, 5, 24]; pass [2, 5] without a gradient");
        all.bad(
                "bias of the keys that learns",
                () -> ones(2, 5, 24).selfAttention(2, ones(2, 5).requiresGrad(true), null),
                "attention: the bias of keys is f32[2, 5] and requires a gradient beside f32[2, 5, 24]");
        all.bad(
                "regions that the batch is no multiple of",
                () -> ones(4, 5, 24).selfAttention(2, null, zeroInts(3, 5)),
                "attention: regions are i32[3, 5] beside f32[4, 5, 24]; pass i32[rows, 5], the batch being a multiple");
        all.bad(
                "regions of other tokens",
                () -> ones(4, 5, 24).selfAttention(2, null, zeroInts(2, 4)),
                "attention: regions are i32[2, 4]");
        all.bad(
                "regions that are floats",
                () -> ones(4, 5, 24).selfAttention(2, null, ones(2, 5)),
                "attention: regions are f32[2, 5]");
        all.bad("no regions", () -> ones(4, 5, 24).selfAttention(2, null, zeroInts(0, 5)), "regions are i32[0, 5]");
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
