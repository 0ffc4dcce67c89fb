package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Losses;
import tessera.kernels.Norms.RowShape;

/**
 * Losses with their gradients on a GPU: each kernel writes one term per row or block, and a second one adds them up in a fixed
 * order.
 *
 * <p>Labels lie in device memory, so they are not checked before the launch: one that is out of range makes
 * the loss NaN.
 */
final class CudaLosses implements Losses {
    /** Capacity of the kernels' parameter structs, for modalities and for teachers. */
    private static final int MAX_PARTS = 8;

    private static final int THREADS = 256;
    private static final int LONG_ROW = 1024;
    private static final long MAX_BLOCKS = 1 << 20;
    private static final long MAX_FEATURE_BLOCKS = 1024;

    private final CudaDevice device;
    private final CudaVariants crossEntropy;
    private final CudaVariants longCrossEntropy;
    private final CudaVariants distillation;
    private final CudaVariants longDistillation;
    private final CudaVariants features;
    private @Nullable CudaFunction lossSum;

    CudaLosses(CudaDevice device) {
        this.device = device;
        this.crossEntropy = new CudaVariants(device, "losses", "cross_entropy");
        this.longCrossEntropy = new CudaVariants(device, "losses", "cross_entropy_long");
        this.distillation = new CudaVariants(device, "losses", "distillation_loss");
        this.longDistillation = new CudaVariants(device, "losses", "distillation_loss_long");
        this.features = new CudaVariants(device, "losses", "feature_loss");
    }

    @Override
    public void crossEntropy(
            RowShape shape, Buffer logits, Buffer labels, double smoothing, Buffer loss, @Nullable Buffer dlogits) {
        long rows = shape.rows();
        long cols = shape.cols();
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, rows))) {
            (cols > LONG_ROW ? longCrossEntropy : crossEntropy)
                    .of(logits.dtype())
                    .begin()
                    .buffer(logits)
                    .buffer(labels)
                    .buffer(terms)
                    .buffer(sameType("cross_entropy", logits, dlogits))
                    .i64(rows)
                    .i32(Math.toIntExact(cols))
                    .f32((float) smoothing)
                    .launch(rowBlocks(rows, cols), THREADS, 0);
            sum(terms, rows, 1.0 / Math.max(1, rows), loss);
        }
    }

    private static long rowBlocks(long rows, long cols) {
        return Math.min(MAX_BLOCKS, cols > LONG_ROW ? rows : Math.ceilDiv(rows, THREADS / 32));
    }

    @Override
    public void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        features(
                new Buffer[] {a},
                new Buffer[] {b},
                new double[] {1},
                null,
                loss,
                da == null ? null : new Buffer[] {da});
    }

    @Override
    public void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        features(projected, targets, weights, losses, loss, dprojected);
    }

    private void features(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            @Nullable Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        int parts = projected.length;
        checkParts("feature_loss", parts, "modalities");
        long longest = 0;
        for (int m = 0; m < parts; m++) {
            longest = Math.max(longest, projected[m].length());
            sameType("feature_loss", projected[0], projected[m]);
            sameType("feature_loss", projected[0], targets[m]);
            sameType("feature_loss", projected[0], dprojected == null ? null : dprojected[m]);
        }
        long blocks = Math.clamp(Math.ceilDiv(longest, THREADS * 16L), 0, MAX_FEATURE_BLOCKS);
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, parts * blocks))) {
            if (parts > 0 && blocks > 0) {
                CudaLaunch launch = features.of(projected[0].dtype()).begin();
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.buffer(m < parts ? projected[m] : null);
                }
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.buffer(m < parts ? targets[m] : null);
                }
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.buffer(m < parts && dprojected != null ? dprojected[m] : null);
                }
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.i64(m < parts ? projected[m].length() : 0);
                }
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.f32(m < parts ? (float) (2 * weights[m] / Math.max(1, projected[m].length())) : 0);
                }
                launch.buffer(terms).launch(blocks, parts, 1, THREADS, 0);
            }
            CudaLaunch launch = lossSum().begin().buffer(terms).buffer(losses).buffer(loss);
            for (int m = 0; m < MAX_PARTS; m++) {
                launch.f64(m < parts ? 1.0 / Math.max(1, projected[m].length()) : 0);
            }
            for (int m = 0; m < MAX_PARTS; m++) {
                launch.f64(m < parts ? weights[m] : 0);
            }
            launch.i64(blocks).i32(parts).launch(1, 1024, 0);
        }
    }

    @Override
    public void distillationLoss(
            RowShape shape,
            Buffer student,
            Ensemble ensemble,
            @Nullable Buffer labels,
            Buffer loss,
            @Nullable Buffer dstudent) {
        if (labels == null && ensemble.beta() != 0) {
            throw new IllegalArgumentException("distillation_loss: beta is " + ensemble.beta()
                    + " but there are no labels; pass labels or beta 0");
        }
        Buffer[] teachers = ensemble.teachers();
        checkParts("distillation_loss", teachers.length, "teachers");
        long rows = shape.rows();
        long cols = shape.cols();
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, rows))) {
            CudaLaunch launch = (cols > LONG_ROW ? longDistillation : distillation)
                    .of(student.dtype())
                    .begin()
                    .buffer(student);
            for (int t = 0; t < MAX_PARTS; t++) {
                launch.buffer(t < teachers.length ? sameType("distillation_loss", student, teachers[t]) : null);
            }
            launch.buffer(ensemble.weights())
                    .buffer(labels)
                    .buffer(terms)
                    .buffer(sameType("distillation_loss", student, dstudent))
                    .i64(rows)
                    .i64(ensemble.perSample() ? teachers.length : 0)
                    .i32(Math.toIntExact(cols))
                    .i32(teachers.length)
                    .f32((float) ensemble.temperature())
                    .f32((float) ensemble.alpha())
                    .f32((float) ensemble.beta())
                    .launch(rowBlocks(rows, cols), THREADS, 0);
            sum(terms, rows, 1.0 / Math.max(1, rows), loss);
        }
    }

    private static void checkParts(String op, int parts, String what) {
        if (parts > MAX_PARTS) {
            throw new IllegalArgumentException(op + ": " + parts + " " + what + " were given but at most " + MAX_PARTS
                    + " fit into one launch; combine some of them first");
        }
    }

    static @Nullable Buffer sameType(String op, Buffer data, @Nullable Buffer other) {
        if (other != null && other.dtype() != data.dtype()) {
            throw new IllegalArgumentException(op + ": buffers of " + data.dtype() + " and " + other.dtype()
                    + " were given but must have one type; convert one of them");
        }
        return other;
    }

    private CudaFunction lossSum() {
        CudaFunction found = lossSum;
        if (found == null) {
            found = device.module("losses").function("loss_sum");
            lossSum = found;
        }
        return found;
    }

    /** {@code loss = scale * sum of count terms}. */
    void sum(Buffer terms, long count, double scale, Buffer loss) {
        CudaLaunch launch = lossSum().begin().buffer(terms).buffer(null).buffer(loss);
        for (int m = 0; m < MAX_PARTS; m++) {
            launch.f64(m == 0 ? scale : 0);
        }
        for (int m = 0; m < MAX_PARTS; m++) {
            launch.f64(m == 0 ? 1 : 0);
        }
        launch.i64(count).i32(1).launch(1, 1024, 0);
    }
}
