package tessera.distill.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Modality;
import tessera.distill.train.Distillation;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Recipe;
import tessera.distill.train.SelfTraining;
import tessera.distill.train.WarmStart;

/** How a model of a demo is made. Seeds in the stages are replaced by the replica's. */
public sealed interface ModelPlan {
    /** In place of a model's name: the student that comes with Tessera ({@link WarmStart}), to start from. */
    String WARM = "warm";

    /** What the model looks at. */
    Modality modality();

    /** The models that it is made of, which come before it. */
    Set<String> needs();

    /** As {@link #read} takes it. */
    Map<String, Object> values();

    /** An encoder as it is before training. */
    record Untrained(Modality modality) implements ModelPlan {
        @Override
        public Set<String> needs() {
            return Set.of();
        }

        @Override
        public Map<String, Object> values() {
            return named("random", modality);
        }
    }

    /**
     * A masked autoencoder of the first stage.
     *
     * @param start the model whose weights it starts from, {@link #WARM}, or null to start afresh. It looks at the same modality, or at
     *     RGB, of which the patch embedding and the decoder's last layer are not taken over by models of others; of a student, which has
     *     none, no decoder is
     */
    record Pretrained(Pretraining stage, @Nullable String start) implements ModelPlan {
        @Override
        public Modality modality() {
            return stage.modality();
        }

        @Override
        public Set<String> needs() {
            return start == null || start.equals(WARM) ? Set.of() : Set.of(start);
        }

        @Override
        public Map<String, Object> values() {
            Map<String, Object> values = named("pretrained", stage.modality());
            if (start != null) {
                values.put("start", start);
            }
            writeStage(values, stage);
            return values;
        }
    }

    /**
     * A cross-domain method to compare with, STARTUP (Phoo and Hariharan, "Self-training for few-shot transfer across extreme task
     * differences", ICLR 2021): soft labels of a model's source classifier on target clips, source cross-entropy, and reconstruction
     * ({@link SelfTraining}).
     *
     * @param teacher a pretrained model of the same modality, whose weights it starts from too
     */
    record SelfTrained(Pretraining stage, String teacher) implements ModelPlan {
        @Override
        public Modality modality() {
            return stage.modality();
        }

        @Override
        public Set<String> needs() {
            return Set.of(teacher);
        }

        @Override
        public Map<String, Object> values() {
            Map<String, Object> values = named("startup", stage.modality());
            values.put("teacher", teacher);
            writeStage(values, stage);
            return values;
        }
    }

    /**
     * An RGB student of the second stage.
     *
     * @param teachers names of models, one of each modality
     * @param stage with a weight for each teacher's modality
     * @param start the RGB model whose weights the student starts from
     * @param disturbance what happens to the clips that the teachers of other modalities than RGB see
     */
    record Distilled(Map<Modality, String> teachers, Distillation stage, String start, Disturbance disturbance)
            implements ModelPlan {
        public Distilled {
            teachers = new TreeMap<>(teachers);
        }

        @Override
        public Modality modality() {
            return Modality.RGB;
        }

        @Override
        public Set<String> needs() {
            Set<String> needs = new LinkedHashSet<>(teachers.values());
            if (!start.equals(WARM)) {
                needs.add(start);
            }
            return needs;
        }

        @Override
        public Map<String, Object> values() {
            Map<String, Object> values = new LinkedHashMap<>();
            values.put("kind", "distilled");
            values.put("teachers", List.copyOf(teachers.values()));
            if (!start.equals(teachers.get(Modality.RGB))) {
                values.put("start", start);
            }
            Map<String, Double> weights = new LinkedHashMap<>();
            stage.weights().forEach((modality, weight) -> {
                if (weight != 1) {
                    weights.put(modality.id(), weight);
                }
            });
            if (!weights.isEmpty()) {
                values.put("weights", weights);
            }
            if (!stage.maskedTeachers()) {
                values.put("maskedTeachers", false);
            }
            disturbance.addTo(values);
            RecipeFields.write(values, stage.recipe(), DISTILLATION);
            return values;
        }
    }

    /**
     * What is wrong with clips.
     *
     * @param noise standard deviation of what is added to every value, uniform, independent and not cut off, as a multiple of the
     *     deviation by which the models divide that channel
     * @param missing share of clips of which a modality is not there: zeros stand in its place
     */
    record Disturbance(double noise, double missing) {
        /** Nothing. */
        public static final Disturbance NONE = new Disturbance(0, 0);

        public Disturbance {
            if (!(noise >= 0) || Double.isInfinite(noise) || !(missing >= 0 && missing <= 1)) {
                throw new IllegalArgumentException("noise is " + noise + " and missing is " + missing
                        + "; pass standard deviations of 0 or more and a share in [0, 1]");
            }
        }

