package tessera.nn;

import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.tensor.Tensor;

/**
 * How the tokens of a clip become its feature. Written as a word:
 *
 * <ul>
 *   <li>{@code mean}: the model's own feature, which VideoMAE and MM-CDFSL use: the mean of all tokens, normed as the model does;
 *   <li>{@code grid:G}: the mean of the tokens of each part of the picture, which a grid of G x G cuts into equal parts;
 *   <li>{@code motion:G}: the mean over each part of {@code |x[t + 1] - x[t]|}, the change of each channel from a time slot to
 *       the next; what stands still, as the background does, gives nothing;
 *   <li>{@code attentive}: the mean of all tokens weighted by {@code softmax(t . q / sqrt(D))}, where the query q is fitted with a head
 *       ({@link #withQuery}): the attentive probe of V-JEPA (Bardes et al., "Revisiting feature prediction for learning visual
 *       representations from video", 2024) without its projections and MLP. With q = 0 it is the mean of the tokens;
 *   <li>several of the others with {@code +} between, {@code mean+motion:2}: one after the other;
 *   <li>{@code @N} after one of them: the tokens after N blocks, {@code motion:2@1}; 0 is the embedding. Without it, those of the
 *       last block, normed where the model norms them. Blocks that no part needs are not computed.
 * </ul>
 *
 * Tokens that a mask hides count nowhere. A part of the grid of which all cells are hidden has the mean of the whole picture.
 * Motion needs masks that show the same cells in every slot, as tube masks do.
 *
 * <p>Immutable and thread-safe.
 */
public final class Pooling {
    /** In place of a number of blocks: the last, with the norm that the model ends in. */
    public static final int LAST = -1;

    /** The model's own feature. */
    public static final Pooling MEAN = new Pooling(List.of(new Term(Kind.MEAN, 1, LAST, null)));

    private static final Pattern TERM =
            Pattern.compile("(mean|attentive|(?:grid|motion):([1-9][0-9]?))(?:@(0|[1-9][0-9]{0,3}))?");

    /** What is averaged. */
    enum Kind {
        MEAN,
        GRID,
        MOTION,
        ATTENTIVE
    }

    /**
     * One part of the feature.
     *
     * @param grid parts of the picture in a row and in a column
     * @param block whose tokens, or {@link #LAST}
     * @param query by which attention weighs, or null for none; not changed
     */
    record Term(Kind kind, int grid, int block, float @Nullable [] query) {
        static Term of(String word) {
            Matcher matcher = TERM.matcher(word);
            if (!matcher.matches()) {
                throw new IllegalArgumentException("pooling '" + word
                        + "' is none; pass mean, grid:G or motion:G (G from 1 to 99), or attentive, which stands alone, with @N"
                        + " for the tokens after N blocks, or several with + between");
            }
            Kind kind = Arrays.stream(Kind.values())
                    .filter(k -> word.startsWith(name(k)))
                    .findFirst()
                    .orElseThrow();
            String block = matcher.group(3);
            return new Term(
                    kind,
                    matcher.group(2) == null ? 1 : Integer.parseInt(matcher.group(2)),
                    block == null ? LAST : Integer.parseInt(block),
                    null);
        }

        static String name(Kind kind) {
            return switch (kind) {
                case MEAN -> "mean";
                case GRID -> "grid";
                case MOTION -> "motion";
                case ATTENTIVE -> "attentive";
            };
        }

        // What a record has by itself comes from classes that are made when it is first asked, for which a start would
        // wait.

        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Term term
                    && term.kind == kind
                    && term.grid == grid
                    && term.block == block
                    && Arrays.equals(term.query, query);
        }

        @Override
        public int hashCode() {
            return (name(kind).hashCode() * 31 + grid) * 31 + block;
        }

        int parts() {
            return grid * grid;
        }

        /** Whether it is what the model itself makes of its last tokens. */
        boolean isFeature() {
            return kind == Kind.MEAN && block == LAST;
        }

