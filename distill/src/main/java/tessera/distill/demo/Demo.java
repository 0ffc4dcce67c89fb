package tessera.distill.demo;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Comparison;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.Difference;
import tessera.distill.demo.DemoResult.Model;
import tessera.distill.demo.DemoResult.Score;
import tessera.distill.demo.DemoResult.SeedResult;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.train.Distillation;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;

/**
 * All stages of MM-CDFSL on EgoSim: renders clips, pretrains one model per modality, distils them into the RGB student,
 * and judges everything by few-shot episodes of test classes.
 *
 * <p>The last weights of each stage are the ones that count. Nothing is selected, so no test clip can be selected on.
 */
public final class Demo {
    /** Name of the settings in a demo's folder. */
    public static final String PLAN = "plan.json";

    /** Name of the results in a demo's folder. */
    public static final String RESULTS = "results.json";

    private static final int LATENCY_WARM_UP = 3;

    private final DemoPlan plan;
    private final Path out;
    private final RunContext context;

    private Demo(DemoPlan plan, Path out, RunContext context) {
        this.plan = plan;
        this.out = out;
        this.context = context;
    }

    /**
     * Runs a demo. What an earlier call with the same plan finished is not trained again, and what it left unfinished is
     * resumed; models are judged anew.
     *
     * @param out folder for models, logs and results; it may hold the same demo, or be absent
     * @throws IllegalArgumentException if the folder holds a demo with another plan
     * @throws StopSignal.Stopped if the context's signal asked for it; training has saved its state
     */
    public static DemoResult run(DemoPlan plan, Path out, RunContext context) {
        return new Demo(plan, out, context).run();
    }

    static String lower(Enum<?> name) {
        return name.name().toLowerCase(Locale.ROOT);
    }

    private DemoResult run() {
        long began = System.nanoTime();
        DemoFiles.claim(out, PLAN, plan.settings(), plan.defaults());
        List<SeedResult> seeds = new ArrayList<>();
        for (long seed : plan.seeds()) {
            EgoSim sim = new EgoSim(plan.geometry(), seed);
            train(sim, seed);
            seeds.add(judge(sim, seed));
        }
        List<Cost> costs = costs(plan.seeds().getFirst());
        double seconds = Math.round((System.nanoTime() - began) / 1e8) / 10.0;
        DemoResult result = new DemoResult(Machine.here(), plan, seeds, costs, seconds);
        DemoFiles.write(out.resolve(RESULTS), result.json() + "\n");
        return result;
    }

    /** Trains what is not trained yet; the teachers and the undistilled student become students to judge. */
    private void train(EgoSim sim, long seed) {
        DemoFolder folder = new DemoFolder(out, seed);
        Map<Modality, Path> teachers = new TreeMap<>();
        for (Modality modality : plan.pretraining().keySet()) {
            teachers.put(modality, folder.pretrained(modality));
        }
        if (!Files.exists(folder.student(Model.DISTILLED, Modality.RGB))) {
            int flowClips = plan.clips().flowStatistics();
            try (ClipSet source = render(
                            sim, Split.SOURCE_TRAIN, Domain.SOURCE, plan.clips().source(), Modality.ALL);
                    ClipSet target = render(
                            sim,
                            Split.TARGET_UNLABELLED,
                            plan.target(),
                            plan.clips().target(),
                            Modality.ALL)) {
                ModalityInput input = new ModalityInput(
                        plan.geometry(),
                        plan.grid(),
                        plan.tubelet(),
                        EgoSimClips.flowStats(sim, Split.SOURCE_TRAIN, Domain.SOURCE, flowClips));
                plan.pretraining()
                        .forEach((modality, stage) -> stage.withRecipe(
                                        stage.recipe().withSeed(seed))
                                .run(
                                        input.config(modality, plan.size()),
                                        source,
                                        target,
                                        null,
                                        folder.pretraining(modality),
                                        context));
                Distillation stage = plan.distillation();
                stage.withRecipe(stage.recipe().withSeed(seed)).run(teachers, target, folder.distillation(), context);
            }
        }
        teachers.forEach((modality, file) -> {
            Model model = modality.equals(Modality.RGB) ? Model.UNDISTILLED : Model.TEACHER;
            Path student = folder.student(model, modality);
            DemoFiles.create(student.resolveSibling(""));
            Distillation.saveUndistilled(file, student);
        });
    }