        /** In words, as reports have it. */
        String words() {
            List<String> parts = new ArrayList<>();
            if (noise != 0) {
                parts.add("uniform noise is added to every value, of " + noise
                        + " times the deviation by which models divide its channel, and is not cut off");
            }
            if (missing != 0) {
                parts.add("a share of " + missing + " of the clips, drawn for each modality, is zeros");
            }
            return String.join("; ", parts);
        }

        private void addTo(Map<String, Object> values) {
            if (noise != 0) {
                values.put("noise", noise);
            }
            if (missing != 0) {
                values.put("missing", missing);
            }
        }
    }

    /**
     * How models of the first stage are trained if a plan does not say otherwise. Unlike the papers' models these start from random
     * weights, not from Kinetics: so the classes weigh as much as the reconstruction, nothing drops out, and no more tokens are hidden
     * than in distillation.
     */
    RecipeFields.Standard PRETRAINING = new RecipeFields.Standard(
            Pretraining.defaults(Modality.RGB)
                    .recipe()
                    .withBatch(32)
                    .withMaskRatio(.75)
                    .withAugment(false)
                    .withSeed(0),
            1 / 20.0,
            1 / 10.0);

    /** How students are trained if a plan does not say otherwise. */
    RecipeFields.Standard DISTILLATION = new RecipeFields.Standard(
            Distillation.defaults().recipe().over(600, 1e-3).withAugment(false).withSeed(0), 1 / 100.0, 1 / 20.0);

    /** The standard of the first stage over a number of steps. */
    static Pretrained pretrained(Modality modality, long steps) {
        return new Pretrained(
                standard(
                        modality,
                        PRETRAINING.over(steps, PRETRAINING.recipe().rate().highest())),
                null);
    }

    /** The standard of the second stage over a number of steps, with teachers of which one looks at RGB. */
    static Distilled distilled(Map<Modality, String> teachers, long steps) {
        String rgb = teachers.get(Modality.RGB);
        if (rgb == null) {
            throw new IllegalArgumentException("no teacher looks at rgb; name one that does, or a model to start from");
        }
        Map<Modality, Double> weights = new TreeMap<>();
        teachers.keySet().forEach(modality -> weights.put(modality, 1.0));
        Distillation stage = Distillation.defaults()
                .withWeights(weights)
                .withRecipe(
                        DISTILLATION.over(steps, DISTILLATION.recipe().rate().highest()));
        return new Distilled(teachers, stage, rgb, Disturbance.NONE);
    }

    /**
     * Reads a model's plan.
     *
     * @param before modalities of the models before it, by their names
     */
    static ModelPlan read(Fields fields, Map<String, Modality> before) {
        return switch (fields.text("kind")) {
            case "random" -> new Untrained(modality(fields));
            case "pretrained" -> new Pretrained(stage(fields), start(fields, before));
            case "distilled" -> distilled(fields, before);
            case "startup" -> {
                String teacher = fields.text("teacher");
                Modality seen = require(fields.place("teacher"), teacher, before);
                if (!seen.equals(modality(fields))) {
                    throw new IllegalArgumentException(fields.place("teacher") + " looks at " + seen
                            + "; name one that looks at " + modality(fields));
                }
                yield new SelfTrained(stage(fields), teacher);
            }
            case String other ->
                throw new IllegalArgumentException(fields.place("kind") + " is '" + other
                        + "'; pass one of random, pretrained, distilled, startup");
        };
    }

    private static Modality modality(Fields fields) {
        return fields.word("modality", Modality.RGB, Modality::of);
    }

    private static @Nullable String start(Fields fields, Map<String, Modality> before) {
        if (!fields.has("start")) {
            return null;
        }
        String name = fields.text("start");
        if (!name.equals(WARM)) {
            require(fields.place("start"), name, before);
        }
        return name;
    }

    private static Modality require(String place, String name, Map<String, Modality> before) {
        Modality modality = before.get(name);
        if (modality == null) {
            throw new IllegalArgumentException(place + " names '" + name + "', which is no model before this one; "
                    + (before.isEmpty() ? "there is none" : "there are " + String.join(", ", before.keySet())));
        }
        return modality;
    }

    private static Pretraining stage(Fields fields) {
        Pretraining usual = standard(modality(fields), PRETRAINING.recipe());
        return new Pretraining(
                usual.modality(),
                fields.flag("targetReconstruction", true),
                fields.number("lambda", 1),
                fields.number("dropout", 0),
                fields.number("motionGain", usual.motionGain()),
                fields.flag("normaliseClips", usual.normaliseClips()),
                RecipeFields.read(fields, PRETRAINING));
    }

