package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The primitives in f32 with the Vector API; everything else, f64 above all, is left to the plain Java kernels.
 *
 * <p>Loaded only where the Vector API is readable. Results do not depend on the number of threads, save those of
 * {@link Gemm}.
 */
final class VectorKernels extends GemmKernels {
    private final VectorElementwise elementwise;
    private final VectorSums sums;
    private final VectorRows rows;
    private final VectorAttention attention;
    private final VectorPatches patches;
    private final VectorTokens tokens;

    VectorKernels(Workers workers, HostMemory memory) {
        super(workers, memory);
        this.elementwise = new VectorElementwise(workers);
        this.sums = new VectorSums(workers);
        this.rows = new VectorRows(workers);
        this.attention = new VectorAttention(workers, gemm);
        this.patches = new VectorPatches(workers);
        this.tokens = new VectorTokens(workers);
    }

    private static boolean isF32(Buffer x) {
        return x.dtype() == DType.F32;
    }

    // ------------------------------------------------------------------------------------------------ element-wise

    @Override
    public void fill(Buffer y, double value) {
        if (isF32(y)) {
            elementwise.fill(y.segment(), y.length(), (float) value);
        } else {
            super.fill(y, value);
        }
    }

    @Override
    public void cast(Buffer x, Buffer y) {
        if (x.dtype() == y.dtype()) {
            MemorySegment.copy(x.segment(), 0, y.segment(), 0, y.byteSize());
        } else if (!elementwise.cast(x, y)) {
            super.cast(x, y);
        }
    }

    @Override
    public void unary(UnaryOp op, Buffer x, Buffer y) {
        if (isF32(x) && VectorElementwise.has(op)) {
            elementwise.unary(op, x.segment(), y.segment(), y.length());
        } else {
            super.unary(op, x, y);
        }
    }

