package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.HeadLabels;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.evaluation.HeadLogits;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.sweep.AgreementJudge;
import tessera.distill.sweep.EpisodeJudge;
import tessera.distill.sweep.HeadJudge;
import tessera.distill.sweep.Judge;
import tessera.distill.sweep.Result;
import tessera.distill.sweep.Setup;
import tessera.distill.sweep.Sweep;
import tessera.distill.sweep.SweepAxis;
import tessera.distill.sweep.SweepClips;
import tessera.distill.sweep.SweepFolder;
import tessera.distill.sweep.SweepReport;
import tessera.distill.train.RunContext;
import tessera.distill.train.Settings;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.MaskStrategy;
import tessera.nn.Pooling;
import tessera.nn.TokenReduction;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.io.FolderLock;

/** {@code tessera sweep}: every combination of some settings of inference. */
@Command(
        name = "sweep",
        description = {
            "Measure every combination of mask strategy, mask ratio, number of masks, merged tokens, precision and batch on a student and"
                    + " clips of your own: accuracy or agreement, calibration error, time, work and memory.",
            "Writes DIR/sweep.csv, DIR/sweep.json and DIR/report.html, a page with what is worth choosing. Finished combinations are"
                    + " kept in DIR, so the same command goes on where it was stopped, and other values may be added later.",
            "Clips lie as for fewshot. With labels, answers are judged by few-shot episodes (--by episodes) or by a head (--by head);"
                    + " without, by their agreement with the unmasked student in f32 (--by agreement)."
        })
final class SweepCommand extends ToolCommand {
    private static final String SOURCE = "sweep needs clips: pass either --clips DIR";
    private static final String STRATEGIES = "--strategies";
    private static final String MASK_RATIOS = "--mask-ratios";
    private static final String ENSEMBLES = "--ensembles";
    private static final String EPISODES = "--episodes";
    private static final String F32 = "f32";
    private static final String BF16 = "bf16";
    private static final String INT8 = "int8";

    /** What answers are judged by. */
    enum By {
        EPISODES,
        HEAD,
        AGREEMENT
    }

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    @Mixin
    private DeviceOptions compute;

    @Mixin
    private EgoSimOptions egosim;

    @Option(
            names = "--clips",
            paramLabel = "DIR",
            description = "Clips to measure on, labelled for --by episodes and head.")
    private @Nullable Path clips;

    @Option(
            names = "--by",
            paramLabel = "episodes|head|agreement",
            description = "What answers are judged by. Default: ${DEFAULT-VALUE}")
    private By by = By.EPISODES;

    @Option(
            names = "--head",
            paramLabel = "HEAD",
            description =
                    "A head that learn wrote with this student, for --by head and agreement. Default: the first of"
                            + " the student's file for which clips have labels")
    private @Nullable Path head;

    @Option(
            names = STRATEGIES,
            split = ",",
            paramLabel = "WORD",
            description = "Mask strategies by the words of predict --strategy. Default: pairs")
    private List<String> strategies = List.of("pairs");

    @Option(
            names = MASK_RATIOS,
            split = ",",
            paramLabel = "R",
            description = "Shares of the tokens that are not looked at. Default: 0,0.5,0.75,0.9")
    private List<Double> ratios = List.of(0.0, .5, .75, .9);

    @Option(names = ENSEMBLES, split = ",", paramLabel = "P", description = "Masks per clip. Default: 1,2,4")
    private List<Integer> ensembles = List.of(1, 2, 4);

    @Option(
            names = "--precisions",
            split = ",",
            paramLabel = "f32|bf16|int8",
            description =
                    "What to compute in; int8 is made as quantize does without clips, on CPUs. Default: f32, or int8 for a"
                            + " student whose weights are")
    private List<String> precisions = List.of();

    @Option(names = "--batches", split = ",", paramLabel = "N", description = "Clips in a call. Default: 1,8")
    private List<Integer> batches = List.of(1, 8);

