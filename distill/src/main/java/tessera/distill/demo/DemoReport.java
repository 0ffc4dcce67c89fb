package tessera.distill.demo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import tessera.distill.data.Geometry;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.Training;
import tessera.distill.egosim.ActionClass;
import tessera.distill.egosim.Clip;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.Pictures;
import tessera.distill.egosim.Pictures.Picture;
import tessera.distill.evaluation.Interval;
import tessera.distill.report.Axis;
import tessera.distill.report.BarChart;
import tessera.distill.report.HtmlReport;
import tessera.distill.report.Json;
import tessera.distill.report.LineChart;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.distill.report.PointChart;
import tessera.distill.train.Trainer;

/** Writes a demo's results for people: a page with pictures and charts, and tables in Markdown. */
public final class DemoReport {
    /** Name of the tables in a demo's folder. */
    public static final String TABLES = "results.md";

    /** Name of the scores in a demo's folder. */
    public static final String CSV = "results.csv";

    private static final int FRAMES_SHOWN = 6;
    private static final int PICTURE_PIXELS = 168;

    private final DemoResult result;
    private final DemoPlan plan;
    private final Path out;

    private DemoReport(DemoResult result, Path out) {
        this.result = result;
        this.plan = result.plan();
        this.out = out;
    }

    /**
     * Writes {@code report/index.html}, {@code results.md} and {@code results.csv}.
     *
     * @param out the demo's folder, with the logs of its stages
     * @return the page
     */
    public static Path write(DemoResult result, Path out) {
        Path page = DemoFiles.create(out.resolve("report")).resolve("index.html");
        DemoFiles.write(out.resolve(TABLES), markdown(result));
        DemoFiles.write(out.resolve(CSV), result.csv());
        new DemoReport(result, out).page().write(page);
        return page;
    }

    /** All tables in Markdown, with the gates before and the machine below. */
    public static String markdown(DemoResult result) {
        String gates =
                result.gates().stream().map(gate -> "- " + gate.words() + "\n").collect(Collectors.joining());
        String tables = DemoTable.of(result).stream().map(DemoTable::markdown).collect(Collectors.joining("\n"));
        return (gates.isEmpty()
                        ? ""
                        : "**Gates: what RGB must have learned before anything is compared**\n\n" + gates + "\n")
                + tables + "\n"
                + disturbances(result.plan()).stream()
                        .map(sentence -> sentence + "\n\n")
                        .collect(Collectors.joining())
                + provenance(result) + "\n";
    }

    /** What was wrong with clips, a sentence for each model. */
    private static List<String> disturbances(DemoPlan plan) {
        List<String> sentences = new ArrayList<>();
        plan.models().forEach((name, model) -> {
            if (model instanceof ModelPlan.Distilled distilled && model.isDisturbed()) {
                sentences.add("What the teachers of " + name + " see, but for RGB: "
                        + distilled.disturbance().words() + ".");
            }
        });
        return sentences;
    }

    private static String provenance(DemoResult result) {
        Machine m = result.machine();
        return "Plan %s, EgoSim %d, seeds %s; %s, %d threads, JDK %s, %s."
                .formatted(
                        result.plan().name(),
                        EgoSim.VERSION,
                        result.plan().seeds().stream().map(String::valueOf).collect(Collectors.joining(", ")),
                        m.processor(),
                        m.threads(),
                        m.jdk(),
                        m.system());
    }

    private HtmlReport page() {
        HtmlReport page = new HtmlReport("Tessera demo: few-shot recognition of first-person actions");
        whatWasRun(page);
        accuracy(page);
        masking(page);
        clips(page);
        losses(page);
        settings(page);
        return page;
    }

    private void whatWasRun(HtmlReport page) {
        DemoPlan.Evaluation how = plan.evaluation();
        page.paragraph(
                "A small RGB student learns from RGB, flow and hand-pose teachers, then recognises classes that it"
                        + " never saw from a few labelled examples while most tokens are masked (MM-CDFSL, ECCV 2024). All"
                        + " clips come from EgoSim, a procedural benchmark: labelled source clips of one domain,"
                        + " unlabelled clips of others, and validation and test classes that share no class with"
                        + " either.");
        page.paragraph(
                ("Seeds run: %s. Each rendered its own clips and trained its own models. Accuracy is the mean over %d"
                                + " episodes of each seed with %d classes and %d queries each. All models of a seed meet the same"
                                + " episodes. The last weights of each stage are used: nothing was selected on test classes.")
                        .formatted(
                                plan.seeds().stream()
                                        .map(seed -> "seed " + seed)
                                        .collect(Collectors.joining(", ")),
                                how.episodes(),
                                how.ways(),
                                how.queries()));
        result.gates().forEach(gate -> page.paragraph("Gate: " + gate.words()));
        page.paragraph(provenance(result));
    }

