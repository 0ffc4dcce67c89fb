package tessera.distill.demo.mmd;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import tessera.distill.data.Modality;
import tessera.distill.demo.DemoFiles;
import tessera.distill.demo.DemoTable;
import tessera.distill.demo.Machine;
import tessera.distill.demo.mmd.MmdPlan.Taught;
import tessera.distill.demo.mmd.MmdResult.Calibration;
import tessera.distill.demo.mmd.MmdResult.Score;
import tessera.distill.egosim.EgoSim;
import tessera.distill.evaluation.AccuracyCurve;
import tessera.distill.evaluation.Interval;
import tessera.distill.evaluation.Reliability;
import tessera.distill.report.Axis;
import tessera.distill.report.BarChart;
import tessera.distill.report.HtmlReport;
import tessera.distill.report.LineChart;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.distill.train.Ensemble;
import tessera.distill.train.TeacherWeights;

/** Writes the results of a demo of the second system for people: a page with charts, and tables in Markdown. */
public final class MmdReport {
    /** Name of the tables in a demo's folder. */
    public static final String TABLES = "results.md";

    private final MmdResult result;
    private final MmdPlan plan;
    private final Path out;

    private MmdReport(MmdResult result, Path out) {
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
    public static Path write(MmdResult result, Path out) {
        Path page = DemoFiles.create(out.resolve("report")).resolve("index.html");
        DemoFiles.write(out.resolve(TABLES), markdown(result));
        new MmdReport(result, out).page().write(page);
        return page;
    }

    /** All tables in Markdown, with what they say of the claims, and the machine below. */
    public static String markdown(MmdResult result) {
        String tables = MmdTables.of(result).stream().map(DemoTable::markdown).collect(Collectors.joining("\n"));
        return tables + "\n" + String.join("\n", claims(result)) + "\n\n" + loss(result.plan()) + "\n\n"
                + provenance(result) + "\n";
    }

    /** What the numbers say of the papers' claims, one paragraph for each student of several teachers. */
    private static List<String> claims(MmdResult result) {
        return result.plan().students().stream()
                .filter(student -> student.teachers().size() > 1)
                .map(Taught::words)
                .map(name -> "- **" + name + "**. " + String.join(" ", MmdClaims.about(result, name)))
                .toList();
    }

    private static String loss(MmdPlan plan) {
        return String.format(
                Locale.ROOT,
                "Students minimise alpha T^2 KL + beta CE, the mean over the heads, with alpha %s, beta %s, T %s; the softmin"
                        + " of teachers' losses has a temperature of %s. The baseline and every student take %d steps of %d clips, with"
                        + " the same initial weights, clips, views and order.",
                plan.distillation().alpha(),
                plan.distillation().beta(),
                plan.distillation().temperature(),
                plan.students().stream()
                        .filter(student -> student.weighting().kind() != TeacherWeights.Kind.UNIFORM)
                        .map(student -> Double.toString(student.weighting().temperature()))
                        .distinct()
                        .collect(Collectors.joining(" or ")),
                plan.distillation().recipe().steps(),
                plan.distillation().recipe().batch());
    }

    private static String start(MmdPlan plan) {
        MmdPlan.Pretraining pretraining = plan.pretraining();
        if (pretraining == null) {
            return "from random weights";
        }
        return "teachers from random weights, the RGB baseline and all students from one model that told %d other classes apart (%d clips of each, %d steps)"
                .formatted(
                        EgoSim.classes(pretraining.split()).size(),
                        pretraining.clips(),
                        pretraining.stage().recipe().steps());
    }

    private static String seeds(MmdPlan plan) {
        return plan.seeds().stream().map(String::valueOf).collect(Collectors.joining(", "));
    }

    private static String provenance(MmdResult result) {
        Machine m = result.machine();
        return "Plan %s, seeds %s; %s, %d threads, JDK %s, %s."
                .formatted(result.plan().name(), seeds(result.plan()), m.processor(), m.threads(), m.jdk(), m.system());
    }

    private HtmlReport page() {
        HtmlReport page = new HtmlReport("Tessera demo: an RGB student of teachers of several modalities");
        whatWasRun(page);
        page.heading("The claims");
        for (Taught student : plan.students()) {
            if (student.teachers().size() > 1) {
                page.paragraph(student.words() + ": " + String.join(" ", MmdClaims.about(result, student.words())));
            }
        }
        accuracy(page);
        calibration(page);
        work(page);
        weights(page);
        losses(page);
        settings(page);
        return page;
    }

    /** What teachers weigh by the data set, of every seed. */
    private void weights(HtmlReport page) {
        for (Taught student : plan.students()) {
            List<List<String>> rows = new ArrayList<>();
            for (long seed : plan.seeds()) {
                Path file = MmdDemo.studentFolder(out, seed, student).resolve(Ensemble.STUDENT);
                Ensemble.teacherWeights(file).forEach((head, ofTeachers) -> {
                    List<String> row = new ArrayList<>(List.of(Long.toString(seed), head));
                    for (Modality teacher : student.teachers()) {
                        double weight = ofTeachers.getOrDefault(teacher.id(), Double.NaN);
                        row.add(String.format(Locale.ROOT, "%.3f", weight));
                    }
                    rows.add(row);
                });
            }
            if (!rows.isEmpty()) {
                List<String> header = new ArrayList<>(List.of("seed", "head"));
                student.teachers().forEach(teacher -> header.add(MmdPlan.words(teacher)));
                page.heading("What teachers weigh");
                page.table(header, rows, student.words() + ", by their losses on held-out training clips.");
            }
        }
    }

    private void whatWasRun(HtmlReport page) {
        page.paragraph(
                ("An RGB model learns what teachers of several modalities tell together, and needs RGB alone when it is used"
                                + " (Radevski et al., ICCV 2023). Teachers see %s. All clips come from EgoSim, a procedural"
                                + " benchmark: %d classes, of which %d clips each train, %d others give the teachers' data-set"
                                + " weights and the temperatures, and %d others judge.")
                        .formatted(
                                plan.modalities().stream().map(MmdPlan::words).collect(Collectors.joining(", ")),
                                result.seeds().getFirst().scores().getFirst().clips()
                                        / plan.clips().test(),
                                plan.clips().train(),
                                plan.clips().heldOut(),
                                plan.clips().test()));
        page.paragraph("Seeds run: " + seeds(plan)
                + ". Each rendered its own clips and trained its own models, " + start(plan)
                + ". The last weights of each stage are used: nothing was selected on test clips, and sizes, clips, steps and"
                + " learning rates were chosen on clips of seed " + MmdPlan.CHOSEN_ON + ". " + loss(plan));
        page.paragraph(provenance(result));
    }

    private void accuracy(HtmlReport page) {
        page.heading("Accuracy");
        page.figure(
                bars("Action accuracy of models", "action accuracy (%)", Score::action),
                "Top-1 accuracy of actions with " + plan.compared()
                        + " views. Teachers see their own modality; all teachers together are the upper line.");
        table(page, 0);
        table(page, 1);
        table(page, 2);
    }

    private void table(HtmlReport page, int number) {
        DemoTable table = MmdTables.of(result).get(number);
        page.table(table.header(), table.rows(), table.title());
    }

    private String bars(String title, String axis, ToDoubleFunction<Score> figure) {
        List<String> models = MmdTables.compared(result);
        BarChart chart = new BarChart(title, Axis.linear(axis), models);
        double[] intervals = models.stream()
                .mapToDouble(model -> Interval.overSeeds(MmdClaims.ofSeeds(result, model, plan.compared(), figure))
                        .half())
                .map(half -> Double.isNaN(half) ? 0 : 100 * half)
                .toArray();
        return chart.series("mean of seeds", MmdTables.means(result, models, figure), intervals)
                .svg();
    }

    private void calibration(HtmlReport page) {
        page.heading("Calibration");
        page.figure(
                bars("Calibration error of models", "calibration error (%)", Score::error),
                "Expected calibration error in 15 bins, mean of verb and noun, with " + plan.compared() + " views.");
        for (Calibration first : result.seeds().getFirst().reliabilities()) {
            Reliability all = pooled(first);
            String name = first.model() + ", " + first.head();
            page.figure(
                    all.diagram("Reliability of " + name),
                    String.format(
                            Locale.ROOT,
                            "%s, clips of all seeds: calibration error %.2f %%; over each bin its share of the clips",
                            name,
                            100 * all.expectedCalibrationError()));
        }
    }

    /** The bins of all seeds together. */
    private Reliability pooled(Calibration like) {
        List<Reliability> all = result.seeds().stream()
                .flatMap(seed -> seed.reliabilities().stream())
                .filter(one -> one.model().equals(like.model()) && one.head().equals(like.head()))
                .map(Calibration::reliability)
                .toList();
        List<Reliability.Bin> bins = new ArrayList<>();
        for (int b = 0; b < like.reliability().bins().size(); b++) {
            int bin = b;
            List<Reliability.Bin> same =
                    all.stream().map(one -> one.bins().get(bin)).toList();
            bins.add(new Reliability.Bin(
                    same.getFirst().from(),
                    same.getFirst().to(),
                    same.stream().mapToInt(Reliability.Bin::count).sum(),
                    same.stream().mapToInt(Reliability.Bin::hits).sum(),
                    same.stream().mapToDouble(Reliability.Bin::confidences).sum()));
        }
        return new Reliability(bins, all.stream().mapToInt(Reliability::samples).sum());
    }

    private void work(HtmlReport page) {
        page.heading("Accuracy against work");
        List<AccuracyCurve> curves = new ArrayList<>();
        for (String model : MmdTables.unimodal(result)) {
            curves.add(new AccuracyCurve(
                    model,
                    plan.views().stream()
                            .map(views -> new AccuracyCurve.Point(
                                    views,
                                    Interval.overSeeds(MmdClaims.ofSeeds(result, model, views, Score::action)),
                                    MmdTables.cost(result, model).gflops().times(views)))
                            .toList()));
        }
        AccuracyCurve.charts(curves)
                .forEach(chart ->
                        page.figure(chart, "Action accuracy, mean over seeds with its 95 % interval over seeds."));
        table(page, 3);
    }

    private void losses(HtmlReport page) {
        page.heading("Training");
        if (plan.pretraining() != null) {
            losses(page, "model that RGB models start from", seed -> MmdDemo.pretrainingFolder(out, seed));
        }
        for (Modality modality : plan.modalities()) {
            losses(page, MmdPlan.words(modality) + " teacher", seed -> MmdDemo.teacherFolder(out, seed, modality));
        }
        for (Taught student : plan.students()) {
            losses(page, student.words(), seed -> MmdDemo.studentFolder(out, seed, student));
        }
    }

    private void losses(HtmlReport page, String model, Function<Long, Path> folder) {
        LineChart chart = new LineChart("loss of " + model, Axis.linear("step"), Axis.linear("loss"));
        for (long seed : plan.seeds()) {
            List<MetricsLog.Line> lines = MetricsLog.read(folder.apply(seed).resolve("metrics.jsonl"));
            double[] steps = lines.stream().mapToDouble(MetricsLog.Line::step).toArray();
            double[] values = lines.stream()
                    .mapToDouble(line -> line.values().getOrDefault(Metric.LOSS, Double.NaN))
                    .toArray();
            chart.series("seed " + seed, steps, values);
        }
        page.figure(chart.svg(), "Loss of the " + model + ".");
    }

    private void settings(HtmlReport page) {
        page.heading("Settings");
        setting(page, "Clips", plan.geometry());
        setting(page, "Frames that a model sees at once", plan.frames());
        setting(page, "Clips per class, and clips in all for the statistics of flow", plan.clips());
        plan.swins().forEach((modality, size) -> setting(page, "Model of " + modality, size));
        setting(page, "Model of boxes", plan.boxes());
        MmdPlan.Pretraining pretraining = plan.pretraining();
        if (pretraining != null) {
            setting(page, "Clips per class before that", pretraining.clips());
            setting(page, "Training before that", pretraining.stage().settings());
        }
        plan.teachers().forEach((modality, stage) -> setting(page, "Training, " + modality, stage.settings()));
        setting(page, "Distillation", plan.distillation().settings());
        setting(page, "Seeds, which replace those above", plan.seeds());
        page.paragraph(String.format(
                Locale.ROOT,
                "The call that wrote this page took %.0f s, and %.0f s of processors.",
                result.seconds(),
                result.processorSeconds()));
    }

    private static void setting(HtmlReport page, String name, Object value) {
        String text = value.toString();
        // A record's text is its name and its parts in brackets.
        page.paragraph(name + ": " + (value instanceof Record ? text.substring(text.indexOf('[')) : text));
    }
}
