package tessera.nn;

import java.util.Arrays;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.TokenReduction.Sizes;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.Tokens;

/**
 * Tokens on their way through a model that computes fewer of them, each standing for one or more; see {@link TokenReduction}. Clips have
 * equally many, {@code [B, N, D]}, or lie one behind the other in one row without padding, {@code [1, R, D]}, where each looks at
 * its own tokens alone. For inference; the tensor belongs to whoever made it.
 */
public final class TokenGroups {
    private final Tensor x;
    /** Tokens of each clip. */
    private final int[] counts;
    /** Whether the clips lie one behind the other. */
    private final boolean packed;
    /** What each token stands for, clip by clip; null where it is one token everywhere. */
    private final float @Nullable [] sizes;

    private final Sizes counted;

    private TokenGroups(Tensor x, int[] counts, boolean packed, float @Nullable [] sizes, Sizes counted) {
        this.x = x;
        this.counts = counts;
        this.packed = packed;
        this.sizes = sizes;
        this.counted = counted;
    }

    /**
     * Tokens that each stand for themselves.
     *
     * @param x {@code [B, N, D]}
     * @param counted where sizes will count
     */
    public static TokenGroups of(Tensor x, Sizes counted) {
        int[] counts = new int[Math.toIntExact(x.size(0))];
        Arrays.fill(counts, Math.toIntExact(x.size(1)));
        return new TokenGroups(x, counts, false, null, counted);
    }

    /**
     * Clips of different numbers of tokens.
     *
     * @param x {@code [1, R, D]}, the clips one behind the other
     * @param counts tokens of each clip, R in all, each at least 1
     * @param sizes what each token stands for, R values
     * @param counted where sizes count
     */
    public static TokenGroups packed(Tensor x, int[] counts, float[] sizes, Sizes counted) {
        int rows = Arrays.stream(counts).sum();
        if (!x.shape().equals(Shape.of(1, rows, x.size(-1))) || sizes.length != rows) {
            throw new IllegalArgumentException("packed tokens are " + x.describe() + " with " + sizes.length
                    + " sizes but the clips have " + rows + " in all; pass [1, " + rows + ", width] and as many sizes");
        }
        return new TokenGroups(x, counts.clone(), true, sizes.clone(), counted);
    }

    /** The tokens, {@code [B, N, D]} or {@code [1, R, D]}. */
    public Tensor x() {
        return x;
    }

    /** What each token stands for, clip by clip. */
    public float[] sizes() {
        float[] known = sizes;
        if (known != null) {
            return known.clone();
        }
        float[] ones = new float[Arrays.stream(counts).sum()];
        Arrays.fill(ones, 1);
        return ones;
    }

    /** The same tokens with other values, of the shape of {@link #x}. */
    public TokenGroups with(Tensor values) {
        return new TokenGroups(values, counts, packed, sizes, counted);
    }

    /** f32 on the device of the tokens, {@code [B, N]} or {@code [1, R]}. */
    private Tensor beside(float[] values) {
        Tensor tensor = Tensor.of(values, x.size(0), x.size(1));
        return x.device().isHost() ? tensor : tensor.to(x.device());
    }

    /**
     * Attention of each clip's tokens among themselves.
     *
     * @param qkv their packed projections, {@code [B, N, 3 D]} or {@code [1, R, 3 D]}
     * @param attention of such projections and a bias of the keys or null
     * @return {@code [B, N, D]} or {@code [1, R, D]}
     */
    Tensor attend(Tensor qkv, BiFunction<Tensor, @Nullable Tensor, Tensor> attention) {
        float[] known = sizes;
        Tensor bias = null;
        if (known != null && counted == Sizes.BOTH) {
            float[] logs = new float[known.length];
            for (int i = 0; i < logs.length; i++) {
                logs[i] = (float) Math.log(known[i]);
            }
            bias = beside(logs).to(qkv.dtype());
        }
        if (!packed) {
            return attention.apply(qkv, bias);
        }
        Tensor rows = qkv.reshape(qkv.size(1), qkv.size(2));
        Tensor keys = bias == null ? null : bias.reshape(bias.size(1));
        Tensor[] each = new Tensor[counts.length];
        int from = 0;
        for (int i = 0; i < counts.length; i++) {
            int to = from + counts[i];
            Tensor own = rows.slice(0, from, to).reshape(1, counts[i], rows.size(1));
            Tensor ownKeys = keys == null ? null : keys.slice(0, from, to).reshape(1, counts[i]);
            each[i] = attention.apply(own, ownKeys);
            from = to;
        }
        return each.length == 1 ? each[0] : Tensor.concat(1, each);
    }

    /**
     * The same tokens with the most alike ones merged: of the tokens in even places those whose key resembles that of one in an odd place
     * most become one with it, the mean of what they stand for.
     *
     * @param keys by which they are compared, {@code [B, N, K]}
     * @param most how many tokens of a clip are taken away, but no more than half of them
     * @return {@code [B, N - most, D]}
     */
    TokenGroups merge(Tensor keys, int most) {
        int batch = counts.length;
        int n = batch == 0 ? 0 : counts[0];
        int away = Math.min(most, n / 2);
        if (away <= 0) {
            return this;
        }
        int left = n - away;
        int[] places = TokenMatching.places(keys, away);
        float[] before = sizes();
        float[] after = new float[batch * left];
        for (int i = 0; i < before.length; i++) {
            after[i / n * left + places[i]] += before[i];
        }
        float[] shares = new float[before.length];
        for (int i = 0; i < shares.length; i++) {
            shares[i] = before[i] / after[i / n * left + places[i]];
        }
        Tensor indices = Tensor.of(places, batch, n);
        Tensor weighed = x.to(DType.F32).mul(beside(shares).reshape(batch, n, 1)); // [B, N, D]
        Tensor sums = Tokens.scatterRows(
                weighed, x.device().isHost() ? indices : indices.to(x.device()), left); // [B, left, D]
        int[] fewer = new int[batch];
        Arrays.fill(fewer, left);
        return new TokenGroups(sums.to(x.dtype()), fewer, false, after, counted);
    }

    /** The mean of each clip's tokens, {@code [clips, D]}; f32 where they are bf16. */
    public Tensor mean() {
        float[] known = sizes;
        Tensor weights = null; // [B, N, 1] or [1, R, 1], of which those of a clip sum to 1
        if (known != null && counted != Sizes.NONE) {
            float[] shares = new float[known.length];
            int from = 0;
            for (int count : counts) {
                float sum = 0;
                for (int j = from; j < from + count; j++) {
                    sum += known[j];
                }
                for (int j = from; j < from + count; j++) {
                    shares[j] = known[j] / sum;
                }
                from += count;
            }
            weights = beside(shares).reshape(x.size(0), x.size(1), 1);
        }
        Tensor weighed = weights == null ? x : x.to(DType.F32).mul(weights);
        if (!packed) {
            return weights == null ? weighed.mean(1) : weighed.sum(1);
        }
        Tensor[] each = new Tensor[counts.length];
        int from = 0;
        for (int i = 0; i < counts.length; i++) {
            Tensor own = weighed.slice(1, from, from + counts[i]);
            each[i] = weights == null ? own.mean(1) : own.sum(1); // [1, D]
            from += counts[i];
        }
        return each.length == 1 ? each[0] : Tensor.concat(0, each);
    }
}
