package tessera.distill.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoPlan.Clips;
import tessera.distill.demo.DemoPlan.CostGrid;
import tessera.distill.demo.DemoPlan.Difference;
import tessera.distill.demo.DemoPlan.Evaluation;
import tessera.distill.demo.DemoPlan.Gates;
import tessera.distill.demo.DemoPlan.Line;
import tessera.distill.demo.ModelPlan.Distilled;
import tessera.distill.demo.ModelPlan.Disturbance;
import tessera.distill.demo.ModelPlan.Pretrained;
import tessera.distill.egosim.Domain;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.nn.MaskStrategy;

/**
 * The plans that come with the program, by name. Settings were chosen while looking at seeds from 1 on, where quick and warm-start begin.
 * The tables of full and ablations are of seeds from 11 on, which no choice has seen.
 */
public final class ShippedPlans {
    /** Their names. */
    public static final List<String> NAMES = List.of("quick", "full", "ablations", "warm-start");

    /** Four time slots of four frames, and cells of 12 pixels: smaller ones cost four times as much and learn later. */
    static final Geometry GEOMETRY = new Geometry(16, 84, 28);

    static final int GRID = 7;
    static final int TUBELET = 4;
    static final ModelSize SIZE = new ModelSize(128, 4, 4, 64, 1, 2);
    static final List<Domain> TARGETS = List.of(Domain.KITCHEN, Domain.WORKSHOP);

    private static final long UNSEEN = 11;

    private static final String RANDOM = "random";
    private static final String DISTILLED = "distilled";
    private static final String UNDISTILLED_LINE = "undistilled RGB";
    private static final String DISTILLED_LINE = "distilled RGB";
    private static final String RANDOM_LINE = "random encoder";
    private static final double RATIO = .75;
    private static final int ENSEMBLE = 2;
    private static final int TARGET_CLIPS = 60;

    private ShippedPlans() {}

    /**
     * A plan by its name, with the seeds that it is meant for.
     *
     * @throws IllegalArgumentException if there is none
     */
    public static DemoPlan of(String name) {
        return of(name, name.equals("full") || name.equals("ablations") ? UNSEEN : 1);
    }

    /** The name of the plan that another is, whatever that is called, with as many seeds of any; empty if it is none of them. */
    public static Optional<String> like(DemoPlan plan) {
        return NAMES.stream()
                .filter(name -> of(name).seeds().size() == plan.seeds().size() && of(name).isLike(plan))
                .findFirst();
    }

    /**
     * A plan by its name.
     *
     * @param seed of its first replica; others follow
     * @throws IllegalArgumentException if there is none
     */
    public static DemoPlan of(String name, long seed) {
        return switch (name) {
            case "quick" ->
                new DemoPlan(
                        name,
                        seeds(seed, 1),
                        GEOMETRY,
                        GRID,
                        TUBELET,
                        SIZE,
                        TARGETS,
                        new Clips(60, TARGET_CLIPS, 25, 30, 60),
                        models(450, 800),
                        evaluation(200, mainLines(), mainDifferences(), costs()));
            case "full" -> full(seeds(seed, 5));
            case "ablations" -> ablations(seeds(seed, 5));
            case "warm-start" ->
                new DemoPlan(
                        name,
                        seeds(seed, 1),
                        GEOMETRY,
                        14,
                        TUBELET,
                        SIZE,
                        List.of(Domain.KITCHEN),
                        new Clips(100, TARGET_CLIPS, 25, 30, 60),
                        models(ModelPlan::pretrained, 600, 2500),
                        evaluation(200, mainLines(), mainDifferences(), costs()));
            default ->
                throw new IllegalArgumentException("there is no plan '" + name + "'; pass one of "
                        + String.join(", ", NAMES) + ", or a file as --show-plan prints it");
        };
    }

    private static List<Long> seeds(long first, int count) {
        return LongStream.range(first, first + count).boxed().toList();
    }

