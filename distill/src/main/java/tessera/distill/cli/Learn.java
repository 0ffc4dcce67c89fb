package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.train.Task;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.Video;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Scope;

/** {@code tessera learn}: a few-shot head from labelled videos. */
@Command(
        name = "learn",
        description = {
            "Learn to tell labels apart from a few videos of each: DIR/<label>/<any video>, or DIR/<label>.mp4.",
            "Videos are cut into clips, the student gives their features, and a logistic regression on these becomes"
                    + " the head that predict uses.",
            "With --evaluate, the parts of the videos outside --from and --to are recognised too, and the accuracy is"
                    + " printed: --to 0.5 --shots 5 --evaluate learns from 5 clips of each first half and is judged on the"
                    + " second halves."
        })
final class Learn extends ToolCommand {

    /** Keeps the masks of judged clips apart from those of learned ones. */
    private static final long QUERIES = 1L << 32;

    @Mixin
    private StudentOptions student;

    @Mixin
    private CutOptions cutting;

    @Option(names = "--clips", required = true, paramLabel = "DIR", description = "The labelled videos.")
    private Path clips = Path.of("");

    @Option(
            names = "--shots",
            paramLabel = "K",
            description = "Clips of each label to learn from, spread evenly over its videos. Default: all")
    private @Nullable Integer shots;

    @Option(
            names = "--name",
            paramLabel = "NAME",
            description = "The head's name, by which predict tells several heads apart. Default: ${DEFAULT-VALUE}")
    private String name = Head.ACTION;

    @Option(
            names = "--adapt",
            paramLabel = "DIR",
            description =
                    "First adapt the student to the unlabelled videos of DIR, as the command adapt does with its defaults; the"
                            + " adapted one ends up in HEAD.adapted/student.safetensors, and the head is its head.")
    private @Nullable Path adapt;