    private void accuracy(HtmlReport page) {
        page.heading("Accuracy");
        for (int shots : plan.evaluation().shots()) {
            page.figure(
                    bars(shots), "%d-shot accuracy on test classes, %s.".formatted(shots, DemoTable.interval(result)));
        }
        tables(page, kind -> kind != DemoTable.Kind.COST && kind != DemoTable.Kind.TRAINING);
        disturbances(plan).forEach(page::paragraph);
    }

    private void tables(HtmlReport page, Predicate<DemoTable.Kind> shown) {
        for (DemoTable table : DemoTable.of(result)) {
            if (shown.test(table.kind())) {
                page.table(table.header(), table.rows(), table.title());
            }
        }
    }

    /** The lines of one mask ratio and ensemble, that of most lines. */
    private String bars(int shots) {
        DemoPlan.Line first = plan.evaluation().lines().getFirst();
        List<String> lines = plan.evaluation().lines().stream()
                .filter(line -> line.split() == first.split()
                        && line.maskRatio() == first.maskRatio()
                        && line.ensemble() == first.ensemble())
                .map(DemoPlan.Line::label)
                .toList();
        BarChart chart = new BarChart(shots + "-shot accuracy of models", Axis.linear("accuracy (%)"), lines);
        for (Domain domain : plan.targets()) {
            List<Interval> intervals = lines.stream()
                    .map(line -> result.summary(line, domain, shots).overSeeds())
                    .toList();
            chart.series(
                    DemoPlan.word(domain),
                    intervals.stream().mapToDouble(i -> 100 * i.mean()).toArray(),
                    intervals.stream().mapToDouble(i -> 100 * i.half()).toArray());
        }
        return chart.reference(100.0 / plan.evaluation().ways(), "chance").svg();
    }

    private void masking(HtmlReport page) {
        DemoPlan.CostGrid grid = plan.evaluation().costs();
        if (grid == null) {
            return;
        }
        page.heading("Masking");
        page.paragraph("ρ is the share of tokens that the student does not look at, P the number of masks whose"
                + " probabilities are averaged. Without masks all passes are equal, so one is computed whatever P is."
                + " Latency is the median over " + grid.rounds() + " rounds that visit every"
                + " combination in turn, one clip at a time; speeds are medians of ratios within a round.");
        int shots = plan.evaluation().shots().getLast();
        String caption =
                shots + "-shot accuracy on test classes, mean over seeds and domains; the line of each P runs over ρ.";
        page.figure(points(grid, shots, "latency (ms)", Cost::milliseconds), caption);
        page.figure(points(grid, shots, "GFLOPs per clip, all matrix products", Cost::gflops), caption);
        tables(page, kind -> kind == DemoTable.Kind.COST);
    }

    private String points(DemoPlan.CostGrid grid, int shots, String axis, ToDoubleFunction<Cost> cost) {
        PointChart chart = new PointChart("accuracy against " + axis, Axis.log(axis), Axis.linear("accuracy (%)"));
        for (int ensemble : grid.ensembles()) {
            List<PointChart.Point> points = new ArrayList<>();
            for (Cost cell : result.costs()) {
                plan.evaluation().lines().stream()
                        .filter(line -> cell.ensemble() == ensemble
                                && line.isPlain()
                                && line.model().equals(grid.model())
                                && line.maskRatio() == cell.maskRatio()
                                && line.ensemble() == ensemble)
                        .findFirst()
                        .ifPresent(line -> points.add(new PointChart.Point(
                                cost.applyAsDouble(cell),
                                100
                                        * plan.targets().stream()
                                                .mapToDouble(domain -> result.summary(line.label(), domain, shots)
                                                        .overSeeds()
                                                        .mean())
                                                .average()
                                                .orElse(0),
                                0,
                                "ρ " + DemoTable.number(cell.maskRatio()))));
            }
            if (!points.isEmpty()) {
                chart.series("P = " + ensemble, points);
            }
        }
        return chart.svg();
    }

