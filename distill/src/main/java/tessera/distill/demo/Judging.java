package tessera.distill.demo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntConsumer;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoPlan.Line;
import tessera.distill.demo.DemoResult.Difference;
import tessera.distill.demo.DemoResult.Score;
import tessera.distill.demo.DemoResult.SeedResult;
import tessera.distill.egosim.Domain;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.fewshot.FineTuning;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;

/** Judges one seed's models: every line of the plan in every target domain, all lines on the same episodes. */
final class Judging {
    /** Episodes of a student that is trained anew in each, the first of all. */
    static final int TUNED = 20;

    private final DemoPlan plan;
    private final DemoModels models;
    private final long seed;
    private final RunContext context;

    /** What lines have in common that need one pass over the clips: of the largest ensemble, with which all others begin. */
    private record Seen(String model, double maskRatio, String strategy) {}

    private record Cell(String line, Domain domain, int shots) {}

    Judging(DemoPlan plan, DemoModels models, long seed, RunContext context) {
        this.plan = plan;
        this.models = models;
        this.seed = seed;
        this.context = context;
    }

    SeedResult judge() {
        Map<Cell, double[]> all = new LinkedHashMap<>();
        for (Split split : plan.judged()) {
            List<Line> lines = plan.evaluation().lines().stream()
                    .filter(line -> line.split() == split)
                    .toList();
            Set<Modality> modalities = new TreeSet<>();
            lines.forEach(line -> modalities.add(models.model(line.model()).modality()));
            int perClass =
                    split == Split.TEST ? plan.clips().test() : plan.clips().validation();
            for (Domain domain : plan.targets()) {
                try (ClipSet clips = models.render(split, List.of(domain), perClass, modalities)) {
                    judge(lines, domain, clips, all);
                }
            }
        }
        List<Score> scores = new ArrayList<>();
        all.forEach((cell, accuracies) ->
                scores.add(new Score(cell.line, cell.domain, cell.shots, Accuracy.of(accuracies))));
        List<Difference> differences = new ArrayList<>();
        for (DemoPlan.Difference difference : plan.evaluation().differences()) {
            for (int shots : plan.evaluation().shots()) {
                for (Domain domain : plan.targets()) {
                    double[] better = of(all, new Cell(difference.better(), domain, shots));
                    double[] worse = of(all, new Cell(difference.worse(), domain, shots));
                    double[] each = new double[Math.min(better.length, worse.length)];
                    Arrays.setAll(each, i -> better[i] - worse[i]);
                    differences.add(new Difference(difference.label(), domain, shots, Accuracy.of(each)));
                }
            }
        }
        return new SeedResult(seed, scores, differences);
    }

    private static double[] of(Map<Cell, double[]> all, Cell cell) {
        return Objects.requireNonNull(all.get(cell), cell::toString);
    }

    private void judge(List<Line> lines, Domain domain, ClipSet clips, Map<Cell, double[]> all) {
        DemoPlan.Evaluation how = plan.evaluation();
        Map<Seen, double[][][]> features = features(lines, clips);
        long total = (long) how.shots().size() * how.episodes() * lines.size();
        try (Task task = context.task("few-shot episodes " + DemoPlan.word(domain), Task.Unit.EPISODES, total)) {
            long done = 0;
            for (int shots : how.shots()) {
                List<Episode> episodes =
                        new EpisodeSampler(clips.labels(), how.ways(), shots, how.queries(), seed).draw(how.episodes());
                for (Line line : lines) {
                    long before = done;
                    IntConsumer progress = finished -> task.advance(before + finished);
                    FewShotEvaluation.Result result = line.head().equals(DemoPlan.FINE_TUNED)
                            ? tuned(line, clips, episodes, progress)
                            : new FewShotEvaluation(
                                            Arrays.copyOf(
                                                    Objects.requireNonNull(features.get(seen(line))), line.ensemble()),
                                            FewShotHead.of(line.head()))
                                    .withSupportViews(line.supportViews())
                                    .evaluate(episodes, progress);
                    done += how.episodes();
                    all.put(
                            new Cell(line.label(), domain, shots),
                            result.episodes().stream()
                                    .mapToDouble(EpisodeResult::accuracy)
                                    .toArray());
                }
            }
        }
    }

    private FewShotEvaluation.Result tuned(Line line, ClipSet clips, List<Episode> episodes, IntConsumer progress) {
        try (FineTuning.Episodes tuned = FineTuning.defaults()
                .withSeed(seed)
                .open(
                        models.student(line.model()),
                        clips,
                        models.model(line.model()).modality(),
                        line.masking(),
                        context.device(),
                        context.compute())) {
            return new FewShotEvaluation(tuned)
                    .evaluate(episodes.subList(0, Math.min(TUNED, episodes.size())), progress);
        }
    }

    private static Seen seen(Line line) {
        return new Seen(line.model(), line.maskRatio(), line.strategy());
    }

    private Map<Seen, double[][][]> features(List<Line> lines, ClipSet clips) {
        Map<Seen, Line> largest = new LinkedHashMap<>();
        for (Line line : lines) {
            if (!line.head().equals(DemoPlan.FINE_TUNED)) {
                largest.merge(seen(line), line, (a, b) -> a.ensemble() >= b.ensemble() ? a : b);
            }
        }
        Map<Seen, double[][][]> features = new LinkedHashMap<>();
        largest.forEach((seen, line) -> {
            try (Student student = Student.load(models.student(line.model()), context.device(), context.compute());
                    Predictor predictor = Predictor.of(student, line.masking(), seed)) {
                features.put(
                        seen,
                        FeatureExtraction.extract(
                                predictor, clips, models.model(line.model()).modality(), context));
            }
        });
        return features;
    }
}