        /** Whether it gives tokens, of which a query is yet to make a feature. */
        boolean needsQuery() {
            return kind == Kind.ATTENTIVE && query == null;
        }

        int width(ModelConfig model) {
            TokenGrid tokens = needsQuery() ? model.tokens(block) : null;
            return (tokens == null ? parts() : tokens.tokens()) * model.featureWidth();
        }

        @Override
        public String toString() {
            return name(kind)
                    + (kind == Kind.GRID || kind == Kind.MOTION ? ":" + grid : "")
                    + (block == LAST ? "" : "@" + block);
        }
    }

    private final List<Term> terms;

    private Pooling(List<Term> terms) {
        this.terms = List.copyOf(terms);
    }

    /**
     * Reads a word.
     *
     * @throws IllegalArgumentException if it is none, names a part twice, or another beside {@code attentive}
     */
    public static Pooling of(String word) {
        Set<Term> terms = new LinkedHashSet<>();
        for (String term : word.split("\\+", -1)) {
            if (!terms.add(Term.of(term))) {
                throw new IllegalArgumentException(
                        "pooling '" + word + "' has " + term + " twice; name each part once");
            }
        }
        if (terms.size() > 1 && terms.stream().anyMatch(Term::needsQuery)) {
            throw new IllegalArgumentException("pooling '" + word + "' has others beside attentive, whose query is"
                    + " fitted with a head of its own; pass attentive alone, or leave it away");
        }
        return new Pooling(List.copyOf(terms));
    }

    /**
     * Whether it is {@code attentive} and has no query yet. Its features are then the tokens themselves, one after the other in the order
     * in which they are seen, {@code [n * D]}: what a query is fitted on. A head needs the query.
     */
    public boolean needsQuery() {
        return terms.stream().anyMatch(Term::needsQuery);
    }

    /**
     * The same with a query.
     *
     * @param query D finite values, which are copied
     * @throws IllegalArgumentException if this is not {@code attentive}, or a value is not finite
     */
    public Pooling withQuery(float[] query) {
        Term term = terms.getFirst();
        if (terms.size() > 1 || term.kind != Kind.ATTENTIVE) {
            throw new IllegalArgumentException(
                    "pooling " + this + " is given a query, which attentive alone has; use the file as it was written");
        }
        for (float value : query) {
            if (!Float.isFinite(value)) {
                throw new IllegalArgumentException("pooling " + this + ": the query holds " + value
                        + "; every value must be finite, so learn the head again");
            }
        }
        return new Pooling(List.of(new Term(term.kind, term.grid, term.block, query.clone())));
    }

    /** A copy of the query, or null if it has none. */
    public float @Nullable [] query() {
        float[] query = terms.getFirst().query;
        return query == null || terms.size() > 1 ? null : query.clone();
    }

    /** All parts of several poolings, each once: from its feature {@link #select} gives that of every one of them. */
    public static Pooling union(List<Pooling> poolings) {
        Set<Term> terms = new LinkedHashSet<>();
        poolings.forEach(pooling -> terms.addAll(pooling.terms));
        if (terms.isEmpty()) {
            throw new IllegalArgumentException("no pooling given; pass one or more");
        }
        return new Pooling(List.copyOf(terms));
    }

    List<Term> terms() {
        return terms;
    }

    /** Whether it looks at changes from slot to slot, for which masks must show the same cells in every slot. */
    public boolean seesMotion() {
        return terms.stream().anyMatch(term -> term.kind == Kind.MOTION);
    }

    /** After how many blocks tokens are needed, {@link #LAST} among them. */
    Set<Integer> blocks() {
        return terms.stream().map(Term::block).collect(Collectors.toCollection(TreeSet::new));
    }

    /**
     * Values of a feature; where it {@link #needsQuery needs a query}, those of all tokens, of which masks leave fewer.
     *
     * @param model whose tokens are as wide as its own feature
     */
    public int width(ModelConfig model) {
        return terms.stream().mapToInt(term -> term.width(model)).sum();
    }

    /**
     * Where the values of another pooling's feature stand in one of this.
     *
     * @param part all of whose parts this has
     * @return one index for each value of that feature
     * @throws IllegalArgumentException if this lacks a part
     */
    public int[] select(Pooling part, ModelConfig model) {
        int[] chosen = new int[part.width(model)];
        int at = 0;
        for (Term wanted : part.terms) {
            int from = 0;
            int found = terms.indexOf(wanted);
            if (found < 0) {
                throw new IllegalArgumentException("pooling " + this + " has no " + wanted + "; pool by both of them");
            }
            for (Term before : terms.subList(0, found)) {
                from += before.width(model);
            }
            for (int j = 0; j < wanted.width(model); j++) {
                chosen[at++] = from + j;
            }
        }
        return chosen;
    }

    /**
     * Refuses a model whose tokens cannot be pooled so.
     *
     * @throws IllegalArgumentException if it has none, or not after these blocks, too few slots, a plane smaller than the grid, or tokens
     *     of another width than the query
     */
    public void requireFit(ModelConfig model) {
        for (Term term : terms) {
            if (term.isFeature()) {
                continue;
            }
            TokenGrid grid = model.tokens(term.block);
            if (grid == null) {
                throw new IllegalArgumentException("pooling " + term + ": "
                        + (model.tokens(LAST) == null
                                ? "models of this student's architecture give no tokens; pass mean"
                                : "this student gives no tokens after " + term.block
                                        + " blocks; name fewer, or leave @" + term.block
                                        + " away for those of its last block"));
            }
            if (term.grid > Math.min(grid.rows(), grid.columns())) {
                throw new IllegalArgumentException("pooling " + term + " cuts the picture into " + term.grid + " x "
                        + term.grid + " parts but the student sees " + grid.rows() + " x " + grid.columns()
                        + " cells; pass a smaller number");
            }
            if (term.query != null && term.query.length != model.featureWidth()) {
                throw new IllegalArgumentException("pooling " + term + ": the query has " + term.query.length
                        + " values but the student's tokens have " + model.featureWidth()
                        + "; use a head that was learned with this student");
            }
            if (term.kind == Kind.MOTION && grid.slots() < 2) {
                throw new IllegalArgumentException(
                        "pooling " + term
                                + " compares time slots but the student has one; pass mean or grid, or a student of more frames");
            }
        }
    }

    /**
     * Refuses visible tokens that are not the same cells, in the same order, in every slot. Reads them on the host.
     *
     * @param visible i32 {@code [B, Nvis]}
     */
    public void requireTubes(Tensor visible, TokenGrid grid) {
        int count = Math.toIntExact(visible.size(1));
        int[] tokens = visible.toInts();
        boolean whole = count % grid.slots() == 0;
        int cells = count / grid.slots();
        for (int i = 0; whole && i < tokens.length; i++) {
            int j = i % count;
            whole = tokens[i] == tokens[i - j + j % cells] + j / cells * grid.plane();
        }
        if (!whole) {
            throw new IllegalArgumentException("pooling " + this + " compares the same cells from slot to slot, but the"
                    + " masks do not show the same in all " + grid.slots()
                    + " slots, in ascending order; use MaskStrategy.tubes() or pairs(), or pool by mean or grid");
        }
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof Pooling pooling && pooling.terms.equals(terms);
    }

    @Override
    public int hashCode() {
        return terms.hashCode();
    }

    /** The word. */
    @Override
    public String toString() {
        return terms.stream().map(Term::toString).collect(Collectors.joining("+"));
    }

    /**
     * Readies it for a model.
     *
     * @throws IllegalArgumentException as {@link #requireFit}
     */
    public Pooler on(VideoModel model, Device device) {
        requireFit(model.config());
        return new Pooler(this, model, device);
    }
}
