package tessera.distill.demo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoublePredicate;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.evaluation.Interval;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.report.Json;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Trainer;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * What a demo found out.
 *
 * @param machine where latency was measured
 * @param plan how everything was made
 * @param seeds one result for each seed, in the plan's order
 * @param trainings what the models of the first stage learned
 * @param costs of a clip for every cell of the plan's grid
 * @param seconds that this call took; less where earlier calls had done some of the training
 */
public record DemoResult(
        Machine machine,
        DemoPlan plan,
        List<SeedResult> seeds,
        List<Training> trainings,
        List<Cost> costs,
        double seconds) {

    /** The scores of one seed's models. */
    public record SeedResult(long seed, List<Score> scores, List<Difference> differences) {}

    /**
     * Few-shot accuracy of a line of the plan. All of one seed, split, domain and number of shots are of the same episodes, of which those
     * with the head {@code finetune} have the first {@value Judging#TUNED} alone.
     */
    public record Score(String line, Domain domain, int shots, Accuracy accuracy) {}

    /**
     * How much better one line is than another, episode by episode.
     *
     * @param accuracy the differences' mean and interval
     */
    public record Difference(String label, Domain domain, int shots, Accuracy accuracy) {}

    /**
     * A figure over seeds.
     *
     * @param overSeeds mean of the seeds' means with the 95 % t-interval over seeds; of one seed, its mean with the 95 % interval over
     *     episodes
     * @param pooled mean and standard deviation of the episodes of all seeds together
     */
    public record Summary(Interval overSeeds, Accuracy pooled) {
        static Summary of(List<Accuracy> seeds) {
            Accuracy first = seeds.getFirst();
            Interval interval = seeds.size() == 1
                    ? new Interval(first.mean(), first.interval95())
                    : Interval.overSeeds(
                            seeds.stream().mapToDouble(Accuracy::mean).toArray());
            int episodes = seeds.stream().mapToInt(Accuracy::episodes).sum();
            double mean =
                    seeds.stream().mapToDouble(a -> a.mean() * a.episodes()).sum() / episodes;
            double squares = seeds.stream()
                            .mapToDouble(a -> a.episodes() * (a.std() * a.std() + a.mean() * a.mean()))
                            .sum()
                    / episodes;
            double std = Math.sqrt(Math.max(0, squares - mean * mean));
            return new Summary(interval, new Accuracy(mean, std, 1.96 * std / Math.sqrt(episodes), episodes));
        }
    }

    /**
     * What a model of the first stage learned: means over the last tenth of its steps.
     *
     * @param reconstruction of source clips
     * @param trivial the same of a predictor that says the mean of each channel: of each patch, or of each clip where clips are normalised
     * @param crossEntropy of the source's classes; {@code ln(classes)} is guessing
     */
    public record Training(long seed, String model, double reconstruction, double trivial, double crossEntropy) {
        static final Metric RECONSTRUCTION = new Metric("reconstruction_source");
        static final Metric CROSS_ENTROPY = new Metric("cross_entropy");

        static Training of(
                long seed, String name, Path folder, VideoMaeConfig config, ClipSet clips, Pretraining stage) {
            Path log = folder.resolve(Trainer.METRICS);
            List<MetricsLog.Line> lines = Files.exists(log) ? MetricsLog.read(log) : List.of();
            List<MetricsLog.Line> last = lines.subList(lines.size() - Math.ceilDiv(lines.size(), 10), lines.size());
            return new Training(
                    seed, name, mean(last, RECONSTRUCTION), trivial(config, clips, stage), mean(last, CROSS_ENTROPY));
        }

        private static double mean(List<MetricsLog.Line> lines, Metric metric) {
            return lines.stream()
                    .mapToDouble(line -> line.values().getOrDefault(metric, Double.NaN))
                    .average()
                    .orElse(Double.NaN);
        }

        /** The error of a predictor that says the mean of each channel, of each patch, or of each clip where clips are normalised. */
        private static double trivial(VideoMaeConfig config, ClipSet clips, Pretraining stage) {
            return IntStream.range(0, clips.size())
                    .mapToDouble(clip -> trivial(config, clips, clip, stage))
                    .average()
                    .orElseThrow();
        }

        private static double trivial(VideoMaeConfig config, ClipSet clips, int clip, Pretraining stage) {
            try (Scope scope = Scope.open()) {
                Tensor video = clips.batch(stage.modality(), new int[] {clip});
                int[] every = IntStream.range(0, Math.toIntExact(config.grid().tokens()))
                        .toArray();
                Tensor target = stage.normaliseClips()
                        ? VideoMaePretraining.normalised(video).contiguous()
                        : config.patches().reconstructionTarget(video, Tensor.of(every, 1, every.length), 1e-6, true);
                return Arrays.stream(target.toDoubles())
                        .map(v -> v * v)
                        .average()
                        .orElseThrow();
            }
        }
    }

    /**
     * Something that must hold of RGB before anything is compared.
     *
     * @param value mean over seeds
     * @param half half width of the 95 % t-interval over seeds; NaN for one seed
     * @param bound what the mean must be below, or, of points, at least
     */
    public record Gate(String what, double value, double half, double bound, boolean met) {
        private static Gate of(String what, DoubleStream seeds, double bound, DoublePredicate enough) {
            double[] values = seeds.toArray();
            Interval interval = values.length == 0 ? new Interval(Double.NaN, Double.NaN) : Interval.overSeeds(values);
            return new Gate(what, interval.mean(), interval.half(), bound, enough.test(interval.mean()));
        }

        /** As tables have it. */
        String words() {
            String interval =
                    Double.isNaN(half) ? "" : String.format(Locale.ROOT, " ± %.3f (95 %% t-interval over seeds)", half);
            return String.format(
                    Locale.ROOT, "%s: %.3f%s, needed %.3f: %s", what, value, interval, bound, met ? "met" : "MISSED");
        }
    }

    /** Share of the trivial predictor's loss that reconstruction must be below. */
    static final double RECONSTRUCTION_GATE = .95;

    static final double CROSS_ENTROPY_GATE = 2;

    /** Points above a random encoder. */
    static final double RANDOM_GATE = .05;

    /** What the plan asks of the RGB model, over seeds; none if it asks nothing. */
    public List<Gate> gates() {
        DemoPlan.Gates asked = plan.evaluation().gates();
        if (asked == null) {
            return List.of();
        }
        List<Training> own = trainings.stream()
                .filter(training -> training.model().equals(asked.model()))
                .toList();
        List<Gate> gates = new ArrayList<>();
        gates.add(Gate.of(
                "reconstruction of " + asked.model() + ", as a share of the trivial predictor's",
                own.stream().mapToDouble(t -> t.reconstruction() / t.trivial()),
                RECONSTRUCTION_GATE,
                share -> share < RECONSTRUCTION_GATE));
        gates.add(Gate.of(
                String.format(
                        Locale.ROOT,
                        "source cross-entropy of %s (guessing: %.2f)",
                        asked.model(),
                        Math.log(EgoSim.classes(Split.SOURCE_TRAIN).size())),
                own.stream().mapToDouble(Training::crossEntropy),
                CROSS_ENTROPY_GATE,
                classes -> classes < CROSS_ENTROPY_GATE));
        int shots = plan.evaluation().shots().getLast();
        for (Domain domain : plan.targets()) {
            gates.add(Gate.of(
                    "points of %s above %s, %d-shot, %s"
                            .formatted(asked.trained(), asked.untrained(), shots, DemoPlan.word(domain)),
                    seeds.stream()
                            .mapToDouble(seed -> 100
                                    * (mean(seed, asked.trained(), domain, shots)
                                            - mean(seed, asked.untrained(), domain, shots))),
                    100 * RANDOM_GATE,
                    points -> points >= 100 * RANDOM_GATE));
        }
        return gates;
    }

    private static double mean(SeedResult seed, String line, Domain domain, int shots) {
        return seed.scores().stream()
                .filter(s -> s.line().equals(line) && s.domain() == domain && s.shots() == shots)
                .findFirst()
                .orElseThrow()
                .accuracy()
                .mean();
    }

    /** A line over all seeds. */
    public Summary summary(String line, Domain domain, int shots) {
        return Summary.of(seeds.stream()
                .flatMap(seed -> seed.scores().stream())
                .filter(s -> s.line().equals(line) && s.domain() == domain && s.shots() == shots)
                .map(Score::accuracy)
                .toList());
    }

    /** A difference over all seeds. */
    public Summary difference(String label, Domain domain, int shots) {
        return Summary.of(seeds.stream()
                .flatMap(seed -> seed.differences().stream())
                .filter(d -> d.label().equals(label) && d.domain() == domain && d.shots() == shots)
                .map(Difference::accuracy)
                .toList());
    }

    /**
     * Cost of a student's features of one clip.
     *
     * @param milliseconds median latency with a batch of one
     * @param speedup median over the rounds of the first cell's latency over this one's
     * @param gflops billions of floating-point operations in all matrix products; a multiply-add counts as 2
     * @param gflopsWithoutAttention the same without the products inside attention, as common profilers count
     */
    public record Cost(
            double maskRatio,
            int ensemble,
            double milliseconds,
            double speedup,
            double gflops,
            double gflopsWithoutAttention) {}

    /** One JSON object, as {@code results.json} holds it. */
    public String json() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("machine", machine);
        all.put("plan", plan);
        all.put("gates", gates());
        all.put("trainings", trainings);
        all.put("seeds", seeds);
        all.put("costs", costs);
        all.put("seconds", seconds);
        return Json.text(all, DemoPlan::written);
    }

    /** The scores as comma-separated values, one line for each seed, line, domain and number of shots. */
    String csv() {
        StringBuilder text = new StringBuilder(
                "seed,line,model,split,domain,shots,mask_ratio,ensemble,masks,head,support_views,mean,sd,interval95,episodes\n");
        for (SeedResult seed : seeds) {
            for (Score score : seed.scores()) {
                DemoPlan.Line line = plan.line(score.line());
                Accuracy a = score.accuracy();
                text.append("%d,\"%s\",%s,%s,%s,%d,%s,%d,%s,%s,%d,%s,%s,%s,%d%n"
                        .formatted(
                                seed.seed(),
                                line.label().replace("\"", "\"\""),
                                line.model(),
                                DemoPlan.word(line.split()),
                                DemoPlan.word(score.domain()),
                                score.shots(),
                                line.maskRatio(),
                                line.ensemble(),
                                line.strategy(),
                                line.head(),
                                line.supportViews(),
                                a.mean(),
                                a.std(),
                                a.interval95(),
                                a.episodes()));
            }
        }
        return text.toString();
    }
}
