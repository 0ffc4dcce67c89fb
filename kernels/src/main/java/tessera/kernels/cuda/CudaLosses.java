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
    /** Threads for a long row of bf16, of cross-entropy alone. */
    private static final int NARROW_THREADS = 128;

    private static final long MAX_BLOCKS = 1 << 20;
    private static final long MAX_FEATURE_BLOCKS = 1024;

    private final CudaDevice device;
    private final CudaVariants crossEntropy;
    private final CudaVariants longCrossEntropy;
    private final CudaVariants distillation;
    private final CudaVariants longDistillation;
    private final CudaVariants featureLoss;
    private final CudaFunction lossSum;

    CudaLosses(CudaDevice device) {
        this.device = device;
        CudaModule module = new CudaModule(device, "losses");
        this.crossEntropy = module.variants("cross_entropy");
        this.longCrossEntropy = module.variants("cross_entropy_long");
        this.distillation = module.variants("distillation_loss");
        this.longDistillation = module.variants("distillation_loss_long");
        this.featureLoss = module.variants("feature_loss");
        this.lossSum = module.function("loss_sum");
    }

    @Override
    public void crossEntropy(
            RowShape shape, Buffer logits, Buffer labels, double smoothing, Buffer loss, @Nullable Buffer dlogits) {
        CudaTypes.same("cross_entropy", logits, dlogits);
        CudaTypes.require("cross_entropy", DType.I32, labels);
        CudaTypes.require("cross_entropy", DType.F32, loss);
        long rows = shape.rows();
        long cols = shape.cols();
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, rows))) {
            (cols > LONG_ROW ? longCrossEntropy : crossEntropy)
                    .begin(logits.dtype())
                    .buffers(logits, labels, terms, dlogits)
                    .i64(rows)
                    .i32(Math.toIntExact(cols))
                    .f32(smoothing)
                    .launch(
                            rowBlocks(rows, cols),
                            cols > LONG_ROW && logits.dtype() == DType.BF16 ? NARROW_THREADS : THREADS,
                            0);
            sum(terms, rows, 1.0 / Math.max(1, rows), loss);
        }
    }

    private static long rowBlocks(long rows, long cols) {
        return Math.min(MAX_BLOCKS, cols > LONG_ROW ? rows : Math.ceilDiv(rows, THREADS / 32));
    }

    @Override
    public void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        Buffer[] gradients = da == null ? null : new Buffer[] {da};
        features("mean_squared_error", new Buffer[] {a}, new Buffer[] {b}, new double[] {1}, null, loss, gradients);
    }

    @Override
    public void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        features("feature_loss", projected, targets, weights, losses, loss, dprojected);
    }

    private void features(
            String op,
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            @Nullable Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        int parts = projected.length;
        checkParts(op, parts, "modalities");
        CudaTypes.require(op, DType.F32, losses, loss);
        long longest = 0;
        for (int m = 0; m < parts; m++) {
            longest = Math.max(longest, projected[m].length());
            CudaTypes.same(op, projected[0], projected[m]);
            CudaTypes.same(op, projected[0], targets[m]);
            CudaTypes.same(op, projected[0], dprojected == null ? null : dprojected[m]);
        }
        long blocks = Math.clamp(Math.ceilDiv(longest, THREADS * 16L), 0, MAX_FEATURE_BLOCKS);
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, parts * blocks))) {
            if (parts > 0 && blocks > 0) {
                CudaLaunch launch = featureLoss.begin(projected[0].dtype());
                launch.array(projected, parts, MAX_PARTS)
                        .array(targets, parts, MAX_PARTS)
                        .array(dprojected, parts, MAX_PARTS);
                for (Buffer part : projected) {
                    launch.i64(part.length());
                }
                launch.zeros(MAX_PARTS - parts);
                for (int m = 0; m < MAX_PARTS; m++) {
                    launch.f32(m < parts ? 2 * weights[m] / Math.max(1, projected[m].length()) : 0);
                }
                launch.buffer(terms).launch(blocks, parts, 1, THREADS, 0);
            }
            CudaLaunch launch = lossSum.begin().buffers(terms, losses, loss);
            for (Buffer part : projected) {
                launch.f64(1.0 / Math.max(1, part.length()));
            }
            launch.zeros(MAX_PARTS - parts);
            for (int m = 0; m < parts; m++) {
                launch.f64(weights[m]);
            }
            launch.zeros(MAX_PARTS - parts);
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
        for (Buffer teacher : teachers) {
            CudaTypes.same("distillation_loss", student, teacher);
        }
        CudaTypes.same("distillation_loss", student, dstudent);
        CudaTypes.require("distillation_loss", DType.I32, labels);
        CudaTypes.require("distillation_loss", DType.F32, ensemble.weights(), loss);
        long rows = shape.rows();
        long cols = shape.cols();
        try (Buffer terms = device.allocate(DType.F32, Math.max(1, rows))) {
            (cols > LONG_ROW ? longDistillation : distillation)
                    .begin(student.dtype())
                    .buffer(student)
                    .array(teachers, teachers.length, MAX_PARTS)
                    .buffers(ensemble.weights(), labels, terms, dstudent)
                    .i64(rows, ensemble.perSample() ? teachers.length : 0)
                    .i32(Math.toIntExact(cols), teachers.length)
                    .f32(ensemble.temperature())
                    .f32(ensemble.alpha(), ensemble.beta())
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

    /** {@code loss = scale * sum of count terms}. */
    void sum(Buffer terms, long count, double scale, Buffer loss) {
        lossSum.begin()
                .buffers(terms, null, loss)
                .f64(scale)
                .zeros(MAX_PARTS - 1)
                .f64(1)
                .zeros(MAX_PARTS - 1)
                .i64(count)
                .i32(1)
                .launch(1, 1024, 0);
    }
}
