package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.HeadLabels;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.SampleLayout;
import tessera.distill.data.Split;
import tessera.distill.data.View;
import tessera.distill.data.Views;
import tessera.distill.evaluation.ActionAccuracy;
import tessera.distill.evaluation.EnsembleComparison;
import tessera.distill.evaluation.Evaluation;
import tessera.distill.evaluation.EvaluationReport;
import tessera.distill.evaluation.EvaluationReport.Looked;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.HeadLogits;
import tessera.distill.evaluation.MultiView;
import tessera.distill.evaluation.Share;
import tessera.distill.evaluation.TailClasses;
import tessera.distill.report.HtmlReport;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.nn.ClipShape;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;
import tessera.tensor.io.Printable;

/** {@code tessera evaluate}: how good a student's own heads are. */
@Command(
        name = "evaluate",
        description = {
            "Judge a student's heads on labelled clips: top-1 and top-5 accuracy, calibration error in 15 bins, and actions (verb"
                    + " and noun both right) where it has both heads.",
            "With --views 2x3 each clip is seen at 2 moments in 3 crops, and the class scores are averaged; several, as in"
                    + " --views 1x1,2x1,2x3, give a curve of accuracy against views and GFLOPs.",
            "Frames are chosen in the way in which the student was trained, which its file says; else one of the middle of each of"
                    + " as many equal parts.",
            "Broken clips are refused, or, with --skip-broken, left out, and their number and names told.",
            "With --json, accuracies and errors are shares in [0, 1]; the text has them in percent, ± sqrt(p (100 - p) / n)."
        })
final class Evaluate extends ToolCommand {
    private static final String FIRST_CLIP = "--first-clip";
    private static final String SOURCE = "evaluate needs clips: pass either --clips DIR";

    @Mixin
    private StudentOptions student;

    @Mixin
    private EgoSimOptions egosim;

    @Option(names = "--clips", paramLabel = "DIR", description = "Labelled clips to judge on.")
    private @Nullable Path clips;

    @Option(
            names = "--views",
            split = ",",
            paramLabel = "CLIPSxCROPS",
            description = "Moments and crops (1 or 3) of each clip that are averaged. Default: 1x1")
    private List<ViewScheme> schemes = List.of(new ViewScheme(1, 1));

    @Option(
            names = "--frames",
            paramLabel = "N",
            description =
                    "Frames that clips are loaded with, of which a view shows as many as the student takes. Default: those"
                            + " of the files; of EgoSim, as many as the student takes")
    private @Nullable Integer frames;

    @Option(
            names = "--heads",
            split = ",",
            paramLabel = "NAME",
            description =
                    "Which of the student's heads to judge, such as verb,noun. Default: all for which clips have labels")
    private List<String> names = List.of();

    @Option(
            names = "--head",
            split = ",",
            paramLabel = "HEAD",
            description = "Heads that learn wrote with this student, instead of those in its file.")
    private List<Path> learned = List.of();

    @Option(
            names = "--holdout",
            paramLabel = "DIR",
            description =
                    "Labelled clips of the training classes that were not trained on: one temperature for each head is fitted"
                            + " on them, and the calibration error at it printed as a reference. Never the clips to judge on.")
    private @Nullable Path holdout;

    @Option(
            names = FIRST_CLIP,
            paramLabel = "N",
            description =
                    "EgoSim's source classes are judged on their clips from this number on; training takes those from 0 on."
                            + " Default: ${DEFAULT-VALUE}")
    private long firstClip = 1000;

    @Option(
            names = "--held-per-class",
            paramLabel = "N",
            description = "EgoSim clips of each class, after those that are judged, for the temperature. Default: none")
    private int heldPerClass;

    @Option(
            names = "--tail-verbs",
            paramLabel = "FILE",
            description =
                    "Verbs of few training clips, one a line: accuracies of tail classes are told too. EPIC-KITCHENS-100 lists"
                            + " the smallest classes that make up a fifth of the training clips.")
    private @Nullable Path tailVerbs;

    @Option(names = "--tail-nouns", paramLabel = "FILE", description = "Nouns of few training clips, one a line.")
    private @Nullable Path tailNouns;