    /** The main table, and the two controls that tell distillation from more training. */
    private static DemoPlan full(List<Long> seeds) {
        long pretraining = 600;
        long distillation = 1000;
        Map<String, ModelPlan> models = models(pretraining, distillation);
        List<Line> controls = new ArrayList<>();
        controls(models, controls, pretraining, distillation);
        List<Line> lines = new ArrayList<>(mainLines());
        lines.addAll(2, controls);
        List<Difference> differences = new ArrayList<>(mainDifferences());
        controls.forEach(control -> differences.add(minus(control)));
        return new DemoPlan(
                "full",
                seeds,
                GEOMETRY,
                GRID,
                TUBELET,
                SIZE,
                TARGETS,
                new Clips(60, 120, 30, 60, 120),
                models,
                evaluation(600, lines, differences, costs()));
    }

    /** As many steps without a teacher, and as many with RGB alone as one. */
    private static void controls(Map<String, ModelPlan> models, List<Line> lines, long pretraining, long distillation) {
        // A step of the second stage sees 16 clips, one of the first 32 pairs: as many clips in all.
        add(
                models,
                lines,
                "rgb-longer",
                "RGB, pretraining of equal budget",
                pretrained(Modality.RGB, pretraining + distillation / 4));
        add(
                models,
                lines,
                "from-rgb",
                "taught by RGB alone (self-distillation)",
                student(distillation, "", Modality.RGB));
    }

    private static Difference minus(Line line) {
        return new Difference("distilled minus: " + line.label(), DISTILLED_LINE, line.label());
    }

    private static Map<String, ModelPlan> models(long pretraining, long distillation) {
        return models(ShippedPlans::pretrained, pretraining, distillation);
    }

    private static Map<String, ModelPlan> models(
            BiFunction<Modality, Long, Pretrained> first, long pretraining, long distillation) {
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put(RANDOM, new ModelPlan.Untrained(Modality.RGB));
        Modality.ALL.forEach(modality -> models.put(modality.id(), first.apply(modality, pretraining)));
        models.put(DISTILLED, student(distillation, "", Modality.RGB, Modality.FLOW, Modality.POSE));
        return models;
    }

    /**
     * A model of the first stage. From random weights, RGB learns nothing of reconstruction in these steps if whole tubes are masked and
     * each patch is normalised: so its masks are drawn for each slot (Feichtenhofer, Fan, Li and He, NeurIPS 2022), and light and dark
     * count; half the batch in twice the steps also tells the classes apart sooner.
     *
     * @param steps of 32 pairs
     */
    private static Pretrained pretrained(Modality modality, long steps) {
        if (!modality.equals(Modality.RGB)) {
            return ModelPlan.pretrained(modality, steps);
        }
        Pretraining stage = ModelPlan.pretrained(modality, 2 * steps).stage();
        return new Pretrained(
                stage.withNormaliseClips(true)
                        .withRecipe(stage.recipe().withBatch(16).withStrategy(MaskStrategy.perSlot())),
                null);
    }

    /**
     * A student.
     *
     * @param suffix behind the modality in the teachers' names
     */
    private static Distilled student(long steps, String suffix, Modality... teachers) {
        Map<Modality, String> names = new TreeMap<>();
        for (Modality modality : teachers) {
            names.put(modality, modality.id() + suffix);
        }
        return ModelPlan.distilled(names, steps);
    }

    private static Evaluation evaluation(
            int episodes, List<Line> lines, List<Difference> differences, @Nullable CostGrid costs) {
        Gates gates = new Gates(Modality.RGB.id(), UNDISTILLED_LINE + ", validation", RANDOM_LINE + ", validation");
        return new Evaluation(5, List.of(1, 5), 15, episodes, lines, differences, costs, gates);
    }

    private static CostGrid costs() {
        return new CostGrid(DISTILLED, List.of(0.0, .5, .75, .9), List.of(1, 2, 4), 30);
    }

