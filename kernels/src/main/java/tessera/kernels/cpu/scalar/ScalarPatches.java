package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.PatchGeometry;

/** Patches of videos as vectors, and the loss of their reconstruction. */
final class ScalarPatches {
    private final Workers workers;

    ScalarPatches(Workers workers) {
        this.workers = workers;
    }

    /** Where patch j of sample b begins in the video. */
    private static long origin(String op, PatchGeometry g, @Nullable Buffer indices, long b, long j, long count) {
        long token = indices == null ? j : ScalarTokens.index(op, indices, b * count + j, g.patches());
        long slot = token / g.plane();
        int across = g.width() / g.patch();
        int cell = (int) (token % g.plane());
        return b * g.strideB()
                + slot * g.tubelet() * g.strideT()
                + (long) (cell / across) * g.patch() * g.strideY()
                + (long) (cell % across) * g.patch() * g.strideX();
    }

    void gather(PatchGeometry g, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        int p = g.patch();
        workers.parallelFor(g.batch() * count, 8, (worker, from, to) -> {
            double[] patch = new double[g.patchLength()];
            for (long row = from; row < to; row++) {
                long origin = origin("gather_patches", g, indices, row / count, row % count, count);
                int at = 0;
                for (int c = 0; c < g.channels(); c++) {
                    double mean = g.mean()[c];
                    double std = g.std()[c];
                    for (int line = 0; line < g.tubelet() * p; line++) {
                        Elements.load(video, lineStart(g, origin, c, line), g.strideX(), p, patch, at);
                        for (int x = at; x < at + p; x++) {
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

    void scatter(PatchGeometry g, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo) {
        int p = g.patch();
        workers.parallelFor(g.batch(), 1, (worker, from, to) -> {
            double[] patch = new double[g.patchLength()];
            for (long row = from * count; row < to * count; row++) {
                long origin = origin("scatter_patches", g, indices, row / count, row % count, count);
                Elements.load(dout, row * patch.length, patch.length, patch, 0);
                int at = 0;
                for (int c = 0; c < g.channels(); c++) {
                    double factor = g.scale() / g.std()[c];
                    for (int line = 0; line < g.tubelet() * p; line++) {
                        long start = lineStart(g, origin, c, line);
                        for (int x = 0; x < p; x++) {
                            long target = start + x * g.strideX();
                            Elements.set(dvideo, target, Elements.get(dvideo, target) + patch[at++] * factor);
                        }
                    }
                }
            }
        });
    }

    void target(
            PatchGeometry g, Buffer video, Buffer indices, long count, double eps, boolean normalise, Buffer target) {
        workers.parallelFor(g.batch() * count, 8, (worker, from, to) -> {
            TargetRow row = new TargetRow(g, video, indices, count, eps, normalise);
            for (long r = from; r < to; r++) {
                row.compute(r);
                Elements.store(row.values, 0, row.values.length, target, r * row.values.length);
            }
        });
    }

    void loss(
            PatchGeometry g,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction) {
        long rows = g.batch() * count;
        double scale = 1.0 / Math.max(1, rows * g.patchLength());
        double[] terms = new double[Math.toIntExact(rows)];
        workers.parallelFor(rows, 8, (worker, from, to) -> {
            TargetRow row = new TargetRow(g, video, indices, count, eps, normalise);
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
        private final PatchGeometry g;
        private final Buffer video;
        private final Buffer indices;
        private final long count;
        private final double eps;
        private final boolean normalise;
        private final double[] pixels;
        private final double[] values;

        TargetRow(PatchGeometry g, Buffer video, Buffer indices, long count, double eps, boolean normalise) {
            this.g = g;
            this.video = video;
            this.indices = indices;
            this.count = count;
            this.eps = eps;
            this.normalise = normalise;
            this.pixels = new double[g.tubelet() * g.patch() * g.patch()];
            this.values = new double[g.patchLength()];
        }

        void compute(long row) {
            long origin = origin("reconstruction_target", g, indices, row / count, row % count, count);
            int p = g.patch();
            for (int c = 0; c < g.channels(); c++) {
                for (int line = 0; line < g.tubelet() * p; line++) {
                    Elements.load(video, lineStart(g, origin, c, line), g.strideX(), p, pixels, line * p);
                }
                for (int i = 0; i < pixels.length; i++) {
                    pixels[i] *= g.scale();
                }
                if (normalise) {
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
            double divisor = Math.sqrt(squares / Math.max(1, pixels.length - 1)) + eps;
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] /= divisor;
            }
        }
    }
}
