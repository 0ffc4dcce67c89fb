package tessera.distill.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Split;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.HeldOut;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.nn.Checkpoint;

/** Labelled clips and what is learned of them: what {@code train} and {@code distill} are told alike. */
final class LabelledOptions {
    /** Where a model's file notes what it was trained on, {@link ClipSet#checksum}. */
    static final String CLIPS = "tessera.clips";

    private static final String HEADS = "--heads";
    private static final String HOLD_OUT = "--hold-out";
    private static final String VIEW_COUNT = "--view-count";

    /** EgoSim clips from which the normalisation of flow is measured. */
    private static final int STATISTICS_CLIPS = 60;

    @Option(
            names = "--clips",
            paramLabel = "DIR",
            description = "Labelled training clips, DIR/<modality>/<label>/<name>.")
    private @Nullable Path clips;

    @Option(
            names = HEADS,
            split = ",",
            paramLabel = "NAME",
            description =
                    "What is learned, the main one first: action (the label folders), or columns of DIR/labels.csv such"
                            + " as verb,noun. Default: action")
    private List<String> heads = List.of(ClipSet.ACTION);

    @Option(
            names = "--head-weights",
            split = ",",
            paramLabel = "NAME=X",
            description = "Weight of each head's cross-entropy, for example verb=1,noun=0.5. Default: 1 for every head")
    private Map<String, Double> headWeights = Map.of();

    @Option(
            names = HOLD_OUT,
            paramLabel = "SHARE",
            description =
                    "Share of the training clips of each class that is not trained on, chosen by their names; the same for"
                            + " every command with this share. Default: ${DEFAULT-VALUE}")
    private double holdOut;

    @Option(
            names = VIEW_COUNT,
            paramLabel = "N",
            description =
                    "Different random views of each clip, after which they come again. Default: a new one in every epoch")
    private int viewCount;

    @Option(
            names = "--start",
            paramLabel = "FILE",
            description =
                    "Weights to start from: a file of Tessera's, or safetensors of a public checkpoint of the architecture; of shards"
                            + " their index. One of pictures starts models of audio and flow too.")
    private @Nullable Path start;

    @Mixin
    private ViewOptions views;

    /** Refuses what would do nothing in this training. */
    void check(ParseResult given, boolean augmented, Modality modality) {
        if (!augmented) {
            IdleOptions.refuse(given, VIEW_COUNT, ViewOptions.NOT_AUGMENTED);
        }
        views.check(given, augmented, modality);
    }

    int viewCount() {
        ToolCommand.requireLeast(VIEW_COUNT, viewCount, 0);
        return viewCount;
    }

    HeldOut heldOut() {
        return UsageErrors.naming(() -> HeldOut.of(holdOut), HOLD_OUT);
    }

    /** A recipe with clips seen in the views that are asked for. */
    Recipe seen(Recipe recipe) {
        return recipe.withViews(views.views());
    }

    /** The file to start from, or null. */
    @Nullable
    Path start() {
        Clips.requireStart(start);
        return start;
    }

    /** Refuses to hold clips out that the file to start from was trained on. */
    void requireUnseen(ClipSet clips) {
        if (start == null || holdOut == 0) {
            return;
        }
        Map<String, String> before;
        try (Checkpoint file = Checkpoint.read(start)) {
            before = file.metadata();
        }
        if (clips.checksum().equals(before.get(CLIPS)) && !heldOut().equals(HeldOut.of(before))) {
            throw new IllegalArgumentException("--start " + start + " was trained on these clips without --hold-out "
                    + holdOut + ", so it has seen those that are to be held out; train it with the same share");
        }
    }

    /** Weights by head, in the order of the heads. */
    Map<String, Double> heads() {
        requireWeights("--head-weights", headWeights);
        headWeights.keySet().forEach(head -> {
            if (!heads.contains(head)) {
                throw new IllegalArgumentException(
                        "--head-weights names '" + head + "' but --heads are " + heads + "; name one of these");
            }
        });
        Map<String, Double> weights = new LinkedHashMap<>();
        heads.forEach(head -> weights.put(head, headWeights.getOrDefault(head, 1.0)));
        return weights;
    }

    /**
     * Clips with the figures of their flow.
     *
     * @param flow figures, {@link FlowStats#NONE} unless the clips have flow
     */
    record Loaded(ClipSet clips, FlowStats flow) implements AutoCloseable {
        @Override
        public void close() {
            clips.close();
        }
    }

    /** Refuses weights of a loss's parts that no loss has. */
    static void requireWeights(String option, Map<String, Double> weights) {
        weights.forEach((name, weight) -> {
            if (!(weight >= 0) || weight.isInfinite()) {
                throw new IllegalArgumentException(
                        option + " gives " + name + "=" + weight + "; pass numbers of 0 or more");
            }
        });
    }

    /**
     * Loads the clips in every modality that somebody sees; flow is measured on those that are trained on.
     *
     * @param fits refuses clips of sizes that do not do, before any is read
     */
    Loaded load(
            String command,
            EgoSimOptions egosim,
            Set<Modality> modalities,
            ReadingOptions reading,
            Consumer<Geometry> fits,
            RunContext context) {
        reading.requireNoStride();
        egosim.requireOne(command + " needs labelled clips: pass either --clips DIR", clips);
        boolean measure = modalities.contains(Modality.FLOW);
        if (clips == null) {
            EgoSim sim = egosim.sim(Geometry.SMALL);
            fits.accept(sim.geometry());
            Set<String> held = heldOut().names(EgoSimClips.names(Split.SOURCE_TRAIN, 0, egosim.perClass()));
            FlowStats stats = measure
                    ? EgoSimClips.flowStats(
                            sim, Split.SOURCE_TRAIN, egosim.domains(), STATISTICS_CLIPS, name -> !held.contains(name))
                    : FlowStats.NONE;
            return new Loaded(egosim.render(sim, Split.SOURCE_TRAIN, egosim.domains(), modalities, context), stats);
        }
        ModalityFolders folders = egosim.folders().open(clips, modalities, null, reading);
        UsageErrors.naming(
                () -> {
                    folders.requireHeads(heads);
                    return folders;
                },
                HEADS);
        fits.accept(folders.geometry());
        Set<String> held = heldOut().names(folders.names());
        FlowStats stats = measure ? folders.flowStats(name -> !held.contains(name)) : FlowStats.NONE;
        return new Loaded(Clips.forTraining(folders, "load", context), stats);
    }
}
