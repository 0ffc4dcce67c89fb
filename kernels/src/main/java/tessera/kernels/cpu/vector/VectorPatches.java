package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
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

    private static boolean has(Buffer video, Buffer out) {
        return isF32(out) && (isF32(video) || video.dtype() == DType.U8);
    }

    private static long grain(PatchGeometry g) {
        return Math.max(1, GRAIN / Math.max(1, g.patchLength()));
    }

    @Override
    public void gatherPatches(PatchGeometry g, Buffer source, @Nullable Buffer indices, long count, Buffer target) {
        if (!has(source, target)) {
            super.gatherPatches(g, source, indices, count, target);
            return;
        }
        MemorySegment video = source.segment();
        boolean bytes = !isF32(source);
        MemorySegment out = target.segment();
        int channels = g.channels();
        float[] factor = new float[channels];
        float[] shift = new float[channels];
        for (int c = 0; c < channels; c++) {
            factor[c] = (float) (g.scale() / g.std()[c]);
            shift[c] = (float) (-g.mean()[c] / g.std()[c]);
        }
        int length = g.patchLength();
        workers.repeatableFor(g.batch() * count, grain(g), (worker, first, last) -> {
            for (long row = first; row < last; row++) {
                long token = token("gather_patches", g, indices, count, row);
                long origin = origin(g, row / count, token);
                if (g.padded()) {
                    out.asSlice(row * length * Float.BYTES, (long) length * Float.BYTES)
                            .fill((byte) 0);
                }
                for (int c = 0; c < channels; c++) {
                    long from = origin + c * g.strideC();
                    long to = row * length + (long) c * (length / channels);
                    gatherChannel(g, token, video, bytes, from, factor[c], shift[c], out, to);
                }
            }
        });
    }

    private static void gatherChannel(
            PatchGeometry g,
            long token,
            MemorySegment video,
            boolean bytes,
            long source,
            float factor,
            float shift,
            MemorySegment out,
            long target) {
        int p = g.patch();
        long step = g.strideX();
        int frames = frames(g, token);
        int rows = rows(g, token);
        int columns = columns(g, token);
        for (int dt = 0; dt < frames; dt++) {
            for (int dy = 0; dy < rows; dy++) {
                long to = target + (dt * p + dy) * (long) p;
                long at = source + dt * g.strideT() + dy * g.strideY();
                if (bytes) {
                    for (int dx = 0; dx < columns; dx++) {
                        int pixel = video.get(ValueLayout.JAVA_BYTE, at + dx * step) & 0xFF;
                        VectorMath.set(out, to + dx, Math.fma(pixel, factor, shift));
                    }
                } else if (step == 1) {
                    VectorRuns.affine(video, at, columns, factor, shift, out, to);
                } else {
                    for (int dx = 0; dx < columns; dx++) {
                        float pixel = VectorMath.get(video, at + dx * step);
                        VectorMath.set(out, to + dx, Math.fma(pixel, factor, shift));
                    }
                }
            }
        }
    }

    /**
     * {@inheritDoc}
     *
     * <p>A patch is read once into scratch, in rows of one pixel line
     * with its channels interleaved as in the target; what is per channel is laid out along such a line.
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
        MemorySegment video = source.segment();
        boolean bytes = !isF32(source);
        MemorySegment prediction = predicted.segment();
        MemorySegment dprediction = segment(gradient);
        int length = g.patchLength();
        int line = g.patch() * g.channels();
        int lines = length / line;
        int ld = (line + LANES - 1) & -LANES;
        double[] losses = new double[Math.toIntExact(g.batch() * count)];
        double total = Math.max(1, (double) losses.length * length);
        float gradientScale = (float) (2 / total);
        workers.parallelFor(losses.length, grain(g), (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment patch = scratch.floats((lines + 3L) * ld);
                MemorySegment means = patch.asSlice((long) lines * ld * Float.BYTES);
                MemorySegment squares = means.asSlice((long) ld * Float.BYTES);
                MemorySegment inverses = squares.asSlice((long) ld * Float.BYTES);
                for (long row = from; row < to; row++) {
                    long token = token("reconstruction_loss", g, indices, count, row);
                    long corner = origin(g, row / count, token);
                    readPatch(g, video, bytes, corner, patch, ld);
                    if (which.normalise()) {
                        statistics(patch, line, ld, lines, g.channels(), (float) which.eps(), means, squares, inverses);
                    } else {
                        fill(means, line, 0);
                        fill(inverses, line, 1);
                    }
                    long at = row * length;
                    losses[(int) row] =
                            error(patch, line, ld, lines, means, inverses, prediction, at, gradientScale, dprediction);
                }
            }
        });
        VectorMath.set(loss.segment(), 0, (float) (Blocks.total(losses) / total));
    }

    private static void fill(MemorySegment x, int n, float value) {
        for (int i = 0; i < n; i++) {
            VectorMath.set(x, i, value);
        }
    }

    /** Values {@code pixel * scale} in the order (dt, dy, dx, c), with {@code ld} elements from one line to the next. */
    private static void readPatch(
            PatchGeometry g, MemorySegment video, boolean bytes, long corner, MemorySegment patch, int ld) {
        int channels = g.channels();
        int line = g.patch() * channels;
        boolean together = g.strideC() == 1 && g.strideX() == channels;
        float scale = (float) g.scale();
        long to = 0;
        for (int dt = 0; dt < g.tubelet(); dt++) {
            for (int dy = 0; dy < g.patch(); dy++) {
                long at = corner + dt * g.strideT() + dy * g.strideY();
                if (bytes && together) {
                    for (int i = 0; i < line; i++) {
                        int pixel = video.get(ValueLayout.JAVA_BYTE, at + i) & 0xFF;
                        VectorMath.set(patch, to + i, pixel * scale);
                    }
                } else if (bytes) {
                    for (int dx = 0; dx < g.patch(); dx++) {
                        for (int c = 0; c < channels; c++) {
                            long from = at + dx * g.strideX() + c * g.strideC();
                            int pixel = video.get(ValueLayout.JAVA_BYTE, from) & 0xFF;
                            VectorMath.set(patch, to + (long) dx * channels + c, pixel * scale);
                        }
                    }
                } else if (together) {
                    VectorRuns.affine(video, at, line, scale, 0, patch, to);
                } else {
                    for (int dx = 0; dx < g.patch(); dx++) {
                        for (int c = 0; c < channels; c++) {
                            float pixel = VectorMath.get(video, at + dx * g.strideX() + c * g.strideC());
                            VectorMath.set(patch, to + (long) dx * channels + c, pixel * scale);
                        }
                    }
                }
                to += ld;
            }
        }
    }

    /** Mean and {@code 1 / (sqrt(unbiased variance) + eps)} of each channel. */
    private static void statistics(
            MemorySegment patch,
            int line,
            int ld,
            int lines,
            int channels,
            float eps,
            MemorySegment means,
            MemorySegment squares,
            MemorySegment inverses) {
        int pixels = line / channels * lines;
        // The variance of a single pixel is 0, not 0 / 0.
        int freedom = Math.max(1, pixels - 1);
        for (int i = 0; i < ld; i += LANES) {
            FloatVector sum = all(0);
            for (int r = 0; r < lines; r++) {
                sum = sum.add(load(patch, (long) r * ld + i));
            }
            store(sum, squares, i);
        }
        for (int c = 0; c < channels; c++) {
            float mean = (float) (channelSum(squares, line, channels, c) / pixels);
            for (int i = c; i < line; i += channels) {
                VectorMath.set(means, i, mean);
            }
        }
        for (int i = 0; i < ld; i += LANES) {
            FloatVector mean = load(means, i);
            FloatVector sum = all(0);
            for (int r = 0; r < lines; r++) {
                FloatVector d = load(patch, (long) r * ld + i).sub(mean);
                sum = d.fma(d, sum);
            }
            store(sum, squares, i);
        }
        for (int c = 0; c < channels; c++) {
            double variance = channelSum(squares, line, channels, c) / freedom;
            float inverse = (float) (1 / (Math.sqrt(variance) + eps));
            for (int i = c; i < line; i += channels) {
                VectorMath.set(inverses, i, inverse);
            }
        }
    }

    private static double channelSum(MemorySegment x, int line, int channels, int c) {
        double sum = 0;
        for (int i = c; i < line; i += channels) {
            sum += VectorMath.get(x, i);
        }
        return sum;
    }

    private static double error(
            MemorySegment patch,
            int line,
            int ld,
            int lines,
            MemorySegment means,
            MemorySegment inverses,
            MemorySegment prediction,
            long start,
            float gradientScale,
            @Nullable MemorySegment dprediction) {
        FloatVector sum = all(0);
        int end = whole(line);
        for (int i = 0; i < end; i += LANES) {
            FloatVector mean = load(means, i);
            FloatVector inverse = load(inverses, i);
            for (int r = 0; r < lines; r++) {
                FloatVector target = load(patch, (long) r * ld + i).sub(mean).mul(inverse);
                long at = start + (long) r * line + i;
                FloatVector d = load(prediction, at).sub(target);
                if (dprediction != null) {
                    store(d.mul(gradientScale), dprediction, at);
                }
                sum = d.fma(d, sum);
            }
        }
        if (end < line) {
            VectorMask<Float> mask = first(line - end);
            FloatVector mean = load(means, end);
            FloatVector inverse = load(inverses, end);
            for (int r = 0; r < lines; r++) {
                FloatVector target = load(patch, (long) r * ld + end).sub(mean).mul(inverse);
                long at = start + (long) r * line + end;
                FloatVector d = all(0).blend(load(prediction, at, mask).sub(target), mask);
                if (dprediction != null) {
                    store(d.mul(gradientScale), dprediction, at, mask);
                }
                sum = d.fma(d, sum);
            }
        }
        return VectorMath.sum(sum);
    }
}
