package tessera.distill.data;

/** Gives the view of each clip of a batch. Called by several threads, so a function of its arguments alone. */
@FunctionalInterface
public interface ViewOf {
    /**
     * The view of a clip.
     *
     * @param place of the clip in the batch, from 0
     * @param stored what there is of the clip
     */
    View at(int place, Extent stored);
}
