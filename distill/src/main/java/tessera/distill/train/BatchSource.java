package tessera.distill.train;

import tessera.kernels.Device;

/** Gives each step its clips. */
@FunctionalInterface
public interface BatchSource {
    /**
     * The batch of a step: a function of the step alone, so that a run resumes anywhere, and of the same shapes in every step.
     *
     * @param host a CPU device, in whose memory the batch is made; it belongs to the innermost open scope
     */
    Batch at(Device host, long step);
}
