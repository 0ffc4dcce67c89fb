package tessera.distill.train;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Modality;
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
    private final int[] chosen;
    private final Set<Modality> seen;
    private final Collection<String> heads;
    private final Recipe recipe;
    private final int views;
    private final EpochOrder order;

    /**
     * Makes a source.
     *
     * @param chosen which clips of the set
     * @param seen what batches hold
     * @param heads whose labels batches hold
     * @param recipe whose seed determines order and views
     * @param views of each clip, 0 for another one in every epoch
     */
    ClipViews(ClipSet clips, int[] chosen, Set<Modality> seen, Collection<String> heads, Recipe recipe, int views) {
        this.clips = clips;
        this.chosen = chosen.clone();
        this.seen = Set.copyOf(seen);
        this.heads = heads;
        this.recipe = recipe;
        this.views = recipe.augment() ? views : 1;
        this.order = new EpochOrder(chosen.length, recipe.seed());
    }

    /** How the clips of a step are seen, in order. */
    View[] of(long step) {
        int[] places = order.batch(step, recipe.batch());
        return IntStream.range(0, places.length)
                .mapToObj(i -> {
                    long epoch = (step * recipe.batch() + i) / chosen.length;
                    return new View(chosen[places[i]], Math.toIntExact(views == 0 ? epoch : epoch % views));
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
            Tensor samples = clips.batch(host, modality, indices);
            if (recipe.augment() && modality.equals(Modality.RGB)) {
                ClipBatches.augment(samples, recipe.seed(), i -> of[i].clip(), i -> of[i].number());
            }
            batch.put(modality, samples);
        }
        return batch;
    }

    private Map<String, Tensor> labels(View[] of) {
        Map<String, Tensor> labels = new TreeMap<>();
        for (String head : heads) {
            int[] ofClip = HeadClasses.of(clips, head).ofClip();
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
        return recipe.augment() ? "random resized crop and flip of rgb, seed " + recipe.seed() : "as stored";
    }
}