    @Option(
            names = "--merges",
            split = ",",
            paramLabel = "R",
            description = "Tokens that each block merges away, as predict --merge; for --pooling mean. Default: 0")
    private List<Integer> merges = List.of(0);

    @Mixin
    private final EpisodeOptions episode = new EpisodeOptions(EpisodeOptions.Judged.VALIDATION);

    @Option(
            names = EPISODES,
            paramLabel = "N",
            description = "Episodes, the same of every combination. Default: ${DEFAULT-VALUE}")
    private int episodes = 200;

    @Mixin
    private HeadOptions fit;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            description = "Rounds of timing, of which the median is told. Default: ${DEFAULT-VALUE}")
    private int rounds = 15;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines the masks and every other draw. Default: ${DEFAULT-VALUE}")
    private long seed = Predictor.Options.SEED;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR",
            description = "Where results are kept and the tables and the page are written.")
    private Path out = Path.of("");

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        egosim.requireOne(SOURCE, clips);
        egosim.checkJudged(given(), clips);
        fit.check();
        if (fit.isAttentive()) {
            throw new IllegalArgumentException("--pooling " + fit.word()
                    + " keeps all tokens of the clips, which learn and fewshot do; pass another pooling such as mean");
        }
        requireCounts();
        named();
        Outputs.requireFolder(out);
        FolderLock.requireFree(out);
        Device device = compute.device();
        RunContext context = progress.context(compute);
        Map<String, Student> owners = new LinkedHashMap<>();
        Map<String, Long> bytes = new LinkedHashMap<>();
        try {
            Student plain = open(device, DType.F32, bytes);
            String own = plain.isInt8() ? INT8 : F32;
            owners.put(own, plain);
            List<String> wanted = precisions.isEmpty() ? List.of(own) : precisions;
            wanted.forEach(word -> owners.computeIfAbsent(word, other -> open(other, plain, device, bytes)));
            if (plain.config().grid() == null) {
                IdleOptions.refuse(
                        given(),
                        List.of(STRATEGIES, MASK_RATIOS, ENSEMBLES),
                        "is for masks but models of this student's architecture see every token; leave it away");
            }
            ClipShape input = plain.config().input();
            Modality modality = Clips.modality(input, file);
            Geometry geometry = Clips.geometry(input.frames(), input.height(), modality);
            try (ClipSet set = load(geometry, modality, context)) {
                List<Pooling> candidates = fit.candidates(plain, strictest());
                Head judging = by == By.EPISODES ? null : head(plain, set);
                Map<String, Student> students = new LinkedHashMap<>();
                wanted.forEach(word -> students.put(word, looking(student(owners, word), candidates, judging)));
                Setup reference = Sweep.reference(looking(plain, candidates, judging));
                Settings settings = settings(plain, judging, set, device);
                SweepClips looked = new SweepClips(set.size(), chosen -> set.batch(device, modality, chosen));
                try (SweepFolder folder = SweepFolder.open(out, settings)) {
                    Judge judge = judge(reference, looked, set, candidates);
                    List<Result> results = new Sweep(
                                    axes(students, plain), reference, judge, looked, bytes, rounds, seed)
                            .run(folder, context);
                    SweepReport report = new SweepReport("Sweep of " + file.getFileName(), judge.measure(), results);
                    report.write(out, settings);
                    print(report);
                }
            }
        } finally {
            owners.values().forEach(Student::close);
        }
    }

    private ClipSet load(Geometry geometry, Modality modality, RunContext context) {
        if (clips == null) {
            if (by == By.EPISODES) {
                episode.requireOfEgoSim(egosim.perClass());
            }
            return egosim.render(
                    egosim.sim(geometry), episode.split(), List.of(egosim.domain()), Set.of(modality), context);
        }
        ModalityFolders found = egosim.folders().open(clips, Set.of(modality), geometry);
        if (by == By.EPISODES) {
            episode.require(clips, found.counts());
        }
        return Clips.load(found, "load", context);
    }

    /** What is varied, in the order in which it is applied. */
    private List<SweepAxis> axes(Map<String, Student> students, Student plain) {
        boolean masks = plain.config().grid() != null;
        List<SweepAxis> axes = new ArrayList<>(List.of(
                SweepAxis.precision(students),
                SweepAxis.strategy(named()),
                SweepAxis.ratio(masks ? ratios : List.of(0.0)),
                SweepAxis.ensemble(masks ? ensembles : List.of(1)),
                SweepAxis.batch(batches)));
        if (!merges.equals(List.of(0))) {
            axes.add(SweepAxis.merge(merges));
        }
        return axes;
    }

    /** A way to look that allows no pooling that one of those that are measured does not. */
    private Masking strictest() {
        Masking masking = named().values().stream()
                .filter(strategy -> !strategy.showsTubes())
                .findFirst()
                .map(strategy -> Masking.of(.5, 1).withStrategy(strategy))
                .orElse(Masking.none());
        int most = merges.stream().mapToInt(merged -> merged).max().orElse(0);
        return most > 0 ? masking.withReduction(TokenReduction.merging(most)) : masking;
    }

    /** A student as its answers are judged. */
    private Student looking(Student student, List<Pooling> candidates, @Nullable Head judging) {
        if (by == By.EPISODES) {
            return student.pooled(Pooling.union(candidates));
        }
        return judging == null ? student : student.withHead(judging);
    }

    private void requireCounts() {
        requireLeast("--rounds", rounds, 1);
        requireLeast(EPISODES, episodes, 1);
        episode.check();
        ensembles.forEach(masks -> {
            requireLeast(ENSEMBLES, masks, 1);
            MaskOptions.requireMasks(ENSEMBLES, masks);
        });
        merges.forEach(merged -> requireLeast("--merges", merged, 0));
        batches.forEach(batch -> requireBatch("--batches", batch));
        ratios.forEach(ratio -> UsageErrors.naming(() -> Masking.of(ratio, 1), MASK_RATIOS));
        requireDifferent(STRATEGIES, strategies);
        requireDifferent(MASK_RATIOS, ratios);
        requireDifferent(ENSEMBLES, ensembles);
        requireDifferent("--precisions", precisions);
        requireDifferent("--batches", batches);
        requireDifferent("--merges", merges);
        for (String word : precisions) {
            if (!List.of(F32, BF16, INT8).contains(word)) {
                throw new IllegalArgumentException(
                        "--precisions has '" + word + "'; pass f32, bf16, int8 or several with commas between");
            }
        }
        if (precisions.contains(BF16)) {
            compute.requireComputes(DType.BF16, "--precisions");
        }
        if (by != By.EPISODES) {
            String why = "is for --by episodes but --by is " + EnumWords.of(by) + "; leave one of them away";
            IdleOptions.refuse(given(), EPISODES, why);
            IdleOptions.refuse(given(), EpisodeOptions.NAMES, why);
            IdleOptions.refuse(given(), HeadOptions.NAMES, why);
        }
        if (head != null && by == By.EPISODES) {
            throw new IllegalArgumentException("--head is for --by head or agreement; episodes fit heads of their own");
        }
    }

    /** What is measured twice would stand twice in tables. */
    private static void requireDifferent(String option, List<?> values) {
        if (values.stream().distinct().count() < values.size()) {
            throw new IllegalArgumentException(option + " has " + values + ", one of them twice; name each once");
        }
    }

    private Map<String, MaskStrategy> named() {
        Map<String, MaskStrategy> named = new LinkedHashMap<>();
        for (String word : strategies) {
            named.put(word, MaskOptions.strategy(STRATEGIES, word));
        }
        return named;
    }

    private static Student student(Map<String, Student> opened, String word) {
        Student student = opened.get(word);
        if (student == null) {
            throw new IllegalStateException("no student of " + word + " was opened");
        }
        return student;
    }

    private Student open(Device device, DType type, Map<String, Long> bytes) {
        long before = device.memory().live();
        Student student = Student.load(file, device, type);
        bytes.put(
                type == DType.BF16 ? BF16 : student.isInt8() ? INT8 : F32,
                device.memory().live() - before);
        return student;
    }

    private Student open(String word, Student plain, Device device, Map<String, Long> bytes) {
        if (plain.isInt8()) {
            throw new IllegalArgumentException("--precisions has " + word + " but the weights of " + file
                    + " are int8 already; pass int8 alone, or the student that it was made from");
        }
        if (word.equals(BF16)) {
            return open(device, DType.BF16, bytes);
        }
        long before = device.memory().live();
        Student student = plain.quantize();
        bytes.put(INT8, device.memory().live() - before);
        return student;
    }

    /** The head that judges, or null for agreement of a student without one. */
    private @Nullable Head head(Student plain, ClipSet set) {
        List<Head> known = head == null ? plain.heads() : List.of(Head.load(head));
        for (Head one : known) {
            if (by == By.AGREEMENT || set.heads().contains(one.name())) {
                return one;
            }
        }
        if (by == By.HEAD) {
            throw new IllegalArgumentException("--by head: the heads are "
                    + known.stream().map(Head::name).toList() + " and the clips have labels for " + set.heads()
                    + "; pass a --head for one of these, or --by episodes");
        }
        return null;
    }

    private Judge judge(Setup reference, SweepClips looked, ClipSet set, List<Pooling> candidates) {
        return switch (by) {
            case EPISODES -> {
                List<Episode> drawn = episode.draw(set.labels(), seed, episodes);
                yield new EpisodeJudge(
                        looked,
                        drawn,
                        features -> new FewShotEvaluation(features, fit.head(candidates, reference.student())),
                        seed);
            }
            case HEAD -> {
                Head judging = reference.student().heads().getFirst();
                HeadLabels labels = set.head(judging.name());
                int[] numbers =
                        HeadLogits.numbered(judging.name(), judging.labels(), labels.classes(), labels.ofClip());
                yield new HeadJudge(looked, numbers, seed);
            }
            case AGREEMENT -> new AgreementJudge(reference, looked, seed);
        };
    }

    /** All that figures depend on but for the axes. */
    private Settings settings(Student plain, @Nullable Head judging, ClipSet set, Device device) {
        Settings settings = Settings.NONE
                .with("student", plain.checksum())
                .with("clips", set.checksum())
                .with("by", by.name().toLowerCase(Locale.ROOT))
                .with("seed", seed)
                .with("rounds", rounds)
                .with("device", device.describe())
                .with("threads", device.threads());
        if (by == By.EPISODES) {
            return settings.with("ways", episode.ways())
                    .with("shots", episode.shots())
                    .with("queries", episode.queries())
                    .with("episodes", episodes)
                    .with("pooling", fit.word())
                    .with("fit", fit.isTuned() ? "tuned" : "plain");
        }
        return settings.with("head", judging == null ? "none" : judging.name() + " " + checksum(judging));
    }

    private static String checksum(Head head) {
        return "%08x".formatted(31 * Arrays.hashCode(head.weight()) + Arrays.hashCode(head.bias()));
    }

    /** @param front from the fastest to the best */
    private record Answer(Path out, String measure, int combinations, List<SweepReport.Point> front) {}

    private void print(SweepReport report) {
        List<SweepReport.Point> front = report.front();
        Answer answer = new Answer(out, report.measure(), report.results().size(), front);
        print(answer, to -> {
            to.printf(
                    "%s: %d combinations, %d of them on the front (%s):%n",
                    out, report.results().size(), front.size(), report.measure());
            report.lines().forEach(line -> to.println("  " + line));
            to.println(out.resolve("report.html") + " shows all of them");
        });
    }
}