    @Override
    public void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
        if (isF32(x) && VectorElementwise.has(op)) {
            elementwise.unaryBackward(op, x.segment(), dy.segment(), dx.segment(), dx.length());
        } else {
            super.unaryBackward(op, x, dy, dx);
        }
    }

    @Override
    public void binary(BinaryOp op, Buffer a, long[] aStrides, Buffer b, long[] bStrides, Buffer y, long[] shape) {
        if (!isF32(y) || !elementwise.binary(op, a.segment(), aStrides, b.segment(), bStrides, y.segment(), shape)) {
            super.binary(op, a, aStrides, b, bStrides, y, shape);
        }
    }

    @Override
    public void affine(Buffer x, double alpha, double beta, Buffer y) {
        if (isF32(x)) {
            elementwise.affine(x.segment(), (float) alpha, (float) beta, y.segment(), y.length());
        } else {
            super.affine(x, alpha, beta, y);
        }
    }

    @Override
    public void axpy(double alpha, Buffer x, Buffer y) {
        if (isF32(y)) {
            elementwise.axpy((float) alpha, x.segment(), y.segment(), y.length());
        } else {
            super.axpy(alpha, x, y);
        }
    }

    @Override
    public void scaleBy(Buffer x, Buffer scale, Buffer y) {
        if (isF32(x)) {
            affine(x, VectorMath.get(scale.segment(), 0), 0, y);
        } else {
            super.scaleBy(x, scale, y);
        }
    }

    @Override
    public void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        if (isF32(x)) {
            sums.sum(x.segment(), outer, reduced, inner, scale, y.segment());
        } else {
            super.sum(x, outer, reduced, inner, scale, y);
        }
    }

    // ------------------------------------------------------------------------------------------- norm and softmax

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
        if (!isF32(x)) {
            super.layerNorm(x, gamma, beta, eps, rows, cols, y, mean, rstd);
            return;
        }
        this.rows.layerNorm(
                x.segment(),
                gamma.segment(),
                beta.segment(),
                eps,
                rows,
                Math.toIntExact(cols),
                y.segment(),
                segment(mean),
                segment(rstd));
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
        if (!isF32(x)) {
            super.layerNormBackward(x, gamma, mean, rstd, dy, rows, cols, addend, dx, dgamma, dbeta);
            return;
        }
        this.rows.layerNormBackward(
                x.segment(),
                gamma.segment(),
                mean.segment(),
                rstd.segment(),
                dy.segment(),
                rows,
                Math.toIntExact(cols),
                segment(addend),
                segment(dx),
                segment(dgamma),
                segment(dbeta));
    }

    @Override
    public void softmax(Buffer x, long rows, long cols, boolean log, Buffer y) {
        if (isF32(x)) {
            this.rows.softmax(x.segment(), rows, Math.toIntExact(cols), log, y.segment());
        } else {
            super.softmax(x, rows, cols, log, y);
        }
    }

    @Override
    public void softmaxBackward(Buffer y, Buffer dy, long rows, long cols, boolean log, Buffer dx) {
        if (isF32(y)) {
            this.rows.softmaxBackward(y.segment(), dy.segment(), rows, Math.toIntExact(cols), log, dx.segment());
        } else {
            super.softmaxBackward(y, dy, rows, cols, log, dx);
        }
    }

    // --------------------------------------------------------------------------------------------------- attention

    @Override
    public void attention(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            @Nullable Buffer logSumExp) {
        if (isF32(q) && VectorAttention.has(shape)) {
            attention.forward(
                    shape, q.segment(), k.segment(), v.segment(), segment(bias), out.segment(), segment(logSumExp));
        } else {
            super.attention(shape, q, k, v, bias, out, logSumExp);
        }
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
        if (!isF32(q) || !VectorAttention.has(shape)) {
            super.attentionBackward(shape, q, k, v, bias, out, logSumExp, dout, dq, dk, dv, dbias);
            return;
        }
        attention.backward(
                shape,
                q.segment(),
                k.segment(),
                v.segment(),
                segment(bias),
                out.segment(),
                logSumExp.segment(),
                dout.segment(),
                dq.segment(),
                dk.segment(),
                dv.segment(),
                segment(dbias));
    }

    // -------------------------------------------------------------------------------------------- masking, tokens

    private static boolean isF32(Buffer video, Buffer out) {
        return isF32(out) && (isF32(video) || video.dtype() == DType.U8);
    }

    @Override
    public void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        if (isF32(video, out)) {
            patches.gather(geometry, video.segment(), !isF32(video), indices, count, out.segment());
        } else {
            super.gatherPatches(geometry, video, indices, count, out);
        }
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
        if (!isF32(video, prediction)) {
            super.reconstructionLoss(geometry, video, indices, count, eps, normalise, prediction, loss, dprediction);
            return;
        }
        double value = patches.reconstructionLoss(
                geometry,
                video.segment(),
                !isF32(video),
                indices,
                count,
                eps,
                normalise,
                prediction.segment(),
                segment(dprediction));
        VectorMath.set(loss.segment(), 0, (float) value);
    }

    @Override
    public void scatterRows(Buffer dy, Buffer indices, long batch, long n, long m, long d, Buffer dx) {
        if (isF32(dx)) {
            tokens.scatter(dy.segment(), indices, batch, n, m, d, dx.segment());
        } else {
            super.scatterRows(dy, indices, batch, n, m, d, dx);
        }
    }

    @Override
    public void addRows(Buffer x, Buffer table, @Nullable Buffer indices, long batch, long m, long d, Buffer y) {
        if (isF32(x)) {
            tokens.add(x.segment(), table.segment(), indices, batch, m, d, y.segment());
        } else {
            super.addRows(x, table, indices, batch, m, d, y);
        }
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
        if (!isF32(y)) {
            super.assembleDecoder(
                    visible, visibleIndices, maskedIndices, maskToken, table, batch, visibleCount, maskedCount, d, y);
            return;
        }
        tokens.assemble(
                visible.segment(),
                visibleIndices,
                maskedIndices,
                maskToken.segment(),
                table.segment(),
                batch,
                visibleCount,
                maskedCount,
                d,
                y.segment());
    }

    // ------------------------------------------------------------------------------------------------------ losses

    @Override
    public void crossEntropy(
            Buffer logits,
            Buffer labels,
            double smoothing,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dlogits) {
        if (!isF32(logits)) {
            super.crossEntropy(logits, labels, smoothing, rows, cols, loss, dlogits);
            return;
        }
        double value = this.rows.crossEntropy(
                logits.segment(), labels, smoothing, rows, Math.toIntExact(cols), segment(dlogits));
        VectorMath.set(loss.segment(), 0, (float) value);
    }

    @Override
    public void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        if (isF32(a)) {
            VectorMath.set(loss.segment(), 0, (float) meanSquare(a, b, 1, da));
        } else {
            super.meanSquaredError(a, b, loss, da);
        }
    }

    private double meanSquare(Buffer a, Buffer b, double weight, @Nullable Buffer da) {
        double count = Math.max(1, a.length());
        return sums.squaredDistance(a.segment(), b.segment(), a.length(), (float) (2 * weight / count), segment(da))
                / count;
    }

    @Override
    public void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        if (!isF32(loss)) {
            super.featureLoss(projected, targets, weights, losses, loss, dprojected);
            return;
        }
        double total = 0;
        for (int m = 0; m < projected.length; m++) {
            double term = meanSquare(projected[m], targets[m], weights[m], dprojected == null ? null : dprojected[m]);
            VectorMath.set(losses.segment(), m, (float) term);
            total += weights[m] * term;
        }
        VectorMath.set(loss.segment(), 0, (float) total);
    }

    // --------------------------------------------------------------------------------------------------- optimiser

    @Override
    double sumOfSquares(Buffer x) {
        return isF32(x) ? sums.squares(x.segment(), x.length()) : super.sumOfSquares(x);
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
        if (parameters.length == 0
                || !isF32(parameters[0])
                || !Arrays.stream(gradients).allMatch(VectorKernels::isF32)) {
            super.adamW(
                    parameters,
                    gradients,
                    firstMoments,
                    secondMoments,
                    shadows,
                    decay,
                    lr,
                    beta1,
                    beta2,
                    eps,
                    step,
                    clip);
        } else {
            float factor = (float) ScalarElementwise.clipFactor(clip);
            elementwise.adamW(
                    parameters, gradients, firstMoments, secondMoments, decay, lr, beta1, beta2, eps, step, factor);
            for (int i = 0; shadows != null && i < shadows.length; i++) {
                Buffer shadow = shadows[i];
                if (shadow != null) {
                    cast(parameters[i], shadow);
                }
            }
        }
    }
}