    private static Line line(String label, String model) {
        return new Line(label, model, Split.TEST, RATIO, ENSEMBLE);
    }

    private static List<Line> mainLines() {
        List<Line> lines = new ArrayList<>(List.of(
                line(RANDOM_LINE, RANDOM),
                line(UNDISTILLED_LINE, "rgb"),
                line(DISTILLED_LINE, DISTILLED),
                line("flow teacher", "flow"),
                line("pose teacher", "pose")));
        costs().cells().forEach(masking -> {
            if (masking.ratio() != RATIO || masking.ensemble() != ENSEMBLE) {
                String words = masking.ratio() == 0
                        ? ", unmasked"
                        : ", ρ " + DemoTable.number(masking.ratio()) + ", P " + masking.ensemble();
                lines.add(new Line(DISTILLED_LINE + words, DISTILLED, Split.TEST, masking.ratio(), masking.ensemble()));
            }
        });
        lines.addAll(validation());
        return lines;
    }

    private static List<Line> validation() {
        return List.of(
                new Line(RANDOM_LINE + ", validation", RANDOM, Split.VALIDATION, RATIO, ENSEMBLE),
                new Line(UNDISTILLED_LINE + ", validation", "rgb", Split.VALIDATION, RATIO, ENSEMBLE),
                new Line(DISTILLED_LINE + ", validation", DISTILLED, Split.VALIDATION, RATIO, ENSEMBLE));
    }

    private static List<Difference> mainDifferences() {
        return List.of(
                new Difference("undistilled minus random", UNDISTILLED_LINE, RANDOM_LINE),
                new Difference("distilled minus undistilled", DISTILLED_LINE, UNDISTILLED_LINE),
                new Difference("distilled, masked minus unmasked", DISTILLED_LINE, DISTILLED_LINE + ", unmasked"));
    }

