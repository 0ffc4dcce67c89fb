package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.Modality;
import tessera.distill.train.Ensemble;
import tessera.distill.train.HeldOut;
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

    /** The first option that asks for logit distillation, if the user asks for that. */
    static Optional<String> asking(ParseResult given) {
        return Stream.concat(ASKING.stream(), ViewOptions.NAMES.stream())
                .filter(given::hasMatchedOption)
                .findFirst();
    }

    /** Refuses what teaches nothing, or would do nothing by the weighting that is asked for. */
    void check(ParseResult given, Ensemble stage, List<NamedTeacher> teachers) {
        if (alpha + beta == 0 && features.isEmpty()) {
            throw new IllegalArgumentException("--alpha and --beta are 0 and --features names no teacher, so nothing is"
                    + " learned; give one of them a positive number");
        }
        List<String> names = teachers.stream().map(NamedTeacher::name).toList();
        features.keySet().forEach(name -> {
            if (!names.contains(name)) {
                throw new IllegalArgumentException(
                        "--features names '" + name + "' but --teachers are " + names + "; name one of these");
            }
        });
        checkCache(stage);
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
        } else if (heldOut == null && stage.heldOut().share() == 0) {
            throw new IllegalArgumentException("--weighting dataset weighs teachers by training clips that are held out"
                    + " but none are; pass --hold-out 0.1, or others by --held-out DIR");
        }
    }

    private void checkCache(Ensemble stage) {
        if (cache == null) {
            return;
        }
        if (stage.recipe().maskRatio() > 0) {
            throw new IllegalArgumentException("--cache is for teachers that see all of a clip but --mask-ratio is "
                    + stage.recipe().maskRatio() + "; leave one of them away");
        }
        if (stage.recipe().augment() && stage.viewCount() == 0) {
            throw new IllegalArgumentException("--cache is for views that come again but clips are seen in another one"
                    + " in every epoch; pass --view-count 4 too, for example, or --no-augment");
        }
        Outputs.requireFolder("--cache", cache);
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
        LabelledOptions.requireWeights("--features", features);
        Map<String, Double> heads = labelled.heads();
        HeldOut held = labelled.heldOut();
        int views = labelled.viewCount();
        TeacherWeights weights =
                UsageErrors.naming(() -> new TeacherWeights(weighting, weightingTemperature), WEIGHTING_TEMPERATURE);
        return UsageErrors.naming(
                () -> new Ensemble(
                        Modality.RGB, heads, alpha, beta, temperature, weights, features, held, views, recipe),
                "--alpha",
                "--beta",
                "--temperature");
    }
}
