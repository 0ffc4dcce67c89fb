package tessera.distill.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.report.Json;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.nn.MaskStrategy;
import tessera.nn.inference.Masking;

/**
 * Every setting of a demo: which models are trained on EgoSim, and how they are judged, once for each seed. Written as JSON ({@link
 * #json}) and read ({@link #read}); {@link ShippedPlans} has those that come with the program.
 *
 * @param name what the plan is called; one that is read from a file is called as the file
 * @param seeds of the replicas; each renders its own clips and trains its own models
 * @param grid tokens per side of the plane
 * @param tubelet frames of a patch
 * @param size of all models
 * @param targets where the unlabelled clips are filmed, equally many in each; models are judged in each for itself. Not {@link
 *     Domain#SOURCE}, where the same objects would be in labelled, unlabelled and test clips
 * @param models by their names, in the order of training: each is made of those before it alone
 */
public record DemoPlan(
        String name,
        List<Long> seeds,
        Geometry geometry,
        int grid,
        int tubelet,
        ModelSize size,
        List<Domain> targets,
        Clips clips,
        Map<String, ModelPlan> models,
        Evaluation evaluation) {

    /**
     * Clips per class.
     *
     * @param flowStatistics clips in all, from which the normalisation of flow is measured
     */
    public record Clips(int source, int target, int validation, int test, int flowStatistics) {}

    /**
     * How models are judged.
     *
     * @param ways classes of an episode
     * @param shots support clips per class, each a series of episodes
     * @param queries query clips per class
     * @param lines of the tables
     * @param costs what is measured of one model's speed, or null for nothing
     * @param gates what RGB must have learned, or null if that is not asked
     */
    public record Evaluation(
            int ways,
            List<Integer> shots,
            int queries,
            int episodes,
            List<Line> lines,
            List<Difference> differences,
            @Nullable CostGrid costs,
            @Nullable Gates gates) {}

    /**
     * A line of the tables: a model under one way of masking, with one kind of head.
     *
     * @param label what it is called, another than every other's
     * @param split whose classes the episodes are of: validation or test
     * @param strategy of the masks, by its word
     * @param head by its word: one of {@link FewShotHead#WORDS}, or {@code finetune} for a student that is trained as a whole on the
     *     support clips, which is judged on the first {@value Judging#TUNED} episodes
     * @param supportViews masks through which heads see support clips, 1 (as published) to the ensemble
     */
    public record Line(
            String label,
            String model,
            Split split,
            double maskRatio,
            int ensemble,
            String strategy,
            String head,
            int supportViews) {

        /** As this program does it: pairs of masks, and heads fitted on all of them. */
        public Line(String label, String model, Split split, double maskRatio, int ensemble) {
            this(label, model, split, maskRatio, ensemble, PAIRS, LOGISTIC, ensemble);
        }

        Masking masking() {
            return Masking.of(maskRatio, ensemble).withStrategy(MaskStrategy.of(strategy));
        }

        /** Whether it differs from others by its model and masks alone. */
        boolean isPlain() {
            return split == Split.TEST && strategy.equals(PAIRS) && head.equals(LOGISTIC) && supportViews == ensemble;
        }

        /** Whether it differs from another by its label and model alone. */
        boolean asTheSame(Line other) {
            return equals(new Line(
                    label,
                    model,
                    other.split,
                    other.maskRatio,
                    other.ensemble,
                    other.strategy,
                    other.head,
                    other.supportViews));
        }

        private Map<String, Object> values() {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("label", label);
            all.put("model", model);
            if (split != Split.TEST) {
                all.put("split", word(split));
            }
            all.put("maskRatio", maskRatio);
            all.put("ensemble", ensemble);
            if (!strategy.equals(PAIRS)) {
                all.put("masks", strategy);
            }
            if (!head.equals(LOGISTIC)) {
                all.put("head", head);
            }
            if (supportViews != ensemble) {
                all.put("supportViews", supportViews);
            }
            return all;
        }
    }

    /** How much better one line is than another of the same split, episode by episode. */
    public record Difference(String label, String better, String worse) {}

    /** A model's speed under every mask ratio and ensemble; the first ratio is the reference. */
    public record CostGrid(String model, List<Double> maskRatios, List<Integer> ensembles, int rounds) {
        /** Every way of masking, in order; without masks all passes are equal, so one stands for all. */
        List<Masking> cells() {
            return maskRatios.stream()
                    .flatMap(ratio ->
                            (ratio == 0 ? List.of(1) : ensembles).stream().map(ensemble -> Masking.of(ratio, ensemble)))
                    .toList();
        }
    }

    /**
     * What must hold before anything is compared.
     *
     * @param model of the first stage, whose losses are looked at
     * @param trained line of that model
     * @param untrained line of a random encoder that looks at the same, judged in the same way
     */
    public record Gates(String model, String trained, String untrained) {}

    static final String PAIRS = "pairs";
    static final String LOGISTIC = "logistic";

    /** The head of a student that is trained as a whole on an episode's support clips. */
    static final String FINE_TUNED = "finetune";

    private static final List<String> HEADS =
            Stream.concat(FewShotHead.WORDS.stream(), Stream.of(FINE_TUNED)).toList();

    public DemoPlan {
        seeds = List.copyOf(seeds);
        targets = List.copyOf(targets);
        models = Collections.unmodifiableMap(new LinkedHashMap<>(models));
        require(!seeds.isEmpty() && new HashSet<>(seeds).size() == seeds.size(), "seeds", "1 or more different ones");
        require(
                !targets.isEmpty() && new HashSet<>(targets).size() == targets.size(),
                "targets",
                "1 or more different domains");
        require(!models.isEmpty(), "models", "1 or more by their names");
        Set<String> before = new HashSet<>();
        models.forEach((model, plan) -> {
            require(
                    model.matches("[a-z0-9][a-z0-9_-]*") && !model.equals(ModelPlan.WARM),
                    "models." + model,
                    "a name of lower-case letters, digits and '-', which is not " + ModelPlan.WARM);
            require(before.containsAll(plan.needs()), "models." + model, "models that come before it");
            before.add(model);
        });
        Map<String, Line> lines = new LinkedHashMap<>();
        require(!evaluation.lines.isEmpty(), "evaluation.lines", "1 or more");
        for (Line line : evaluation.lines) {
            String place = "evaluation.lines '" + line.label + "'";
            require(lines.put(line.label, line) == null, place, "labels of which no two are equal");
            require(models.containsKey(line.model), place + " model '" + line.model + "'", among(models.keySet()));
            require(
                    line.split == Split.TEST || line.split == Split.VALIDATION,
                    place + " split '" + word(line.split) + "'",
                    "validation or test");
            require(HEADS.contains(line.head), place + " head '" + line.head + "'", among(HEADS));
            require(
                    line.supportViews >= 1 && line.supportViews <= line.ensemble,
                    place + " supportViews " + line.supportViews,
                    "1 to the ensemble");
            line.masking();
        }
        for (Difference d : evaluation.differences) {
            for (String label : List.of(d.better, d.worse)) {
                require(
                        lines.containsKey(label),
                        "evaluation.differences '" + d.label + "' line '" + label + "'",
                        among(lines.keySet()));
            }
            require(
                    Objects.requireNonNull(lines.get(d.better)).split
                            == Objects.requireNonNull(lines.get(d.worse)).split,
                    "evaluation.differences '" + d.label + "'",
                    "lines of one split");
        }
        CostGrid costs = evaluation.costs;
        require(
                costs == null
                        || (models.containsKey(costs.model)
                                && !costs.maskRatios.isEmpty()
                                && !costs.ensembles.isEmpty()
                                && costs.rounds > 0),
                "evaluation.costs",
                "a model of the plan, mask ratios, ensembles and rounds");
        Gates gates = evaluation.gates;
        require(
                gates == null
                        || (models.get(gates.model) instanceof ModelPlan.Pretrained
                                && lines.containsKey(gates.trained)
                                && lines.containsKey(gates.untrained)),
                "evaluation.gates",
                "a pretrained model and two lines");
        require(evaluation.episodes >= 1 && !evaluation.shots.isEmpty(), "evaluation", "1 episode and shot or more");
    }

    private static void require(boolean holds, String what, String needed) {
        if (!holds) {
            throw new IllegalArgumentException(what + " cannot be used; pass " + needed);
        }
    }

    private static String among(Iterable<String> names) {
        return "one of " + String.join(", ", names);
    }

    static String word(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    Line line(String label) {
        return evaluation.lines.stream()
                .filter(line -> line.label.equals(label))
                .findFirst()
                .orElseThrow();
    }

    /** The splits on which models are judged. */
    List<Split> judged() {
        return List.of(Split.TEST, Split.VALIDATION).stream()
                .filter(split -> evaluation.lines.stream().anyMatch(line -> line.split == split))
                .toList();
    }

    /** The same for other seeds. */
    public DemoPlan withSeeds(List<Long> others) {
        return new DemoPlan(name, others, geometry, grid, tubelet, size, targets, clips, models, evaluation);
    }

    /** The same under another name. */
    DemoPlan withName(String other) {
        return new DemoPlan(other, seeds, geometry, grid, tubelet, size, targets, clips, models, evaluation);
    }

    // -------------------------------------------------------------------------------------------------------- JSON

    /**
     * Reads a plan's file. The plan is called as the file, without what follows its last dot, whatever it says itself: what is edited is
     * no longer what it was made of.
     *
     * @throws IllegalArgumentException if it cannot be read, is no plan, cannot be run to its end, or is called as a plan that comes with
     *     the program but another; the message names the field
     */
    public static DemoPlan read(Path file) {
        try {
            return parse(Files.readString(file)).called(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    "the plan " + file + " cannot be read; name a file as --show-plan prints it", e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("plan " + file + ": " + e.getMessage(), e);
        }
    }

    private DemoPlan called(Path file) {
        String stem = String.valueOf(file.getFileName()).replaceFirst("(?<=.)\\.[^.]*$", "");
        if (!stem.matches("[A-Za-z0-9_-]+")) {
            throw new IllegalArgumentException("the plan is called as its file, but '" + stem
                    + "' has more than letters, digits, - and _; rename the file");
        }
        DemoPlan named = withName(stem);
        if (ShippedPlans.NAMES.contains(stem) && !ShippedPlans.of(stem).isLike(named)) {
            throw new IllegalArgumentException("the plan is called as its file, but " + stem
                    + " is another plan, which comes with the program; rename the file");
        }
        return named;
    }

    /** Whether another plan differs by its name and seeds alone. */
    boolean isLike(DemoPlan other) {
        return other.withSeeds(seeds).withName(name).values().equals(values());
    }

    /**
     * Reads what {@link #json} wrote; what is left out has the value of the quick plan, or is nothing.
     *
     * @throws IllegalArgumentException if it is no plan, or one that cannot be run to its end; the message names the field
     */
    public static DemoPlan parse(String json) {
        Fields all = new Fields(Json.object(json), "");
        long version = all.whole("egosim", EgoSim.VERSION);
        if (version != EgoSim.VERSION) {
            throw new IllegalArgumentException("egosim is " + version + " but this program renders version "
                    + EgoSim.VERSION + "; use the program of that version, or change the plan");
        }
        Geometry g = ShippedPlans.GEOMETRY;
        ModelSize s = ShippedPlans.SIZE;
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        Map<String, Modality> before = new LinkedHashMap<>();
        all.objects("models").forEach((model, fields) -> {
            ModelPlan plan = fields.make(f -> ModelPlan.read(f, before));
            models.put(model, plan);
            before.put(model, plan.modality());
        });
        DemoPlan plan = new DemoPlan(
                all.text("name", "own"),
                all.list("seeds", Long.class, List.of(1L)),
                all.object("geometry")
                        .make(f -> new Geometry(
                                f.count("frames", g.frames()),
                                f.count("size", g.size()),
                                f.count("poseSize", g.poseSize()))),
                all.count("grid", ShippedPlans.GRID),
                all.count("tubelet", ShippedPlans.TUBELET),
                all.object("size")
                        .make(f -> new ModelSize(
                                f.count("embedDim", s.embedDim()),
                                f.count("depth", s.depth()),
                                f.count("heads", s.heads()),
                                f.count("decoderDim", s.decoderDim()),
                                f.count("decoderDepth", s.decoderDepth()),
                                f.count("decoderHeads", s.decoderHeads()))),
                domains(all),
                all.object("clips")
                        .make(f -> new Clips(
                                f.count("source", 40),
                                f.count("target", 60),
                                f.count("validation", 25),
                                f.count("test", 30),
                                f.count("flowStatistics", 60))),
                models,
                all.object("evaluation").make(DemoPlan::evaluation));
        all.end();
        PlanChecks.require(plan);
        return plan;
    }

    private static List<Domain> domains(Fields fields) {
        List<String> standard =
                ShippedPlans.TARGETS.stream().map(DemoPlan::word).toList();
        try {
            return fields.list("targets", String.class, standard).stream()
                    .map(word -> constant(Domain.class, word))
                    .toList();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("targets: " + e.getMessage(), e);
        }
    }

    private static <E extends Enum<E>> E constant(Class<E> type, String word) {
        for (E constant : type.getEnumConstants()) {
            if (word(constant).equals(word.toLowerCase(Locale.ROOT))) {
                return constant;
            }
        }
        throw new IllegalArgumentException("'" + word + "' is none of "
                + Arrays.stream(type.getEnumConstants()).map(DemoPlan::word).collect(Collectors.joining(", ")));
    }

    private static Evaluation evaluation(Fields fields) {
        List<Line> lines = fields.items("lines").stream()
                .map(item -> item.make(f -> {
                    double ratio = f.number("maskRatio", .75);
                    int ensemble = f.count("ensemble", ratio == 0 ? 1 : 2);
                    return new Line(
                            f.text("label"),
                            f.text("model"),
                            f.word("split", Split.TEST, text -> constant(Split.class, text)),
                            ratio,
                            ensemble,
                            f.text("masks", PAIRS),
                            f.text("head", LOGISTIC),
                            f.count("supportViews", ensemble));
                }))
                .toList();
        List<Difference> differences = fields.items("differences").stream()
                .map(item -> item.make(f -> new Difference(
                        f.text("label", f.text("better") + " minus " + f.text("worse")),
                        f.text("better"),
                        f.text("worse"))))
                .toList();
        CostGrid costs = !fields.has("costs")
                ? null
                : fields.object("costs")
                        .make(f -> new CostGrid(
                                f.text("model"),
                                f.list("maskRatios", Double.class, List.of(0.0, .5, .75, .9)),
                                ints(f.list("ensembles", Long.class, List.of(1L, 2L, 4L))),
                                f.count("rounds", 30)));
        Gates gates = !fields.has("gates")
                ? null
                : fields.object("gates").make(f -> new Gates(f.text("model"), f.text("trained"), f.text("untrained")));
        return new Evaluation(
                fields.count("ways", 5),
                ints(fields.list("shots", Long.class, List.of(1L, 5L))),
                fields.count("queries", 15),
                fields.count("episodes", 200),
                lines,
                differences,
                costs,
                gates);
    }

    private static List<Integer> ints(List<Long> numbers) {
        return numbers.stream().map(Math::toIntExact).toList();
    }

    /** As {@link #parse} takes it. */
    Map<String, Object> values() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("name", name);
        all.put("egosim", (long) EgoSim.VERSION);
        all.put("seeds", seeds);
        all.putAll(shared());
        Map<String, Object> own = new LinkedHashMap<>();
        models.forEach((model, plan) -> own.put(model, plan.values()));
        all.put("models", own);
        Map<String, Object> how = new LinkedHashMap<>();
        how.put("ways", evaluation.ways);
        how.put("shots", evaluation.shots);
        how.put("queries", evaluation.queries);
        how.put("episodes", evaluation.episodes);
        how.put("lines", evaluation.lines.stream().map(Line::values).toList());
        how.put("differences", evaluation.differences);
        if (evaluation.costs != null) {
            how.put("costs", evaluation.costs);
        }
        if (evaluation.gates != null) {
            how.put("gates", evaluation.gates);
        }
        all.put("evaluation", how);
        return all;
    }

    /** What all models share. */
    private Map<String, Object> shared() {
        Map<String, Object> all = new LinkedHashMap<>();
        Map<String, Object> sizes = new LinkedHashMap<>();
        sizes.put("frames", geometry.frames());
        sizes.put("size", geometry.size());
        sizes.put("poseSize", geometry.poseSize());
        all.put("geometry", sizes);
        all.put("grid", grid);
        all.put("tubelet", tubelet);
        all.put("size", size);
        all.put("targets", targets.stream().map(DemoPlan::word).toList());
        all.put("clips", clips);
        return all;
    }

    /** Everything that a trained model depends on. */
    Map<String, Object> trained(String model, long seed) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("egosim", (long) EgoSim.VERSION);
        all.put("seed", seed);
        all.putAll(shared());
        all.put(
                "clips",
                // In an order that is the same in every process.
                new TreeMap<>(Map.of(
                        "source", clips.source, "target", clips.target, "flowStatistics", clips.flowStatistics)));
        all.put("model", ModelPlan.whole(model, models));
        return all;
    }

    /** The plan as JSON, for people to edit: one model, and one line of the tables, in a line. */
    public String json() {
        StringBuilder text = new StringBuilder();
        write(text, values(), 0);
        return text.append('\n').toString();
    }

    private static void write(StringBuilder text, Object value, int depth) {
        boolean opens = depth < 3
                && (value instanceof Map
                        || (value instanceof List<?> list
                                && !list.isEmpty()
                                && (list.getFirst() instanceof Map || list.getFirst() instanceof Record)));
        boolean compact = depth > 0
                && value instanceof Map<?, ?> map
                && map.values().stream()
                        .noneMatch(v -> v instanceof Map
                                || (v instanceof List<?> l && !l.isEmpty() && l.getFirst() instanceof Map));
        if (!opens || compact) {
            text.append(
                    value instanceof Map || value instanceof Record || value instanceof List
                            ? Json.text(Map.of("v", value)).replaceAll("^\\{\"v\":|\\}$", "")
                            : Json.text(List.of(value)).replaceAll("^\\[|\\]$", ""));
            return;
        }
        String indent = "  ".repeat(depth + 1);
        String between = "\n";
        if (value instanceof Map<?, ?> map) {
            text.append('{');
            for (Map.Entry<?, ?> member : map.entrySet()) {
                text.append(between)
                        .append(indent)
                        .append('"')
                        .append(member.getKey())
                        .append("\": ");
                write(text, Objects.requireNonNull(member.getValue()), depth + 1);
                between = ",\n";
            }
            text.append('\n').append("  ".repeat(depth)).append('}');
        } else if (value instanceof List<?> list) {
            text.append('[');
            for (Object item : list) {
                text.append(between).append(indent);
                write(text, item, 3);
                between = ",\n";
            }
            text.append('\n').append("  ".repeat(depth)).append(']');
        }
    }

    /** How values of this package are written in JSON. */
    static Object written(Object value) {
        return value instanceof DemoPlan plan
                ? plan.values()
                : value instanceof Enum<?> constant ? word(constant) : value;
    }
}
