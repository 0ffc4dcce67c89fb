package tessera.distill.train;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.IntToLongFunction;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.View;
import tessera.distill.data.Views;
import tessera.kernels.Device;
import tessera.kernels.Philox;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Tensor;

/**
 * Batches of a set of clips in random order, each clip once per epoch, in random views where the recipe augments. Not thread-safe.
 */
public final class ClipBatches implements BatchSource {
    /** The head that learns the classes of labelled clips. */
    public static final String ACTION = ClipSet.ACTION;

    private final ClipSet clips;
    private final Geometry sees;
    private final Set<Modality> seen;
    private final SortedMap<String, int[]> labels = new TreeMap<>();
    private final Recipe recipe;
    private final long viewSeed;
    private final EpochOrder order;

    /**
     * Batches of clips as large as they are.
     *
     * @param seen what batches hold
     * @param labelled whether batches hold labels of the head {@link #ACTION}
     * @param orderSeed determines the order
     * @param viewSeed determines views
     */
    public ClipBatches(
            ClipSet clips, Set<Modality> seen, boolean labelled, Recipe recipe, long orderSeed, long viewSeed) {
        this(clips, clips.geometry(), seen, labelled ? Set.of(ACTION) : Set.of(), recipe, orderSeed, viewSeed);
    }

    /**
     * Batches of views.
     *
     * @param sees sizes of what batches hold; those of the clips if the recipe has no {@link Recipe#views views}. Without
     *     augmentation it is the middle view of a test
     * @param seen what batches hold
     * @param heads whose labels batches hold
     * @param orderSeed determines the order
     * @param viewSeed determines views
     * @throws IllegalArgumentException if the clips have no labels for a head, or cannot be seen so
     */
    public ClipBatches(
            ClipSet clips,
            Geometry sees,
            Set<Modality> seen,
            Set<String> heads,
            Recipe recipe,
            long orderSeed,
            long viewSeed) {
        if (recipe.views() == null && !sees.equals(clips.geometry())) {
            throw new IllegalArgumentException("clips of " + clips.geometry() + " are to be seen as " + sees
                    + " but the recipe has no views; give it views, such as Views.PUBLISHED");
        }
        this.clips = clips;
        this.sees = sees;
        this.seen = Set.copyOf(seen);
        heads.forEach(head -> labels.put(head, clips.head(head).ofClip()));
        this.recipe = recipe;
        this.viewSeed = viewSeed;
        this.order = new EpochOrder(clips.size(), orderSeed);
    }

    @Override
    public Batch at(Device host, long step) {
        int[] indices = order.batch(step, recipe.batch());
        Map<Modality, Tensor> batch = recipe.views() == null
                ? croppedAndFlipped(host, indices, step)
                : viewed(host, recipe.views(), indices, step);
        Map<String, Tensor> ofHeads = new TreeMap<>();
        labels.forEach((head, ofClip) -> ofHeads.put(
                head, Tensor.of(IntStream.of(indices).map(i -> ofClip[i]).toArray())));
        return new Batch(batch, ofHeads);
    }

    /** Every modality of a clip in the same view. */
    private Map<Modality, Tensor> viewed(Device host, Views views, int[] indices, long step) {
        List<View> each = new ArrayList<>();
        for (int i = 0; i < indices.length; i++) {
            each.add(
                    recipe.augment()
                            ? views.train(clips.geometry(), sees, viewSeed, step, i)
                            : views.test(clips.geometry(), sees, 1, 1).getFirst());
        }
        Map<Modality, Tensor> batch = new TreeMap<>();
        seen.forEach(modality -> batch.put(modality, clips.view(host, modality, indices, each)));
        return batch;
    }

    /** What MM-CDFSL trains on. */
    private Map<Modality, Tensor> croppedAndFlipped(Device host, int[] indices, long step) {
        Map<Modality, Tensor> batch = new TreeMap<>();
        for (Modality modality : seen) {
            Tensor samples = clips.batch(host, modality, indices);
            if (recipe.augment() && modality.equals(Modality.RGB)) {
                augment(samples, viewSeed, i -> step, i -> i);
            }
            batch.put(modality, samples);
        }
        return batch;
    }

    /**
     * One random resized crop and flip for each clip of u8 pictures {@code [B, T, S, S, 3]}, in place, as a function of the
     * seed and two numbers of each clip of the batch.
     */
    static void augment(Tensor clips, long seed, IntToLongFunction stream, IntToLongFunction counter) {
        int batch = (int) clips.size(0);
        int frames = (int) clips.size(1);
        int side = (int) clips.size(2);
        int length = frames * side * side * 3;
        MemorySegment pixels = clips.segment();
        IntStream.range(0, batch).parallel().forEach(i -> {
            byte[] clip = new byte[length];
            MemorySegment.copy(pixels, ValueLayout.JAVA_BYTE, (long) i * length, clip, 0, length);
            long draw = Philox.word(seed, stream.applyAsLong(i), counter.applyAsLong(i));
            byte[] changed = ImageOps.trainTransform(new VideoClip(frames, side, side, clip), side, draw)
                    .pixels();
            MemorySegment.copy(changed, 0, pixels, ValueLayout.JAVA_BYTE, (long) i * length, length);
        });
    }
}
