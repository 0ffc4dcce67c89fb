package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.Modality;
import tessera.distill.train.Ensemble;
import tessera.distill.train.Recipe;
import tessera.distill.train.TeacherWeights;

/** How a student learns from the class scores of several teachers. Naming any of its options asks for that. */
final class EnsembleOptions {
    private static final String WEIGHTING_TEMPERATURE = "--weighting-temperature";
    private static final String HELD_OUT = "--held-out";

    /** Options that ask for logit distillation, its own and those of labelled clips. */
    private static final List<String> ASKING = List.of(
            "--alpha",
            "--beta",
            "--temperature",
            "--weighting",
            "--features",
            "--heads",
            "--clips",
            "--student-arch",
            "--cache");

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description = "Weight of the teachers' class scores. Default: ${DEFAULT-VALUE}")
    private double alpha = 1;

    @Option(names = "--beta", paramLabel = "X", description = "Weight of the labels. Default: ${DEFAULT-VALUE}")
    private double beta;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            description = "Temperature of the softmax of teachers and student. Default: ${DEFAULT-VALUE}")
    private double temperature = 1;

    @Option(
            names = "--weighting",
            paramLabel = "NAME",
            description =
                    "How teachers are weighted: uniform, dataset (by held-out training clips, --hold-out or --held-out) or"
                            + " per-sample. Default: uniform")
    private TeacherWeights.Kind weighting = TeacherWeights.Kind.UNIFORM;

    @Option(
            names = WEIGHTING_TEMPERATURE,
            paramLabel = "T",
            description = "Temperature of the softmin over the teachers' losses. Default: ${DEFAULT-VALUE}")
    private double weightingTemperature = 1;

    @Option(
            names = "--features",
            split = ",",
            paramLabel = "NAME=X",
            description =
                    "Distil features of these teachers too, with these weights; a teacher without a name of its own is"
                            + " called as its modality.")
    private Map<String, Double> features = Map.of();

    @Option(
            names = HELD_OUT,
            paramLabel = "DIR",
            description =
                    "Other labelled training clips, by which --weighting dataset weighs the teachers. Never test clips.")
    private @Nullable Path heldOut;

    @Option(
            names = "--cache",
            paramLabel = "DIR",
            description =
                    "Keep what teachers answer there, and look only once at each view of a clip. Needs --view-count or"
                            + " --no-augment.")
    private @Nullable Path cache;

    /** Whether the user asks for logit distillation. */
    static boolean asked(ParseResult given) {
        return Stream.concat(ASKING.stream(), ViewOptions.NAMES.stream()).anyMatch(given::hasMatchedOption);
    }

    /** Refuses what would do nothing by the weighting that is asked for. */
    void check(ParseResult given) {
        if (weighting == TeacherWeights.Kind.UNIFORM) {
            IdleOptions.refuse(
                    given,
                    WEIGHTING_TEMPERATURE,
                    "is for teachers that are weighted; pass --weighting dataset or per-sample too, or leave it away");
        }
        if (weighting != TeacherWeights.Kind.DATASET) {
            IdleOptions.refuse(
                    given,
                    HELD_OUT,
                    "is for teachers that are weighted by the data set; pass --weighting dataset too, or leave it away");
        }
    }

    @Nullable
    Path heldOut() {
        return heldOut;
    }

    @Nullable
    Path cache() {
        return cache;
    }

    Ensemble stage(LabelledOptions labelled, Recipe recipe) {
        return new Ensemble(
                Modality.RGB,
                labelled.heads(),
                alpha,
                beta,
                temperature,
                new TeacherWeights(weighting, weightingTemperature),
                features,
                labelled.heldOut(),
                labelled.viewCount(),
                recipe);
    }
}
