package tessera.distill.fewshot;

/**
 * One few-shot task: which clips teach and which are asked.
 *
 * <p>The arrays belong to the episode and must not be changed.
 *
 * @param classes the data set's class ids, ascending; the label of a clip is the position of its class here
 * @param support clip indices, {@code shots} for each class in the order of {@code classes}
 * @param supportLabels the label of each support clip, in {@code [0, ways)}
 * @param queries clip indices, none of them in {@code support}
 * @param queryLabels the label of each query clip
 */
public record Episode(int[] classes, int[] support, int[] supportLabels, int[] queries, int[] queryLabels) {
    /** Number of classes. */
    public int ways() {
        return classes.length;
    }
}
