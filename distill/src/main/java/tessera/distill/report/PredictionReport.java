package tessera.distill.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.VideoClip;

/**
 * What a student saw of a recording, as a page: probabilities over the recording, and frames of some clips with the tokens that
 * each mask kept.
 *
 * <p>Memory does not grow with the recording: of many clips some are shown, evenly spread, and a curve of many points is made of means. Not
 * thread-safe.
 */
public final class PredictionReport {
    /** Clips whose frames are shown. */
    private static final int MOST_CLIPS = 12;

    /** Points of a curve. */
    private static final int MOST_POINTS = 1200;

    private static final int TABLE_LABELS = 10;
    private static final int CURVES = 6;
    private static final int CAPTION_LABELS = 3;

    private final String title;
    private final Axis axis;
    private final @Nullable TokenGrid grid;
    private final List<Shown> shown = new ArrayList<>();
    private List<Point> points = new ArrayList<>();
    private long clips;
    /** Of so many clips one is shown. */
    private long shownEvery = 1;
    /** A point is made of so many clips. */
    private long clipsOfPoint = 1;

    /** A clip whose frames are shown. */
    private record Shown(String name, Prediction prediction, VideoClip seen, List<boolean[]> masks) {}

    /**
     * The sums over some clips.
     *
     * @param x sum of their places
     * @param probabilities {@code [head][label]}
     */
    private record Point(long clips, double x, double[][] probabilities) {
        Point plus(Point other) {
            double[][] sum = new double[probabilities.length][];
            for (int h = 0; h < sum.length; h++) {
                double[] mine = probabilities[h];
                double[] theirs = other.probabilities[h];
                sum[h] = IntStream.range(0, mine.length)
                        .mapToDouble(c -> mine[c] + theirs[c])
                        .toArray();
            }
            return new Point(clips + other.clips, x + other.x, sum);
        }
    }

    /**
     * An empty report.
     *
     * @param axis what tells the place of a clip in the recording, such as {@code time (s)}
     * @param grid of the student's tokens, null where it has none to mask
     */
    public PredictionReport(String title, String axis, @Nullable TokenGrid grid) {
        this.title = title;
        this.axis = Axis.linear(axis);
        this.grid = grid;
    }

    /**
     * Adds a clip.
     *
     * @param name stands below its frames
     * @param x its place on the axis, ascending
     * @param prediction of the same heads each time
     * @param seen the frames that the student looked at; copied
     * @param masks what each mask of the ensemble kept, a flag for each token of the grid; none where every token is seen. Asked for at
     *     once where the clip is shown
     */
    public void add(String name, double x, Prediction prediction, VideoClip seen, Supplier<List<boolean[]>> masks) {
        double[][] probabilities = prediction.answers().stream()
                .map(answer -> answer.scores().stream()
                        .mapToDouble(Prediction.Score::probability)
                        .toArray())
                .toArray(double[][]::new);
        addPoint(new Point(1, x, probabilities));
        if (clips % shownEvery == 0 && shown.size() == MOST_CLIPS) {
            for (int k = shown.size() - 1; k > 0; k -= 2) {
                shown.remove(k);
            }
            shownEvery *= 2;
        }
        if (clips % shownEvery == 0) {
            VideoClip kept = new VideoClip(
                    seen.frames(), seen.height(), seen.width(), seen.pixels().clone());
            shown.add(new Shown(name, prediction, kept, List.copyOf(masks.get())));
        }
        clips++;
    }

    private void addPoint(Point clip) {
        Point last = points.isEmpty() ? clip : points.getLast();
        if (!points.isEmpty() && last.clips() < clipsOfPoint) {
            points.set(points.size() - 1, last.plus(clip));
            return;
        }
        if (points.size() == MOST_POINTS) {
            List<Point> pairs = new ArrayList<>();
            for (int i = 0; i < points.size(); i += 2) {
                pairs.add(points.get(i).plus(points.get(i + 1)));
            }
            points = pairs;
            clipsOfPoint *= 2;
        }
        points.add(clip);
    }

    /**
     * The page.
     *
     * @param about what was looked at and how, a sentence or more
     * @throws IllegalArgumentException if no clip was added
     */
    public HtmlReport page(String about) {
        if (clips == 0) {
            throw new IllegalArgumentException("report: there is no clip to show; add one or more");
        }
        HtmlReport page = new HtmlReport(title).paragraph(about);
        List<Prediction.Answer> heads = shown.getFirst().prediction().answers();
        double[][] means = points.stream().reduce(Point::plus).orElseThrow().probabilities();
        page.heading("Probabilities");
        for (int h = 0; h < heads.size(); h++) {
            answer(page, heads.get(h), h, means[h]);
        }
        page.heading("What the student saw");
        page.paragraph((shown.size() < clips ? shown.size() + " of " + clips + " clips, evenly spread. " : "")
                + "These are the frames that it looked at, of the size at which it looked; what a mask hid is dark.");
        for (int i = 0; i < shown.size(); i++) {
            Shown clip = shown.get(i);
            page.figure(
                    SeenFrames.svg("clip-" + (i + 1), clip.name(), clip.seen(), grid, clip.masks()),
                    clip.name() + ": " + top(clip.prediction()));
        }
        return page;
    }

    private void answer(HtmlReport page, Prediction.Answer head, int h, double[] sums) {
        List<Integer> order = IntStream.range(0, sums.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer c) -> -sums[c]))
                .toList();
        page.table(
                List.of("head " + head.head(), "probability"),
                order.stream()
                        .limit(TABLE_LABELS)
                        .map(c -> List.of(head.scores().get(c).label(), percent(sums[c] / clips)))
                        .toList(),
                clips == 1 ? "Of one clip." : "The mean over " + clips + " clips.");
        if (points.size() < 2) {
            return;
        }
        LineChart chart = new LineChart("Probabilities by head " + head.head(), axis, Axis.linear("probability"));
        double[] x =
                points.stream().mapToDouble(point -> point.x() / point.clips()).toArray();
        for (int c : order.subList(0, Math.min(CURVES, order.size()))) {
            chart.series(
                    head.scores().get(c).label(),
                    x,
                    points.stream()
                            .mapToDouble(point -> point.probabilities()[h][c] / point.clips())
                            .toArray());
        }
        page.figure(
                chart.svg(),
                "Head " + head.head()
                        + (sums.length > CURVES ? ", its " + CURVES + " likeliest labels of " + sums.length : "")
                        + (clipsOfPoint > 1 ? "; a point is the mean of " + clipsOfPoint + " clips" : ""));
    }

    private static String top(Prediction prediction) {
        return prediction.answers().stream()
                .map(answer -> (prediction.answers().size() > 1 ? answer.head() + ": " : "")
                        + answer.top(CAPTION_LABELS).stream()
                                .map(score -> score.label() + " " + percent(score.probability()))
                                .collect(Collectors.joining(", ")))
                .collect(Collectors.joining("; "));
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.1f %%", 100 * share);
    }
}
