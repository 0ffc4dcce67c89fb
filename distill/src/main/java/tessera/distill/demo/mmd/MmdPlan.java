package tessera.distill.demo.mmd;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.data.Views;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.report.Json;
import tessera.distill.train.Ensemble;
import tessera.distill.train.Recipe;
import tessera.distill.train.Settings;
import tessera.distill.train.Supervised;
import tessera.distill.train.TeacherWeights;
import tessera.nn.ModelConfig;
import tessera.nn.TokenGrid;
import tessera.nn.stlt.StltConfig;
import tessera.nn.swin.SwinConfig;
import tessera.tensor.Patches;

/**
 * Every setting of a demo of the second system: teachers of several modalities and RGB students on EgoSim, once for each seed.
 *
 * @param name what the plan is called
 * @param seeds of the replicas; each renders its own clips and trains its own models
 * @param geometry of the clips
 * @param frames of a clip that a model sees at once
 * @param domain where all clips are filmed
 * @param swins models of what has pictures by modality; RGB's is the students' too
 * @param boxes model of object boxes
 * @param pretraining what the RGB model and its students start from, or null for weights of the seed's
 * @param teachers how each modality's teacher is trained; the seed in it is replaced by the replica's. RGB's is the baseline too
 * @param distillation how every student is trained, but for the teachers' weights; the seed in it is replaced by the replica's
 * @param students what the students learn from
 * @param views numbers of views with which models are judged, ascending; teachers are judged with the last, and so are claims
 */
