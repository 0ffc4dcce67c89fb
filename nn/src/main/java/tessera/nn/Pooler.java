package tessera.nn;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Pooling.Kind;
import tessera.nn.Pooling.Term;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * A {@link Pooling} of one model's tokens. It consists of tensor operations alone, so a recorded pass may hold it. Thread-safe; {@link
 * #close} frees its tables, not the model.
 */
public final class Pooler implements AutoCloseable {
    private final Pooling pooling;
    private final VideoModel model;
    /**
     * For each term with several parts, f32 {@code [tokens, parts]}: 1 where a token lies in a part. For one with a query, this divided by
     * the root of its length, {@code [1, D]}.
     */
    private final Map<Term, Tensor> tables = new HashMap<>();

    Pooler(Pooling pooling, VideoModel model, Device device) {
        this.pooling = pooling;
        this.model = model;
        Scope.outside(() -> {
            for (Term term : pooling.terms()) {
                if (term.grid() > 1) {
                    tables.put(term, table(term.grid(), grid(term), device));
                }
                if (term.query() != null) {
                    tables.put(term, scaled(term.query(), device));
                }
            }
            return this;
        });
    }

    private TokenGrid grid(Term term) {
        TokenGrid grid = model.config().tokens(term.block());
        if (grid == null) {
            throw new IllegalArgumentException("pooling " + term + ": the model gives no such tokens; pass mean");
        }
        return grid;
    }

    private static Tensor table(int parts, TokenGrid grid, Device device) {
        float[] table = new float[grid.tokens() * parts * parts];
        for (int token = 0; token < grid.tokens(); token++) {
            int cell = token % grid.plane();
            int row = cell / grid.columns() * parts / grid.rows();
            int column = cell % grid.columns() * parts / grid.columns();
            table[token * parts * parts + row * parts + column] = 1;
        }
        return onDevice(table, grid.tokens(), (long) parts * parts, device);
    }

    private static Tensor scaled(float[] query, Device device) {
        float[] scaled = new float[query.length];
        for (int j = 0; j < query.length; j++) {
            scaled[j] = (float) (query[j] / Math.sqrt(query.length));
        }
        return onDevice(scaled, 1, query.length, device);
    }

    private static Tensor onDevice(float[] values, long rows, long columns, Device device) {
        try (Scope scope = Scope.open()) {
            Tensor here = Tensor.empty(device, DType.F32, Shape.of(rows, columns));
            here.copyFrom(Tensor.of(values, rows, columns));
            return scope.keep(here);
        }
    }

    private Tensor table(Term term) {
        Tensor table = tables.get(term);
        if (table == null) {
            throw new IllegalStateException("pooling " + term + " has no table");
        }
        return table;
    }

    /**
     * Features of clips, through several masks in one batch.
     *
     * @param clips u8 or float {@code [B, T, H, W, C]}, in the units of the pixels
     * @param visible i32 {@code [B, Nvis]} for each mask, all with equally many tokens, in tubes where the pooling {@link
     *     Pooling#seesMotion sees motion}; none to see every token
     * @return f32 {@code [max(1, masks) * B, width]}, mask by mask; the width is {@code n * D} of n tokens that are seen where the pooling
     *     {@link Pooling#needsQuery needs a query}
     */
    public Tensor features(Tensor clips, List<Tensor> visible) {
        return features(model.tokens(clips, visible, pooling.blocks()), visible);
    }

    /**
     * What one pass makes of clips.
     *
     * @param features f32 {@code [B, width]}
     * @param tokens {@code [B, Nvis, D]}, after the last block that the pooling needs, before the norm that the model ends in
     */
    public record Seen(Tensor features, Tensor tokens) {}

    /**
     * As {@link #features(Tensor, List)} through one mask, with the tokens of which the features are made.
     *
     * @param visible i32 {@code [B, Nvis]}
     * @throws IllegalArgumentException if the model gives no tokens
     */
    public Seen see(Tensor clips, Tensor visible) {
        Set<Integer> wanted = new TreeSet<>(pooling.blocks());
        int last = wanted.contains(Pooling.LAST) ? depth() : Collections.max(wanted);
        wanted.add(last);
        Map<Integer, Tensor> tokens = model.tokens(clips, List.of(visible), wanted);
        return new Seen(features(tokens, List.of(visible)), tokens(tokens, last));
    }

    /** Blocks of the model. */
    private int depth() {
        int depth = 0;
        while (model.config().tokens(depth + 1) != null) {
            depth++;
        }
        return depth;
    }

    private static Tensor tokens(Map<Integer, Tensor> tokens, int block) {
        Tensor own = tokens.get(block);
        if (own == null) {
            throw new IllegalStateException("the model gave no tokens after " + block + " blocks");
        }
        return own;
    }

    private Tensor features(Map<Integer, Tensor> tokens, List<Tensor> visible) {
        Tensor seen = visible.isEmpty()
                ? null
                : visible.size() == 1 ? visible.getFirst() : Tensor.concat(0, visible.toArray(Tensor[]::new));
        Tensor[] parts = pooling.terms().stream()
                .map(term -> {
                    Tensor own = tokens(tokens, term.block());
                    return (term.isFeature() ? model.feature(own) : pool(term, own.to(DType.F32), seen)).to(DType.F32);
                })
                .toArray(Tensor[]::new);
        return parts.length == 1 ? parts[0] : Tensor.concat(1, parts);
    }

    /** From tokens {@code [B, Nvis, D]} to {@code [B, parts * D]}, part by part. */
    private Tensor pool(Term term, Tensor tokens, @Nullable Tensor visible) {
        long batch = tokens.size(0);
        if (term.needsQuery()) {
            return tokens.reshape(batch, tokens.size(1) * tokens.size(2));
        }
        if (term.kind() == Kind.ATTENTIVE) {
            Tensor scores = tokens.linear(table(term), null).reshape(batch, 1, tokens.size(1));
            return scores.softmax().matmul(tokens).reshape(batch, tokens.size(2));
        }
        Tensor values = tokens;
        Tensor places = visible;
        long first = tokens.size(1);
        if (term.kind() == Kind.MOTION) {
            int slots = grid(term).slots();
            first = tokens.size(1) / slots;
            Tensor each = tokens.reshape(batch, slots, first, tokens.size(2)); // [B, slots, cells, D]
            values = each.slice(1, 1, slots)
                    .sub(each.slice(1, 0, slots - 1))
                    .abs()
                    .mean(1); // [B, cells, D]
            places = visible == null ? null : visible.slice(1, 0, first).contiguous(); // those of the first slot
        }
        if (term.grid() == 1) {
            return values.mean(1);
        }
        Tensor weights = weights(term, batch, first, places); // [B, n, parts]
        return weights.transpose(1, 2).matmul(values).reshape(batch, term.parts() * tokens.size(2));
    }

    /** How much each token counts in the mean of each part, {@code [B, n, parts]}; a part without any has all of them alike. */
    private Tensor weights(Term term, long batch, long count, @Nullable Tensor places) {
        Tensor table = table(term);
        Tensor inside = places == null
                ? table.slice(0, 0, count).reshape(1, count, term.parts()) // every part has cells
                : table.embedding(places); // [B, n, parts]
        Tensor number = inside.sum(1).reshape(inside.size(0), 1, term.parts());
        Tensor empty = number.neg().add(1).relu(); // 1 where there is no cell
        Tensor weighed = inside.add(empty).div(number.add(empty.mul((double) count)));
        return weighed.size(0) == batch ? weighed : weighed.expand(batch, count, term.parts());
    }

    @Override
    public void close() {
        tables.values().forEach(Tensor::close);
    }
}