    private ClipSet render(EgoSim sim, Split split, Domain domain, int perClass, Set<Modality> modalities) {
        String title = "render " + lower(split).replace('_', ' ');
        long clips = (long) perClass * EgoSim.classes(split).size();
        try (Task task = context.task(title, Task.Unit.CLIPS, clips)) {
            return EgoSimClips.render(sim, split, domain, perClass, modalities, task::advance);
        }
    }

    /** A model under one way of masking. */
    private record Subject(Model model, Modality modality, double maskRatio, int ensemble, Split split) {
        Score score(int shots, double[] accuracies) {
            return new Score(model, modality, maskRatio, ensemble, split, shots, Accuracy.of(accuracies));
        }
    }

    private SeedResult judge(EgoSim sim, long seed) {
        DemoPlan.Evaluation how = plan.evaluation();
        // The features of all clips of a split, in the order of judgement.
        Map<Subject, double[][][]> features = new LinkedHashMap<>();
        List<Score> scores = new ArrayList<>();
        List<Difference> differences = new ArrayList<>();
        Set<Modality> modalities = plan.pretraining().keySet();
        try (ClipSet validation = render(
                        sim, Split.VALIDATION, plan.target(), plan.clips().validation(), Set.of(Modality.RGB));
                ClipSet test =
                        render(sim, Split.TEST, plan.target(), plan.clips().test(), modalities)) {
            look(features, seed, compared(Model.UNDISTILLED, Modality.RGB, Split.TEST), test);
            lookThroughEveryMask(features, seed, test);
            for (Modality modality : modalities) {
                if (!modality.equals(Modality.RGB)) {
                    look(features, seed, compared(Model.TEACHER, modality, Split.TEST), test);
                }
            }
            for (Model model : List.of(Model.UNDISTILLED, Model.DISTILLED)) {
                look(features, seed, compared(model, Modality.RGB, Split.VALIDATION), validation);
            }
            long total = (long) how.shots().size() * how.episodes() * features.size();
            try (Task task = context.task("few-shot episodes", Task.Unit.EPISODES, total)) {
                long done = 0;
                for (int shots : how.shots()) {
                    List<Episode> onTest = episodes(test, shots, seed);
                    List<Episode> onValidation = episodes(validation, shots, seed);
                    Map<Subject, double[]> accuracies = new HashMap<>();
                    for (Map.Entry<Subject, double[][][]> entry : features.entrySet()) {
                        Subject s = entry.getKey();
                        List<Episode> episodes = s.split() == Split.TEST ? onTest : onValidation;
                        double[] each = accuracies(entry.getValue(), episodes, task, done);
                        done += how.episodes();
                        accuracies.put(s, each);
                        scores.add(s.score(shots, each));
                    }
                    double[] distilled = of(accuracies, compared(Model.DISTILLED, Modality.RGB, Split.TEST));
                    double[] undistilled = of(accuracies, compared(Model.UNDISTILLED, Modality.RGB, Split.TEST));
                    differences.add(difference(Comparison.DISTILLED_MINUS_UNDISTILLED, shots, distilled, undistilled));
                    differences.add(
                            difference(Comparison.MASKED_MINUS_UNMASKED, shots, distilled, of(accuracies, unmasked())));
                }
            }
        }
        return new SeedResult(seed, scores, differences);
    }

    private static double[] of(Map<Subject, double[]> accuracies, Subject subject) {
        return Objects.requireNonNull(accuracies.get(subject), subject::toString);
    }

    /** A model under the masks with which models are compared. */
    private Subject compared(Model model, Modality modality, Split split) {
        DemoPlan.Evaluation how = plan.evaluation();
        return new Subject(model, modality, how.maskRatio(), how.ensemble(), split);
    }

    /** The distilled student under the grid's first mask. */
    private Subject unmasked() {
        Masking first = plan.evaluation().grid().getFirst();
        return new Subject(Model.DISTILLED, Modality.RGB, first.ratio(), first.ensemble(), Split.TEST);
    }

    private void look(Map<Subject, double[][][]> features, long seed, Subject s, ClipSet clips) {
        Masking masking = Masking.of(s.maskRatio(), s.ensemble());
        try (Student student = student(seed, s.model(), s.modality());
                Predictor predictor = Predictor.of(student, masking, seed)) {
            features.put(s, FeatureExtraction.extract(predictor, clips, s.modality(), context));
        }
    }