    private void clips(HtmlReport page) {
        page.heading("Clips");
        EgoSim sim = new EgoSim(plan.geometry(), plan.seeds().getFirst());
        show(page, sim, Split.SOURCE_TRAIN, Domain.SOURCE, 0);
        show(page, sim, Split.SOURCE_TRAIN, Domain.SOURCE, 9);
        show(page, sim, Split.TARGET_UNLABELLED, plan.targets().getFirst(), 3);
        show(page, sim, Split.TEST, plan.targets().getLast(), 1);
    }

    /** Frames, flow and pose of the first clip of a class, one row each. */
    private void show(HtmlReport page, EgoSim sim, Split split, Domain domain, int classIndex) {
        Geometry geometry = plan.geometry();
        Clip clip = sim.render(split, domain, classIndex, 0);
        double fastest = 1e-6;
        for (float v : clip.flow()) {
            fastest = Math.max(fastest, Math.abs(v));
        }
        double fullSpeed = fastest / 2;
        List<Picture> pictures = new ArrayList<>();
        List<Function<Integer, Picture>> rows = List.of(
                t -> Pictures.frame(clip, geometry, t),
                t -> Pictures.flow(clip, geometry, t, fullSpeed),
                t -> Pictures.pose(clip, geometry, t));
        int columns = Math.min(FRAMES_SHOWN, geometry.frames());
        for (Function<Integer, Picture> row : rows) {
            for (int c = 0; c < columns; c++) {
                pictures.add(row.apply(c * (geometry.frames() - 1) / Math.max(1, columns - 1))
                        .enlarged(Math.max(1, PICTURE_PIXELS / geometry.size())));
            }
        }
        ActionClass action = EgoSim.classes(split).get(classIndex);
        page.picture(
                Pictures.sheet(pictures, columns).png(),
                "“%s”, %s domain, %s classes. From the top: frames, flow (hue is direction), hand pose."
                        .formatted(
                                action.name(),
                                DemoPlan.word(domain),
                                DemoPlan.word(split).replace('_', ' ')));
    }

    private void losses(HtmlReport page) {
        page.heading("Training");
        tables(page, kind -> kind == DemoTable.Kind.TRAINING);
        plan.models().forEach((name, model) -> {
            if (model instanceof ModelPlan.Pretrained) {
                double trivial = result.trainings().stream()
                        .filter(training -> training.model().equals(name))
                        .mapToDouble(Training::trivial)
                        .average()
                        .orElse(Double.NaN);
                curve(
                        page,
                        name,
                        "reconstruction of source clips",
                        Training.RECONSTRUCTION,
                        "trivial predictor",
                        trivial);
                double guessing = Math.log(EgoSim.classes(Split.SOURCE_TRAIN).size());
                curve(page, name, "cross-entropy of source classes", Training.CROSS_ENTROPY, "guessing", guessing);
            } else if (!(model instanceof ModelPlan.Untrained)) {
                curve(page, name, "loss", Metric.LOSS, "", Double.NaN);
            }
        });
    }

    /**
     * A figure of a model's training, seed beside seed.
     *
     * @param reference value of a line across it, NaN for none
     */
    private void curve(
            HtmlReport page, String model, String what, Metric metric, String referenceName, double reference) {
        String title = what + " of " + model;
        LineChart chart = new LineChart(title, Axis.linear("step"), Axis.linear(what));
        double[] ends = {0, 1};
        for (long seed : plan.seeds()) {
            Path log = DemoModels.folder(out, seed).resolve(model).resolve(Trainer.METRICS);
            List<MetricsLog.Line> lines = Files.exists(log) ? MetricsLog.read(log) : List.of();
            double[] steps = lines.stream().mapToDouble(MetricsLog.Line::step).toArray();
            chart.series(
                    "seed " + seed,
                    steps,
                    lines.stream()
                            .mapToDouble(line -> line.values().getOrDefault(metric, Double.NaN))
                            .toArray());
            ends[1] = steps.length == 0 ? ends[1] : Math.max(ends[1], steps[steps.length - 1]);
        }
        if (!Double.isNaN(reference)) {
            chart.series(referenceName, ends, new double[] {reference, reference});
        }
        page.figure(chart.svg(), title + ".");
    }

    private void settings(HtmlReport page) {
        page.heading("Settings");
        page.paragraph(
                "The plan, as demo --plan takes it, lies in " + Demo.PLAN + ": " + Json.text(plan, DemoPlan::written));
        page.paragraph(String.format(Locale.ROOT, "The call that wrote this page took %.0f s.", result.seconds()));
    }
}
