package tessera.distill.train;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntToLongFunction;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Modality;
import tessera.kernels.Device;
import tessera.kernels.Philox;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Tensor;

/**
 * Batches of a set of clips in random order, each clip once per epoch; where the recipe augments, pictures are cropped and flipped
 * at random. Not thread-safe.
 */
public final class ClipBatches implements BatchSource {
    /** The head that learns the classes of labelled clips. */
    public static final String ACTION = "action";

    private final ClipSet clips;
    private final Set<Modality> seen;
    private final boolean labelled;
    private final Recipe recipe;
    private final long augmentSeed;
    private final EpochOrder order;

    /**
     * Makes a source.
     *
     * @param seen what batches hold
     * @param labelled whether batches hold labels of the head {@link #ACTION}
     * @param orderSeed determines the order
     * @param augmentSeed determines crops and flips
     */
    public ClipBatches(
            ClipSet clips, Set<Modality> seen, boolean labelled, Recipe recipe, long orderSeed, long augmentSeed) {
        this.clips = clips;
        this.seen = Set.copyOf(seen);
        this.labelled = labelled;
        this.recipe = recipe;
        this.augmentSeed = augmentSeed;
        this.order = new EpochOrder(clips.size(), orderSeed);
    }

    @Override
    public Batch at(Device host, long step) {
        int[] indices = order.batch(step, recipe.batch());
        Map<Modality, Tensor> batch = new TreeMap<>();
        for (Modality modality : seen) {
            Tensor samples = clips.batch(host, modality, indices);
            if (recipe.augment() && modality.equals(Modality.RGB)) {
                augment(samples, augmentSeed, i -> step, i -> i);
            }
            batch.put(modality, samples);
        }
        int[] labels = IntStream.of(indices).map(clips::label).toArray();
        return new Batch(batch, labelled ? Map.of(ACTION, Tensor.of(labels)) : Map.of());
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
