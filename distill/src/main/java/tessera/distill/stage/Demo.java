package tessera.distill.stage;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EgoSimClips;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.FlowStats;
import tessera.distill.egosim.Modality;
import tessera.distill.egosim.Split;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.report.Json;
import tessera.distill.report.Progress;
import tessera.distill.stage.DemoResult.Cost;
import tessera.distill.stage.DemoResult.Difference;
import tessera.distill.stage.DemoResult.Score;
import tessera.distill.stage.DemoResult.SeedResult;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;
import tessera.tensor.io.AtomicFile;

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

    static final String UNDISTILLED = "undistilled";
    static final String DISTILLED = "distilled";
    static final String TEACHER = "teacher";

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

    /** The folder of a seed's stage: {@code pretrain-rgb}, {@code distill}, ... */
    static Path stageFolder(Path out, long seed, String stage) {
        return out.resolve("seed-" + seed).resolve(stage);
    }

    static String pretrainStage(Modality modality) {
        return "pretrain-" + lower(modality);
    }

    static String lower(Enum<?> name) {
        return name.name().toLowerCase(Locale.ROOT);
    }

    private DemoResult run() {
        long began = System.nanoTime();
        claimFolder();
        List<SeedResult> seeds = new ArrayList<>();
        for (long seed : plan.seeds()) {
            EgoSim sim = new EgoSim(plan.geometry(), seed);
            Map<Modality, Path> teachers = train(sim, seed);
            seeds.add(judge(sim, seed, teachers));
        }
        List<Cost> costs = costs(plan.seeds().getFirst());
        double seconds = Math.round((System.nanoTime() - began) / 1e8) / 10.0;
        DemoResult result = new DemoResult(Machine.here(), plan, seeds, costs, seconds);
        write(RESULTS, Json.text(result) + "\n");
        return result;
    }

    private void claimFolder() {
        Path file = out.resolve(PLAN);
        String text = Json.text(plan) + "\n";
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw new IllegalArgumentException("demo: " + out + " is a file; name a folder for models and results");
        }
        try {
            Files.createDirectories(out);
            if (Files.exists(file) && !Files.readString(file).equals(text)) {
                throw new IllegalArgumentException("demo: " + out + " holds a demo with other settings (see " + file
                        + "); use another folder, or delete this one to start again");
            }
        } catch (IOException e) {
            throw new UncheckedIOException("demo: the folder " + out + " cannot be used", e);
        }
        write(PLAN, text);
    }

    private void write(String name, String text) {
        AtomicFile.write(out.resolve(name), stream -> stream.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    /** Trains what is not trained yet; returns the teachers. */
    private Map<Modality, Path> train(EgoSim sim, long seed) {
        Map<Modality, Path> teachers = new EnumMap<>(Modality.class);
        for (Modality modality : plan.pretraining().keySet()) {
            teachers.put(
                    modality, stageFolder(out, seed, pretrainStage(modality)).resolve(Pretraining.MODEL));
        }
        boolean trained = Files.exists(student(seed, DISTILLED));
        if (!trained) {
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
                        FlowStats.of(
                                sim,
                                Split.SOURCE_TRAIN,
                                Domain.SOURCE,
                                plan.clips().flowStatistics()));
                plan.pretraining()
                        .forEach((modality, settings) -> Pretraining.run(
                                settings.withSeed(seed),
                                input.config(modality, plan.size()),
                                source,
                                target,
                                null,
                                stageFolder(out, seed, pretrainStage(modality)),
                                context));
                Distillation.run(
                        plan.distillation().withSeed(seed),
                        teachers,
                        target,
                        stageFolder(out, seed, "distill"),
                        context);
            }
        }
        teachers.forEach((modality, file) -> {
            Path folder = stageFolder(out, seed, modality == Modality.RGB ? UNDISTILLED : teacherName(modality));
            createFolder(folder);
            Distillation.saveUndistilled(file, folder.resolve(Distillation.STUDENT));
        });
        return teachers;
    }

    private static String teacherName(Modality modality) {
        return TEACHER + "-" + lower(modality);
    }

    private Path student(long seed, String name) {
        return stageFolder(out, seed, name.equals(DISTILLED) ? "distill" : name).resolve(Distillation.STUDENT);
    }

    private static void createFolder(Path folder) {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot create the folder " + folder, e);
        }
    }

    private ClipSet render(EgoSim sim, Split split, Domain domain, int perClass, Set<Modality> modalities) {
        String title = "render " + lower(split).replace('_', ' ');
        try (Progress progress = context.progress(
                title, "clips", 0, (long) perClass * EgoSim.classes(split).size())) {
            return EgoSimClips.render(sim, split, domain, perClass, modalities, progress::update);
        }
    }

    /** A model under one way of masking, with its features of all clips of a split. */
    private record Subject(
            String model, Modality modality, double maskRatio, int ensemble, Split split, double[][][] features) {}

    private SeedResult judge(EgoSim sim, long seed, Map<Modality, Path> teachers) {
        DemoPlan.Evaluation how = plan.evaluation();
        List<Subject> subjects = new ArrayList<>();
        List<Score> scores = new ArrayList<>();
        List<Difference> differences = new ArrayList<>();
        try (ClipSet validation = render(
                        sim, Split.VALIDATION, plan.target(), plan.clips().validation(), Set.of(Modality.RGB));
                ClipSet test =
                        render(sim, Split.TEST, plan.target(), plan.clips().test(), teachers.keySet())) {
            subjects.add(compared(seed, UNDISTILLED, Modality.RGB, test, Split.TEST));
            subjects.addAll(grid(seed, test));
            for (Modality modality : teachers.keySet()) {
                if (modality != Modality.RGB) {
                    subjects.add(compared(seed, TEACHER, modality, test, Split.TEST));
                }
            }
            for (String model : List.of(UNDISTILLED, DISTILLED)) {
                subjects.add(compared(seed, model, Modality.RGB, validation, Split.VALIDATION));
            }
            long total = (long) how.shots().size() * how.episodes() * subjects.size();
            try (Progress progress = context.progress("few-shot episodes", "episodes", 0, total)) {
                long done = 0;
                for (int shots : how.shots()) {
                    List<Episode> onTest = episodes(test, shots, seed);
                    List<Episode> onValidation = episodes(validation, shots, seed);
                    double[] undistilled = new double[0];
                    double[] distilled = new double[0];
                    double[] unmasked = new double[0];
                    for (Subject subject : subjects) {
                        boolean isTest = subject.split() == Split.TEST;
                        double[] accuracies = accuracies(subject, isTest ? onTest : onValidation, progress, done);
                        done += how.episodes();
                        scores.add(score(subject, shots, accuracies));
                        boolean compared =
                                subject.maskRatio() == how.maskRatio() && subject.ensemble() == how.ensemble();
                        if (isTest && compared && subject.model().equals(UNDISTILLED)) {
                            undistilled = accuracies;
                        }
                        if (isTest && compared && subject.model().equals(DISTILLED)) {
                            distilled = accuracies;
                        }
                        if (isTest && subject.model().equals(DISTILLED) && isUnmasked(subject)) {
                            unmasked = accuracies;
                        }
                    }
                    differences.add(difference("distilled minus undistilled", shots, distilled, undistilled));
                    differences.add(difference("distilled, masked minus unmasked", shots, distilled, unmasked));
                }
            }
        }
        return new SeedResult(seed, scores, differences);
    }

    private boolean isUnmasked(Subject subject) {
        return subject.maskRatio() == plan.evaluation().maskRatios().getFirst()
                && subject.ensemble()
                        == plan.evaluation().ensemblesAt(subject.maskRatio()).getFirst();
    }

    /** A model under the masks with which models are compared. */
    private Subject compared(long seed, String model, Modality modality, ClipSet clips, Split split) {
        double maskRatio = plan.evaluation().maskRatio();
        int ensemble = plan.evaluation().ensemble();
        try (Student student = Student.load(
                student(seed, model.equals(TEACHER) ? teacherName(modality) : model),
                context.device(),
                context.compute())) {
            double[][][] features =
                    FeatureExtraction.extract(student, clips, modality, Masking.of(maskRatio, ensemble), seed, context);
            return new Subject(model, modality, maskRatio, ensemble, split, features);
        }
    }

    /** The distilled student under every way of masking. A small ensemble is the beginning of a large one. */
    private List<Subject> grid(long seed, ClipSet test) {
        List<Subject> subjects = new ArrayList<>();
        try (Student student = Student.load(student(seed, DISTILLED), context.device(), context.compute())) {
            for (double maskRatio : plan.evaluation().maskRatios()) {
                List<Integer> ensembles = plan.evaluation().ensemblesAt(maskRatio);
                double[][][] features = FeatureExtraction.extract(
                        student, test, Modality.RGB, Masking.of(maskRatio, ensembles.getLast()), seed, context);
                for (int ensemble : ensembles) {
                    subjects.add(new Subject(
                            DISTILLED,
                            Modality.RGB,
                            maskRatio,
                            ensemble,
                            Split.TEST,
                            Arrays.copyOf(features, ensemble)));
                }
            }
        }
        return subjects;
    }

    private List<Episode> episodes(ClipSet clips, int shots, long seed) {
        DemoPlan.Evaluation how = plan.evaluation();
        return new EpisodeSampler(clips.labels(), how.ways(), shots, how.queries(), seed).draw(how.episodes());
    }

    private static double[] accuracies(Subject subject, List<Episode> episodes, Progress progress, long done) {
        return new FewShotEvaluation(subject.features(), new LogisticRegression())
                .evaluate(episodes, finished -> progress.update(done + finished)).episodes().stream()
                        .mapToDouble(EpisodeResult::accuracy)
                        .toArray();
    }

    private static Score score(Subject s, int shots, double[] accuracies) {
        return new Score(
                s.model(), s.modality(), s.maskRatio(), s.ensemble(), s.split(), shots, Accuracy.of(accuracies));
    }

    private static Difference difference(String what, int shots, double[] better, double[] worse) {
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
        List<Student.Session> cells = new ArrayList<>();
        try (Student student = Student.load(student(seed, DISTILLED), context.device(), context.compute())) {
            for (double maskRatio : how.maskRatios()) {
                for (int ensemble : how.ensemblesAt(maskRatio)) {
                    Student.Session session = student.session(1, Masking.of(maskRatio, ensemble));
                    session.input().copyFrom(MemorySegment.ofArray(clip));
                    cells.add(session);
                }
            }
            double[][] milliseconds = time(cells, how.latencyRounds());
            List<Cost> costs = new ArrayList<>();
            for (double maskRatio : how.maskRatios()) {
                for (int ensemble : how.ensemblesAt(maskRatio)) {
                    int cell = costs.size();
                    costs.add(cost(maskRatio, ensemble, cells.get(cell), milliseconds[cell], milliseconds[0]));
                }
            }
            return costs;
        } finally {
            cells.forEach(Student.Session::close);
        }
    }

    private double[][] time(List<Student.Session> cells, int rounds) {
        double[][] milliseconds = new double[cells.size()][rounds];
        try (Progress progress = context.progress("latency", "rounds", 0, rounds)) {
            for (int round = -LATENCY_WARM_UP; round < rounds; round++) {
                for (int cell = 0; cell < cells.size(); cell++) {
                    long began = System.nanoTime();
                    cells.get(cell).features(round);
                    if (round >= 0) {
                        milliseconds[cell][round] = (System.nanoTime() - began) / 1e6;
                    }
                }
                progress.update(Math.max(0, round + 1));
            }
        }
        return milliseconds;
    }

    private static Cost cost(
            double maskRatio, int ensemble, Student.Session session, double[] milliseconds, double[] unmasked) {
        double[] ratios = new double[milliseconds.length];
        Arrays.setAll(ratios, i -> unmasked[i] / milliseconds[i]);
        try (CostMeter meter = CostMeter.open()) {
            session.features(0);
            // The patch embedding is a linear layer too.
            double linear = meter.of("linear").flops() / 1e9;
            double attention = meter.of("attention").flops() / 1e9;
            return new Cost(maskRatio, ensemble, median(milliseconds), median(ratios), linear + attention, linear);
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }
}
