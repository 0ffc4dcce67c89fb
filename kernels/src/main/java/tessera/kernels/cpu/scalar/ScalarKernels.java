package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;

/**
 * Every primitive in plain Java, f32 and f64 alike, accumulated in double.
 *
 * <p>This is the path of f64, what remains where no native library and no Vector API is to be had, and what faster kernels
 * are compared with. Results do not depend on the number of threads.
 */
class ScalarKernels implements Kernels {
    private final ScalarElementwise elementwise;
    private final ScalarMatmul matmul;
    private final ScalarNorms norms;
    private final ScalarAttention attention;
    private final ScalarTokens tokens;
    private final ScalarPatches patches;
    private final ScalarLosses losses;

    ScalarKernels(Workers workers) {
        this.elementwise = new ScalarElementwise(workers);
        this.matmul = new ScalarMatmul(workers);
        this.norms = new ScalarNorms(workers);
        this.attention = new ScalarAttention(workers);
        this.tokens = new ScalarTokens(workers);
        this.patches = new ScalarPatches(workers);
        this.losses = new ScalarLosses(workers);
    }

    @Override
    public void fill(Buffer y, double value) {
        elementwise.fill(y, value);
    }

    @Override
    public void cast(Buffer x, Buffer y) {
        elementwise.cast(x, y);
    }

    @Override
    public void copyStrided(
            Buffer x, long xOffset, long[] xStrides, Buffer y, long yOffset, long[] yStrides, long[] shape) {
        elementwise.copyStrided(x, xOffset, xStrides, y, yOffset, yStrides, shape);
    }

    @Override
    public void unary(UnaryOp op, Buffer x, Buffer y) {
        elementwise.unary(op, x, y);
    }

