package tessera.distill.demo.mmd;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.data.View;
import tessera.distill.demo.DemoFiles;
import tessera.distill.demo.Machine;
import tessera.distill.demo.mmd.MmdPlan.Taught;
import tessera.distill.demo.mmd.MmdResult.Calibration;
import tessera.distill.demo.mmd.MmdResult.Cost;
import tessera.distill.demo.mmd.MmdResult.Scaled;
import tessera.distill.demo.mmd.MmdResult.Score;
import tessera.distill.demo.mmd.MmdResult.SeedResult;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.evaluation.Evaluation;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.HeadLogits;
import tessera.distill.evaluation.MultiView;
import tessera.distill.train.Ensemble;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.distill.train.Supervised;
import tessera.distill.train.Task;
import tessera.distill.train.TeacherFile;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Patches;
import tessera.tensor.io.FolderLock;

/**
 * Multimodal distillation on EgoSim: renders clips of the same classes for training, for what must be fitted on other clips, and for
 * judging; trains a teacher of each modality, of which RGB's is the baseline too, and an RGB student of each choice of teachers and
 * weights, with as many steps and clips as the baseline; and judges accuracy and calibration of all.
 *
 * <p>The last weights of each stage are the ones that count. Nothing is selected, so no test clip can be selected on.
 */
public final class MmdDemo {
    /** Name of the settings in a demo's folder. */
    public static final String PLAN = "plan.json";

    /** Name of the results in a demo's folder. */
    public static final String RESULTS = "results.json";

    private static final Masking UNMASKED = Masking.of(0, 1);

    private final MmdPlan plan;
    private final Path out;
    private final RunContext context;

    private MmdDemo(MmdPlan plan, Path out, RunContext context) {
        this.plan = plan;
        this.out = out;
        this.context = context;
    }

    /**
     * Runs a demo. What an earlier call with the same plan finished is not trained again, and what it left unfinished is
     * resumed; models are judged anew.
     *
     * @param out folder for models, logs and results; it may hold the same demo, or be absent
     * @throws IllegalArgumentException if the folder holds another demo, or another run writes into it
     * @throws StopSignal.Stopped if the context's signal asked for it; training has saved its state
     */
    public static MmdResult run(MmdPlan plan, Path out, RunContext context) {
        try (FolderLock held = DemoFiles.hold(out)) {
            return new MmdDemo(plan, out, context).run();
        }
    }

    private MmdResult run() {
        long began = System.nanoTime();
        double worked = processorSeconds();
        DemoFiles.claim(out, PLAN, plan.settings(), plan.defaults());
        List<SeedResult> seeds = new ArrayList<>();
        for (long seed : plan.seeds()) {
            EgoSim sim = new EgoSim(plan.geometry(), seed);
            try (ClipSet heldOut =
                    render(sim, "held-out", plan.clips().train(), plan.clips().heldOut())) {
                train(sim, seed, heldOut);
                seeds.add(judge(sim, seed, heldOut));
            }
        }
        MmdResult result = new MmdResult(
                Machine.here(),
                plan,
                seeds,
                costs(plan.seeds().getFirst()),
                tenths((System.nanoTime() - began) / 1e9),
                tenths(processorSeconds() - worked));
        DemoFiles.write(out.resolve(RESULTS), result.json() + "\n");
        return result;
    }

    private static double tenths(double seconds) {
        return Math.round(seconds * 10) / 10.0;
    }

    private static double processorSeconds() {
        return ProcessHandle.current()
                        .info()
                        .totalCpuDuration()
                        .orElse(Duration.ZERO)
                        .toMillis()
                / 1e3;
    }

    /** Clips of every class, in all modalities. */
    private ClipSet render(EgoSim sim, String what, long first, int perClass) {
        return render(sim, what, MmdPlan.SPLIT, first, perClass, plan.modalities());
    }

    private ClipSet render(EgoSim sim, String what, Split split, long first, int perClass, Set<Modality> modalities) {
        long clips = (long) perClass * EgoSim.classes(split).size();
        try (Task task = context.task("render " + what + " clips", Task.Unit.CLIPS, clips)) {
            return EgoSimClips.render(sim, split, List.of(plan.domain()), first, perClass, modalities, task::advance);
        }
    }

    // ---------------------------------------------------------------------------------------------------- training

    static Path teacherFolder(Path out, long seed, Modality modality) {
        return out.resolve("seed-" + seed).resolve("teacher-" + modality);
    }

    static Path studentFolder(Path out, long seed, Taught student) {
        return out.resolve("seed-" + seed).resolve("student-" + student.id());
    }