    /** The distilled student under every way of masking. A small ensemble is the beginning of a large one. */
    private void lookThroughEveryMask(Map<Subject, double[][][]> features, long seed, ClipSet test) {
        try (Student student = student(seed, Model.DISTILLED, Modality.RGB)) {
            for (double maskRatio : plan.evaluation().maskRatios()) {
                List<Integer> ensembles = plan.evaluation().ensemblesAt(maskRatio);
                Masking masking = Masking.of(maskRatio, ensembles.getLast());
                try (Predictor predictor = Predictor.of(student, masking, seed)) {
                    double[][][] all = FeatureExtraction.extract(predictor, test, Modality.RGB, context);
                    for (int ensemble : ensembles) {
                        features.put(
                                new Subject(Model.DISTILLED, Modality.RGB, maskRatio, ensemble, Split.TEST),
                                Arrays.copyOf(all, ensemble));
                    }
                }
            }
        }
    }

    private Student student(long seed, Model model, Modality modality) {
        Path file = new DemoFolder(out, seed).student(model, modality);
        return Student.load(file, context.device(), context.compute());
    }

    private List<Episode> episodes(ClipSet clips, int shots, long seed) {
        DemoPlan.Evaluation how = plan.evaluation();
        return new EpisodeSampler(clips.labels(), how.ways(), shots, how.queries(), seed).draw(how.episodes());
    }

    private static double[] accuracies(double[][][] features, List<Episode> episodes, Task task, long done) {
        return new FewShotEvaluation(features, new LogisticRegression())
                .evaluate(episodes, finished -> task.advance(done + finished)).episodes().stream()
                        .mapToDouble(EpisodeResult::accuracy)
                        .toArray();
    }

    private static Difference difference(Comparison what, int shots, double[] better, double[] worse) {
        double[] difference = new double[better.length];
        Arrays.setAll(difference, i -> better[i] - worse[i]);
        return new Difference(what, shots, Accuracy.of(difference));
    }

    /** Measures the grid in rounds, so that every cell of a round meets the same state of the machine. */
    private List<Cost> costs(long seed) {
        DemoPlan.Evaluation how = plan.evaluation();
        byte[] clip = new EgoSim(plan.geometry(), seed)
                .render(Split.TEST, plan.target(), 0, 0, Set.of(Modality.RGB))
                .rgb();
        List<Masking> grid = how.grid();
        List<Student.Session> cells = new ArrayList<>();
        try (Student student = student(seed, Model.DISTILLED, Modality.RGB)) {
            for (Masking masking : grid) {
                Student.Session session = student.session(1, masking);
                session.input().copyFrom(MemorySegment.ofArray(clip));
                cells.add(session);
            }
            double[][] milliseconds = time(cells, how.latencyRounds());
            List<Cost> costs = new ArrayList<>();
            for (int cell = 0; cell < cells.size(); cell++) {
                costs.add(cost(grid.get(cell), cells.get(cell), milliseconds[cell], milliseconds[0]));
            }
            return costs;
        } finally {
            cells.forEach(Student.Session::close);
        }
    }

    private double[][] time(List<Student.Session> cells, int rounds) {
        double[][] milliseconds = new double[cells.size()][rounds];
        try (Task task = context.task("latency", Task.Unit.ROUNDS, rounds)) {
            for (int round = -LATENCY_WARM_UP; round < rounds; round++) {
                for (int cell = 0; cell < cells.size(); cell++) {
                    long began = System.nanoTime();
                    cells.get(cell).features(round);
                    if (round >= 0) {
                        milliseconds[cell][round] = (System.nanoTime() - began) / 1e6;
                    }
                }
                task.advance(Math.max(0, round + 1));
            }
        }
        return milliseconds;
    }

    private static Cost cost(Masking masking, Student.Session session, double[] milliseconds, double[] unmasked) {
        double[] ratios = new double[milliseconds.length];
        Arrays.setAll(ratios, i -> unmasked[i] / milliseconds[i]);
        try (CostMeter meter = CostMeter.open()) {
            session.features(0);
            // The patch embedding is a linear layer too.
            double linear = meter.of("linear").flops() / 1e9;
            double attention = meter.of("attention").flops() / 1e9;
            return new Cost(
                    masking.ratio(),
                    masking.ensemble(),
                    median(milliseconds),
                    median(ratios),
                    linear + attention,
                    linear);
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }
}
