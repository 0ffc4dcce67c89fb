package tessera.distill.train;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.IntToLongFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ViewOf;
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
    private final int[] all;
    private final Geometry sees;
    private final Set<Modality> seen;
    private final SortedMap<String, int[]> labels = new TreeMap<>();
    private final Recipe recipe;
    private final long viewSeed;
    private final EpochOrder order;
    /** What teachers made of each clip, {@code [clips][values]} by their names. */
    private final SortedMap<String, float[][]> taught = new TreeMap<>();

    private @Nullable Change change;

    /** What happens to clips on their way into a batch, such as the errors of a sensor. */
    @FunctionalInterface
    public interface Change {
        /**
         * Changes samples: a function of each clip's number alone, so that a run resumes.
         *
         * @param clips number of each clip in its set, {@code [B]}
         * @param samples {@code [B, T, rows, columns, C]} in host memory, which may be changed in place
         * @return the same, or samples of the same shape and another type, in the innermost open scope; of one type for all batches
         */
        Tensor of(Modality modality, int[] clips, Tensor samples);
    }

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
        if (recipe.views() != null && !clips.isLive()) {
            recipe.views().requireEnough(clips.geometry(), sees);
        }
        this.clips = clips;
        this.all = IntStream.range(0, clips.size()).toArray();
        this.sees = sees;
        this.seen = Set.copyOf(seen);
        heads.forEach(head -> labels.put(head, clips.head(head).ofClip()));
        this.recipe = recipe;
        this.viewSeed = viewSeed;
        this.order = new EpochOrder(clips.size(), orderSeed);
    }

    /** Lets batches hold what a frozen teacher made of each clip before, {@code [clips][values]}, under a name. */
    ClipBatches teaching(String name, float[][] answers) {
        taught.put(name, answers);
        return this;
    }

    /** Lets samples be changed; null for none. */
    ClipBatches changing(@Nullable Change how) {
        change = how;
        return this;
    }

    @Override
    public Batch at(Device host, long number) {
        int[] indices = order.batch(number, recipe.batch());
        // Draws are those of one batch with all clips of the step.
        long step = number / recipe.accumulate();
        int first = (int) (number % recipe.accumulate()) * recipe.batch();
        ClipSet.Taken taken = clips.take(host, seen, indices, all, sees, views(step, first));
        Tensor rgb = taken.samples().get(Modality.RGB);
        // What MM-CDFSL trains on.
        if (recipe.views() == null && recipe.augment() && rgb != null) {
            augment(rgb, viewSeed, i -> step, i -> first + i);
        }
        Map<Modality, Tensor> samples = new TreeMap<>(taken.samples());
        if (change != null) {
            Change how = change;
            samples.replaceAll((modality, clip) -> how.of(modality, taken.clips(), clip));
        }
        Map<String, Tensor> ofHeads = new TreeMap<>();
        labels.forEach((head, ofClip) -> ofHeads.put(
                head, Tensor.of(IntStream.of(taken.clips()).map(i -> ofClip[i]).toArray())));
        Map<String, Tensor> ofTeachers = new TreeMap<>();
        taught.forEach((name, ofClip) -> ofTeachers.put(name, rows(ofClip, taken.clips())));
        return new Batch(samples, ofHeads, ofTeachers);
    }

    private static Tensor rows(float[][] ofClip, int[] chosen) {
        int width = ofClip[0].length;
        float[] rows = new float[chosen.length * width];
        for (int i = 0; i < chosen.length; i++) {
            System.arraycopy(ofClip[chosen[i]], 0, rows, i * width, width);
        }
        return Tensor.of(rows, chosen.length, width);
    }

    @Override
    public void expect(long number) {
        if (clips.isRead()) {
            clips.expect(order.batch(number, recipe.batch()));
        }
    }

    /** Every modality of a clip in the same view; null for clips as they are. */
    private @Nullable ViewOf views(long step, int first) {
        Views views = ClipViews.views(recipe, clips);
        if (views == null) {
            return null;
        }
        return recipe.augment()
                ? (place, stored) -> views.train(stored, sees, viewSeed, step, first + place)
                : ClipViews.middle(views, sees);
    }

    /**
     * One random resized crop and flip for each clip of u8 pictures {@code [B, T, S, S, 3]}, in place, as a function of the
     * seed and two numbers of each clip of the batch.
     */
    public static void augment(Tensor clips, long seed, IntToLongFunction stream, IntToLongFunction counter) {
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
