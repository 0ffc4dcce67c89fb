package tessera.distill.train;

import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
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
        this.clips = clips;
        this.sees = sees;
        this.chosen = chosen.clone();
        this.seen = Set.copyOf(seen);
        this.heads = heads;
        this.recipe = recipe;
        this.viewCount = recipe.augment() ? viewCount : 1;
        this.order = new EpochOrder(chosen.length, recipe.seed());
    }

    /** How the clips of a step are seen, in order. */
    View[] of(long step) {
        int[] places = order.batch(step, recipe.batch());
        return IntStream.range(0, places.length)
                .mapToObj(i -> {
                    long epoch = (step * recipe.batch() + i) / chosen.length;
                    return new View(chosen[places[i]], Math.toIntExact(viewCount == 0 ? epoch : epoch % viewCount));
                })
                .toArray(View[]::new);
    }

    /** How clips are seen in the first steps, each view once, in the order of their first use. */
    Set<View> all(long steps) {
        Set<View> all = new LinkedHashSet<>();
        for (long step = 0; step < steps; step++) {
            all.addAll(List.of(of(step)));
        }
        return all;
    }

    @Override
    public Batch at(Device host, long step) {
        View[] of = of(step);
        return new Batch(look(host, seen, of), labels(of));
    }

    /** The same batches with what teachers made of them before. */
    BatchSource with(List<CachedTeacher> teachers) {
        return (host, step) -> {
            View[] of = of(step);
            Map<String, Tensor> taught = new TreeMap<>();
            teachers.forEach(teacher -> taught.putAll(teacher.answers(of)));
            return new Batch(look(host, seen, of), labels(of), taught);
        };
    }

    /** Clips in these views. */
    Map<Modality, Tensor> look(Device host, Set<Modality> modalities, View[] of) {
        int[] indices = IntStream.range(0, of.length).map(i -> of[i].clip()).toArray();
        Map<Modality, Tensor> batch = new TreeMap<>();
        for (Modality modality : modalities) {
            batch.put(modality, look(host, modality, indices, of));
        }
        return batch;
    }

    private Tensor look(Device host, Modality modality, int[] indices, View[] of) {
        Views drawn = recipe.views();
        if (!recipe.augment()) {
            return plain(host, clips, sees, drawn, modality, indices);
        }
        if (drawn != null) {
            List<tessera.distill.data.View> each = Arrays.stream(of)
                    .map(view -> drawn.train(clips.geometry(), sees, recipe.seed(), view.clip(), view.number()))
                    .toList();
            return clips.view(host, modality, indices, each);
        }
        Tensor samples = clips.batch(host, modality, indices);
        if (modality.equals(Modality.RGB)) {
            ClipBatches.augment(samples, recipe.seed(), i -> of[i].clip(), i -> of[i].number());
        }
        return samples;
    }

    /** Clips without augmentation: the middle view of a test, or, without views, as they are. */
    static Tensor plain(
            Device device, ClipSet clips, Geometry sees, @Nullable Views views, Modality modality, int[] indices) {
        return views == null
                ? clips.batch(device, modality, indices)
                : clips.view(
                        device,
                        modality,
                        indices,
                        views.test(clips.geometry(), sees, 1, 1).getFirst());
    }

    private Map<String, Tensor> labels(View[] of) {
        Map<String, Tensor> labels = new TreeMap<>();
        for (String head : heads) {
            int[] ofClip = clips.head(head).ofClip();
            labels.put(
                    head,
                    Tensor.of(IntStream.range(0, of.length)
                            .map(i -> ofClip[of[i].clip()])
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
