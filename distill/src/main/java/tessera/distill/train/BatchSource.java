package tessera.distill.train;

import tessera.kernels.Device;

/** Gives each step its clips. */
@FunctionalInterface
public interface BatchSource {
    /**
     * A batch: a function of its number alone, so that a run resumes anywhere, and of the same shapes for every number.
     *
     * @param host a CPU device, in whose memory the batch is made; it belongs to the innermost open scope
     * @param number of the batch: that of the step, or where n batches make a step ({@link Recipe#accumulate}) n times that and one
     *     more for each
     */
    Batch at(Device host, long number);

    /** Says that a batch will be needed soon, so that its clips may be read ahead. The same thread calls it that calls {@link #at}. */
    default void expect(long number) {}
}
