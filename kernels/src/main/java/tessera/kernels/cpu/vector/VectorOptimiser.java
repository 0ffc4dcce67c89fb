package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import tessera.kernels.Buffer;
import tessera.kernels.Elementwise;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarOptimiser;

/** The optimiser in f32; tensors of which any is of another type are left to the plain Java kernels. */
public final class VectorOptimiser extends ScalarOptimiser {
    private static final long CHUNK = 16_384;
    /** Elements whose moments stay in the first-level cache until the parameters are changed; whole vectors. */
    private static final long BLOCK = 2048;
    /** Elements whose squares are summed in one term: rounding errors do not grow with a tensor's length. */
    private static final long SQUARES = 4096;

    private static final long SQUARES_PER_RANGE = 4;

    private final Elementwise elementwise;

    /** @param elementwise rounds shadows */
    public VectorOptimiser(Workers workers, Elementwise elementwise) {
        super(workers);
        this.elementwise = elementwise;
    }

    /** Elements {@code [from, to)} of one of several tensors, which are chunk {@code chunk} of all of them. */
    private interface ChunkBody {
        void run(int tensor, long from, long to, int chunk);
    }

    /**
     * Cuts all tensors together into chunks, so that many small ones cost no more than a large one.
     *
     * @return how many chunks lie before each tensor and, last, before the end
     */
    private int[] forEachChunk(Buffer[] tensors, long size, long chunksPerRange, ChunkBody body) {
        int[] before = new int[tensors.length + 1];
        for (int i = 0; i < tensors.length; i++) {
            before[i + 1] = Math.addExact(before[i], Math.toIntExact(Blocks.ceilDiv(tensors[i].length(), size)));
        }
        workers.parallelFor(before[tensors.length], chunksPerRange, (worker, from, to) -> {
            int i = 0;
            for (int chunk = (int) from; chunk < to; chunk++) {
                while (chunk >= before[i + 1]) {
                    i++;
                }
                long start = (chunk - before[i]) * size;
                body.run(i, start, Math.min(tensors[i].length(), start + size), chunk);
            }
        });
        return before;
    }

    private static boolean areF32(Buffer[] tensors) {
        return Arrays.stream(tensors).allMatch(VectorMath::isF32);
    }

    @Override
    public void globalNorm(Buffer[] gradients, Buffer norm) {
        if (!areF32(gradients)) {
            super.globalNorm(gradients, norm);
            return;
        }
        long chunks = Arrays.stream(gradients)
                .mapToLong(gradient -> Blocks.ceilDiv(gradient.length(), SQUARES))
                .sum();
        double[] terms = new double[Math.toIntExact(chunks)];
        int[] before = forEachChunk(gradients, SQUARES, SQUARES_PER_RANGE, (tensor, from, to, chunk) -> {
            terms[chunk] = VectorRuns.squares(gradients[tensor].segment(), from, (int) (to - from), 0);
        });
        double total = 0;
        for (int i = 0; i < gradients.length; i++) {
            // Tensor by tensor, as ScalarOptimiser adds them up.
            total += Blocks.total(Arrays.copyOfRange(terms, before[i], before[i + 1]));
        }
        Elements.set(norm, 0, Math.sqrt(total));
    }

    @Override
    public void adamW(AdamWTensors tensors, AdamWStep step) {
        Buffer[] parameters = tensors.parameters();
        if (parameters.length == 0 || !isF32(parameters[0]) || !areF32(tensors.gradients())) {
            super.adamW(tensors, step);
            return;
        }
        float factor = (float) clipFactor(step.clip());
        float rate = (float) (step.lr() / (1 - Math.pow(step.beta1(), (double) step.step())));
        float correction = (float) (1 / Math.sqrt(1 - Math.pow(step.beta2(), (double) step.step())));
        forEachChunk(
                parameters,
                CHUNK,
                2,
                (tensor, from, to, chunk) -> adamW(tensors, tensor, from, to, step, rate, correction, factor));
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
        Update update = new Update(
                keep,
                factor,
                (float) step.beta1(),
                (float) (1 - step.beta1()),
                (float) step.beta2(),
                (float) (1 - step.beta2()),
                rate,
                correction,
                (float) step.eps());
        long end = from + whole(to - from);
        for (long at = from; at < end; at += BLOCK) {
            long until = Math.min(end, at + BLOCK);
            update.moments(g, m, v, at, until);
            update.parameters(p, m, v, at, until);
        }
        update.rest(p, g, m, v, end, to);
    }

    /**
     * What a step multiplies by. Each loop is a method of its own and short: one with all of this, and with masks for what is left, was at
     * times compiled with an object for every vector, a hundred times slower.
     */
    private record Update(
            float keep,
            float factor,
            float beta1,
            float fresh1,
            float beta2,
            float fresh2,
            float rate,
            float correction,
            float eps) {
        private void moments(MemorySegment g, MemorySegment m, MemorySegment v, long from, long end) {
            FloatVector scale = all(factor);
            FloatVector keep1 = all(beta1);
            FloatVector new1 = all(fresh1);
            FloatVector keep2 = all(beta2);
            FloatVector new2 = all(fresh2);
            for (long i = from; i < end; i += LANES) {
                FloatVector gradient = load(g, i).mul(scale);
                store(load(m, i).mul(keep1).add(gradient.mul(new1)), m, i);
                store(load(v, i).mul(keep2).add(gradient.mul(gradient).mul(new2)), v, i);
            }
        }

        private void parameters(MemorySegment p, MemorySegment m, MemorySegment v, long from, long end) {
            FloatVector kept = all(keep);
            FloatVector rates = all(rate);
            FloatVector corrections = all(correction);
            FloatVector least = all(eps);
            for (long i = from; i < end; i += LANES) {
                FloatVector root = load(v, i).sqrt().mul(corrections).add(least);
                store(load(p, i).mul(kept).sub(load(m, i).mul(rates).div(root)), p, i);
            }
        }

        /** The elements that fill no vector, with the same bits. */
        private void rest(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long from, long to) {
            for (long i = from; i < to; i++) {
                float gradient = get(g, i) * factor;
                float mean = get(m, i) * beta1 + gradient * fresh1;
                float square = get(v, i) * beta2 + gradient * gradient * fresh2;
                set(m, i, mean);
                set(v, i, square);
                set(p, i, get(p, i) * keep - mean * rate / ((float) Math.sqrt(square) * correction + eps));
            }
        }
    }
}
