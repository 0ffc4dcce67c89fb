package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import tessera.kernels.Buffer;
import tessera.kernels.Elementwise;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarOptimiser;

/** The optimiser in f32; tensors of which any is of another type are left to the plain Java kernels. */
public final class VectorOptimiser extends ScalarOptimiser {
    private static final long CHUNK = 16_384;

    private final Elementwise elementwise;
    private final VectorSums sums;

    /** @param elementwise rounds shadows */
    public VectorOptimiser(Workers workers, Elementwise elementwise) {
        super(workers);
        this.elementwise = elementwise;
        this.sums = new VectorSums(workers);
    }

    @Override
    protected double sumOfSquares(Buffer x) {
        return isF32(x) ? sums.squares(x.segment(), x.length()) : super.sumOfSquares(x);
    }

    /** All tensors together are cut into chunks, so that many small ones cost no more than a large one. */
    @Override
    public void adamW(AdamWTensors tensors, AdamWStep step) {
        Buffer[] parameters = tensors.parameters();
        Buffer[] gradients = tensors.gradients();
        if (parameters.length == 0
                || !isF32(parameters[0])
                || !Arrays.stream(gradients).allMatch(VectorMath::isF32)) {
            super.adamW(tensors, step);
            return;
        }
        // firstChunk[i] is the number of chunks before tensor i.
        long[] firstChunk = new long[parameters.length + 1];
        for (int i = 0; i < parameters.length; i++) {
            firstChunk[i + 1] = firstChunk[i] + Blocks.ceilDiv(parameters[i].length(), CHUNK);
        }
        float factor = (float) clipFactor(step.clip());
        float rate = (float) (step.lr() / (1 - Math.pow(step.beta1(), (double) step.step())));
        float correction = (float) (1 / Math.sqrt(1 - Math.pow(step.beta2(), (double) step.step())));
        workers.parallelFor(firstChunk[parameters.length], 2, (worker, from, to) -> {
            int i = 0;
            for (long chunk = from; chunk < to; chunk++) {
                while (chunk >= firstChunk[i + 1]) {
                    i++;
                }
                long start = (chunk - firstChunk[i]) * CHUNK;
                long end = Math.min(parameters[i].length(), start + CHUNK);
                adamW(tensors, i, start, end, step, rate, correction, factor);
            }
        });
        for (int i = 0; tensors.shadows() != null && i < tensors.shadows().length; i++) {
            Buffer shadow = tensors.shadows()[i];
            if (shadow != null) {
                elementwise.cast(parameters[i], shadow);
            }
        }
    }

    private static void adamW(
            AdamWTensors tensors,
            int tensor,
            long from,
            long to,
            AdamWStep step,
            float rate,
            float correction,
            float factor) {
        MemorySegment p = tensors.parameters()[tensor].segment();
        MemorySegment g = tensors.gradients()[tensor].segment();
        MemorySegment m = tensors.firstMoments()[tensor].segment();
        MemorySegment v = tensors.secondMoments()[tensor].segment();
        float keep = (float) (1 - step.lr() * tensors.decay()[tensor]);
        float beta1 = (float) step.beta1();
        float fresh1 = (float) (1 - step.beta1());
        float beta2 = (float) step.beta2();
        float fresh2 = (float) (1 - step.beta2());
        float eps = (float) step.eps();
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            FloatVector gradient = load(g, i).mul(factor);
            FloatVector mean = load(m, i).mul(beta1).add(gradient.mul(fresh1));
            FloatVector square =
                    load(v, i).mul(beta2).add(gradient.mul(gradient).mul(fresh2));
            store(mean, m, i);
            store(square, v, i);
            store(load(p, i).mul(keep).sub(step(mean, square, rate, correction, eps)), p, i);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            FloatVector gradient = load(g, end, mask).mul(factor);
            FloatVector mean = load(m, end, mask).mul(beta1).add(gradient.mul(fresh1));
            FloatVector square =
                    load(v, end, mask).mul(beta2).add(gradient.mul(gradient).mul(fresh2));
            store(mean, m, end, mask);
            store(square, v, end, mask);
            store(load(p, end, mask).mul(keep).sub(step(mean, square, rate, correction, eps)), p, end, mask);
        }
    }

    private static FloatVector step(FloatVector mean, FloatVector square, float rate, float correction, float eps) {
        return mean.mul(rate).div(square.sqrt().mul(correction).add(eps));
    }
}