    @Option(names = "--evaluate", description = "Recognise the rest of each video and print the accuracy.")
    private boolean evaluate;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "HEAD",
            description = "The head to write, a safetensors file.")
    private Path out = Path.of("");

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        student.masks().masking();
        cutting.check();
        Outputs.requireFile(out);
        student.requireOther("--out", out);
        Outputs.requireOther("--out", out, "--clips", clips);
        if (shots != null && shots < 1) {
            throw new IllegalArgumentException(
                    "--shots is " + shots + "; pass 1 or more, or leave it away for all clips");
        }
        ClipFolder videos = ClipFolder.open(clips);
        if (videos.labels().size() < 2) {
            throw new IllegalArgumentException(clips + " holds videos of one label, "
                    + videos.labels().getFirst() + "; there must be two or more to tell apart");
        }
        if (adapt != null) {
            student.replace(adapted(adapt));
        }
        try (Predictor predictor = student.open()) {
            Student model = predictor.student();
            Masking masking = predictor.masking();
            Clips.requireRgb(model.config().input(), student.file());
            ClipCut cut = cutting.cut(model.config().input());
            List<ClipCut> rest = evaluate ? rest(cut) : List.of();
            Learned learned = learn(model, videos, cut, masking);
            Head head = learned.head();
            Judgement judgement = evaluate ? judge(model, videos, rest, head, masking) : null;
            head.save(out);
            print(videos.labels(), learned.clips(), judgement, masking);
        }
    }

    private Path adapted(Path unlabelled) {
        Path run = out.resolveSibling(out.getFileName() + ".adapted");
        return new Adaptation(unlabelled, run, student.file(), false)
                .run(cutting, Adaptation.Plan.STANDARD, progress.resumable(student.compute()))
                .student();
    }

    /** A head and the number of clips it was fitted on. */
    private record Learned(Head head, int clips) {}

    /**
     * How many clips were recognised.
     *
     * @param total clips of each label
     * @param right those of them that were recognised
     */
    private record Judgement(int[] total, int[] right) {
        int clips() {
            return Arrays.stream(total).sum();
        }

        int recognised() {
            return Arrays.stream(right).sum();
        }
    }

    private Learned learn(Student model, ClipFolder videos, ClipCut cut, Masking masking) {
        List<double[][]> views = new ArrayList<>();
        List<Integer> answers = new ArrayList<>();
        int labels = videos.labels().size();
        try (Task task = progress.context(student.compute()).task("learn", Task.Unit.LABELS, labels)) {
            for (int label = 0; label < labels; label++) {
                List<VideoClip> chosen = choose(videos.labels().get(label), cut(videos, label, cut));
                views.addAll(
                        List.of(views(model, chosen, masking, student.masks().seed() + views.size())));
                answers.addAll(Collections.nCopies(chosen.size(), label));
                task.advance(label + 1);
            }
        }
        double[][][] passes = new double[masking.ensemble()][][]; // [P][clips][D]
        Arrays.setAll(passes, p -> views.stream().map(view -> view[p]).toArray(double[][]::new));
        int[] labelOf = answers.stream().mapToInt(label -> label).toArray();
        LinearClassifier fitted =
                new LogisticRegression().fitViews(passes, labelOf, labels).classifier();
        Head head = Head.of(fitted.coefficients(), fitted.intercepts(), videos.labels())
                .named(name)
                .fittedOn(model.checksum());
        return new Learned(head, views.size());
    }

    private static List<VideoClip> cut(ClipFolder videos, int label, ClipCut cut) {
        return videos.clips(label, cut).stream()
                .map(ClipFolder.LabelledClip::clip)
                .toList();
    }

    /** As many clips as asked for, spread evenly. */
    private List<VideoClip> choose(String label, List<VideoClip> found) {
        Integer wanted = shots;
        if (wanted == null) {
            return found;
        }
        if (found.size() < wanted) {
            throw new IllegalArgumentException(
                    "label " + label + " has " + found.size() + " clip(s) but --shots is " + wanted
                            + "; cut shorter clips (--clip-seconds), let them overlap (--stride-seconds), or add"
                            + " videos");
        }
        List<VideoClip> chosen = new ArrayList<>();
        for (int i = 0; i < wanted; i++) {
            chosen.add(found.get((2 * i + 1) * found.size() / (2 * wanted)));
        }
        return chosen;
    }

    /** The parts of the videos that nothing is learned from. */
    private static List<ClipCut> rest(ClipCut cut) {
        List<ClipCut> rest = new ArrayList<>();
        if (cut.from() > 0) {
            rest.add(cut.part(0, cut.from()));
        }
        if (cut.to() < 1) {
            rest.add(cut.part(cut.to(), 1));
        }
        if (rest.isEmpty()) {
            throw new IllegalArgumentException(
                    "--evaluate needs a part of the videos that is not learned from; pass for example --to 0.5");
        }
        return rest;
    }

    private Judgement judge(Student model, ClipFolder videos, List<ClipCut> rest, Head head, Masking masking) {
        int labels = videos.labels().size();
        Judgement judgement = new Judgement(new int[labels], new int[labels]);
        try (Task task = progress.context(student.compute()).task("evaluate", Task.Unit.LABELS, labels);
                Student judged = model.withHead(head)) {
            for (int label = 0; label < labels; label++) {
                for (Path video : videos.videos(label)) {
                    for (ClipCut part : rest) {
                        long first = student.masks().seed() + QUERIES + judgement.clips();
                        try (Predictor predictor = Predictor.of(judged, masking, first)) {
                            for (Prediction prediction : predictor.predictAll(Video.cut(video, part))) {
                                judgement.total[label]++;
                                judgement.right[label] +=
                                        prediction.label().equals(head.labels().get(label)) ? 1 : 0;
                            }
                        }
                    }
                }
                task.advance(label + 1);
            }
        }
        return judgement;
    }

    /**
     * Features of clips under the masks of an ensemble each.
     *
     * @param seed of the first clip's masks; those of a later batch depend on the number of its first clip too
     * @return {@code [clips][ensemble][D]}
     */
    private static double[][][] views(Student model, List<VideoClip> clips, Masking masking, long seed) {
        double[][][] views =
                new double[clips.size()][masking.ensemble()][model.config().featureWidth()];
        try (Scope scope = Scope.open();
                Predictor predictor = Predictor.of(model, masking, seed)) {
            double[] features = predictor.features(clips).toDoubles(); // [P, clips, D]
            for (int p = 0, at = 0; p < masking.ensemble(); p++) {
                for (double[][] view : views) {
                    System.arraycopy(features, at, view[p], 0, view[p].length);
                    at += view[p].length;
                }
            }
        }
        return views;
    }

    private void print(List<String> labels, int learned, @Nullable Judgement judgement, Masking masking) {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("head", out);
        if (adapt != null) {
            result.put("student", student.file());
        }
        result.put("labels", labels);
        result.put("clips", learned);
        if (judgement != null) {
            result.put("evaluated", judgement.clips());
            result.put("accuracy", judgement.recognised() / (double) judgement.clips());
        }
        print(result, to -> {
            if (adapt != null) {
                to.println(student.file() + ": the adapted student, which goes with the head");
            }
            to.printf(Locale.ROOT, "%s: %d labels learned from %d clips%n", out, labels.size(), learned);
            if (judgement != null) {
                for (int label = 0; label < labels.size(); label++) {
                    to.printf(
                            Locale.ROOT,
                            "  %-20s %d of %d recognised%n",
                            labels.get(label),
                            judgement.right[label],
                            judgement.total[label]);
                }
                to.printf(
                        Locale.ROOT,
                        "accuracy %.1f %% (%d of %d clips, mask ratio %s, ensemble %d)%n",
                        100.0 * judgement.recognised() / judgement.clips(),
                        judgement.recognised(),
                        judgement.clips(),
                        masking.ratio(),
                        masking.ensemble());
            }
        });
    }
}
