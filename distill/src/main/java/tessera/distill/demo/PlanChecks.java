package tessera.distill.demo;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.WarmStart;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.inference.Masking;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** Whether a plan can be run to its end, as far as that shows before any work. Every refusal is one line that begins with the field. */
final class PlanChecks {
    private final DemoPlan plan;
    private final DemoPlan.Evaluation how;

    private PlanChecks(DemoPlan plan) {
        this.plan = plan;
        this.how = plan.evaluation();
    }

    /** Checks how the parts of a plan fit together; what a part can be by itself is checked where it is made. */
    static void require(DemoPlan plan) {
        PlanChecks checks = new PlanChecks(plan);
        checks.targets();
        checks.clips();
        checks.episodes();
        VideoMaeConfig rgb = checks.sizes();
        checks.starts(rgb);
        checks.gates();
        checks.masks(rgb);
    }

    private static IllegalArgumentException wrong(String sentence) {
        return new IllegalArgumentException(sentence);
    }

    private void targets() {
        if (plan.targets().contains(Domain.SOURCE)) {
            throw wrong(
                    "targets has source, whose objects are those of the labelled clips, in unlabelled and test clips"
                            + " too; pass kitchen, workshop or both");
        }
    }

    private void clips() {
        DemoPlan.Clips clips = plan.clips();
        boolean flow = ModelPlan.modalities(plan.models().values()).contains(Modality.FLOW);
        if (clips.source() < 1 || clips.target() < 1 || (flow && clips.flowStatistics() < 1)) {
            throw wrong("clips has source " + clips.source() + ", target " + clips.target() + " and flowStatistics "
                    + clips.flowStatistics() + "; pass 1 or more of each");
        }
    }

    private void episodes() {
        if (how.ways() < 2 || how.queries() < 1 || how.shots().stream().anyMatch(shots -> shots < 1)) {
            throw wrong("evaluation has ways " + how.ways() + ", shots " + how.shots() + " and queries " + how.queries()
                    + "; pass 2 ways or more, and 1 or more of the others");
        }
        int most = how.shots().stream().mapToInt(shots -> shots).max().orElseThrow();
        for (Split split : plan.judged()) {
            String word = DemoPlan.word(split);
            int classes = EgoSim.classes(split).size();
            if (how.ways() > classes) {
                throw wrong("evaluation.ways is " + how.ways() + " but there are " + classes + " " + word
                        + " classes; pass 2 to " + classes);
            }
            int given = split == Split.TEST ? plan.clips().test() : plan.clips().validation();
            if (most + how.queries() > given) {
                throw wrong("clips." + word + " is " + given + " of each class but an episode takes "
                        + (most + how.queries()) + ", " + most + " shots and " + how.queries()
                        + " queries; pass as many, or fewer shots or queries");
            }
        }
    }

    /** The sizes of an RGB model, where those of all models are possible. */
    private VideoMaeConfig sizes() {
        try {
            ModalityInput input = new ModalityInput(plan.geometry(), plan.grid(), plan.tubelet(), FlowStats.NONE);
            ModelPlan.modalities(plan.models().values()).forEach(modality -> input.config(modality, plan.size()));
            return input.config(Modality.RGB, plan.size());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("geometry, grid, tubelet and size do not fit: " + e.getMessage(), e);
        }
    }

    /** Whether models can take over the weights that they start from, or the answers that they learn from. */
    private void starts(VideoMaeConfig rgb) {
        plan.models().forEach((name, model) -> {
            String place = "models." + name + ".";
            switch (model) {
                case ModelPlan.Pretrained pretrained -> {
                    String start = pretrained.start();
                    if (start != null) {
                        start(place + "start", start, new TreeSet<>(List.of(Modality.RGB, model.modality())), rgb);
                    }
                }
                case ModelPlan.Distilled distilled ->
                    start(place + "start", distilled.start(), Set.of(Modality.RGB), rgb);
                case ModelPlan.SelfTrained trained -> teacher(place + "teacher", trained);
                case ModelPlan.Untrained _ -> {}
            }
        });
    }

    private void start(String place, String start, Set<Modality> fitting, VideoMaeConfig rgb) {
        if (start.equals(ModelPlan.WARM)) {
            warm(place, rgb);
            return;
        }
        Modality seen = model(start).modality();
        if (!fitting.contains(seen)) {
            throw wrong(place + " is '" + start + "', which looks at " + seen
                    + ": its first and last layers fit no other input; name a model that looks at "
                    + String.join(" or ", fitting.stream().map(Modality::id).toList()));
        }
    }