    @Override
    public void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
        elementwise.unaryBackward(op, x, dy, dx);
    }

    @Override
    public void binary(BinaryOp op, Buffer a, long[] aStrides, Buffer b, long[] bStrides, Buffer y, long[] shape) {
        elementwise.binary(op, a, aStrides, b, bStrides, y, shape);
    }

    @Override
    public void affine(Buffer x, double alpha, double beta, Buffer y) {
        elementwise.affine(x, alpha, beta, y);
    }

    @Override
    public void axpy(double alpha, Buffer x, Buffer y) {
        elementwise.axpy(alpha, x, y);
    }

    @Override
    public void scaleBy(Buffer x, Buffer scale, Buffer y) {
        elementwise.scaleBy(x, scale, y);
    }

    @Override
    public void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        elementwise.sum(x, outer, reduced, inner, scale, y);
    }

    @Override
    public void matmul(
            MatmulShape shape,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer c) {
        matmul.multiply(shape, 1, a, 0, b, 0, bias, addend, activation, c, 0);
    }

    @Override
    public void matmulBatched(
            MatmulShape shape, long batch, Buffer a, long strideA, Buffer b, long strideB, Buffer c, long strideC) {
        matmul.multiply(shape, batch, a, strideA, b, strideB, null, null, Activation.NONE, c, strideC);
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k) {
        return ScalarMatmul.pack(weight, n, k);
    }

    @Override
    public void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer y) {
        MatmulShape shape = MatmulShape.of(false, true, m, weight.n(), weight.k());
        matmul(shape, x, ScalarMatmul.unpacked(weight), bias, addend, activation, y);
    }

    @Override
    public void linearBackward(long m, long n, long k, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        matmul(MatmulShape.of(true, false, n, k, m), dy, x, null, null, Activation.NONE, dw);
        sum(dy, 1, m, n, 1, db);
    }

    @Override
    public void layerNorm(
            Buffer x,
            Buffer gamma,
            Buffer beta,
            double eps,
            long rows,
            long cols,
            Buffer y,
            @Nullable Buffer mean,
            @Nullable Buffer rstd) {
        norms.layerNorm(x, gamma, beta, eps, rows, cols, y, mean, rstd);
    }

    @Override
    public void layerNormBackward(
            Buffer x,
            Buffer gamma,
            Buffer mean,
            Buffer rstd,
            Buffer dy,
            long rows,
            long cols,
            @Nullable Buffer addend,
            @Nullable Buffer dx,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta) {
        norms.layerNormBackward(x, gamma, mean, rstd, dy, rows, cols, addend, dx, dgamma, dbeta);
    }

    @Override
    public void softmax(Buffer x, long rows, long cols, boolean log, Buffer y) {
        norms.softmax(x, rows, cols, log, y);
    }

    @Override
    public void softmaxBackward(Buffer y, Buffer dy, long rows, long cols, boolean log, Buffer dx) {
        norms.softmaxBackward(y, dy, rows, cols, log, dx);
    }

    @Override
    public void attention(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            @Nullable Buffer logSumExp) {
        attention.forward(shape, q, k, v, bias, out, logSumExp);
    }

    @Override
    public void attentionBackward(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            Buffer dq,
            Buffer dk,
            Buffer dv,
            @Nullable Buffer dbias) {
        attention.backward(shape, q, k, v, bias, out, logSumExp, dout, dq, dk, dv, dbias);
    }

    @Override
    public void randomMask(
            long seed,
            long stream,
            long batch,
            int slots,
            int plane,
            int masked,
            boolean tube,
            Buffer visibleIndices,
            @Nullable Buffer maskedIndices) {
        tokens.randomMask(seed, stream, batch, slots, plane, masked, tube, visibleIndices, maskedIndices);
    }

    @Override
    public void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        patches.gather(geometry, video, indices, count, out);
    }

    @Override
    public void scatterPatches(
            PatchGeometry geometry, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo) {
        patches.scatter(geometry, dout, indices, count, dvideo);
    }

    @Override
    public void reconstructionTarget(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer target) {
        patches.target(geometry, video, indices, count, eps, normalise, target);
    }

    @Override
    public void reconstructionLoss(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction) {
        patches.loss(geometry, video, indices, count, eps, normalise, prediction, loss, dprediction);
    }

    @Override
    public void gatherRows(Buffer x, Buffer indices, long batch, long n, long m, long d, Buffer y) {
        tokens.gatherRows(x, indices, batch, n, m, d, y);
    }

    @Override
    public void scatterRows(Buffer dy, Buffer indices, long batch, long n, long m, long d, Buffer dx) {
        tokens.scatterRows(dy, indices, batch, n, m, d, dx);
    }

    @Override
    public void addRows(Buffer x, Buffer table, @Nullable Buffer indices, long batch, long m, long d, Buffer y) {
        tokens.addRows(x, table, indices, batch, m, d, y);
    }

    @Override
    public void assembleDecoder(
            Buffer visible,
            Buffer visibleIndices,
            Buffer maskedIndices,
            Buffer maskToken,
            Buffer table,
            long batch,
            long visibleCount,
            long maskedCount,
            long d,
            Buffer y) {
        tokens.assembleDecoder(
                visible, visibleIndices, maskedIndices, maskToken, table, batch, visibleCount, maskedCount, d, y);
    }

    @Override
    public void assembleDecoderBackward(
            Buffer dy, long batch, long visibleCount, long maskedCount, long d, Buffer dvisible, Buffer dmaskToken) {
        tokens.assembleDecoderBackward(dy, batch, visibleCount, maskedCount, d, dvisible, dmaskToken);
    }

    @Override
    public void randomUniform(long seed, long stream, double low, double high, Buffer y) {
        elementwise.randomUniform(seed, stream, low, high, y);
    }

    @Override
    public void randomNormal(long seed, long stream, double mean, double std, Buffer y) {
        elementwise.randomNormal(seed, stream, mean, std, y);
    }

    @Override
    public void dropout(Buffer x, double p, long seed, long stream, Buffer y) {
        elementwise.dropout(x, p, seed, stream, y);
    }

    @Override
    public void dropPath(@Nullable Buffer residual, Buffer x, double p, long seed, long stream, long batch, Buffer y) {
        elementwise.dropPath(residual, x, p, seed, stream, batch, y);
    }

    @Override
    public void crossEntropy(
            Buffer logits,
            Buffer labels,
            double smoothing,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dlogits) {
        losses.crossEntropy(logits, labels, smoothing, rows, cols, loss, dlogits);
    }

    @Override
    public void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        losses.meanSquaredError(a, b, loss, da);
    }

    @Override
    public void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        this.losses.featureLoss(projected, targets, weights, losses, loss, dprojected);
    }

    @Override
    public void distillationLoss(
            Buffer student,
            Buffer[] teachers,
            Buffer weights,
            boolean perSample,
            @Nullable Buffer labels,
            double temperature,
            double alpha,
            double beta,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dstudent) {
        losses.distillationLoss(
                student, teachers, weights, perSample, labels, temperature, alpha, beta, rows, cols, loss, dstudent);
    }

    @Override
    public void globalNorm(Buffer[] gradients, Buffer norm) {
        double total = 0;
        for (Buffer gradient : gradients) {
            total += sumOfSquares(gradient);
        }
        Elements.set(norm, 0, Math.sqrt(total));
    }

    double sumOfSquares(Buffer x) {
        return elementwise.sumOfSquares(x);
    }

    @Override
    public void adamW(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            @Nullable Buffer @Nullable [] shadows,
            double[] decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step,
            @Nullable Clip clip) {
        for (int i = 0; i < parameters.length; i++) {
            elementwise.adamW(
                    parameters[i],
                    gradients[i],
                    firstMoments[i],
                    secondMoments[i],
                    shadows == null ? null : shadows[i],
                    decay[i],
                    lr,
                    beta1,
                    beta2,
                    eps,
                    step,
                    clip);
        }
    }
}
