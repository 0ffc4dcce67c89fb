package tessera.distill.cli;

import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.evaluation.ReducedCost;
import tessera.distill.report.Json;
import tessera.distill.report.PredictionReport;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Smoothing;
import tessera.nn.inference.StreamPredictor;
import tessera.nn.inference.VideoClip;
import tessera.tensor.CostMeter;
import tessera.tensor.io.Printable;

/** {@code tessera predict}: what a video shows. */
@Command(
        name = "predict",
        description = {
            "Recognise a video with heads that learn wrote, or with those in the student's file, as train and distill write"
                    + " them: probabilities of each clip, and their mean.",
            "Each clip is seen through several masks whose probabilities are averaged; with --adaptive only through as many as it"
                    + " takes to be sure.",
            "With --every a timeline: windows of --clip-seconds, printed as they are recognised, each as a line of JSON."
        })
final class Predict extends ToolCommand {
    @Mixin
    private StudentOptions student;

    @Mixin
    private CutOptions cutting;

    @Option(
            names = "--head",
            split = ",",
            paramLabel = "HEAD",
            description =
                    "Heads that learn wrote with this student, of different names (learn --name); the first is the main"
                            + " one. Default: those in the student's file")
    private List<Path> heads = List.of();

    @Option(
            names = "--video",
            required = true,
            paramLabel = "FILE",
            description = "Any video FFmpeg can decode, or a folder of numbered JPEG or PNG frames (--fps).")
    private Path video = Path.of("");

    @Option(
            names = "--every",
            paramLabel = "S",
            description =
                    "Print a timeline, one line of JSON every S seconds of the recording: start and end of a window in seconds,"
                            + " and its likeliest labels. Default: the clips and their mean, at the end")
    private @Nullable Double every;

    @Option(
            names = "--smooth",
            paramLabel = "K",
            description =
                    "With --every: probabilities are the mean of the last K windows. Default: 1, each window by itself")
    private @Nullable Integer smooth;

    @Option(
            names = "--top",
            paramLabel = "N",
            description =
                    "Labels of a head that are printed, the likeliest first; --json has all. Default: ${DEFAULT-VALUE}")
    private int top = 3;

    @Option(
            names = "--report",
            paramLabel = "FILE",
            description =
                    "Write an HTML page too: frames that the student saw with the tokens that each mask kept, and probabilities"
                            + " over the recording. Default: none")
    private @Nullable Path report;

    @Mixin
    private AdaptiveOptions adaptive;

    @Mixin
    private TimingOption timing;

    @Override
    void run() {
        cutting.check();
        check();
        adaptive.check(given());
        adaptive.check(student.masking());
        try (Predictor opened = student.open(adaptive.stopping(), heads.toArray(Path[]::new))) {
            adaptive.check(opened.masking());
            if (opened.student().heads().isEmpty()) {
                throw new IllegalArgumentException(student.file()
                        + " has no head of its own; pass --head with one that `tessera learn` made with this student");
            }
            Clips.requireRgb(opened.student().config().input(), student.file());
            ClipCut cut = cutting.cut(opened.student().config().input());
            timing.started();
            Path written = report;
            if (written == null) {
                recognise(opened, cut, null);
                return;
            }
            SeenTokens tokens = new SeenTokens(opened.masking().strategy());
            Masking watched = opened.masking().withStrategy(tokens);
            try (Predictor predictor = Predictor.of(opened.student(), watched, opened.seed())) {
                PredictionReport page = new PredictionReport(
                        String.valueOf(video.getFileName()),
                        every == null ? "clip" : "time (s)",
                        opened.student().config().grid());
                recognise(predictor, cut, new Page(page, tokens));
                page.page(about(opened.masking())).write(written);
            }
        }
    }

    /** What is known before anything is loaded. */
    private void check() {
        if (top < 1) {
            throw new IllegalArgumentException("--top is " + top + "; pass the number of labels to print, 1 or more");
        }
        if (report != null) {
            Outputs.requireFile("--report", report, "html", "htm");
            if (adaptive.wanted()) {
                throw new IllegalArgumentException(
                        "--report shows the tokens of every mask, and --adaptive leaves masks away; pass one of"
                                + " the two");
            }
        }
        if (Files.isRegularFile(video)) {
            IdleOptions.refuse(
                    given(), CutOptions.FPS, "is for folders of pictures, videos have their own; leave it away");
        }
        if (every == null) {
            if (smooth != null) {
                throw new IllegalArgumentException(
                        "--smooth is over the windows of a timeline; pass --every too, or leave it away");
            }
            return;
        }
        if (!(every > 0 && every < ClipCut.LONGEST)) {
            throw new IllegalArgumentException("--every is " + every + "; pass a positive number of seconds");
        }
        if (smooth != null && smooth < 1) {
            throw new IllegalArgumentException("--smooth is " + smooth + "; pass 1 or more windows, 1 for none");
        }
        if (cutting.isWhole()) {
            throw new IllegalArgumentException(
                    "--clip-seconds 0 is one clip of the whole part, which has no timeline; pass the length of a window with"
                            + " --every");
        }
        refuse("--json", "--every prints a line of JSON for each window and --json one object; leave --json away");
        refuse("--stride-seconds", "--every and --stride-seconds say the same; leave --stride-seconds away");
    }