    /** The controls that the papers' tables have, and those that a reader asks for. */
    private static DemoPlan ablations(List<Long> seeds) {
        long pretraining = 400;
        long distillation = 800;
        Map<String, ModelPlan> models = models(pretraining, distillation);
        List<Line> lines = new ArrayList<>(List.of(
                line(RANDOM_LINE, RANDOM),
                line(UNDISTILLED_LINE, "rgb"),
                line("flow teacher", "flow"),
                line("pose teacher", "pose"),
                line(DISTILLED_LINE, DISTILLED)));
        controls(models, lines, pretraining, distillation);
        add(
                models,
                lines,
                "from-rgb-flow",
                "taught by RGB and flow",
                student(distillation, "", Modality.RGB, Modality.FLOW));
        add(
                models,
                lines,
                "from-rgb-pose",
                "taught by RGB and pose",
                student(distillation, "", Modality.RGB, Modality.POSE));
        objectives(models, lines, pretraining, distillation);
        Distilled all = student(distillation, "", Modality.RGB, Modality.FLOW, Modality.POSE);
        add(
                models,
                lines,
                "separate",
                "student of weights of its own",
                new Distilled(all.teachers(), all.stage(), RANDOM, Disturbance.NONE));
        add(models, lines, "unmasked", "distilled at ρ 0", with(all, 0, true, Disturbance.NONE));
        lines.add(new Line("distilled at ρ 0, judged unmasked", "unmasked", Split.TEST, 0, 1));
        lines.add(new Line(DISTILLED_LINE + ", judged unmasked", DISTILLED, Split.TEST, 0, 1));
        add(models, lines, "teachers-unmasked", "teachers see every token", with(all, RATIO, false, Disturbance.NONE));
        add(models, lines, "noisy", "noise in flow and pose", with(all, RATIO, true, new Disturbance(1, 0)));
        add(models, lines, "missing", "half of flow and pose missing", with(all, RATIO, true, new Disturbance(0, .5)));
        Pretrained rgb = pretrained(Modality.RGB, distillation / 4);
        add(models, lines, "startup", "STARTUP", new ModelPlan.SelfTrained(rgb.stage(), "rgb"));
        for (String head : List.of("prototype", "cosine", DemoPlan.FINE_TUNED)) {
            for (String model : List.of("rgb", DISTILLED)) {
                lines.add(new Line(
                        (model.equals("rgb") ? UNDISTILLED_LINE : DISTILLED_LINE) + ", " + head,
                        model,
                        Split.TEST,
                        RATIO,
                        ENSEMBLE,
                        DemoPlan.PAIRS,
                        head,
                        ENSEMBLE));
            }
        }
        for (MaskStrategy masks : List.of(MaskStrategy.tubes(), MaskStrategy.pairs(), MaskStrategy.partition())) {
            for (int views : List.of(1, ENSEMBLE)) {
                if (!masks.word().equals(DemoPlan.PAIRS) || views != ENSEMBLE) {
                    lines.add(new Line(
                            "%s, masks %s, support views %d".formatted(DISTILLED_LINE, masks.word(), views),
                            DISTILLED,
                            Split.TEST,
                            RATIO,
                            ENSEMBLE,
                            masks.word(),
                            DemoPlan.LOGISTIC,
                            views));
                }
            }
        }
        List<Difference> differences = new ArrayList<>();
        differences.add(new Difference("distilled minus undistilled", DISTILLED_LINE, UNDISTILLED_LINE));
        differences.add(new Difference(
                "distilled, masked minus unmasked", DISTILLED_LINE, DISTILLED_LINE + ", judged unmasked"));
        lines.forEach(line -> {
            if (line.isPlain()
                    && line.maskRatio() == RATIO
                    && !line.model().equals(DISTILLED)
                    && !line.model().equals("rgb")) {
                differences.add(minus(line));
            }
        });
        lines.addAll(validation());
        return new DemoPlan(
                "ablations",
                seeds,
                GEOMETRY,
                GRID,
                TUBELET,
                SIZE,
                TARGETS,
                new Clips(80, 120, 30, 60, 120),
                models,
                evaluation(600, lines, differences, null));
    }

    private static void add(
            Map<String, ModelPlan> models, List<Line> lines, String name, String label, ModelPlan model) {
        models.put(name, model);
        lines.add(line(label, name));
    }

    /** The terms of the first stage's loss: each with teachers of its own and the student of these. */
    private static void objectives(
            Map<String, ModelPlan> models, List<Line> lines, long pretraining, long distillation) {
        record Terms(String name, String words, boolean target, double classes) {}
        for (Terms terms : List.of(
                new Terms("s", "reconstruction of source alone", false, 0),
                new Terms("s-ce", "source and classes", false, 1),
                new Terms("s-t", "source and target, no classes", true, 0))) {
            for (Modality modality : Modality.ALL) {
                Pretraining standard = pretrained(modality, pretraining).stage();
                models.put(
                        modality + "-" + terms.name,
                        new Pretrained(
                                new Pretraining(
                                        modality,
                                        terms.target,
                                        terms.classes,
                                        standard.dropout(),
                                        standard.motionGain(),
                                        standard.normaliseClips(),
                                        standard.recipe()),
                                null));
            }
            lines.add(line("undistilled, " + terms.words, "rgb-" + terms.name));
            add(
                    models,
                    lines,
                    DISTILLED + "-" + terms.name,
                    "distilled, " + terms.words,
                    student(distillation, "-" + terms.name, Modality.RGB, Modality.FLOW, Modality.POSE));
        }
    }

    private static Distilled with(Distilled like, double maskRatio, boolean maskedTeachers, Disturbance disturbance) {
        return new Distilled(
                like.teachers(),
                like.stage()
                        .withMaskedTeachers(maskedTeachers)
                        .withRecipe(like.stage().recipe().withMaskRatio(maskRatio)),
                like.start(),
                disturbance);
    }
}
