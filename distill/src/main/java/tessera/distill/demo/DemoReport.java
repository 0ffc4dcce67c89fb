package tessera.distill.demo;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.Score;
import tessera.distill.egosim.ActionClass;
import tessera.distill.egosim.Clip;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.Pictures;
import tessera.distill.egosim.Pictures.Picture;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.report.Axis;
import tessera.distill.report.BarChart;
import tessera.distill.report.HtmlReport;
import tessera.distill.report.LineChart;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.distill.report.PointChart;

/** Writes a demo's results for people: a page with pictures and charts, and tables in Markdown. */
public final class DemoReport {
    /** Name of the tables in a demo's folder. */
    public static final String TABLES = "results.md";

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
     * Writes {@code report/index.html} and {@code results.md}.
     *
     * @param out the demo's folder, with the logs of its stages
     * @return the page
     */
    public static Path write(DemoResult result, Path out) {
        Path page = DemoFiles.create(out.resolve("report")).resolve("index.html");
        DemoFiles.write(out.resolve(TABLES), markdown(result));
        new DemoReport(result, out).page().write(page);
        return page;
    }

    /** All tables in Markdown, with the machine below. */
    public static String markdown(DemoResult result) {
        String tables = DemoTable.of(result).stream().map(DemoTable::markdown).collect(Collectors.joining("\n"));
        return tables + "\n" + provenance(result) + "\n";
    }

    private static String provenance(DemoResult result) {
        Machine m = result.machine();
        return "Plan %s, seeds %s; %s, %d threads, JDK %s, %s."
                .formatted(
                        result.plan().name(),
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
                        + " unlabelled clips of another, and validation and test classes that share no class with"
                        + " either.");
        page.paragraph(
                ("Seeds run: %s. Each rendered its own clips and trained its own models: one masked autoencoder per"
                                + " modality, then the distilled student. Accuracy is the mean over %d episodes with %d classes"
                                + " and %d queries each; ± is the 95 %% interval over episodes. All models of a seed meet the same"
                                + " episodes. The last weights of each stage are used: nothing was selected on test classes.")
                        .formatted(
                                plan.seeds().stream().map(String::valueOf).collect(Collectors.joining(", ")),
                                how.episodes(),
                                how.ways(),
                                how.queries()));
        page.paragraph(provenance(result));
    }

    private void accuracy(HtmlReport page) {
        page.heading("Accuracy");
        for (int shots : plan.evaluation().shots()) {
            page.figure(
                    bars(shots),
                    "%d-shot accuracy on test classes at ρ = %s, P = %d. Teachers see their own modality."
                            .formatted(
                                    shots,
                                    DemoTable.number(plan.evaluation().maskRatio()),
                                    plan.evaluation().ensemble()));
        }
        for (DemoTable table : DemoTable.of(result)) {
            if (table.kind() != DemoTable.Kind.COST) {
                page.table(table.header(), table.rows(), table.title());
            }
        }
    }

    private String bars(int shots) {
        List<Score> models = result.seeds().getFirst().scores().stream()
                .filter(s -> s.split() == Split.TEST && s.shots() == shots && DemoTable.comparesModels(plan, s))
                .toList();
        BarChart chart = new BarChart(
                shots + "-shot accuracy of models",
                Axis.linear("accuracy (%)"),
                models.stream().map(DemoTable::name).toList());
        for (int i = 0; i < result.seeds().size(); i++) {
            int seed = i;
            List<Accuracy> accuracies = models.stream()
                    .map(model -> DemoTable.ofAllSeeds(result, model).get(seed))
                    .toList();
            chart.series(
                    "seed " + result.seeds().get(i).seed(),
                    accuracies.stream().mapToDouble(a -> 100 * a.mean()).toArray(),
                    accuracies.stream().mapToDouble(a -> 100 * a.interval95()).toArray());
        }
        return chart.reference(100.0 / plan.evaluation().ways(), "chance").svg();
    }

    private void masking(HtmlReport page) {
        page.heading("Masking");
        page.paragraph("ρ is the share of tokens that the student does not look at, P the number of masks whose"
                + " probabilities are averaged. Without masks all passes are equal, so one is computed whatever P is."
                + " Latency is the median over " + plan.evaluation().latencyRounds() + " rounds that visit every"
                + " combination in turn, one clip at a time; speeds are medians of ratios within a round.");
        int shots = plan.evaluation().shots().getLast();
        String caption = shots + "-shot accuracy on test classes, mean over seeds; the line of each P runs over ρ.";
        page.figure(points(shots, "latency (ms)", Cost::milliseconds), caption);
        page.figure(points(shots, "GFLOPs per clip, all matrix products", Cost::gflops), caption);
        for (DemoTable table : DemoTable.of(result)) {
            if (table.kind() == DemoTable.Kind.COST) {
                page.table(table.header(), table.rows(), table.title());
            }
        }
    }