    private Path teacher(long seed, Modality modality) {
        return teacherFolder(out, seed, modality).resolve(Supervised.MODEL);
    }

    private Path student(long seed, Taught student) {
        return studentFolder(out, seed, student).resolve(Ensemble.STUDENT);
    }

    private boolean trained(long seed) {
        return plan.modalities().stream().allMatch(modality -> Files.exists(teacher(seed, modality)))
                && plan.students().stream().allMatch(student -> Files.exists(student(seed, student)));
    }

    static Path pretrainingFolder(Path out, long seed) {
        return out.resolve("seed-" + seed).resolve("pretraining");
    }

    /** The file that the RGB models start from, trained where it is not there, or null for none. */
    private @Nullable Path pretrained(EgoSim sim, long seed) {
        MmdPlan.Pretraining pretraining = plan.pretraining();
        if (pretraining == null) {
            return null;
        }
        Path folder = pretrainingFolder(out, seed);
        if (Files.exists(folder.resolve(Supervised.MODEL))) {
            return folder.resolve(Supervised.MODEL);
        }
        try (ClipSet clips =
                render(sim, "pretraining", pretraining.split(), 0, pretraining.clips(), Set.of(Modality.RGB))) {
            Supervised stage = pretraining.stage();
            return stage.withRecipe(stage.recipe().withSeed(seed))
                    .run(plan.model(Modality.RGB, patches(Modality.RGB, FlowStats.NONE)), clips, null, folder, context);
        }
    }

    private void train(EgoSim sim, long seed, ClipSet heldOut) {
        if (trained(seed)) {
            return;
        }
        Path start = pretrained(sim, seed);
        FlowStats flow = plan.modalities().contains(Modality.FLOW)
                ? EgoSimClips.flowStats(
                        sim, MmdPlan.SPLIT, plan.domain(), plan.clips().flowStatistics())
                : FlowStats.NONE;
        try (ClipSet clips = render(sim, "training", 0, plan.clips().train())) {
            plan.teachers()
                    .forEach((modality, stage) -> stage.withRecipe(
                                    stage.recipe().withSeed(seed))
                            .run(
                                    plan.model(modality, patches(modality, flow)),
                                    clips,
                                    modality.equals(Modality.RGB) ? start : null,
                                    teacherFolder(out, seed, modality),
                                    context));
            for (Taught student : plan.students()) {
                List<TeacherFile> teachers = student.teachers().stream()
                        .map(modality -> TeacherFile.of(modality, teacher(seed, modality)))
                        .toList();
                Path cache = out.resolve("seed-" + seed).resolve("teachers");
                var lesson = new Ensemble.Lesson(teachers, clips, heldOut, start, cache);
                Ensemble stage = plan.distillation().withWeighting(student.weighting());
                stage.withRecipe(stage.recipe().withSeed(seed))
                        .run(
                                plan.model(Modality.RGB, patches(Modality.RGB, flow)),
                                lesson,
                                studentFolder(out, seed, student),
                                context);
            }
        }
    }

    private Patches patches(Modality modality, FlowStats flow) {
        MmdPlan.SwinSize size = plan.swins().get(modality);
        if (size == null) {
            return new Patches(1, 1, 1, 1, new double[] {0}, new double[] {1}); // a model of boxes has none
        }
        int grid = plan.geometry().side(modality) / size.patch();
        return new ModalityInput(plan.seen(), grid, size.tubelet(), flow).patches(modality);
    }

    // ------------------------------------------------------------------------------------------------------ judging

    /** What models make of a set of clips, in one number of views. */
    private List<HeadLogits> look(Path file, Modality modality, ClipSet clips, int views) {
        List<View> each = plan.how().test(plan.geometry(), plan.seen(), views, 1);
        try (Student student = Student.load(file, context.device(), context.compute())) {
            return MultiView.logits(student, UNMASKED, 0, clips, modality, each, context);
        }
    }

