package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.Addresses.load;
import static tessera.kernels.cpu.vector.Addresses.store;
import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarPatches;

/** Patches of f32 and u8 videos as f32; the rest is left to the plain Java kernels. */
public final class VectorPatches extends ScalarPatches {
    /** Values below which a second thread costs more than it brings. */
    private static final long GRAIN = 16_384;

    public VectorPatches(Workers workers) {
        super(workers);
    }

    /** By {@link Addresses} alone, as patches are short and their pixels are read one by one. */
    private static boolean has(Buffer video, Buffer out) {
        return Addresses.USABLE && isF32(out) && (isF32(video) || video.dtype() == DType.U8);
    }

    private static long grain(PatchGeometry g) {
        return Math.max(1, GRAIN / Math.max(1, g.patchLength()));
    }

    /** The address of a video, all of whose pixels are there. */
    private static long pixels(PatchGeometry g, Buffer video) {
        long count = 0;
        if (g.batch() > 0 && g.patches() > 0) {
            count = 1
                    + (g.batch() - 1) * g.strideB()
                    + (g.frames() - 1) * g.strideT()
                    + (g.height() - 1) * g.strideY()
                    + (g.width() - 1) * g.strideX()
                    + (g.channels() - 1) * g.strideC();
        }
        int bytes = video.dtype().bytes();
        return Addresses.ofBytes(video.segment(), 0, count * bytes);
    }

    @Override
    public void gatherPatches(PatchGeometry g, Buffer source, @Nullable Buffer indices, long count, Buffer target) {
        if (!has(source, target)) {
            super.gatherPatches(g, source, indices, count, target);
            return;
        }
        boolean bytes = !isF32(source);
        int channels = g.channels();
        float[] factor = new float[channels];
        float[] shift = new float[channels];
        for (int c = 0; c < channels; c++) {
            factor[c] = (float) (g.scale() / g.std()[c]);
            shift[c] = (float) (-g.mean()[c] / g.std()[c]);
        }
        int length = g.patchLength();
        boolean atOnce = interleaved(g) && !g.padded();
        MemorySegment video = source.segment();
        MemorySegment out = target.segment();
        long from = pixels(g, source);
        long to = Addresses.of(out, 0, g.batch() * count * length);
        workers.repeatableFor(g.batch() * count, grain(g), (worker, first, last) -> {
            try (Scratch scratch = Scratch.borrow()) {
                long pixels = Addresses.of(scratch.floats(length), 0, length);
                for (long row = first; row < last; row++) {
                    long token = token("gather_patches", g, indices, count, row);
                    long corner = origin(g, row / count, token);
                    long patch = to + row * length * Float.BYTES;
                    if (g.padded()) {
                        out.asSlice(row * length * Float.BYTES, (long) length * Float.BYTES)
                                .fill((byte) 0);
                    } else if (atOnce) {
                        readPatch(g, from, bytes, corner, 1, pixels);
                    }
                    for (int c = 0; c < channels; c++) {
                        long channel = patch + (long) c * (length / channels) * Float.BYTES;
                        if (atOnce) {
                            long values = pixels + (long) c * Float.BYTES;
                            spacedFloats(values, channels, length / channels, factor[c], shift[c], channel);
                        } else {
                            long start = corner + c * g.strideC();
                            gatherChannel(g, token, from, bytes, start, factor[c], shift[c], channel);
                        }
                    }
                }
            } finally {
                // Within the body, which a recording keeps and runs again when nobody else may hold them.
                Reference.reachabilityFence(video);
                Reference.reachabilityFence(out);
            }
        });
    }

    /** Whether the channels of a pixel, and the pixels of a line, follow each other. */
    private static boolean interleaved(PatchGeometry g) {
        return g.strideC() == 1 && g.strideX() == g.channels();
    }

    private static void gatherChannel(
            PatchGeometry g, long token, long video, boolean bytes, long corner, float factor, float shift, long out) {
        int p = g.patch();
        int frames = frames(g, token);
        int rows = rows(g, token);
        int columns = columns(g, token);
        for (int dt = 0; dt < frames; dt++) {
            for (int dy = 0; dy < rows; dy++) {
                long to = out + (dt * p + dy) * (long) p * Float.BYTES;
                long at = corner + dt * g.strideT() + dy * g.strideY();
                if (bytes) {
                    spacedBytes(video + at, g.strideX(), columns, factor, shift, to);
                } else if (g.strideX() == 1) {
                    floats(video + at * Float.BYTES, columns, factor, shift, to);
                } else {
                    spacedFloats(video + at * Float.BYTES, g.strideX(), columns, factor, shift, to);
                }
            }
        }
    }