    private static void writeStage(Map<String, Object> values, Pretraining stage) {
        Pretraining usual = standard(stage.modality(), stage.recipe());
        if (!stage.targetReconstruction()) {
            values.put("targetReconstruction", false);
        }
        if (stage.lambda() != 1) {
            values.put("lambda", stage.lambda());
        }
        if (stage.dropout() != 0) {
            values.put("dropout", stage.dropout());
        }
        if (stage.motionGain() != usual.motionGain()) {
            values.put("motionGain", stage.motionGain());
        }
        if (stage.normaliseClips() != usual.normaliseClips()) {
            values.put("normaliseClips", stage.normaliseClips());
        }
        RecipeFields.write(values, stage.recipe(), PRETRAINING);
    }

    /** Little of a patch of pictures or heat maps moves, and without the gain that is learned very late; flow is motion already. */
    private static Pretraining standard(Modality modality, Recipe recipe) {
        Pretraining plain = new Pretraining(modality, true, 1, 0, recipe);
        return modality.equals(Modality.FLOW) ? plain : plain.withMotionGain(4);
    }

    private static Distilled distilled(Fields fields, Map<String, Modality> before) {
        Map<Modality, String> teachers = new TreeMap<>();
        for (String name : fields.list("teachers", String.class, List.of())) {
            Modality modality = require(fields.place("teachers"), name, before);
            String other = teachers.put(modality, name);
            if (other != null) {
                throw new IllegalArgumentException(fields.place("teachers") + " names '" + other + "' and '" + name
                        + "', which both look at " + modality + "; name one of each modality");
            }
        }
        if (teachers.isEmpty()) {
            throw new IllegalArgumentException(fields.place("teachers") + " names none; name a model before this one");
        }
        String given = start(fields, before);
        String start = given == null ? teachers.get(Modality.RGB) : given;
        if (start == null || !(start.equals(WARM) || Modality.RGB.equals(before.get(start)))) {
            throw new IllegalArgumentException(fields.place("start")
                    + " names no RGB model; the student starts from one, or from its RGB teacher");
        }
        Map<Modality, Double> weights = new TreeMap<>();
        teachers.keySet().forEach(modality -> weights.put(modality, 1.0));
        fields.numbers("weights").forEach((id, weight) -> {
            Modality modality = Modality.of(id);
            if (!teachers.containsKey(modality)) {
                throw new IllegalArgumentException(
                        fields.place("weights") + " has " + id + ", which no teacher looks at; leave it away");
            }
            weights.put(modality, weight);
        });
        Distillation stage = Distillation.defaults()
                .withWeights(weights)
                .withMaskedTeachers(fields.flag("maskedTeachers", true))
                .withRecipe(RecipeFields.read(fields, DISTILLATION));
        return new Distilled(
                teachers, stage, start, new Disturbance(fields.number("noise", 0), fields.number("missing", 0)));
    }

    private static Map<String, Object> named(String kind, Modality modality) {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("kind", kind);
        values.put("modality", modality.id());
        return values;
    }

    /** Whether training looks at labelled source clips. */
    default boolean needsSource() {
        return this instanceof Pretrained || this instanceof SelfTrained;
    }

    /** Whether training looks at unlabelled target clips. */
    default boolean needsTarget() {
        return !(this instanceof Untrained);
    }

    /** Whether training begins with the student that comes with Tessera. */
    default boolean startsWarm() {
        return switch (this) {
            case Pretrained pretrained -> WARM.equals(pretrained.start);
            case Distilled distilled -> WARM.equals(distilled.start);
            case SelfTrained trained -> false;
            case Untrained untrained -> false;
        };
    }

    /** Whether something is wrong with the clips that its teachers see. */
    default boolean isDisturbed() {
        return this instanceof Distilled distilled && !distilled.disturbance.equals(Disturbance.NONE);
    }

    /** Everything that the named models look at, and RGB. */
    static Set<Modality> modalities(Iterable<ModelPlan> models) {
        Set<Modality> all = new TreeSet<>(Set.of(Modality.RGB));
        models.forEach(model -> all.add(model.modality()));
        return all;
    }

    /** A model and all that it is made of, directly or not. */
    static List<ModelPlan> ancestry(String name, Map<String, ModelPlan> models) {
        ModelPlan model = Objects.requireNonNull(models.get(name), name);
        List<ModelPlan> all = new ArrayList<>(List.of(model));
        model.needs().forEach(need -> all.addAll(ancestry(need, models)));
        return all;
    }

    /** A model's own settings with those of what it is made of, by which it is told whether a file was made so. */
    static Map<String, Object> whole(String name, Map<String, ModelPlan> models) {
        ModelPlan model = Objects.requireNonNull(models.get(name), name);
        Map<String, Object> all = new LinkedHashMap<>(model.values());
        List<String> needs = new ArrayList<>(model.needs());
        if (!needs.isEmpty()) {
            Map<String, Object> from = new LinkedHashMap<>();
            needs.forEach(need -> from.put(need, whole(need, models)));
            all.put("from", from);
        }
        return all;
    }
}
