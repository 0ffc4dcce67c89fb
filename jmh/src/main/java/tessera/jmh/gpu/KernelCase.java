package tessera.jmh.gpu;

import tessera.kernels.Kernels;

/**
 * One kernel at one shape.
 *
 * @param primitive the family as {@link Kernels} names it and the method, as {@code norms.softmax}
 * @param name in words
 * @param shape in words
 * @param batch samples when it is timed
 * @param checkBatch samples when its result is compared with the reference
 * @param bf16 whether it exists for bf16 data
 * @param bytes that one call must move
 * @param flops that one call must compute
 * @param mean whether the results are of the mean over the batch, so that gradients shrink as it grows
 * @param tensorCores whether its rate is compared with the matmul rate, not its traffic with the copy bandwidth
 * @param sectors bytes that one call moves at least because memory is read in sectors of 32 bytes, which sets its own ceiling
 */
record KernelCase(
        String primitive,
        String name,
        String shape,
        long batch,
        long checkBatch,
        boolean bf16,
        Cost bytes,
        Cost flops,
        boolean mean,
        boolean tensorCores,
        Setup setup,
        Cost sectors) {

    /** A kernel that needs all of the sectors it reads. */
    KernelCase(
            String primitive,
            String name,
            String shape,
            long batch,
            long checkBatch,
            boolean bf16,
            Cost bytes,
            Cost flops,
            boolean mean,
            boolean tensorCores,
            Setup setup) {
        this(primitive, name, shape, batch, checkBatch, bf16, bytes, flops, mean, tensorCores, setup, bytes);
    }

    /** The same, which reads sectors of which it does not need all. */
    KernelCase reading(Cost wholeSectors) {
        return new KernelCase(
                primitive, name, shape, batch, checkBatch, bf16, bytes, flops, mean, tensorCores, setup, wholeSectors);
    }

    /** Something that grows with the batch; s is the size of one element of data. */
    interface Cost {
        double of(double batch, int s);
    }

    /** Makes the buffers of a call and returns the call. */
    interface Setup {
        Runnable prepare(Kernels kernels, Inputs in, long batch);
    }
}