    private void refuse(String option, String problem) {
        if (given().hasMatchedOption(option)) {
            throw new IllegalArgumentException(problem);
        }
    }

    private String about(Masking masking) {
        int masks = masking.ensemble();
        String how = masking.ratio() == 0
                ? "with all of its tokens"
                : "through %d %s of %s %% of the tokens"
                        .formatted(masks, masks == 1 ? "mask" : "masks", Math.round(100 * masking.ratio()));
        return video + ", seen by " + student.file().getFileName() + " " + how + ".";
    }

    /** A page to write, with the masks of what was predicted last. */
    private record Page(PredictionReport report, SeenTokens tokens) {
        void add(String name, double x, Prediction prediction, VideoClip seen) {
            report.add(name, x, prediction, seen, tokens.next());
        }
    }

    private void recognise(Predictor predictor, ClipCut cut, @Nullable Page page) {
        if (every == null) {
            clips(predictor, cut, page);
        } else {
            timeline(predictor, cut, every, page);
        }
    }

    private void clips(Predictor predictor, ClipCut cut, @Nullable Page page) {
        ClipAnswers predictions = new ClipAnswers();
        Deque<VideoClip> shown = new ArrayDeque<>();
        ReducedCost cost;
        try (Stream<VideoClip> clips = timing.decoded(timing.decoding(() -> Video.clips(video, cut, this::tell)));
                CostMeter meter = CostMeter.open()) {
            predictor.predictAll(page == null ? clips : clips.peek(shown::add), prediction -> {
                predictions.add(prediction);
                if (page != null) {
                    int number = predictions.size();
                    page.add("clip " + number, number, prediction, shown.remove());
                }
            });
            cost = ReducedCost.of(meter, predictions.size(), predictor.student(), predictor.masking());
        }
        print(predictions, cost, times(predictor));
    }

    private TimingOption.@Nullable Times times(Predictor predictor) {
        Predictor.Times times = predictor.times();
        int frames = predictor.student().config().input().frames();
        return timing.times(times.preparing(), times.computing(), times.clips(), times.clips() * frames);
    }

    private void tell(String note) {
        spec().commandLine()
                .getErr()
                .println("tessera: " + Printable.line(note) + " (--clip-seconds makes clips shorter)");
    }

    /** Frame by frame, so that of a recording of any length no more than a window is held. */
    private void timeline(Predictor predictor, ClipCut cut, double stride, @Nullable Page page) {
        double distance = cut.clipSeconds() / cut.frames();
        if (stride < distance) {
            throw new IllegalArgumentException("--every is " + stride + " but the student looks at a frame every "
                    + distance + " s of a window of " + cut.clipSeconds()
                    + " s; pass at least that, or a shorter --clip-seconds");
        }
        StreamPredictor.Options options = StreamPredictor.Options.seconds(cut.clipSeconds(), stride)
                .withSmoothing(Smoothing.mean(smooth == null ? 1 : smooth))
                .inCallersThread();
        try (StreamPredictor stream = new StreamPredictor(predictor, options, (window, seen) -> {
            line(window);
            if (page != null) {
                page.add(
                        micro(window.start()) + " to " + micro(window.end()) + " s",
                        (window.start() + window.end()) / 2,
                        window.smoothed(),
                        seen);
            }
        })) {
            double[] first = {Double.NaN};
            Video.Frames each = (pixels, time) -> {
                first[0] = Double.isNaN(first[0]) ? time : first[0];
                stream.add(pixels, cut.height(), cut.width(), time);
            };
            double end = timing.decoding(() ->
                    Video.frames(video, cut, (pixels, time) -> timing.besides(() -> each.frame(pixels, time))));
            double whole = first[0] + cut.clipSeconds();
            if (end < whole - distance / 2) {
                tell(video + ": the part that is looked at is shorter than a window of " + cut.clipSeconds() + " s ("
                        + Math.round((end - first[0]) / distance) + " of its " + cut.frames()
                        + " frames); the last frame is repeated");
                end = whole;
            }
            stream.finish(end);
        }
        TimingOption.Times times = times(predictor);
        if (times != null) {
            spec().commandLine().getErr().println("tessera: " + times.text());
        }
    }

