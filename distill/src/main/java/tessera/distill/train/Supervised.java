package tessera.distill.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.SampleLayout;
import tessera.distill.data.Views;
import tessera.distill.report.Metric;
import tessera.nn.ClipShape;
import tessera.nn.MaskStrategy;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.inference.Student;

/**
 * A model of any registered architecture learns the labels of clips that it sees in one modality: the teachers of the second
 * system (Radevski et al., ICCV 2023) and its student's baseline. The loss is the mean over the heads of {@code weight_head
 * CE_head}.
 *
 * <p>The model ends up in {@code model.safetensors} of the run's folder, a student's file with its heads. Made from {@link
 * #defaults} by its {@code with} methods.
 *
 * @param modality what the model sees
 * @param heads weight of each head's cross-entropy; the first is the main one
 * @param heldOut clips that it is not trained on
 * @param viewCount views of each clip where the recipe augments, 0 for another one in every epoch
 * @param recipe how it trains; a mask ratio above 0 hides tokens, as VideoMAE's models can bear
 */
public record Supervised(Modality modality, Map<String, Double> heads, HeldOut heldOut, int viewCount, Recipe recipe) {
    /** Name of the finished model in a run's folder. */
    public static final String MODEL = "model.safetensors";

    private static final int PATH_STREAM = 7;
    private static final int MASK_STREAM = 8;

    public Supervised {
        heads = Collections.unmodifiableMap(new LinkedHashMap<>(heads));
        requireHeads(heads);
        requireViewCount(viewCount);
        if (heads.isEmpty()) {
            throw new IllegalArgumentException("supervised training without a head learns nothing; name one or more");
        }
    }

    /** The published recipe with as many steps as small sets of clips need, and one head, {@link ClipBatches#ACTION}. */
    public static Supervised defaults(Modality modality) {
        return new Supervised(modality, Map.of(ClipBatches.ACTION, 1.0), HeldOut.NONE, 0, published());
    }

    /** Warm-up and decay in straight lines to 0, every weight decays by .02, gradients are clipped to a norm of 5. */
    static Recipe published() {
        Recipe common = Recipe.defaults();
        return common.withRate(common.steps(), LearningRate.linear(common.steps(), 1e-4))
                .withOptimiser(new Optimiser(.9, .999, 1e-8, .02, Optimiser.Decays.ALL, 5))
                .withViews(Views.PUBLISHED)
                .withMaskRatio(0);
    }

    /** The same with other heads, whose cross-entropies weigh alike. */
    public Supervised withHeads(String... names) {
        Map<String, Double> weights = new LinkedHashMap<>();
        for (String name : names) {
            weights.put(name, 1.0);
        }
        return withHeads(weights);
    }

    /** The same with other heads, or other weights of them; the map's first is the main one. */
    public Supervised withHeads(Map<String, Double> weights) {
        return new Supervised(modality, weights, heldOut, viewCount, recipe);
    }

    /** The same without training on some clips. */
    public Supervised withHeldOut(HeldOut other) {
        return new Supervised(modality, heads, other, viewCount, recipe);
    }

    /** The same with a number of views of each clip. */
    public Supervised withViewCount(int number) {
        return new Supervised(modality, heads, heldOut, number, recipe);
    }

    /** The same with another recipe. */
    public Supervised withRecipe(Recipe other) {
        return new Supervised(modality, heads, heldOut, viewCount, other);
    }

    /** The settings by name. */
    public Settings settings() {
        return recipe.addTo(heldOut.addTo(
                Settings.NONE.with("modality", modality).with("heads", heads).with("viewCount", viewCount)));
    }

