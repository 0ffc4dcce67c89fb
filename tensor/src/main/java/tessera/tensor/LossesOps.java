package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;

/** Losses whose gradient is computed with their value, in one pass. */
final class LossesOps {
    private LossesOps() {}

    private static @Nullable Tensor gradientOf(Op.Context context, int input, Tensor x) {
        return context.needsGradient(input) ? Tensor.empty(x.device(), x.dtype(), x.shape()) : null;
    }

    private static void saveIfPresent(Op.Context context, @Nullable Tensor gradient) {
        if (gradient != null) {
            context.save(gradient);
        }
    }

    private static void checkLabels(String name, Tensor logits, Tensor labels) {
        Op.check(
                logits.rank() == 2
                        && labels.dtype() == DType.I32
                        && labels.shape().equals(Shape.of(logits.size(0))),
                name,
                () -> "logits are " + logits.describe() + " and labels " + labels.describe()
                        + "; pass [rows, classes] and i32[rows]");
    }

    /** Inputs logits and labels. */
    record CrossEntropy(double smoothing) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            checkLabels(name(), in[0], in[1]);
            Tensor logits = in[0].contiguous();
            Tensor loss = Tensor.empty(logits.device(), Op.wide(logits.dtype()), Shape.of());
            Tensor gradient = gradientOf(context, 0, logits);
            logits.kernels()
                    .losses()
                    .crossEntropy(
                            new RowShape(logits.size(0), logits.size(1)),
                            logits.buffer(),
                            Op.buffer(in[1]),
                            smoothing,
                            loss.buffer(),
                            Op.bufferOrNull(gradient));
            saveIfPresent(context, gradient);
            return loss;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new @Nullable Tensor[] {ElementwiseOps.scaled(context.saved(0), dy), null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(6 * in[0].shape().count(), 2 * in[0].byteSize());
        }
    }

    /** Inputs a and b; the gradient of b is that of a negated. */
    record MeanSquaredError() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0], in[1]);
            Op.check(
                    in[0].shape().equals(in[1].shape()),
                    name(),
                    () -> in[0].describe() + " and " + in[1].describe() + " differ in shape; pass two of one shape");
            Tensor a = in[0].contiguous();
            Tensor loss = Tensor.empty(a.device(), Op.wide(a.dtype()), Shape.of());
            Tensor gradient = context.isRecording() ? Tensor.empty(a.device(), a.dtype(), a.shape()) : null;
            a.kernels()
                    .losses()
                    .meanSquaredError(a.buffer(), Op.buffer(in[1]), loss.buffer(), Op.bufferOrNull(gradient));
            saveIfPresent(context, gradient);
            return loss;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor da = ElementwiseOps.scaled(context.saved(0), dy);
            return new @Nullable Tensor[] {da, context.needsGradient(1) ? da.neg() : null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(3 * in[0].shape().count(), 2 * in[0].byteSize());
        }
    }

    /** Inputs the projected features of each modality, then the targets; the result is the unweighted losses and their sum. */
    record FeatureLoss(double[] weights) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            int count = weights.length;
            Op.check(
                    count > 0 && in.length == 2 * count,
                    name(),
                    () -> in.length + " tensors given for " + count
                            + " weights; pass one projection and one target per weight");
            Buffer[] projected = new Buffer[count];
            Buffer[] targets = new Buffer[count];
            for (int m = 0; m < count; m++) {
                Tensor p = in[m];
                Tensor t = in[count + m];
                int modality = m;
                Op.floating(name(), in[0], p, t);
                Op.check(
                        p.shape().equals(t.shape()),
                        name(),
                        () -> "modality " + modality + ": the projection is " + p.describe() + " but the target "
                                + t.describe() + "; both need one shape");
                Op.check(
                        !t.requiresGrad(),
                        name(),
                        () -> "modality " + modality
                                + ": the target requires a gradient but teachers are frozen; pass target.detach()");
                projected[m] = Op.buffer(p);
                targets[m] = Op.buffer(t);
            }
            Tensor losses = Tensor.empty(in[0].device(), Op.wide(in[0].dtype()), Shape.of(count));
            Tensor loss = Tensor.empty(in[0].device(), Op.wide(in[0].dtype()), Shape.of());
            Buffer[] dprojected = null;
            if (context.isRecording()) {
                dprojected = new Buffer[count];
                Tensor[] saved = new Tensor[count];
                for (int m = 0; m < count; m++) {
                    saved[m] = Tensor.empty(in[m].device(), in[m].dtype(), in[m].shape());
                    dprojected[m] = saved[m].buffer();
                }
                context.save(saved);
            }
            in[0].kernels()
                    .losses()
                    .featureLoss(projected, targets, weights, losses.buffer(), loss.buffer(), dprojected);
            return loss;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            for (int m = 0; m < weights.length; m++) {
                d[m] = context.needsGradient(m) ? ElementwiseOps.scaled(context.saved(m), dy) : null;
            }
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long bytes = 0;
            long flops = 0;
            for (int i = 0; i < in.length; i++) {
                // Of what is projected the gradient is written too.
                bytes += (i < weights.length ? 2 : 1) * in[i].byteSize();
                flops += 2 * in[i].shape().count();
            }
            return new Cost(flops, bytes);
        }
    }

    /** Inputs student, weights, then (if beta is not 0) labels, then the teachers. */
    record DistillationLoss(double temperature, double alpha, double beta, boolean labelled)
            implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor student = in[0].contiguous();
            int first = labelled ? 3 : 2;
            int count = in.length - first;
            Op.check(
                    temperature > 0,
                    name(),
                    () -> "temperature " + temperature + " is not positive; pass for example 1");
            Op.check(
                    student.rank() == 2 && count >= 1 && count <= 8,
                    name(),
                    () -> "student logits are " + in[0].describe() + " with " + count
                            + " teachers; pass [rows, classes] and 1 to 8 teachers");
            Op.check(
                    labelled || beta == 0,
                    name(),
                    () -> "beta is " + beta + " but no labels are given; pass labels or beta 0");
            if (labelled) {
                checkLabels(name(), in[0], in[2]);
            }
            long rows = student.size(0);
            boolean perSample = in[1].rank() == 2;
            Op.wideFloating(name(), in[0], in[1]);
            Op.check(
                    in[1].shape().equals(perSample ? Shape.of(rows, count) : Shape.of(count)),
                    name(),
                    () -> "weights are " + in[1].describe() + "; pass [" + count + "] or [" + rows + ", " + count
                            + "]");
            Buffer[] teachers = new Buffer[count];
            for (int t = 0; t < count; t++) {
                Tensor teacher = in[first + t];
                Op.floating(name(), in[0], teacher);
                Op.check(
                        teacher.shape().equals(student.shape()),
                        name(),
                        () -> "a teacher's logits are " + teacher.describe() + " but the student's are "
                                + in[0].describe());
                teachers[t] = Op.buffer(teacher);
            }
            Tensor loss = Tensor.empty(student.device(), Op.wide(student.dtype()), Shape.of());
            Tensor gradient = gradientOf(context, 0, student);
            student.kernels()
                    .losses()
                    .distillationLoss(
                            new RowShape(rows, student.size(1)),
                            student.buffer(),
                            new Ensemble(teachers, Op.buffer(in[1]), perSample, temperature, alpha, beta),
                            labelled ? Op.buffer(in[2]) : null,
                            loss.buffer(),
                            Op.bufferOrNull(gradient));
            saveIfPresent(context, gradient);
            return loss;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            d[0] = ElementwiseOps.scaled(context.saved(0), dy);
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long bytes = in[0].byteSize();
            for (Tensor x : in) {
                bytes += x.byteSize();
            }
            return new Cost(12L * in.length * in[0].shape().count(), bytes);
        }
    }
}
