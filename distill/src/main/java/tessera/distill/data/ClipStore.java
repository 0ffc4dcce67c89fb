package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/** Where a set has the samples of its clips. Safe for use by several threads until it is closed. */
interface ClipStore extends AutoCloseable {
    /**
     * Writes a clip into the memory of a batch.
     *
     * @param clip its number
     * @param place of the clip in the batch
     * @param views gives the clip's view, or null for the clip as it is kept
     * @param to memory for each modality that is wanted: in the type of batches, or without a view in that in which clips are kept
     * @throws BrokenClip if the clip's files are broken
     */
    void show(int clip, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to);

    /** Does something for every place of a batch, on several threads; what goes wrong at the first place of all is thrown. */
    void forEach(int places, IntConsumer work);

    /** Whether clips are read when they are looked at, so that it is worth while to say before which these will be. */
    default boolean isRead() {
        return false;
    }

    /** Says that clips will be looked at soon, in this order: they may be read ahead as far as memory allows. */
    default void expect(int[] clips) {}

    /** Bytes of memory for clips. */
    long heldBytes();

    /** Adds what tells the clips from others, and says in a word what it is. */
    String addTo(CRC32 checksum);

    @Override
    void close();
}