    /** The student that comes with the program has sizes of its own, and a plan that starts from it must have the same. */
    private static void warm(String place, VideoMaeConfig rgb) {
        Map<String, String> has;
        try (SafetensorsFile file = Safetensors.open(WarmStart.file())) {
            has = file.metadata();
        }
        List<String> differences = new ArrayList<>();
        // What a student has no decoder for, and the norms that students are saved with, are not taken over.
        rgb.toMetadata().forEach((entry, planned) -> {
            if (!entry.contains("decoder") && !entry.endsWith("Eps") && !planned.equals(has.get(entry))) {
                differences.add(entry.replaceFirst("^tessera\\.", "") + " is " + planned + ", not " + has.get(entry));
            }
        });
        if (!differences.isEmpty()) {
            throw wrong(place + " is " + ModelPlan.WARM + ", whose sizes are others than the plan's ("
                    + String.join("; ", differences)
                    + "); give the plan the geometry, grid, tubelet and size of --show-plan warm-start");
        }
    }

    private void teacher(String place, ModelPlan.SelfTrained trained) {
        ModelPlan teacher = model(trained.teacher());
        boolean classifies = teacher instanceof ModelPlan.Pretrained || teacher instanceof ModelPlan.SelfTrained;
        if (!classifies || !teacher.modality().equals(trained.modality())) {
            throw wrong(place + " is '" + trained.teacher() + "', which "
                    + (classifies ? "looks at " + teacher.modality() : "has learned no classifier of source classes")
                    + "; name a pretrained model that looks at " + trained.modality());
        }
    }

    private ModelPlan model(String name) {
        return Objects.requireNonNull(plan.models().get(name), name);
    }

    private void gates() {
        DemoPlan.Gates gates = how.gates();
        if (gates == null) {
            return;
        }
        DemoPlan.Line trained = plan.line(gates.trained());
        DemoPlan.Line untrained = plan.line(gates.untrained());
        ModelPlan model = model(gates.model());
        if (!trained.model().equals(gates.model())) {
            throw wrong("evaluation.gates.trained is '" + gates.trained() + "', a line of '" + trained.model()
                    + "'; name a line of '" + gates.model() + "'");
        }
        if (!(model(untrained.model()) instanceof ModelPlan.Untrained random)
                || !random.modality().equals(model.modality())) {
            throw wrong("evaluation.gates.untrained is '" + gates.untrained() + "', a line of '" + untrained.model()
                    + "'; name a line of a model of kind random that looks at " + model.modality());
        }
        if (!trained.asTheSame(untrained)) {
            throw wrong("evaluation.gates compares '" + gates.trained() + "' with '" + gates.untrained()
                    + "', which are judged in different ways; name lines of one split, masking and head");
        }
    }

    /** Draws the last mask of every ensemble for an empty clip: what is wrong with them shows after hours else. */
    private void masks(VideoMaeConfig rgb) {
        Set<Masking> all = new LinkedHashSet<>();
        how.lines().forEach(line -> all.add(line.masking()));
        DemoPlan.CostGrid costs = how.costs();
        if (costs != null) {
            all.addAll(costs.cells());
        }
        try (Scope scope = Scope.open()) {
            Tensor empty =
                    Tensor.full(Device.cpu(), DType.F32, Shape.of(1, rgb.frames(), rgb.height(), rgb.width(), 3), 0);
            for (Masking masking : all) {
                try {
                    draw(rgb, masking, empty);
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(
                            "evaluation.lines with maskRatio " + masking.ratio() + ", ensemble " + masking.ensemble()
                                    + " and masks " + masking.strategy().word() + ": " + e.getMessage(),
                            e);
                }
            }
        }
    }

    private static void draw(VideoMaeConfig rgb, Masking masking, @Nullable Tensor empty) {
        if (TokenMask.maskedCells(rgb.plane(), masking.ratio()) > 0) {
            int last = masking.strategy().looksBack() ? 0 : masking.ensemble() - 1;
            masking.strategy()
                    .draw(new MaskContext(Device.cpu(), 1, rgb.grid(), masking.ratio(), 0, 0, last, empty, null));
        }
    }
}
