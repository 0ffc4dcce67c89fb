package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.evaluation.EnsemblePasses;
import tessera.distill.evaluation.ReducedCost;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.train.Task;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.Video;
import tessera.nn.Pooling;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Stopping;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.tensor.CostMeter;
import tessera.tensor.io.Printable;

/** {@code tessera learn}: a few-shot head from labelled videos. */
@Command(
        name = "learn",
        description = {
            "Learn to tell labels apart from a few videos of each: DIR/<label>/<any video>, or DIR/<label>.mp4.",
            "Videos are cut into clips, the student gives their features, and a logistic regression (or --head) on these becomes"
                    + " the head that predict uses; it remembers how the features were pooled.",
            "With --evaluate, the parts of the videos outside --from and --to are recognised too, and the accuracy is"
                    + " printed: --to 0.5 --shots 5 --evaluate learns from 5 clips of each first half and is judged on the"
                    + " second halves."
        })
final class Learn extends ToolCommand {

    /** Keeps the masks of judged clips apart from those of learned ones. */
    private static final long QUERIES = 1L << 32;

    /** What of the heap features can take, at the very most. */
    private static final double MOST_OF_HEAP = .9;

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
    private HeadChoice headOptions;

    @Mixin
    private AdaptiveChoice adaptive;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        student.masking();
        cutting.check();
        headOptions.check();
        headOptions.checkLinear();
        adaptive.check(given());
        adaptive.check(student.masking());
        Outputs.requireFile(out, "safetensors");
        if (name.isBlank()) {
            throw new IllegalArgumentException("--name is '" + name + "'; pass a word for the head, or leave it away");
        }
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
            adaptive.check(masking);
            Clips.requireRgb(model.config().input(), student.file());
            ClipCut cut = cutting.cut(model.config().input());
            List<ClipCut> rest = evaluate ? rest(cut) : List.of();
            Learned learned = learn(model, videos, cut, masking);
            Head head = learned.head();
            Judgement judgement = evaluate ? judge(model, videos, rest, head, masking) : null;
            head.save(out);
            print(learned, judgement, masking);
        }
    }

    private Path adapted(Path unlabelled) {
        Path run = out.resolveSibling(out.getFileName() + ".adapted");
        return new Adaptation(unlabelled, run, student.file(), false)
                .run(cutting, Adaptation.Plan.STANDARD, progress.resumable(student.compute()))
                .student();
    }

    /**
     * A fitted head.
     *
     * @param clips number of clips it was fitted on
     * @param c how much they weigh against the penalty; null where there is none
     * @param heldOut where masks are adaptive
     * @param cost of the features, where tokens are reduced
     */
    private record Learned(
            Head head,
            int clips,
            @Nullable Double c,
            @Nullable HeldOut heldOut,
            @Nullable ReducedCost cost) {}

    /** What held-out clips, of which the threshold comes, say of all masks and of adaptive ones. */
    private record HeldOut(
            double temperature, double threshold, double accuracyOfAll, double accuracy, double meanPasses) {}

    /**
     * How many clips were recognised.
     *
     * @param total clips of each label
     * @param right those of them that were recognised
     * @param passes masks through which all clips together were looked at, in its first place
     */
    private record Judgement(int[] total, int[] right, double[] passes) {
        double meanPasses() {
            return passes[0] / clips();
        }

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
        List<Path> sources = new ArrayList<>();
        int labels = videos.labels().size();
        ReducedCost cost;
        List<Pooling> candidates = headOptions.candidates(model, masking);
        try (Task task = progress.context(student.compute()).task("learn", Task.Unit.LABELS, labels);
                Student pooled = model.pooled(Pooling.union(candidates));
                CostMeter meter = CostMeter.open()) {
            for (int label = 0; label < labels; label++) {
                Stream<VideoClip> chosen = chosen(videos, label, cut).map(clip -> {
                    sources.add(clip.source());
                    return clip.clip();
                });
                addViews(views, pooled, chosen, masking);
                answers.addAll(Collections.nCopies(views.size() - answers.size(), label));
                task.advance(label + 1);
            }
            cost = ReducedCost.of(meter, views.size(), pooled, masking);
        }
        double[][][] passes = new double[masking.ensemble()][][]; // [P][clips][D]
        Arrays.setAll(passes, p -> views.stream().map(view -> view[p]).toArray(double[][]::new));
        int[] labelOf = answers.stream().mapToInt(label -> label).toArray();
        // Clips of one video resemble each other, so none of them is held out while others are learned from.
        List<Path> distinct = sources.stream().distinct().toList();
        int[] videoOf = sources.stream().mapToInt(distinct::indexOf).toArray();
        HeadOptions.Fitted fitted = headOptions.fit(candidates, model, passes, labelOf, labels, videoOf);
        LinearClassifier classifier = fitted.classifier();
        Head head = Head.of(classifier.coefficients(), classifier.intercepts(), videos.labels())
                .named(name)
                .on(fitted.pooling())
                .fittedOn(model.checksum());
        if (!adaptive.wanted()) {
            return new Learned(head, views.size(), fitted.c(), null, cost);
        }
        double[][][] heldOut = fitted.heldOut().get();
        EnsemblePasses judged = heldOut.length == 0 ? null : EnsemblePasses.of(heldOut, labelOf);
        Stopping rule = adaptive.rule(judged);
        return new Learned(
                head.stoppingAt(rule), views.size(), fitted.c(), judged == null ? null : heldOut(judged, rule), cost);
    }

    private static HeldOut heldOut(EnsemblePasses judged, Stopping rule) {
        EnsemblePasses.Outcome outcome = judged.adaptive(rule);
        return new HeldOut(
                rule.temperature(),
                rule.threshold(),
                judged.fixed(judged.passes()).accuracy().value(),
                outcome.accuracy().value(),
                outcome.meanPasses());
    }

    /**
     * The clips of a label, or as many as asked for, spread evenly: these are counted first, by decoding, since keeping them might take
     * all memory.
     */
    private Stream<ClipFolder.LabelledClip> chosen(ClipFolder videos, int label, ClipCut cut) {
        Stream<ClipFolder.LabelledClip> all = videos.stream(label, cut);
        Integer wanted = shots;
        if (wanted == null) {
            return all;
        }
        long found = videos.count(label, cut);
        if (found < wanted) {
            throw new IllegalArgumentException("label " + videos.labels().get(label) + " has " + found
                    + " clip(s) but --shots is " + wanted
                    + "; cut shorter clips (--clip-seconds), let them overlap (--stride-seconds), or add videos");
        }
        AtomicLong at = new AtomicLong();
        AtomicInteger taken = new AtomicInteger();
        return all.filter(clip -> {
                    int next = taken.get();
                    boolean take = next < wanted && at.getAndIncrement() == (2L * next + 1) * found / (2L * wanted);
                    if (take) {
                        taken.incrementAndGet();
                    }
                    return take;
                })
                .limit(wanted);
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
        Judgement judgement = new Judgement(new int[labels], new int[labels], new double[1]);
        try (Task task = progress.context(student.compute()).task("evaluate", Task.Unit.LABELS, labels);
                Student judged = model.withHead(head)) {
            for (int label = 0; label < labels; label++) {
                for (Path video : videos.videos(label)) {
                    for (ClipCut part : rest) {
                        long first = student.masks().seed() + QUERIES + judgement.clips();
                        int truth = label;
                        try (Predictor predictor = Predictor.of(
                                        judged, masking, first, adaptive.wanted() ? Stopping::learned : null);
                                Stream<VideoClip> clips = Video.clips(video, part)) {
                            predictor.predictAll(clips, prediction -> {
                                judgement.total[truth]++;
                                judgement.passes[0] += prediction.passes();
                                judgement.right[truth] +=
                                        prediction.label().equals(head.labels().get(truth)) ? 1 : 0;
                            });
                        }
                    }
                }
                task.advance(label + 1);
            }
        }
        return judgement;
    }

    /**
     * Adds the features of clips under the masks of an ensemble each; the masks of a batch depend on how many clips lie before it.
     *
     * @param views of each clip {@code [ensemble][D]}
     */
    private void addViews(List<double[][]> views, Student model, Stream<VideoClip> clips, Masking masking) {
        try (Predictor predictor = Predictor.of(model, masking, student.masks().seed() + views.size())) {
            predictor.features(clips, features -> {
                int batch = Math.toIntExact(features.size(1));
                int width = Math.toIntExact(features.size(2));
                requireRoom(views.size() + batch, 8L * masking.ensemble() * width);
                double[] values = features.toDoubles(); // [P, batch, D]
                for (int clip = 0; clip < batch; clip++) {
                    double[][] view = new double[masking.ensemble()][];
                    for (int p = 0; p < view.length; p++) {
                        int from = (p * batch + clip) * width;
                        view[p] = Arrays.copyOfRange(values, from, from + width);
                    }
                    views.add(view);
                }
            });
        }
    }

    /**
     * Refuses features that the heap cannot hold; a tuned fit has them standardised too.
     *
     * @param clips so far
     * @param bytes of the features of one
     */
    private void requireRoom(int clips, long bytes) {
        long heap = Runtime.getRuntime().maxMemory();
        boolean twice = headOptions.copiesFeatures();
        if ((twice ? 2.0 : 1.0) * clips * bytes > MOST_OF_HEAP * heap) {
            throw new IllegalArgumentException("the features of " + clips + " clips"
                    + (twice ? ", which a tuned fit has twice," : "") + " do not fit into a heap of "
                    + (heap >> 20) + " MiB; pass --shots N to learn from N clips of each label, longer clips"
                    + " (--clip-seconds), or a larger heap by TESSERA_JAVA_OPTS=-Xmx8g");
        }
    }

    private void print(Learned learned, @Nullable Judgement judgement, Masking masking) {
        List<String> labels = learned.head().labels();
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("head", out);
        if (adapt != null) {
            result.put("student", student.file());
        }
        result.put("labels", labels);
        result.put("clips", learned.clips());
        result.put("pooling", learned.head().pooling().toString());
        if (learned.c() != null) {
            result.put("c", learned.c());
        }
        ReducedCost cost = learned.cost();
        if (cost != null) {
            result.put("reduced", cost);
        }
        if (adaptive.wanted()) {
            result.put("threshold", learned.head().stopping().orElseThrow().threshold());
            result.put("heldOut", learned.heldOut());
        }
        if (headOptions.isAttentive()) {
            result.put("attends", attends(learned.head()));
        }
        if (judgement != null) {
            result.put("evaluated", judgement.clips());
            result.put("accuracy", judgement.recognised() / (double) judgement.clips());
            result.put("meanPasses", judgement.meanPasses());
        }
        print(result, to -> {
            if (adapt != null) {
                to.println(student.file() + ": the adapted student, which goes with the head");
            }
            to.printf(Locale.ROOT, "%s: %d labels learned from %d clips%n", out, labels.size(), learned.clips());
            if (headOptions.isTuned()) {
                String plainly = headOptions.isAttentive() && !attends(learned.head())
                        ? " (by their plain mean: no attention recognised clearly more of what was held out)"
                        : "";
                to.printf("  pooling %s%s, C %s%n", learned.head().pooling(), plainly, learned.c());
            }
            if (cost != null) {
                to.println("  " + cost.text());
            }
            HeldOut heldOut = learned.heldOut();
            if (heldOut != null) {
                show(heldOut, masking, to);
            }
            if (judgement != null) {
                show(judgement, labels, masking, to);
            }
        });
    }

    /** Whether a head weighs tokens: with a query of 0 all count alike. */
    private static boolean attends(Head head) {
        float[] query = head.pooling().query();
        return query != null && !Arrays.equals(query, new float[query.length]);
    }

    private void show(HeldOut heldOut, Masking masking, PrintWriter to) {
        String threshold =
                heldOut.threshold() > 1 ? "never enough" : String.format(Locale.ROOT, "%.3f", heldOut.threshold());
        to.printf(
                Locale.ROOT,
                "  adaptive: %s %s at temperature %.2f; on held-out clips %.1f %% with %.2f masks, %.1f %% with all %d%n",
                adaptive.measure(),
                threshold,
                heldOut.temperature(),
                100 * heldOut.accuracy(),
                heldOut.meanPasses(),
                100 * heldOut.accuracyOfAll(),
                masking.ensemble());
    }

    private void show(Judgement judgement, List<String> labels, Masking masking, PrintWriter to) {
        for (int label = 0; label < labels.size(); label++) {
            to.printf(
                    Locale.ROOT,
                    "  %-20s %d of %d recognised%n",
                    Printable.line(labels.get(label)),
                    judgement.right[label],
                    judgement.total[label]);
        }
        String passes =
                adaptive.wanted() ? String.format(Locale.ROOT, ", %.2f masks a clip", judgement.meanPasses()) : "";
        to.printf(
                Locale.ROOT,
                "accuracy %.1f %% (%d of %d clips, mask ratio %s, ensemble %d%s)%n",
                100.0 * judgement.recognised() / judgement.clips(),
                judgement.recognised(),
                judgement.clips(),
                masking.ratio(),
                masking.ensemble(),
                MaskOptions.strategy(masking) + passes);
    }
}