    private SeedResult judge(EgoSim sim, long seed, ClipSet heldOut) {
        Judge judge = new Judge();
        long first = (long) plan.clips().train() + plan.clips().heldOut();
        try (ClipSet test = render(sim, "test", first, plan.clips().test())) {
            int most = plan.compared();
            List<List<HeadLogits>> ofTest = new ArrayList<>();
            List<List<HeadLogits>> ofHeldOut = new ArrayList<>();
            Map<String, Path> students = new LinkedHashMap<>();
            students.put(MmdResult.BASELINE, teacher(seed, Modality.RGB));
            plan.students().forEach(student -> students.put(student.words(), student(seed, student)));
            for (Map.Entry<String, Path> student : students.entrySet()) {
                List<HeadLogits> held = look(student.getValue(), Modality.RGB, heldOut, most);
                for (int views : plan.views()) {
                    List<HeadLogits> seen = look(student.getValue(), Modality.RGB, test, views);
                    if (views == most && student.getKey().equals(MmdResult.BASELINE)) {
                        ofTest.add(seen);
                        ofHeldOut.add(held);
                    }
                    judge.add(student.getKey(), views, test, seen, heldOut, views == most ? held : List.of(), true);
                }
            }
            for (Modality modality : plan.modalities()) {
                if (!modality.equals(Modality.RGB)) {
                    ofTest.add(look(teacher(seed, modality), modality, test, most));
                    ofHeldOut.add(look(teacher(seed, modality), modality, heldOut, most));
                    String name = MmdPlan.words(modality) + " teacher";
                    judge.add(name, most, test, ofTest.getLast(), heldOut, ofHeldOut.getLast(), false);
                }
            }
            judge.add(MmdResult.TOGETHER, most, test, mean(ofTest), heldOut, mean(ofHeldOut), true);
        }
        return new SeedResult(seed, judge.scores, judge.reliabilities);
    }

    /** The mean of models' logits. */
    private static List<HeadLogits> mean(List<List<HeadLogits>> models) {
        List<HeadLogits> heads = new ArrayList<>();
        for (HeadLogits like : models.getFirst()) {
            double[][] values = new double[like.clips()][like.labels().size()];
            for (List<HeadLogits> model : models) {
                HeadLogits own = model.stream()
                        .filter(head -> head.head().equals(like.head()))
                        .findFirst()
                        .orElseThrow();
                for (int i = 0; i < values.length; i++) {
                    for (int c = 0; c < values[i].length; c++) {
                        values[i][c] += own.values()[i][c] / models.size();
                    }
                }
            }
            heads.add(new HeadLogits(like.head(), like.labels(), values));
        }
        return heads;
    }

    /** Collects the scores of one seed. */
    private static final class Judge {
        final List<Score> scores = new ArrayList<>();
        final List<Calibration> reliabilities = new ArrayList<>();

        void add(
                String model,
                int views,
                ClipSet test,
                List<HeadLogits> seen,
                ClipSet heldOut,
                List<HeadLogits> held,
                boolean draws) {
            Map<String, Double> temperatures =
                    held.isEmpty() ? Map.of() : Evaluation.temperatures(held, Evaluation.labels(heldOut, held));
            Evaluation evaluation =
                    Evaluation.of(seen, Evaluation.labels(test, seen), temperatures, Evaluation.Tail.NONE);
            Evaluation.OfHead verb = evaluation.head(EgoSimClips.VERB).orElseThrow();
            Evaluation.OfHead noun = evaluation.head(EgoSimClips.NOUN).orElseThrow();
            List<Scaled> scaled = new ArrayList<>();
            for (Evaluation.OfHead head : List.of(verb, noun)) {
                Evaluation.Scaled at = head.scaled();
                if (at != null) {
                    scaled.add(new Scaled(
                            head.head(), at.temperature(), at.reliability().expectedCalibrationError()));
                    if (draws) {
                        reliabilities.add(new Calibration(model, head.head(), head.reliability()));
                    }
                }
            }
            scores.add(new Score(
                    model,
                    views,
                    test.size(),
                    evaluation.accuracy().value(),
                    verb.top1().value(),
                    noun.top1().value(),
                    verb.reliability().expectedCalibrationError(),
                    noun.reliability().expectedCalibrationError(),
                    scaled));
        }
    }

    private List<Cost> costs(long seed) {
        List<Cost> costs = new ArrayList<>();
        double all = 0;
        double withoutAttention = 0;
        for (Modality modality : plan.modalities()) {
            try (Student student = Student.load(teacher(seed, modality), context.device(), context.compute())) {
                Gflops own = Gflops.of(student, UNMASKED);
                all += own.all();
                withoutAttention += own.withoutAttention();
                if (modality.equals(Modality.RGB)) {
                    costs.addFirst(new Cost(MmdResult.BASELINE, own));
                    plan.students().forEach(taught -> costs.add(new Cost(taught.words(), own)));
                } else {
                    costs.add(new Cost(MmdPlan.words(modality) + " teacher", own));
                }
            }
        }
        costs.add(new Cost(MmdResult.TOGETHER, new Gflops(all, withoutAttention)));
        return costs;
    }
}