public record MmdPlan(
        String name,
        List<Long> seeds,
        Geometry geometry,
        int frames,
        Domain domain,
        Clips clips,
        Map<Modality, SwinSize> swins,
        StltConfig boxes,
        @Nullable Pretraining pretraining,
        Map<Modality, Supervised> teachers,
        Ensemble distillation,
        List<Taught> students,
        List<Integer> views) {

    /**
     * Clips per class. All sets are of the same classes and share no clip.
     *
     * @param heldOut clips that nothing is trained on, for the teachers' data-set weights and the temperatures
     * @param flowStatistics training clips in all, from which the normalisation of flow is measured
     */
    public record Clips(int train, int heldOut, int test, int flowStatistics) {}

    /**
     * Learning to tell other classes apart, in place of Kinetics.
     *
     * @param split of the classes, another than the demo's
     * @param clips per class
     * @param stage how; the seed in it is replaced by the replica's
     */
    public record Pretraining(Split split, int clips, Supervised stage) {
        public Pretraining {
            if (split == MmdPlan.SPLIT) {
                throw new IllegalArgumentException(
                        "a demo's models cannot start from a model of the classes that they learn; pretrain on another split than "
                                + split);
            }
        }
    }

    /**
     * Sizes of a Swin3D.
     *
     * @param patch pixels of a patch's side
     * @param tubelet frames of a patch
     */
    public record SwinSize(
            int patch, int tubelet, TokenGrid window, int embedDim, List<Integer> depths, List<Integer> heads) {
        public SwinSize {
            depths = List.copyOf(depths);
            heads = List.copyOf(heads);
        }
    }

    /**
     * What a student learns from.
     *
     * @param teachers by modality, in order
     * @param weighting of several
     */
    public record Taught(List<Modality> teachers, TeacherWeights weighting) {
        public Taught {
            teachers = List.copyOf(teachers);
        }

        /** As folders are called. */
        String id() {
            return teachers.size() == 1
                    ? teachers.getFirst().id()
                    : weighting.kind().toString();
        }

        /** In words, as tables have it. */
        String words() {
            return teachers.size() == 1
                    ? "RGB taught by " + MmdPlan.words(teachers.getFirst())
                    : "RGB taught by all, " + weighting.kind() + " weights";
        }
    }

    /** The classes that are told apart. */
    static final Split SPLIT = Split.SOURCE_TRAIN;

    /** The seed on whose clips the settings were chosen, which is none of a demo's unless asked for. */
    static final long CHOSEN_ON = 11;

    /** All teachers of the full and the quick demo. */
    private static final List<Modality> TEACHERS = List.of(Modality.RGB, Modality.FLOW, Modality.AUDIO, Modality.BOXES);

    /** Steps of the RGB models, the baseline and its students alike, and of what they start from. */
    private static final long STEPS = 3000;

    /** Steps of the other teachers. */
    private static final long TEACHER_STEPS = 1500;

    /** Highest learning rate of the Swins. With three times as much the RGB model stays near chance for a thousand steps. */
    private static final double RATE = 6e-4;

    public MmdPlan {
        seeds = List.copyOf(seeds);
        swins = Collections.unmodifiableSortedMap(new TreeMap<>(swins));
        teachers = Collections.unmodifiableSortedMap(new TreeMap<>(teachers));
        students = List.copyOf(students);
        views = List.copyOf(views);
        Supervised baseline = teachers.get(Modality.RGB);
        if (baseline == null || seeds.isEmpty() || views.isEmpty() || students.isEmpty()) {
            throw new IllegalArgumentException("a demo of multimodal distillation compares students with an RGB model;"
                    + " plan an rgb teacher, one seed, one student and one number of views, or more");
        }
        Recipe alone = baseline.recipe();
        Recipe taught = distillation.recipe();
        List<String> differences = baseline.viewCount() == distillation.viewCount()
                ? taught.withSeed(0).settings().differences(alone.withSeed(0).settings(), Settings.NONE)
                : List.of("viewCount is " + baseline.viewCount() + " and " + distillation.viewCount());
        if (!differences.isEmpty()) {
            throw new IllegalArgumentException("the RGB baseline is not trained as its students are ("
                    + String.join("; ", differences) + "); give both the same recipe, so that they can be compared");
        }
    }

    /** Minutes on two cores: one seed. */
    public static MmdPlan quick(long seed) {
        return plan("quick", List.of(seed), new Clips(40, 8, 20, 60), ensembles());
    }

    /** Half an hour on two cores: three seeds, more test clips, and a student of each single teacher. */
    public static MmdPlan full(long seed) {
        List<Taught> students = new ArrayList<>();
        TEACHERS.forEach(modality -> students.add(new Taught(List.of(modality), TeacherWeights.UNIFORM)));
        students.addAll(ensembles());
        return plan("full", List.of(seed, seed + 1, seed + 2), new Clips(40, 8, 60, 60), students);
    }

    private static List<Taught> ensembles() {
        return List.of(
                new Taught(TEACHERS, TeacherWeights.UNIFORM),
                new Taught(TEACHERS, TeacherWeights.dataSet()),
                new Taught(TEACHERS, TeacherWeights.perSample()));
    }

    /**
     * Models are small, see small pictures in large patches and learn faster than published. The published ones start from Kinetics
     * and then see each clip dozens of times; so does the RGB model here, which starts from classes of another split: afresh and
     * of few clips it would learn the backgrounds by heart, and of many seen few times each it would be as well calibrated as its
     * teachers. Sizes, clips, steps and rates were chosen on clips of seed 11.
     */
    private static MmdPlan plan(String name, List<Long> seeds, Clips clips, List<Taught> students) {
        int frames = 8;
        int views = 4;
        TokenGrid window = new TokenGrid(4, 7, 7);
        SwinSize pictures = new SwinSize(8, 2, window, 48, List.of(2, 2), List.of(3, 6));
        SwinSize sound = new SwinSize(8, 2, window, 32, List.of(2, 2), List.of(2, 4));
        Map<Modality, Supervised> teachers = new TreeMap<>();
        for (Modality modality : TEACHERS) {
            Supervised published = Supervised.defaults(modality);
            long steps = modality.equals(Modality.RGB) ? STEPS : TEACHER_STEPS;
            teachers.put(
                    modality,
                    published
                            .withHeads(EgoSimClips.VERB, EgoSimClips.NOUN)
                            .withViewCount(views)
                            .withRecipe(
                                    recipe(published.recipe(), steps, modality.equals(Modality.BOXES) ? 1e-3 : RATE)));
        }
        Supervised before = Supervised.defaults(Modality.RGB);
        Pretraining pretraining = new Pretraining(
                Split.TARGET_UNLABELLED,
                150,
                before.withHeads(EgoSimClips.VERB, EgoSimClips.NOUN)
                        .withViewCount(views)
                        .withRecipe(recipe(before.recipe(), STEPS, RATE)));
        Ensemble published = Ensemble.defaults();
        return new MmdPlan(
                name,
                seeds,
                new Geometry(16, 56, 14),
                frames,
                Domain.SOURCE,
                clips,
                Map.of(Modality.RGB, pictures, Modality.FLOW, pictures, Modality.AUDIO, sound),
                StltConfig.of(frames, 14, 64, 4, 1, 2),
                pretraining,
                teachers,
                published
                        .withHeads(EgoSimClips.VERB, EgoSimClips.NOUN)
                        .withViewCount(views)
                        .withRecipe(recipe(published.recipe(), STEPS, RATE)),
                students,
                List.of(1, 2, 3));
    }

    private static Recipe recipe(Recipe published, long steps, double rate) {
        return published
                .withBatch(8)
                .over(steps, rate)
                .withViews(Views.PUBLISHED.withSizes(1, 1.15).withColours(0, 0))
                .withSeed(0);
    }

    /** All that the teachers look at. */
    Set<Modality> modalities() {
        return teachers.keySet();
    }

    /** Sizes of what a model sees at once. */
    Geometry seen() {
        return geometry.withFrames(frames);
    }

    /** How clips are looked at. */
    Views how() {
        Views views = distillation.recipe().views();
        return views == null ? Views.PLAIN : views;
    }

    /** The number of views with which all models are compared. */
    int compared() {
        return views.getLast();
    }

    /**
     * The model of a modality.
     *
     * @param patches of a Swin
     */
    ModelConfig model(Modality modality, Patches patches) {
        SwinSize size = swins.get(modality);
        if (size == null) {
            return boxes;
        }
        int side = geometry.side(modality);
        return new SwinConfig(patches, frames, side, side, size.embedDim, size.depths, size.heads, size.window, 1e-5);
    }

    /** A modality in words. */
    static String words(Modality modality) {
        return modality.equals(Modality.RGB) ? "RGB" : modality.id();
    }

    /** The setting that tells the benchmark's version; plans of its first version have none. */
    private static final String EGOSIM = "egosim";

    /** The settings by name; the seeds of the stages do not count. */
    Settings settings() {
        return Settings.parse(Json.text(this, MmdPlan::written))
                .with("system", "mmd")
                .with(EGOSIM, EgoSim.VERSION);
    }

    /** What stands for the settings of the stages that an older demo's plan does not have. */
    Settings defaults() {
        Map<Modality, Supervised> standard = new TreeMap<>(teachers);
        standard.replaceAll((modality, own) -> Supervised.defaults(modality));
        Settings all = settings().with(EGOSIM, 1).with("teachers", standard).with("distillation", Ensemble.defaults());
        return Settings.parse(Json.text(all.values(), MmdPlan::written));
    }

    /** How values of this package are written in JSON. */
    static Object written(Object value) {
        return switch (value) {
            case Modality modality -> modality.id();
            case Supervised stage -> stage.settings().values();
            case Ensemble stage -> stage.settings().values();
            default -> value;
        };
    }
}