    // Lines of n pixels, each times a factor plus a shift. Loops of their own, which the compiler sees with nothing
    // around them.

    private static void spacedBytes(long from, long step, int n, float factor, float shift, long to) {
        for (int i = 0; i < n; i++) {
            Addresses.set(to, i, Math.fma((float) Addresses.unsigned(from + i * step), factor, shift));
        }
    }

    private static void spacedFloats(long from, long step, int n, float factor, float shift, long to) {
        for (int i = 0; i < n; i++) {
            Addresses.set(to, i, Math.fma(Addresses.get(from + i * step * Float.BYTES, 0), factor, shift));
        }
    }

    private static void floats(long from, int n, float factor, float shift, long to) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(from, i).fma(all(factor), all(shift)), to, i);
        }
        for (int i = end; i < n; i++) {
            Addresses.set(to, i, Math.fma(Addresses.get(from, i), factor, shift));
        }
    }

    /**
     * {@inheritDoc}
     *
     * <p>A patch is read once into scratch, in the order of the target; what is per channel is laid out along some lines of it.
     */
    @Override
    public void reconstructionLoss(
            PatchTarget which,
            Buffer source,
            Buffer indices,
            Buffer predicted,
            Buffer loss,
            @Nullable Buffer gradient) {
        if (!has(source, predicted)) {
            super.reconstructionLoss(which, source, indices, predicted, loss, gradient);
            return;
        }
        PatchGeometry g = which.geometry();
        long count = which.count();
        boolean bytes = !isF32(source);
        MemorySegment video = source.segment();
        MemorySegment prediction = predicted.segment();
        MemorySegment dprediction = segment(gradient);
        int length = g.patchLength();
        int period = period(g);
        double[] losses = new double[Math.toIntExact(g.batch() * count)];
        double total = Math.max(1, (double) losses.length * length);
        float gradientScale = (float) (2 / total);
        long pixels = pixels(g, source);
        long guesses = Addresses.of(prediction, 0, (long) losses.length * length);
        long slopes = dprediction == null ? 0 : Addresses.of(dprediction, 0, (long) losses.length * length);
        try {
            workers.parallelFor(losses.length, grain(g), (worker, from, to) -> {
                try (Scratch scratch = Scratch.borrow()) {
                    long patch = Addresses.of(scratch.floats(length + 3L * period), 0, length + 3L * period);
                    long means = patch + (long) length * Float.BYTES;
                    long inverses = means + (long) period * Float.BYTES;
                    long sums = inverses + (long) period * Float.BYTES;
                    for (long row = from; row < to; row++) {
                        long token = token("reconstruction_loss", g, indices, count, row);
                        readPatch(g, pixels, bytes, origin(g, row / count, token), (float) g.scale(), patch);
                        if (which.normalise()) {
                            statistics(patch, length, period, g.channels(), (float) which.eps(), means, inverses, sums);
                        } else {
                            fill(means, period, 0);
                            fill(inverses, period, 1);
                        }
                        long at = row * length * Float.BYTES;
                        losses[(int) row] = error(
                                patch,
                                length,
                                period,
                                means,
                                inverses,
                                guesses + at,
                                gradientScale,
                                slopes == 0 ? 0 : slopes + at);
                    }
                }
            });
        } finally {
            Reference.reachabilityFence(video);
            Reference.reachabilityFence(prediction);
            Reference.reachabilityFence(dprediction);
        }
        VectorMath.set(loss.segment(), 0, (float) (Blocks.total(losses) / total));
    }

    /** Values of the fewest lines of a patch that are whole vectors together, or of all its lines where those are no multiple. */
    private static int period(PatchGeometry g) {
        int line = g.patch() * g.channels();
        int lines = 1;
        while (lines * line % LANES != 0) {
            lines++;
        }
        int all = g.tubelet() * g.patch();
        return all % lines == 0 ? lines * line : all * line;
    }

    private static void fill(long x, int n, float value) {
        for (int i = 0; i < n; i++) {
            Addresses.set(x, i, value);
        }
    }

    /** Values {@code pixel * scale} in the order (dt, dy, dx, c). */
    private static void readPatch(PatchGeometry g, long video, boolean bytes, long corner, float scale, long patch) {
        int channels = g.channels();
        int width = g.patch();
        boolean together = interleaved(g);
        long to = patch;
        for (int dt = 0; dt < g.tubelet(); dt++) {
            for (int dy = 0; dy < width; dy++) {
                long at = corner + dt * g.strideT() + dy * g.strideY();
                if (bytes && together) {
                    bytes(video + at, width * channels, scale, to);
                } else if (together) {
                    floats(video + at * Float.BYTES, width * channels, scale, 0, to);
                } else {
                    long size = bytes ? 1 : Float.BYTES;
                    for (int dx = 0; dx < width; dx++) {
                        long pixel = video + (at + dx * g.strideX()) * size;
                        long channelStep = g.strideC();
                        long values = to + (long) dx * channels * Float.BYTES;
                        if (bytes) {
                            spacedBytes(pixel, channelStep, channels, scale, 0, values);
                        } else {
                            spacedFloats(pixel, channelStep, channels, scale, 0, values);
                        }
                    }
                }
                to += (long) width * channels * Float.BYTES;
            }
        }
    }

    private static void bytes(long from, int n, float scale, long to) {
        int end = LANES < 8 ? 0 : whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(Addresses.unsignedBytes(from, i).mul(scale), to, i);
        }
        for (int i = end; i < n; i++) {
            Addresses.set(to, i, Addresses.unsigned(from + i) * scale);
        }
    }

    /** Mean and {@code 1 / (sqrt(unbiased variance) + eps)} of each channel, laid out along a period. */
    private static void statistics(
            long patch, int length, int period, int channels, float eps, long means, long inverses, long sums) {
        int pixels = length / channels;
        // The variance of a single pixel is 0, not 0 / 0.
        int freedom = Math.max(1, pixels - 1);
        int end = whole(period);
        for (int i = 0; i < end; i += LANES) {
            FloatVector sum = all(0);
            for (int at = i; at < length; at += period) {
                sum = sum.add(load(patch, at));
            }
            store(sum, sums, i);
        }
        for (int i = end; i < period; i++) {
            float sum = 0;
            for (int at = i; at < length; at += period) {
                sum += Addresses.get(patch, at);
            }
            Addresses.set(sums, i, sum);
        }
        for (int c = 0; c < channels; c++) {
            fillChannel(means, period, channels, c, (float) (channelSum(sums, period, channels, c) / pixels));
        }
        for (int i = 0; i < end; i += LANES) {
            FloatVector mean = load(means, i);
            FloatVector sum = all(0);
            for (int at = i; at < length; at += period) {
                FloatVector d = load(patch, at).sub(mean);
                sum = d.fma(d, sum);
            }
            store(sum, sums, i);
        }
        for (int i = end; i < period; i++) {
            float sum = 0;
            for (int at = i; at < length; at += period) {
                float d = Addresses.get(patch, at) - Addresses.get(means, i);
                sum = Math.fma(d, d, sum);
            }
            Addresses.set(sums, i, sum);
        }
        for (int c = 0; c < channels; c++) {
            double variance = channelSum(sums, period, channels, c) / freedom;
            fillChannel(inverses, period, channels, c, (float) (1 / (Math.sqrt(variance) + eps)));
        }
    }

    private static double channelSum(long x, int n, int channels, int c) {
        double sum = 0;
        for (int i = c; i < n; i += channels) {
            sum += Addresses.get(x, i);
        }
        return sum;
    }

    private static void fillChannel(long x, int n, int channels, int c, float value) {
        for (int i = c; i < n; i += channels) {
            Addresses.set(x, i, value);
        }
    }

    /** Sum of squared errors of a patch, whose gradient goes to {@code slope} unless that is 0. */
    private static float error(
            long patch,
            int length,
            int period,
            long means,
            long inverses,
            long prediction,
            float gradientScale,
            long slope) {
        FloatVector sum = all(0);
        int end = whole(period);
        for (int i = 0; i < end; i += LANES) {
            FloatVector mean = load(means, i);
            FloatVector inverse = load(inverses, i);
            for (int at = i; at < length; at += period) {
                FloatVector d =
                        load(prediction, at).sub(load(patch, at).sub(mean).mul(inverse));
                if (slope != 0) {
                    store(d.mul(gradientScale), slope, at);
                }
                sum = d.fma(d, sum);
            }
        }
        float rest = 0;
        for (int i = end; i < period; i++) {
            for (int at = i; at < length; at += period) {
                float target = (Addresses.get(patch, at) - Addresses.get(means, i)) * Addresses.get(inverses, i);
                float d = Addresses.get(prediction, at) - target;
                if (slope != 0) {
                    Addresses.set(slope, at, d * gradientScale);
                }
                rest = Math.fma(d, d, rest);
            }
        }
        return VectorMath.sum(sum) + rest;
    }
}
