package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Patches;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** Patches of videos as vectors, and the loss of their reconstruction. Results do not depend on the number of threads. */
public class ScalarPatches implements Patches {
    protected final Workers workers;

    public ScalarPatches(Workers workers) {
        this.workers = workers;
    }

    /** The patch of output row {@code row}, of {@code count} of each sample. */
    protected static long token(String op, PatchGeometry g, @Nullable Buffer indices, long count, long row) {
        return indices == null ? row % count : Elements.index(op, indices, row, g.patches());
    }

    private static int frame(PatchGeometry g, long token) {
        return (int) (token / g.plane()) * g.tubelet();
    }

    private static int y(PatchGeometry g, long token) {
        return (int) (token % g.plane()) / g.across() * g.patch();
    }

    private static int x(PatchGeometry g, long token) {
        return (int) (token % g.plane()) % g.across() * g.patch();
    }

    /** The first pixel of a patch in the video. */
    protected static long origin(PatchGeometry g, long sample, long token) {
        return sample * g.strideB()
                + frame(g, token) * g.strideT()
                + y(g, token) * g.strideY()
                + x(g, token) * g.strideX();
    }

    /** Frames of a patch that are in the video. */
    protected static int frames(PatchGeometry g, long token) {
        return Math.min(g.tubelet(), g.frames() - frame(g, token));
    }

    /** Rows of a patch that are in the video. */
    protected static int rows(PatchGeometry g, long token) {
        return Math.min(g.patch(), g.height() - y(g, token));
    }

    /** Columns of a patch that are in the video. */
    protected static int columns(PatchGeometry g, long token) {
        return Math.min(g.patch(), g.width() - x(g, token));
    }

    @Override
    public void gatherPatches(PatchGeometry g, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        int p = g.patch();
        workers.parallelFor(g.batch() * count, 8, (worker, from, to) -> {
            double[] patch = new double[g.patchLength()];
            for (long row = from; row < to; row++) {
                long token = token("gather_patches", g, indices, count, row);
                long origin = origin(g, row / count, token);
                Arrays.fill(patch, 0);
                int at = 0;
                for (int c = 0; c < g.channels(); c++) {
                    double mean = g.mean()[c];
                    double std = g.std()[c];
                    for (int line = 0; line < g.tubelet() * p; line++) {
                        int columns = columns(g, token, line);
                        if (columns > 0) {
                            long start = lineStart(g, origin, c, line);
                            Elements.load(video, start, g.strideX(), columns, patch, at);
                        }
                        for (int x = at; x < at + columns; x++) {
                            patch[x] = (patch[x] * g.scale() - mean) / std;
                        }
                        at += p;
                    }
                }
                Elements.store(patch, 0, patch.length, out, row * patch.length);
            }
        });
    }

    /** Where line (dt, dy) of a patch begins, lines numbered {@code dt * patch + dy}. */
    private static long lineStart(PatchGeometry g, long origin, int c, int line) {
        return origin + c * g.strideC() + (line / g.patch()) * g.strideT() + (line % g.patch()) * g.strideY();
    }

    /** How many pixels of line (dt, dy) of a patch are in the video. */
    private static int columns(PatchGeometry g, long token, int line) {
        return line / g.patch() < frames(g, token) && line % g.patch() < rows(g, token) ? columns(g, token) : 0;
    }

    @Override
    public void scatterPatches(PatchGeometry g, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo) {
        int p = g.patch();
        workers.parallelFor(g.batch(), 1, (worker, from, to) -> {
            double[] patch = new double[g.patchLength()];
            for (long row = from * count; row < to * count; row++) {
                long token = token("scatter_patches", g, indices, count, row);
                long origin = origin(g, row / count, token);
                Elements.load(dout, row * patch.length, patch.length, patch, 0);
                int at = 0;
                for (int c = 0; c < g.channels(); c++) {
                    double factor = g.scale() / g.std()[c];
                    for (int line = 0; line < g.tubelet() * p; line++) {
                        long start = lineStart(g, origin, c, line);
                        int columns = columns(g, token, line);
                        for (int x = 0; x < columns; x++) {
                            long target = start + x * g.strideX();
                            Elements.set(dvideo, target, Elements.get(dvideo, target) + patch[at + x] * factor);
                        }
                        at += p;
                    }
                }
            }
        });
    }

    @Override
    public void reconstructionTarget(PatchTarget which, Buffer video, Buffer indices, Buffer target) {
        workers.parallelFor(which.geometry().batch() * which.count(), 8, (worker, from, to) -> {
            TargetRow row = new TargetRow(which, video, indices);
            for (long r = from; r < to; r++) {
                row.compute(r);
                Elements.store(row.values, 0, row.values.length, target, r * row.values.length);
            }
        });
    }

    @Override
    public void reconstructionLoss(
            PatchTarget which,
            Buffer video,
            Buffer indices,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction) {
        PatchGeometry g = which.geometry();
        long rows = g.batch() * which.count();
        double scale = 1.0 / Math.max(1, rows * g.patchLength());
        double[] terms = new double[Math.toIntExact(rows)];
        workers.parallelFor(rows, 8, (worker, from, to) -> {
            TargetRow row = new TargetRow(which, video, indices);
            int n = row.values.length;
            double[] difference = new double[n];
            for (long r = from; r < to; r++) {
                row.compute(r);
                Elements.load(prediction, r * n, n, difference, 0);
                double sum = 0;
                for (int i = 0; i < n; i++) {
                    difference[i] -= row.values[i];
                    sum += difference[i] * difference[i];
                    difference[i] *= 2 * scale;
                }
                terms[(int) r] = sum;
                if (dprediction != null) {
                    Elements.store(difference, 0, n, dprediction, r * n);
                }
            }
        });
        Elements.set(loss, 0, Blocks.total(terms) * scale);
    }

    /** Computes the targets of single patches; used by one thread. */
    private static final class TargetRow {
        private final PatchTarget which;
        private final PatchGeometry g;
        private final Buffer video;
        private final Buffer indices;
        private final double[] pixels;
        private final double[] values;

        TargetRow(PatchTarget which, Buffer video, Buffer indices) {
            this.which = which;
            this.g = which.geometry();
            this.video = video;
            this.indices = indices;
            this.pixels = new double[g.tubelet() * g.patch() * g.patch()];
            this.values = new double[g.patchLength()];
        }

        void compute(long row) {
            long token = token("reconstruction_target", g, indices, which.count(), row);
            long origin = origin(g, row / which.count(), token);
            int p = g.patch();
            for (int c = 0; c < g.channels(); c++) {
                for (int line = 0; line < g.tubelet() * p; line++) {
                    Elements.load(video, lineStart(g, origin, c, line), g.strideX(), p, pixels, line * p);
                }
                for (int i = 0; i < pixels.length; i++) {
                    pixels[i] *= g.scale();
                }
                if (which.normalise()) {
                    normalise();
                }
                for (int i = 0; i < pixels.length; i++) {
                    values[i * g.channels() + c] = pixels[i];
                }
            }
        }

        private void normalise() {
            double mean = Blocks.total(pixels) / pixels.length;
            double squares = 0;
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] -= mean;
                squares += pixels[i] * pixels[i];
            }
            // The variance of a single pixel is 0, not 0 / 0.
            double divisor = Math.sqrt(squares / Math.max(1, pixels.length - 1)) + which.eps();
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] /= divisor;
            }
        }
    }
}
