package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipGroups;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.evaluation.EnsembleComparison;
import tessera.distill.evaluation.EnsemblePasses;
import tessera.distill.evaluation.EnsembleTiming;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.HeadPasses;
import tessera.distill.evaluation.Interval;
import tessera.distill.evaluation.ReducedCost;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.FewShotEvaluation.PassByPass;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.fewshot.FineTuning;
import tessera.distill.fewshot.GroupedEpisodes;
import tessera.distill.fewshot.RedrawnMasks;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.ClipShape;
import tessera.nn.Pooling;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Stopping;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;
import tessera.tensor.Scope;

/** {@code tessera fewshot}: accuracy over few-shot episodes. */
@Command(
        name = "fewshot",
        description = {
            "Measure a student's accuracy over few-shot episodes, with its 95 %% confidence interval.",
            "With --json, accuracy, interval and calibration error are shares in [0, 1]; the text has them in percent.",
            "Clips of your own lie as for pretrain, not as for learn: DIR/<modality>/<label>/<name>.npy or a video, in the"
                    + " student's modality."
        })
final class FewShot extends ToolCommand {

    private static final String SOURCE = "fewshot needs clips: pass either --clips DIR";

    private static final String PREFIX = "prefix";

    /** As many as need no word about how long they take where each trains a student. */
    private static final int FEW_EPISODES = 20;

    @Mixin
    private StudentOptions student;

    @Mixin
    private EgoSimOptions egosim;

    @Option(names = "--clips", paramLabel = "DIR", description = "Labelled clips.")
    private @Nullable Path clips;

    @Mixin
    private final EpisodeOptions episode = new EpisodeOptions(EpisodeOptions.Judged.TEST);

    @Option(names = "--episodes", paramLabel = "N", description = "Number of episodes. Default: ${DEFAULT-VALUE}")
    private int episodes = 600;

    @Option(
            names = "--groups",
            paramLabel = "prefix|FILE",
            description =
                    "Take support and queries of an episode from different groups of clips, such as places: a clip's group is"
                            + " its file's name before the first _, or stands in lines name,group of FILE. Default: none")
    private @Nullable String groups;

    @Mixin
    private HeadChoice head;

    @Mixin
    private FineTuneOptions tuning;

    @Mixin
    private ProtocolOptions protocol;

    @Mixin
    private MemoryOptions memory;