    private String points(int shots, String axis, ToDoubleFunction<Cost> cost) {
        PointChart chart = new PointChart("accuracy against " + axis, Axis.log(axis), Axis.linear("accuracy (%)"));
        for (int ensemble : plan.evaluation().ensembles()) {
            List<PointChart.Point> points = new ArrayList<>();
            for (Cost cell : result.costs()) {
                if (cell.ensemble() == ensemble) {
                    Accuracy mean = DemoTable.mean(DemoTable.ofAllSeeds(
                            result,
                            new Score(
                                    DemoResult.Model.DISTILLED,
                                    Modality.RGB,
                                    cell.maskRatio(),
                                    ensemble,
                                    Split.TEST,
                                    shots,
                                    new Accuracy(0, 0, 0, 0))));
                    points.add(new PointChart.Point(
                            cost.applyAsDouble(cell),
                            100 * mean.mean(),
                            100 * mean.interval95(),
                            "ρ " + DemoTable.number(cell.maskRatio())));
                }
            }
            chart.series("P = " + ensemble, points);
        }
        return chart.svg();
    }

    private void clips(HtmlReport page) {
        page.heading("Clips");
        EgoSim sim = new EgoSim(plan.geometry(), plan.seeds().getFirst());
        show(page, sim, Split.SOURCE_TRAIN, Domain.SOURCE, 0);
        show(page, sim, Split.SOURCE_TRAIN, Domain.SOURCE, 9);
        show(page, sim, Split.TARGET_UNLABELLED, plan.target(), 3);
        show(page, sim, Split.TEST, plan.target(), 1);
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
                                Demo.lower(domain),
                                Demo.lower(split).replace('_', ' ')));
    }

    private void losses(HtmlReport page) {
        page.heading("Training");
        for (Modality modality : plan.pretraining().keySet()) {
            lossChart(page, "pretrain " + modality, folder -> folder.pretraining(modality));
        }
        lossChart(page, "distill", DemoFolder::distillation);
    }

    /** The terms of the loss for one seed; the loss alone, seed beside seed, for several. */
    private void lossChart(HtmlReport page, String stage, Function<DemoFolder, Path> folder) {
        boolean terms = plan.seeds().size() == 1;
        LineChart chart = new LineChart("loss of " + stage.replace(' ', '-'), Axis.linear("step"), Axis.linear("loss"));
        for (long seed : plan.seeds()) {
            List<MetricsLog.Line> lines =
                    MetricsLog.read(folder.apply(new DemoFolder(out, seed)).resolve("metrics.jsonl"));
            Set<Metric> metrics = new LinkedHashSet<>(List.of(Metric.LOSS));
            if (terms && !lines.isEmpty()) {
                metrics.addAll(lines.getFirst().values().keySet());
                metrics.remove(Metric.LEARNING_RATE);
            }
            double[] steps = lines.stream().mapToDouble(MetricsLog.Line::step).toArray();
            for (Metric metric : metrics) {
                double[] values = lines.stream()
                        .mapToDouble(line -> line.values().getOrDefault(metric, Double.NaN))
                        .toArray();
                chart.series(terms ? metric.toString() : "seed " + seed, steps, values);
            }
        }
        page.figure(chart.svg(), "Loss of the stage " + stage + ".");
    }

    private void settings(HtmlReport page) {
        page.heading("Settings");
        setting(page, "Clips", plan.geometry());
        setting(page, "Clips per class, and clips in all for the statistics of flow", plan.clips());
        setting(page, "Target domain", Demo.lower(plan.target()));
        setting(page, "Tokens per side of the plane", plan.grid());
        setting(page, "Frames of a patch", plan.tubelet());
        setting(page, "Models", plan.size());
        plan.pretraining().forEach((modality, stage) -> setting(page, "Pretraining, " + modality, stage.settings()));
        setting(page, "Distillation", plan.distillation().settings());
        setting(page, "Evaluation", plan.evaluation());
        setting(page, "Seeds, which replace those above", plan.seeds());
        page.paragraph(String.format(Locale.ROOT, "The call that wrote this page took %.0f s.", result.seconds()));
    }

    private static void setting(HtmlReport page, String name, Object value) {
        String text = value.toString();
        // A record's text is its name and its parts in brackets.
        page.paragraph(name + ": " + (value instanceof Record ? text.substring(text.indexOf('[')) : text));
    }
}