    @Option(
            names = "--training-clips",
            paramLabel = "DIR",
            description =
                    "The labelled clips that the student was trained on, instead of these files: their labels are counted, and"
                            + " the smallest verbs and nouns that together have at most a fifth of the clips are the tail.")
    private @Nullable Path trainingClips;

    @Option(
            names = "--report",
            paramLabel = "FILE",
            description = "Also write a page with reliability diagrams, and curves where there are several --views.")
    private @Nullable Path report;

    @Mixin
    private MemoryOptions memory;

    @Mixin
    private AdaptiveChoice adaptive;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        adaptive.check(given());
        adaptive.check(student.masking());
        if (adaptive.wanted() && !schemes.equals(List.of(new ViewScheme(1, 1)))) {
            throw new IllegalArgumentException(
                    "--adaptive is judged on one view of each clip; leave --views away, or --adaptive");
        }
        egosim.requireOne(SOURCE, clips);
        egosim.checkJudged(given(), clips, holdout);
        if (!egosim.wanted()) {
            IdleOptions.refuse(given(), FIRST_CLIP, "is for EgoSim's clips; pass --egosim too, or leave it away");
        }
        if (firstClip < 0 || heldPerClass < 0 || (heldPerClass > 0 && (holdout != null || !egosim.wanted()))) {
            throw new IllegalArgumentException("--first-clip is " + firstClip + " and --held-per-class " + heldPerClass
                    + "; pass 0 or more, and --held-per-class only with --egosim and without --holdout");
        }
        if (report != null) {
            Outputs.requireFile("--report", report, "html", "htm");
        }
        if (holdout != null && clips != null && holdout.toAbsolutePath().equals(clips.toAbsolutePath())) {
            throw new IllegalArgumentException(
                    "--holdout " + holdout
                            + " are the clips to judge on; a temperature is fitted on other clips, held out of the training ones");
        }
        RunContext context = progress.context(student.compute());
        try (Predictor predictor = student.open(learned.toArray(Path[]::new));
                Student judged = predictor.student().withHeads(chosen(predictor.student()))) {
            ClipShape input = judged.config().input();
            Modality modality = Clips.modality(input, student.file());
            Geometry seen = Clips.geometry(input.frames(), input.height(), modality);
            try (ClipSet set = clips(seen, modality, context);
                    @Nullable ClipSet held = held(seen, modality, set, context)) {
                requireLabels(judged, set);
                if (held != null) {
                    requireLabels(judged, held);
                }
                Evaluation.Tail tail = tail(judged, modality);
                List<Looked> looked = look(judged, predictor, modality, seen, set, held, tail, context);
                Map<String, AdaptiveHeads.Judged> ensembles =
                        compare(new AdaptiveHeads(judged, predictor, modality, adaptive, context), seen, set, held);
                if (report != null) {
                    HtmlReport page =
                            EvaluationReport.of(String.valueOf(student.file().getFileName()), looked);
                    add(page, ensembles);
                    page.write(report);
                }
                print(set, predictor, looked, ensembles);
            }
        }
    }

    private List<Looked> look(
            Student judged,
            Predictor predictor,
            Modality modality,
            Geometry seen,
            ClipSet set,
            @Nullable ClipSet held,
            Evaluation.Tail tail,
            RunContext context) {
        Masking masking = predictor.masking();
        boolean alike = masking.reduction().threshold() == null; // every clip costs the same
        masking.reduction().requireFit(judged.config(), judged.pooling());
        Views views = Recipe.viewsOf(student.file());
        List<Looked> looked = new ArrayList<>();
        for (ViewScheme scheme : ordered()) {
            Function<ClipSet, List<View>> viewsOf =
                    of -> views.test(of.geometry(), seen, scheme.clips(), scheme.crops());
            BiFunction<ClipSet, List<View>, List<HeadLogits>> logits =
                    (of, by) -> MultiView.logits(judged, masking, predictor.seed(), of, modality, by, context);
            Map<String, Double> temperatures = Map.of();
            if (held != null) {
                List<HeadLogits> ofHeld = logits.apply(held, viewsOf.apply(held));
                temperatures = Evaluation.temperatures(ofHeld, Evaluation.labels(held, ofHeld));
            }
            List<View> viewsOfSet = viewsOf.apply(set);
            List<HeadLogits> ofSet;
            Gflops gflops;
            try (CostMeter meter = CostMeter.open()) {
                ofSet = logits.apply(set, viewsOfSet);
                gflops = alike
                        ? Gflops.of(judged, masking).times(scheme.views())
                        : Gflops.of(meter).ofEach(Math.max(1, set.size()));
            }
            Evaluation evaluation = Evaluation.of(ofSet, Evaluation.labels(set, ofSet), temperatures, tail);
            int different = different(viewsOfSet, modality);
            looked.add(new Looked(scheme.toString(), scheme.views(), different, gflops, evaluation));
        }
        return looked;
    }

    /** Fixed and adaptive ensembles of each head, if they are wanted. */
    private Map<String, AdaptiveHeads.Judged> compare(
            AdaptiveHeads heads, Geometry seen, ClipSet set, @Nullable ClipSet held) {
        if (!adaptive.wanted()) {
            return Map.of();
        }
        adaptive.check(heads.how().masking());
        Views views = Recipe.viewsOf(student.file());
        Function<ClipSet, View> one =
                of -> views.test(of.geometry(), seen, 1, 1).getFirst();
        return heads.compare(set, one.apply(set), held, held == null ? null : one.apply(held));
    }

    private static void add(HtmlReport page, Map<String, AdaptiveHeads.Judged> ensembles) {
        if (ensembles.isEmpty()) {
            return;
        }
        page.heading("Adaptive masks");
        ensembles.forEach((head, judged) -> {
            page.figure(judged.chart(), head + ": each adaptive curve is of one rule at thresholds from 0 to 1");
            page.table(EnsembleComparison.HEADER, judged.ensembles().cells(), "");
        });
    }

    /** How many of some views show different things; boxes and sound have no crops. */
    private static int different(List<View> views, Modality modality) {
        boolean cropped =
                modality.layout().grid() instanceof SampleLayout.Grid.Scaled grid && grid != SampleLayout.Grid.SQUARE;
        return Math.toIntExact(views.stream()
                .map(view -> cropped ? view : view.frames())
                .distinct()
                .count());
    }

    private Evaluation.Tail tail(Student judged, Modality modality) {
        Path folder = trainingClips;
        if (folder == null) {
            return new Evaluation.Tail(
                    tail(judged, ActionAccuracy.VERB, tailVerbs), tail(judged, ActionAccuracy.NOUN, tailNouns));
        }
        if (tailVerbs != null || tailNouns != null) {
            throw new IllegalArgumentException("--training-clips counts the tail classes that --tail-verbs and"
                    + " --tail-nouns list; pass either the clips or the lists");
        }
        ModalityFolders training = ModalityFolders.open(folder, Set.of(modality), null);
        String option = "--training-clips " + folder;
        return new Evaluation.Tail(
                TailClasses.of(head(judged, ActionAccuracy.VERB, option), training.head(ActionAccuracy.VERB)),
                TailClasses.of(head(judged, ActionAccuracy.NOUN, option), training.head(ActionAccuracy.NOUN)));
    }

    private static Set<String> tail(Student judged, String name, @Nullable Path file) {
        return file == null
                ? Set.of()
                : TailClasses.read(file, name, head(judged, name, "--tail-" + name + "s " + file));
    }

    /** Classes of the head whose tail an option tells. */
    private static List<String> head(Student judged, String name, String option) {
        return judged.heads().stream()
                .filter(one -> one.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(option + " tells the rare " + name + "s but no head '"
                        + name + "' is judged; leave it away, or judge such a head"))
                .labels();
    }

    private ClipSet clips(Geometry seen, Modality modality, RunContext context) {
        Path folder = clips;
        Geometry stored = stored(seen);
        return folder == null
                ? render(stored, firstClip, egosim.perClass(), modality, context)
                : load("load", folder, stored, modality, context);
    }

    private Geometry stored(Geometry seen) {
        Integer asked = frames;
        return asked == null ? seen : UsageErrors.naming(() -> seen.withFrames(asked), "--frames");
    }

    private ClipSet render(Geometry stored, long first, int perClass, Modality modality, RunContext context) {
        return egosim.render(
                egosim.sim(stored),
                Split.SOURCE_TRAIN,
                List.of(egosim.domain()),
                first,
                perClass,
                Set.of(modality),
                context);
    }

    /** Clips of any size, unless the number of frames is asked for; the views choose from them. */
    private ClipSet load(String title, Path folder, Geometry stored, Modality modality, RunContext context) {
        return Clips.load(
                egosim.folders().open(folder, Set.of(modality), frames == null ? null : stored, memory),
                title,
                context);
    }

    /** Refuses clips of classes that a head does not know before they are looked at. */
    private void requireLabels(Student judged, ClipSet set) {
        for (String name : names) {
            if (!set.heads().contains(name)) {
                throw new IllegalArgumentException("--heads: the clips have no labels for '" + name + "' but for "
                        + set.heads() + "; write them into labels.csv beside the clips, or judge other heads");
            }
        }
        for (Head head : judged.heads()) {
            if (set.heads().contains(head.name())) {
                HeadLabels own = set.head(head.name());
                HeadLogits.numbered(head.name(), head.labels(), own.classes(), own.ofClip());
            }
        }
    }

    private List<ViewScheme> ordered() {
        return schemes.stream()
                .sorted(Comparator.comparingInt(ViewScheme::views))
                .toList();
    }

    /** The heads to judge. */
    private List<Head> chosen(Student model) {
        List<Head> heads = model.heads();
        if (heads.isEmpty()) {
            throw new IllegalArgumentException(
                    student.file() + " has no heads, so there are no classes to judge; train it with"
                            + " `tessera train` or `tessera distill --heads`, or learn a head with `tessera learn` and pass it by --head");
        }
        for (String name : names) {
            if (heads.stream().noneMatch(head -> head.name().equals(name))) {
                throw new IllegalArgumentException("--heads: " + student.file() + " has no head '" + name
                        + "'; there are " + heads.stream().map(Head::name).toList());
            }
        }
        return names.isEmpty()
                ? heads
                : heads.stream().filter(head -> names.contains(head.name())).toList();
    }

    private @Nullable ClipSet held(Geometry seen, Modality modality, ClipSet judged, RunContext context) {
        Path folder = holdout;
        Geometry stored = stored(seen);
        if (heldPerClass > 0) {
            return render(stored, firstClip + egosim.perClass(), heldPerClass, modality, context);
        }
        if (folder == null) {
            return null;
        }
        ClipSet held = load("load held-out", folder, stored, modality, context);
        if (held.checksum().equals(judged.checksum())) {
            held.close();
            throw new IllegalArgumentException(
                    "--holdout " + folder
                            + " holds the very clips to judge on; a temperature is fitted on other clips, held out of the training ones");
        }
        return held;
    }

    private void print(
            ClipSet set, Predictor predictor, List<Looked> looked, Map<String, AdaptiveHeads.Judged> ensembles) {
        Map<String, List<EnsembleComparison.Row>> rows = new LinkedHashMap<>();
        ensembles.forEach((head, judged) -> rows.put(head, judged.ensembles().rows()));
        Answer answer = new Answer(
                student.file(),
                set.size(),
                List.copyOf(set.leftOut()),
                predictor.masking().ratio(),
                predictor.masking().ensemble(),
                predictor.masking().strategy().word(),
                predictor.masking().reduction().isNone()
                        ? null
                        : predictor.masking().reduction().toString(),
                looked.stream().map(Evaluate::way).toList(),
                rows);
        print(answer, out -> {
            out.printf(
                    Locale.ROOT,
                    "%s: %d clips, mask ratio %s, ensemble %d%s%n",
                    student.file(),
                    set.size(),
                    predictor.masking().ratio(),
                    predictor.masking().ensemble(),
                    MaskOptions.strategy(predictor.masking())
                            + (answer.reduction() == null ? "" : ", " + answer.reduction()));
            if (!set.leftOut().isEmpty()) {
                out.println(set.leftOut().size() + " broken clips left out: "
                        + Printable.line(String.join(", ", set.leftOut())));
            }
            looked.forEach(way -> print(out, way));
            ensembles.forEach((head, judged) -> {
                out.println("masks of " + Printable.line(head) + ", probabilities averaged:");
                judged.ensembles().lines().forEach(line -> out.println("  " + line));
            });
        });
    }

    private static void print(PrintWriter out, Looked way) {
        out.printf(
                Locale.ROOT,
                "views %s: %.3f GFLOPs a clip, %.3f without attention%n",
                way.name(),
                way.gflops().all(),
                way.gflops().withoutAttention());
        if (way.different() < way.views()) {
            out.printf(
                    "  only %d of the %d views differ: load more frames (--frames, --clip-frames) for other moments, wider pictures"
                            + " (--clip-size) for other crops%n",
                    way.different(), way.views());
        }
        for (Evaluation.OfHead head : way.evaluation().heads()) {
            Evaluation.Scaled scaled = head.scaled();
            out.printf(
                    Locale.ROOT,
                    "  %-8s top-1 %s %%, top-5 %s %%, calibration error %.2f %%%s%n",
                    Printable.line(head.head()),
                    head.top1().interval(),
                    head.top5().interval(),
                    100 * head.reliability().expectedCalibrationError(),
                    scaled == null
                            ? ""
                            : String.format(
                                    Locale.ROOT,
                                    " (%.2f %% at temperature %.3f)",
                                    100 * scaled.reliability().expectedCalibrationError(),
                                    scaled.temperature()));
        }
        ActionAccuracy action = way.evaluation().action();
        if (action != null) {
            out.printf(
                    "  %-8s top-1 %s %%, verb and noun both right%n",
                    "action", action.all().interval());
            String tail = tail(action).entrySet().stream()
                    .map(part -> part.getKey() + " " + part.getValue().interval() + " % of "
                            + part.getValue().clips())
                    .collect(Collectors.joining(", "));
            if (!tail.isEmpty()) {
                out.printf("  %-8s %s%n", "tail", tail);
            }
        }
    }

    private static Map<String, Share> tail(ActionAccuracy action) {
        Map<String, Share> tail = new LinkedHashMap<>();
        tail.put("verbs", action.tailVerbs());
        tail.put("nouns", action.tailNouns());
        tail.put("both", action.tailAnd());
        tail.put("either", action.tailOr());
        tail.values().removeIf(share -> share.clips() == 0);
        return tail;
    }

    /** Accuracies and errors as shares in [0, 1]. */
    private record Answer(
            Path student,
            int clips,
            List<String> leftOut,
            double maskRatio,
            int ensemble,
            String strategy,
            @Nullable String reduction,
            List<Way> looked,
            Map<String, List<EnsembleComparison.Row>> ensembles) {}

    private record Way(
            String views,
            int viewsOfAClip,
            int differentViews,
            double gflops,
            double gflopsWithoutAttention,
            Map<String, OfHead> heads,
            @Nullable OfAction action) {}

    private record OfHead(
            double top1,
            double top1StandardError,
            double top5,
            double top5StandardError,
            double calibrationError,
            @Nullable Double temperature,
            @Nullable Double calibrationErrorAtTemperature) {}

    private record OfAction(double top1, double top1StandardError, Map<String, Double> tail) {}

    private static Way way(Looked way) {
        Map<String, OfHead> heads = new LinkedHashMap<>();
        for (Evaluation.OfHead head : way.evaluation().heads()) {
            Evaluation.Scaled scaled = head.scaled();
            heads.put(
                    head.head(),
                    new OfHead(
                            head.top1().value(),
                            head.top1().interval().half(),
                            head.top5().value(),
                            head.top5().interval().half(),
                            head.reliability().expectedCalibrationError(),
                            scaled == null ? null : scaled.temperature(),
                            scaled == null ? null : scaled.reliability().expectedCalibrationError()));
        }
        ActionAccuracy action = way.evaluation().action();
        OfAction ofAction = null;
        if (action != null) {
            Map<String, Double> tail = new LinkedHashMap<>();
            tail(action).forEach((name, share) -> tail.put(name, share.value()));
            ofAction =
                    new OfAction(action.all().value(), action.all().interval().half(), tail);
        }
        return new Way(
                way.name(),
                way.views(),
                way.different(),
                way.gflops().all(),
                way.gflops().withoutAttention(),
                heads,
                ofAction);
    }
}