    @Mixin
    private AdaptiveChoice adaptive;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        student.masking();
        protocol.settle(student.masks(), head, given());
        egosim.requireOne(SOURCE, clips);
        egosim.checkJudged(given(), clips);
        requireCounts();
        head.check();
        tuning.check(head);
        adaptive.check(given());
        adaptive.check(student.masking());
        requireTunable();
        RunContext context = progress.context(student.compute());
        Judgement judgement;
        ReducedCost cost;
        Masking masking;
        try (Predictor predictor = student.open();
                Student other = protocol.otherNorms(student.file(), student.compute())) {
            masking = predictor.masking();
            requireAdaptive(masking);
            Student judging = other == null ? predictor.student() : other;
            ClipShape input = judging.config().input();
            Modality modality = Clips.modality(input, student.file());
            Geometry geometry = Clips.geometry(input.frames(), input.height(), modality);
            List<Pooling> candidates = head.candidates(judging, masking);
            try (Student pooled = judging.pooled(Pooling.union(candidates));
                    Predictor pooling = Predictor.of(pooled, masking, predictor.seed());
                    ClipSet set = load(geometry, modality, context);
                    CostMeter meter = CostMeter.open()) {
                judgement = evaluate(pooling, candidates, set, modality, context);
                cost = ReducedCost.of(meter, set.size(), pooled, masking);
            }
        }
        print(judgement, cost, masking);
    }

    private void print(Judgement judgement, @Nullable ReducedCost cost, Masking masking) {
        Accuracy accuracy = judgement.result.accuracy();
        double calibrationError = judgement.result.calibrationError();
        EnsembleComparison ensembles = judgement.ensembles;
        Answer answer = new Answer(
                accuracy.mean(),
                accuracy.interval95(),
                calibrationError,
                episode.ways(),
                episode.shots(),
                episode.queries(),
                episodes,
                masking.ratio(),
                masking.ensemble(),
                EnumWords.of(head.kind()),
                head.word(),
                masking.strategy().word(),
                protocol.supportViews(masking),
                protocol.isPaper() ? "paper" : "own",
                cost,
                ensembles == null ? null : ensembles.rows());
        print(answer, out -> {
            out.printf(
                    Locale.ROOT,
                    "%d-way %d-shot accuracy %s %% over %d episodes (%smask ratio %s, ensemble %d, pooling %s%s), calibration"
                            + " error %.2f %%%n",
                    episode.ways(),
                    episode.shots(),
                    accuracy,
                    episodes,
                    head.kind() == HeadChoice.Kind.LOGISTIC ? "" : "head " + EnumWords.of(head.kind()) + ", ",
                    masking.ratio(),
                    masking.ensemble(),
                    head.word(),
                    departures(masking),
                    100 * calibrationError);
            if (cost != null) {
                out.println("  " + cost.text());
            }
            if (ensembles != null) {
                ensembles.lines().forEach(line -> out.println("  " + line));
            }
        });
    }

    /** What differs from the standard masks, for people. */
    private String departures(Masking masking) {
        StringBuilder text = new StringBuilder(MaskOptions.strategy(masking));
        if (protocol.supportViews(masking) != masking.ensemble()) {
            text.append(", support views ").append(protocol.supportViews(masking));
        }
        return text.append(protocol.isPaper() ? ", protocol paper" : "").toString();
    }

    /** Refuses what does not go with a head that trains the student. */
    private void requireTunable() {
        if (!head.isFineTuning()) {
            return;
        }
        protocol.requireOwn(
                "--head finetune trains the student, norms and all, through a mask of its own in each step");
        if (!student.masking().reduction().isNone()) {
            throw new IllegalArgumentException("--head finetune trains the student, but "
                    + student.masking().reduction() + " is for one that is trained; leave one of them away");
        }
    }

    /** Refuses adaptive masks that the student, or the support's views, do not allow. */
    private void requireAdaptive(Masking masking) {
        adaptive.check(masking);
        if (adaptive.wanted() && protocol.supportViews(masking) != masking.ensemble()) {
            throw new IllegalArgumentException(
                    "--adaptive sets its threshold on support clips that are seen through as many masks as"
                            + " queries; leave --support-views and --protocol paper away, or --adaptive");
        }
    }

    /** Refuses, before anything is opened, episodes that nothing makes, or EgoSim has not enough for. */
    private void requireCounts() {
        requireLeast("--episodes", episodes, 1);
        episode.check();
        if (head.isFineTuning() && adaptive.wanted() && adaptive.threshold() == null) {
            throw new IllegalArgumentException(
                    "--adaptive sets its threshold on examples that are held out, which --head"
                            + " finetune does not do; pass a threshold such as --adaptive 0.9");
        }
        if (episode.shots() == 1 && adaptive.wanted() && adaptive.threshold() == null) {
            throw new IllegalArgumentException(
                    "--adaptive sets its threshold on examples that are held out, but --shots is"
                            + " 1; pass 2 or more, or a threshold such as --adaptive 0.9");
        }
        if (clips == null) {
            if (groups != null) {
                throw new IllegalArgumentException(
                        "--groups is for clips of your own, which --clips names; EgoSim's have none");
            }
            episode.requireOfEgoSim(egosim.perClass());
        }
    }

    /** Finds the clips, checks that there are enough of each label, and only then reads or renders them. */
    private ClipSet load(Geometry geometry, Modality modality, RunContext context) {
        if (clips == null) {
            return egosim.render(
                    egosim.sim(geometry), episode.split(), List.of(egosim.domain()), Set.of(modality), context);
        }
        ModalityFolders found = egosim.folders().open(clips, Set.of(modality), geometry, memory);
        Map<String, Integer> counts = found.counts();
        episode.require(clips, counts);
        if (groups != null) {
            List<String> names = List.copyOf(found.names());
            List<String> labels = List.copyOf(counts.keySet());
            int[] labelOf = names.stream()
                    .mapToInt(name -> labels.indexOf(name.substring(0, name.indexOf('/'))))
                    .toArray();
            draw(labelOf, groups(names), labels);
        }
        return Clips.load(found, "load", context);
    }

    /** Accuracy, interval and error as shares in [0, 1]. */
    private record Answer(
            double accuracy,
            double interval95,
            double calibrationError,
            int ways,
            int shots,
            int queries,
            int episodes,
            double maskRatio,
            int ensemble,
            String head,
            String pooling,
            String strategy,
            int supportViews,
            String protocol,
            @Nullable ReducedCost reduced,
            @Nullable List<EnsembleComparison.Row> ensembles) {}

    /** @param ensembles fixed and adaptive ones, or null where none is wanted */
    private record Judgement(
            FewShotEvaluation.Result result, @Nullable EnsembleComparison ensembles) {}

    private Judgement evaluate(
            Predictor predictor, List<Pooling> candidates, ClipSet set, Modality modality, RunContext context) {
        int[] groupOf = groups(set.names());
        List<Episode> drawn = draw(set.labels(), groupOf, set.classes());
        if (head.isFineTuning()) {
            Student judging = predictor.student();
            try (FineTuning.Episodes tuned = tuning.fineTuning(student.masks().seed())
                    .open(
                            student.file(),
                            set,
                            modality,
                            predictor.masking(),
                            judging.device(),
                            student.compute().precision())) {
                return judge(new FewShotEvaluation(tuned), drawn, predictor, set, modality, context);
            }
        }
        FewShotEvaluation evaluation = evaluation(predictor, candidates, set, modality, groupOf, context);
        return judge(evaluation, drawn, predictor, set, modality, context);
    }

    private Judgement judge(
            FewShotEvaluation evaluation,
            List<Episode> drawn,
            Predictor predictor,
            ClipSet set,
            Modality modality,
            RunContext context) {
        try (Task task = context.task("episodes", Task.Unit.EPISODES, episodes)) {
            if (head.isFineTuning() && episodes > FEW_EPISODES) {
                task.note("the student is trained anew in each of " + episodes
                        + " episodes, which takes long; --episodes " + FEW_EPISODES + " gives a first impression");
            }
            if (!adaptive.wanted()) {
                return new Judgement(evaluation.evaluate(drawn, task::advance), null);
            }
            List<PassByPass> each = evaluation.passByPass(drawn, task::advance);
            int all = predictor.masking().ensemble();
            List<EpisodeResult> results = each.stream()
                    .map(one -> one.queries().fixed(all))
                    .map(outcome -> new EpisodeResult(outcome.probabilities(), outcome.labels()))
                    .toList();
            return new Judgement(new FewShotEvaluation.Result(results), compare(each, predictor, set, modality));
        }
    }

    private FewShotEvaluation evaluation(
            Predictor predictor,
            List<Pooling> candidates,
            ClipSet set,
            Modality modality,
            int @Nullable [] groupOf,
            RunContext context) {
        Student judging = predictor.student();
        int views = protocol.supportViews(predictor.masking());
        if (protocol.redraws()) {
            FewShotEvaluation.Source source =
                    new RedrawnMasks(judging, set, modality, predictor.masking(), views, predictor.seed());
            return new FewShotEvaluation(source, head.head(candidates, judging), groupOf);
        }
        double[][][] features = FeatureExtraction.extract(predictor, set, modality, context);
        FewShotHead learning = head.head(candidates, judging);
        return new FewShotEvaluation(features, learning, groupOf).withSupportViews(views);
    }

    /** Fixed and adaptive ensembles; thresholds come from the support clips of all episodes, each held out. */
    private EnsembleComparison compare(List<PassByPass> each, Predictor predictor, ClipSet set, Modality modality) {
        List<EnsemblePasses> support = new ArrayList<>();
        each.forEach(one -> {
            if (one.support() != null) {
                support.add(one.support());
            }
        });
        List<EnsemblePasses> queries = each.stream().map(PassByPass::queries).toList();
        EnsemblePasses asked = EnsemblePasses.joined(queries);
        List<Stopping> rules = adaptive.rules(support.isEmpty() ? null : EnsemblePasses.joined(support));
        List<int[]> plans =
                rules.stream().map(rule -> asked.adaptive(rule).passes()).toList();
        Student pooled = predictor.student();
        Pooling own = pooled.pooling();
        Pooling looking =
                own.needsQuery() ? own.withQuery(new float[pooled.config().featureWidth()]) : own;
        // Which head it is makes no difference to the time.
        Head any = Head.of(
                        new double[episode.ways()][looking.width(pooled.config())],
                        new double[episode.ways()],
                        IntStream.range(0, episode.ways())
                                .mapToObj(Integer::toString)
                                .toList())
                .on(looking);
        try (Scope scope = Scope.open();
                Student timed = pooled.withHead(any)) {
            EnsembleTiming timing = EnsembleTiming.of(
                    timed,
                    HeadPasses.spread(set.size(), batch -> set.batch(timed.device(), modality, batch)),
                    predictor.masking(),
                    predictor.seed(),
                    plans);
            return EnsembleComparison.of(
                    queries,
                    rules,
                    FewShot::interval,
                    Gflops.of(pooled, predictor.masking().withEnsemble(1)),
                    timing);
        }
    }

    private static Interval interval(List<EnsemblePasses.Outcome> episodes) {
        Accuracy accuracy = Accuracy.of(episodes.stream()
                .mapToDouble(outcome -> outcome.accuracy().value())
                .toArray());
        return new Interval(accuracy.mean(), accuracy.interval95());
    }

    /** The group of each clip {@code label/name}, or null if groups do not matter. */
    private int @Nullable [] groups(List<String> names) {
        String word = groups;
        return word == null
                ? null
                : UsageErrors.naming(
                        () -> word.equals(PREFIX)
                                ? ClipGroups.ofPrefix(names)
                                : ClipGroups.ofTable(Path.of(word), names),
                        "--groups");
    }

    private List<Episode> draw(int[] labels, int @Nullable [] groupOf, List<String> classes) {
        long seed = student.masks().seed();
        return groupOf == null
                ? episode.draw(labels, seed, episodes)
                : new GroupedEpisodes(
                                labels, groupOf, classes, episode.ways(), episode.shots(), episode.queries(), seed)
                        .draw(episodes);
    }
}
