package tessera.distill.train;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ViewOf;
import tessera.distill.data.Views;
import tessera.kernels.Device;
import tessera.tensor.Tensor;

/**
 * Batches of a set of clips in random order, each clip once per epoch, with labels of several heads. In every epoch a clip is
 * seen in another view; where there are only some views, these come round again. Not thread-safe.
 */
final class ClipViews implements BatchSource {
    /**
     * How a clip is seen.
     *
     * @param clip number in the set
     * @param number of the view, from 0
     */
    record View(int clip, int number) {}

    private final ClipSet clips;
    private final Geometry sees;
    private final int[] chosen;
    private final Set<Modality> seen;
    private final Collection<String> heads;
    private final Recipe recipe;
    private final int viewCount;
    private final EpochOrder order;

    /**
     * Makes a source.
     *
     * @param sees sizes of what batches hold
     * @param chosen which clips of the set
     * @param seen what batches hold
     * @param heads whose labels batches hold
     * @param recipe whose seed determines order and views
     * @param viewCount views of each clip, 0 for another one in every epoch
     */
    ClipViews(
            ClipSet clips,
            Geometry sees,
            int[] chosen,
            Set<Modality> seen,
            Collection<String> heads,
            Recipe recipe,
            int viewCount) {
        if (recipe.views() != null && !clips.isLive()) {
            recipe.views().requireEnough(clips.geometry(), sees);
        }
        this.clips = clips;
        this.sees = sees;
        this.chosen = chosen.clone();
        this.seen = Set.copyOf(seen);
        this.heads = heads;
        this.recipe = recipe;
        this.viewCount = recipe.augment() ? viewCount : 1;
        this.order = new EpochOrder(chosen.length, recipe.seed());
    }

    /** How the clips of a batch are seen, in order. */
    View[] of(long number) {
        int[] places = order.batch(number, recipe.batch());
        return IntStream.range(0, places.length)
                .mapToObj(i -> {
                    long epoch = (number * recipe.batch() + i) / chosen.length;
                    return new View(chosen[places[i]], Math.toIntExact(viewCount == 0 ? epoch : epoch % viewCount));
                })
                .toArray(View[]::new);
    }

    /** How clips are seen in the first steps, each view once, in the order of their first use. */
    Set<View> all(long steps) {
        Set<View> all = new LinkedHashSet<>();
        for (long number = 0; number < steps * recipe.accumulate(); number++) {
            all.addAll(List.of(of(number)));
        }
        return all;
    }

    @Override
    public Batch at(Device host, long number) {
        View[] of = of(number);
        ClipSet.Taken taken = take(host, seen, of);
        return new Batch(taken.samples(), labels(taken));
    }

    @Override
    public void expect(long number) {
        if (clips.isRead()) {
            clips.expect(clips(of(number)));
        }
    }

    /** The same batches with what teachers made of them before. */
    BatchSource with(List<CachedTeacher> teachers) {
        ClipViews views = this;
        return new BatchSource() {
            @Override
            public Batch at(Device host, long number) {
                View[] of = of(number);
                Map<String, Tensor> taught = new TreeMap<>();
                teachers.forEach(teacher -> taught.putAll(teacher.answers(of)));
                ClipSet.Taken taken = take(host, seen, of);
                return new Batch(taken.samples(), labels(taken), taught);
            }

            @Override
            public void expect(long number) {
                views.expect(number);
            }
        };
    }

    /** Clips in these views. */
    Map<Modality, Tensor> look(Device host, Set<Modality> modalities, View[] of) {
        return take(host, modalities, of).samples();
    }

    private static int[] clips(View[] of) {
        return Stream.of(of).mapToInt(View::clip).toArray();
    }

    private ClipSet.Taken take(Device host, Set<Modality> modalities, View[] of) {
        ClipSet.Taken taken = clips.take(host, modalities, clips(of), chosen, sees, viewOf(of));
        Tensor rgb = taken.samples().get(Modality.RGB);
        if (recipe.views() == null && recipe.augment() && rgb != null) {
            ClipBatches.augment(rgb, recipe.seed(), i -> of[i].clip(), i -> of[i].number());
        }
        return taken;
    }

    private @Nullable ViewOf viewOf(View[] of) {
        Views views = views(recipe, clips);
        if (views == null) {
            return null;
        }
        return recipe.augment()
                ? (place, stored) -> views.train(stored, sees, recipe.seed(), of[place].clip(), of[place].number())
                : middle(views, sees);
    }

    /**
     * The views of training, or null where clips are seen as they are. Clips that are cut anew are so first, then come MM-CDFSL's crops and
     * flips of what that shows.
     */
    static @Nullable Views views(Recipe recipe, ClipSet clips) {
        return recipe.views() == null && recipe.augment() ? clips.cut() : recipe.views();
    }

    /** The middle view of a test. */
    static ViewOf middle(Views views, Geometry sees) {
        return (place, stored) -> views.test(stored, sees, 1, 1).getFirst();
    }

    /**
     * Clips without augmentation: the middle view of a test, or, without views, as they are.
     *
     * @param among the clips, ascending, that stand in for broken ones
     */
    static ClipSet.Taken plain(
            Device device,
            ClipSet clips,
            Geometry sees,
            @Nullable Views views,
            Modality modality,
            int[] indices,
            int[] among) {
        if (views != null && !clips.isLive()) {
            views.requireEnough(clips.geometry(), sees);
        }
        Geometry shown = views == null ? clips.geometry() : sees;
        return clips.take(device, Set.of(modality), indices, among, shown, views == null ? null : middle(views, sees));
    }

    private Map<String, Tensor> labels(ClipSet.Taken taken) {
        Map<String, Tensor> labels = new TreeMap<>();
        for (String head : heads) {
            int[] ofClip = clips.head(head).ofClip();
            labels.put(
                    head,
                    Tensor.of(IntStream.of(taken.clips())
                            .map(clip -> ofClip[clip])
                            .toArray()));
        }
        return labels;
    }

    /** What, beside the clips, determines what is seen in a view. */
    String policy() {
        String how = recipe.views() == null
                ? "random resized crop and flip of rgb"
                : recipe.views().toString();
        return sees + (recipe.augment() ? " by " + how + ", seed " + recipe.seed() : " not augmented by " + how);
    }
}