    /** A window as a program reads it, in seconds of the recording; what all heads say stands in {@code heads} where there are several. */
    private void line(StreamPredictor.Window window) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("start", micro(window.start()));
        line.put("end", micro(window.end()));
        Map<String, Object> each = new LinkedHashMap<>();
        for (Prediction.Answer answer : window.smoothed().answers()) {
            Map<String, Object> said = new LinkedHashMap<>();
            said.put("label", answer.label());
            Map<String, Double> rounded = named(answer.top(top));
            rounded.replaceAll((label, probability) -> micro(probability));
            said.put("probabilities", rounded);
            each.put(answer.head(), said);
            if (each.size() == 1) {
                line.putAll(said);
            }
        }
        if (each.size() > 1) {
            line.put("heads", each);
        }
        PrintWriter out = spec().commandLine().getOut();
        out.println(Json.text(line));
        if (out.checkError()) {
            throw new UncheckedIOException("nobody reads the timeline any more", new ClosedChannelException());
        }
    }

    /** To six decimals. */
    private static double micro(double value) {
        return Math.round(value * 1e6) / 1e6;
    }

    private void print(ClipAnswers clips, @Nullable ReducedCost cost, TimingOption.@Nullable Times times) {
        Prediction mean = Prediction.mean(clips);
        Map<String, HeadAnswer> each = new LinkedHashMap<>();
        for (Prediction.Answer answer : mean.answers()) {
            each.put(
                    answer.head(),
                    new HeadAnswer(answer.label(), named(answer.scores()), new NamedClips(clips, answer.head())));
        }
        HeadAnswer main = each.values().iterator().next();
        Answer answer =
                new Answer(video, main.label(), main.probabilities(), main.clips(), mean.passes(), each, cost, times);
        print(answer, out -> {
            out.printf(
                    Locale.ROOT,
                    "%s: %s%s%n",
                    Printable.line(video.toString()),
                    top(mean),
                    adaptive.wanted() ? ", %.2f masks a clip".formatted(mean.passes()) : "");
            for (int i = 0; i < clips.size(); i++) {
                Prediction clip = clips.get(i);
                out.printf(
                        "  clip %d: %s%s%n",
                        i + 1,
                        top(clip),
                        !adaptive.wanted()
                                ? ""
                                : ", %.0f mask%s".formatted(clip.passes(), clip.passes() == 1 ? "" : "s"));
            }
            if (cost != null) {
                out.println("  " + cost.text());
            }
            if (times != null) {
                out.println("  " + times.text());
            }
        });
    }

    /**
     * What all heads say; what the main one says stands outside {@code heads} too.
     *
     * @param meanPasses masks that a clip was looked at through
     */
    private record Answer(
            Path video,
            String label,
            Map<String, Double> probabilities,
            List<Map<String, Double>> clips,
            double meanPasses,
            Map<String, HeadAnswer> heads,
            @Nullable ReducedCost reduced,
            TimingOption.@Nullable Times timing) {}

    private record HeadAnswer(String label, Map<String, Double> probabilities, List<Map<String, Double>> clips) {}

    /** What a head says of each clip, made while it is written: of a day these maps together would not fit. */
    private static final class NamedClips extends AbstractList<Map<String, Double>> {
        private final ClipAnswers clips;
        private final String head;

        NamedClips(ClipAnswers clips, String head) {
            this.clips = clips;
            this.head = head;
        }

        @Override
        public Map<String, Double> get(int clip) {
            return named(clips.get(clip).answer(head).scores());
        }

        @Override
        public int size() {
            return clips.size();
        }
    }

    private static Map<String, Double> named(List<Prediction.Score> scores) {
        Map<String, Double> named = new LinkedHashMap<>();
        scores.forEach(score -> named.put(score.label(), score.probability()));
        return named;
    }

    /** The likeliest labels: of one head alone, or behind the name of each. */
    private String top(Prediction prediction) {
        boolean several = prediction.answers().size() > 1;
        return prediction.answers().stream()
                .map(answer -> (several ? Printable.line(answer.head()) + ": " : "") + top(answer))
                .collect(Collectors.joining("; "));
    }

    private String top(Prediction.Answer answer) {
        return answer.top(top).stream()
                .map(score -> String.format(
                        Locale.ROOT, "%s %.1f %%", Printable.line(score.label()), 100 * score.probability()))
                .collect(Collectors.joining(", "));
    }
}
