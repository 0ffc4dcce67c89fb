package tessera.distill.cli;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.HeadLabels;
import tessera.distill.data.Modality;
import tessera.distill.data.View;
import tessera.distill.evaluation.EnsembleComparison;
import tessera.distill.evaluation.EnsemblePasses;
import tessera.distill.evaluation.EnsembleTiming;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.HeadLogits;
import tessera.distill.evaluation.HeadPasses;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Head;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Stopping;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;

/** Fixed and adaptive ensembles of the heads of a student, judged on labelled clips. */
record AdaptiveHeads(Student student, Predictor how, Modality modality, AdaptiveChoice choice, RunContext context) {
    /**
     * What a head is worth.
     *
     * @param chart of accuracy against masks, an SVG element
     */
    record Judged(EnsembleComparison ensembles, String chart) {}

    /**
     * Compares, for every head that the clips have labels for.
     *
     * @param clips to judge on, seen in a view
     * @param held other clips, of which thresholds and temperatures come, or null to take those of the heads
     */
    Map<String, Judged> compare(ClipSet clips, View view, @Nullable ClipSet held, @Nullable View heldView) {
        Map<String, EnsemblePasses> judged = labelled("adaptive masks", clips, view);
        Map<String, EnsemblePasses> choosing =
                held == null || heldView == null ? Map.of() : labelled("held-out masks", held, heldView);
        Map<String, Judged> compared = new LinkedHashMap<>();
        for (Head head : student.heads()) {
            EnsemblePasses own = judged.get(head.name());
            if (own != null) {
                EnsemblePasses other = choosing.get(head.name());
                List<Stopping> rules = other == null ? rules(head) : choice.rules(other);
                compared.put(
                        head.name(),
                        new Judged(compare(head, own, rules, clips, view), EnsembleComparison.chart(own, rules)));
            }
        }
        return compared;
    }

    /** As the head was learned, and the same without its temperature. */
    private List<Stopping> rules(Head head) {
        Double given = choice.threshold();
        Stopping learned = given == null
                ? Stopping.learned(head)
                : new Stopping(
                        given,
                        choice.measure(),
                        head.stopping().map(Stopping::temperature).orElse(1.0));
        List<Stopping> rules = new ArrayList<>();
        if (given != null && learned.temperature() != 1) {
            rules.add(new Stopping(given, learned.measure(), 1));
        }
        rules.add(learned);
        return rules;
    }

    private HeadPasses.Source source(ClipSet clips, View view) {
        return batch -> clips.view(student.device(), modality, batch, view);
    }

    private Map<String, EnsemblePasses> labelled(String title, ClipSet clips, View view) {
        Map<String, EnsemblePasses> labelled = new LinkedHashMap<>();
        List<HeadPasses> heads;
        try (Task task = context.task(title, Task.Unit.CLIPS, clips.size())) {
            heads = HeadPasses.of(student, how.masking(), how.seed(), clips.size(), source(clips, view), task::advance);
        }
        for (HeadPasses passes : heads) {
            String name = passes.head().name();
            if (clips.heads().contains(name)) {
                HeadLabels labels = clips.head(name);
                double[][] last = passes.answers()[passes.answers().length - 1];
                labelled.put(
                        name,
                        passes.labelled(new HeadLogits(name, passes.head().labels(), last)
                                .numbered(labels.classes(), labels.ofClip())));
            }
        }
        return labelled;
    }

    private EnsembleComparison compare(
            Head head, EnsemblePasses judged, List<Stopping> rules, ClipSet clips, View view) {
        List<int[]> plans =
                rules.stream().map(rule -> judged.adaptive(rule).passes()).toList();
        try (Scope scope = Scope.open();
                Student alone = student.withHead(head)) {
            EnsembleTiming timing = EnsembleTiming.of(
                    alone, HeadPasses.spread(clips.size(), source(clips, view)), how.masking(), how.seed(), plans);
            return EnsembleComparison.of(
                    List.of(judged),
                    rules,
                    outcomes -> outcomes.getFirst().accuracy().interval(),
                    Gflops.of(alone, how.masking().withEnsemble(1)),
                    timing);
        }
    }
}