    /** See {@link Trainer#requireSettings}. */
    public void requireSettings(Path folder) {
        Trainer.requireSettings(folder, MODEL, settings(), defaults(modality).settings());
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished model of the same settings.
     *
     * @param config of the model, of any registered architecture
     * @param clips labelled for every head
     * @param start a file to start from, whose weights have this or any public code's names, or null; heads that it does not have start
     *     afresh. One of pictures starts models of sound and flow too, as {@link tessera.nn.PictureWeights} says
     * @return the file with the finished model
     * @throws IllegalArgumentException if the clips do not fit the model or have no labels for a head
     */
    public Path run(ModelConfig config, ClipSet clips, @Nullable Path start, Path folder, RunContext context) {
        return Trainer.run(stage(config, clips, start), folder, context);
    }

    /** What {@link #run} trains. */
    public Stage stage(ModelConfig config, ClipSet clips, @Nullable Path start) {
        Geometry sees = sees(recipe, clips, Map.of(modality, config.input()));
        requireClips("the model", config, modality, clips, sees);
        ModelHeads labels = labels(clips, heads.keySet());
        Map<String, String> model = new LinkedHashMap<>(config.toMetadata());
        model.putAll(labels.toMetadata());
        return new Stage(
                "train " + modality,
                recipe,
                heldOut.addTo(settings(), clips),
                heldOut.addTo(defaults(modality).settings(), clips),
                context -> setUp(config, labels, clips, sees, start, context),
                new Stage.Export(
                        MODEL,
                        model,
                        (setup, file, metadata) -> Student.save(file, setup.trained(), config, labels, metadata)));
    }

    private Stage.Setup setUp(
            ModelConfig config,
            ModelHeads labels,
            ClipSet clips,
            Geometry sees,
            @Nullable Path start,
            RunContext context) {
        OpenModel open = OpenModel.trained(config, labels, start, recipe.seed(), context);
        open.params().addShadows();
        ClipViews batches =
                new ClipViews(clips, sees, heldOut.rest(clips), Set.of(modality), heads.keySet(), recipe, viewCount);
        return new Stage.Setup(
                open.params().all(),
                modality,
                open.network(),
                List.of(),
                List.of(new Stage.Part(batches, objective(), PATH_STREAM)),
                masks(recipe),
                MASK_STREAM);
    }

    private Objective objective() {
        List<Weighted.Term> terms = new ArrayList<>();
        heads.forEach((head, weight) -> terms.add(
                new Weighted.Term(new CrossEntropy(head), weight / heads.size(), new Metric("cross_entropy_" + head))));
        return new Weighted(terms);
    }

    static @Nullable MaskStrategy masks(Recipe recipe) {
        return recipe.maskRatio() > 0 ? recipe.strategy() : null;
    }

    static void requireHeads(Map<String, Double> heads) {
        heads.forEach((head, weight) -> {
            if (!(weight >= 0) || weight.isInfinite()) {
                throw new IllegalArgumentException(
                        "the head '" + head + "' weighs " + weight + "; give each head a number of 0 or more");
            }
        });
    }

    static void requireViewCount(int viewCount) {
        if (viewCount < 0) {
            throw new IllegalArgumentException(
                    viewCount + " views of each clip; pass 1 or more, or 0 for another one in every epoch");
        }
    }

    /** Heads for all labels that a set of clips has for them. */
    static ModelHeads labels(ClipSet clips, Collection<String> heads) {
        Map<String, List<String>> labels = new LinkedHashMap<>();
        heads.forEach(head -> labels.put(head, clips.head(head).classes()));
        return new ModelHeads(labels);
    }

    /**
     * The sizes in which models see clips.
     *
     * @param inputs of the models by what they see
     */
    static Geometry sees(Recipe recipe, ClipSet clips, Map<Modality, ClipShape> inputs) {
        Geometry stored = clips.geometry();
        if (recipe.views() == null || inputs.isEmpty()) {
            return stored;
        }
        int frames = inputs.values().iterator().next().frames();
        Geometry sees = stored.withFrames(frames);
        ClipShape map = null;
        ClipShape picture = null;
        for (Map.Entry<Modality, ClipShape> input : inputs.entrySet()) {
            int channels = input.getKey().layout().channels();
            if (input.getValue().channels() != channels) {
                throw new IllegalArgumentException("a model takes clips " + text(input.getValue()) + " but those of "
                        + input.getKey() + " have " + channels + " channels; pass a model of that modality");
            }
            SampleLayout.Grid grid = input.getKey().layout().grid();
            if (grid.equals(SampleLayout.Grid.MAP)) {
                map = input.getValue();
            } else if (grid.equals(SampleLayout.Grid.PICTURE)
                    || (grid.equals(SampleLayout.Grid.SQUARE) && picture == null)) {
                picture = input.getValue();
            }
        }
        int size = picture == null ? sees.size() : picture.height();
        int width = picture == null ? sees.width() : picture.width();
        // Maps that nobody sees need only be possible.
        int poseSize = map == null ? Math.min(stored.poseSize(), size) : map.height();
        int poseWidth = map == null ? Math.clamp(stored.poseWidth(), poseSize, width) : map.width();
        return new Geometry(frames, size, width, poseSize, poseWidth);
    }

    /** Refuses a model that does not take clips of a set. */
    static void requireClips(String who, ModelConfig config, Modality modality, ClipSet clips, Geometry sees) {
        if (!clips.modalities().contains(modality)) {
            throw new IllegalArgumentException(who + " sees " + modality + " but the clips were loaded with "
                    + clips.modalities() + "; load them with " + modality + " too");
        }
        ClipShape input = config.input();
        ClipShape given = new ClipShape(
                sees.frames(),
                sees.rows(modality),
                sees.columns(modality),
                modality.layout().channels());
        if (!given.equals(input)) {
            throw new IllegalArgumentException(who + " takes clips " + text(input) + " but those of " + modality
                    + " are " + text(given) + "; pass a model of that modality and size");
        }
    }

    private static String text(ClipShape shape) {
        return "[" + shape.frames() + ", " + shape.height() + ", " + shape.width() + ", " + shape.channels() + "]";
    }
}
