package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.NarrowKernels;

/** Scaled dot-product attention, tiled so that the matrix of scores never exists as a whole. */
final class AttentionOps {
    private AttentionOps() {}

    /** Two products of {@code 2 * queries * keys * headDim} each; as the softmax, what is added to the scores is not counted. */
    private static Cost cost(long batch, long heads, long queries, long keys, long headDim, long bytes) {
        return new Cost(4 * batch * heads * queries * keys * headDim, bytes);
    }

    private static void checkBias(String name, Tensor data, Tensor bias, Shape scores) {
        Op.floating(name, data, bias);
        Op.check(
                bias.shape().equals(scores) || bias.shape().equals(scores.with(0, 1)),
                name,
                () -> "bias is " + bias.describe() + " but the scores are " + scores
                        + "; pass that shape or 1 in front");
    }

    /** A bias of self-attention; one of the keys alone is spread over heads and queries for a device that takes no other. */
    private static Tensor biasOf(String name, Tensor qkv, int heads, Tensor given) {
        long batch = qkv.size(0);
        long n = qkv.size(1);
        if (given.rank() != 2) {
            checkBias(name, qkv, given, Shape.of(batch, heads, n, n));
            return given.contiguous();
        }
        Op.floating(name, qkv, given);
        Op.check(
                given.shape().equals(Shape.of(batch, n)) && !given.requiresGrad(),
                name,
                () -> "the bias of keys is " + given.describe()
                        + (given.requiresGrad() ? " and requires a gradient" : "") + " beside " + qkv.describe()
                        + "; pass [" + batch + ", " + n + "] without a gradient");
        return given.device().isHost()
                ? given.contiguous()
                : given.reshape(batch, 1, 1, n).expand(batch, heads, n, n).contiguous();
    }

    static Tensor self(Tensor qkv, int heads, @Nullable Tensor bias, @Nullable Tensor regions, boolean rounded) {
        List<Tensor> inputs = new ArrayList<>(List.of(qkv));
        if (bias != null) {
            inputs.add(bias);
        }
        if (regions != null) {
            inputs.add(regions);
        }
        return Op.apply(
                new SelfAttention(heads, bias != null, regions != null, rounded), inputs.toArray(Tensor[]::new));
    }

    /**
     * Inputs a packed {@code [B, N, 3 * heads * headDim]} projection and, where so said, the bias and the regions. A bias {@code [B, N]} is
     * one of the keys alone.
     *
     * @param rounded whether the factors of products are rounded where the device can, see {@link NarrowKernels#attention}
     */
    record SelfAttention(int heads, boolean biased, boolean divided, boolean rounded) implements Op.Differentiable {
        SelfAttention(int heads) {
            this(heads, false, false);
        }

        SelfAttention(int heads, boolean biased, boolean divided) {
            this(heads, biased, divided, false);
        }

        @Override
        public String name() {
            return "attention";
        }

        private AttentionShape shape(Tensor qkv, @Nullable Tensor bias, @Nullable Tensor regions) {
            int n = Math.toIntExact(qkv.size(1));
            int d = Math.toIntExact(qkv.size(2) / 3);
            int headDim = d / heads;
            Strides packed = new Strides(3L * d * n, headDim, 3L * d);
            Strides out = new Strides((long) d * n, headDim, d);
            return new AttentionShape(
                    qkv.size(0),
                    heads,
                    n,
                    n,
                    headDim,
                    1 / Math.sqrt(headDim),
                    packed,
                    packed,
                    packed,
                    out,
                    bias == null ? 0 : bias.size(0),
                    regions == null ? 0 : regions.size(0),
                    bias != null && bias.rank() == 2);
        }

        private static AttentionTensors tensors(Tensor qkv, @Nullable Tensor bias, @Nullable Tensor regions) {
            return new AttentionTensors(
                    part(qkv, 0), part(qkv, 1), part(qkv, 2), Op.bufferOrNull(bias), Op.bufferOrNull(regions));
        }

        private static Buffer part(Tensor qkv, int which) {
            Buffer whole = qkv.buffer();
            long from = Math.min(whole.length(), which * (qkv.size(2) / 3));
            return whole.slice(from, whole.length() - from);
        }

        private tessera.kernels.Attention kernel(Tensor data) {
            tessera.kernels.Attention exact = data.kernels().attention();
            return rounded ? data.device().bf16().map(NarrowKernels::attention).orElse(exact) : exact;
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(
                    heads > 0 && in[0].rank() == 3 && in[0].size(2) % (3L * heads) == 0,
                    name(),
                    () -> "the packed projection is " + in[0].describe() + " with " + heads
                            + " heads; pass [batch, tokens, 3 * heads * headDim]");
            Tensor qkv = in[0].contiguous();
            long n = qkv.size(1);
            Tensor bias = biased ? biasOf(name(), qkv, heads, in[1]) : null;
            Tensor regions = divided ? in[in.length - 1].contiguous() : null;
            if (regions != null) {
                Op.check(
                        regions.dtype() == DType.I32
                                && regions.rank() == 2
                                && regions.size(1) == n
                                && regions.size(0) > 0
                                && qkv.size(0) % regions.size(0) == 0,
                        name(),
                        () -> "regions are " + regions.describe() + " beside " + in[0].describe() + "; pass i32[rows, "
                                + n + "], the batch being a multiple of the rows");
                Op.sameDevice(name(), qkv, regions);
            }
            Tensor out = Tensor.empty(qkv.device(), qkv.dtype(), qkv.shape().with(2, qkv.size(2) / 3));
            Tensor lse = context.isRecording()
                    ? Tensor.empty(qkv.device(), Op.wide(qkv.dtype()), Shape.of(qkv.size(0), heads, n))
                    : null;
            AttentionShape shape = shape(qkv, bias, regions);
            AttentionTensors tensors = tensors(qkv, bias, regions);
            kernel(qkv).attention(shape, tensors, out.buffer(), Op.bufferOrNull(lse));
            if (lse != null) {
                List<Tensor> saved = new ArrayList<>(List.of(qkv, out.detach(), lse));
                if (bias != null) {
                    saved.add(bias);
                }
                if (regions != null) {
                    saved.add(regions);
                }
                context.save(saved.toArray(Tensor[]::new));
            }
            return out;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor qkv = context.saved(0);
            Tensor bias = biased ? context.saved(3) : null;
            Tensor regions = divided ? context.saved(context.savedCount() - 1) : null;
            Tensor dqkv = Tensor.empty(dy.device(), dy.dtype(), qkv.shape());
            Tensor dbias = bias != null && context.needsGradient(1)
                    ? Tensor.empty(dy.device(), dy.dtype(), bias.shape())
                    : null;
            kernel(dy)
                    .attentionBackward(
                            shape(qkv, bias, regions),
                            tensors(qkv, bias, regions),
                            context.saved(1).buffer(),
                            context.saved(2).buffer(),
                            dy.buffer(),
                            tensors(dqkv, dbias, null));
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            d[0] = dqkv;
            if (biased) {
                d[1] = dbias;
            }
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long n = in[0].size(1);
            long headDim = in[0].size(2) / 3 / heads;
            long bytes = output.byteSize();
            for (Tensor x : in) {
                bytes += x.byteSize();
            }
            return AttentionOps.cost(in[0].size(0), heads, n, n, headDim, bytes);
        }
    }

    /** Attention on separate q, k, v {@code [B, heads, N, headDim]} with an optional additive bias. */
    record Attention(double scale) implements Op.Differentiable {
        private AttentionShape shape(Tensor q, Tensor k, @Nullable Tensor bias) {
            return new AttentionShape(
                    q.size(0),
                    Math.toIntExact(q.size(1)),
                    Math.toIntExact(q.size(2)),
                    Math.toIntExact(k.size(2)),
                    Math.toIntExact(q.size(3)),
                    scale,
                    strides(q),
                    strides(k),
                    strides(k),
                    strides(q),
                    bias == null ? 0 : bias.size(0));
        }

        private static Strides strides(Tensor x) {
            return new Strides(x.size(1) * x.size(2) * x.size(3), x.size(2) * x.size(3), x.size(3));
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0], in[1], in[2]);
            Tensor q = in[0].contiguous();
            Tensor k = in[1].contiguous();
            Tensor v = in[2].contiguous();
            Op.check(
                    q.rank() == 4
                            && k.rank() == 4
                            && k.shape().equals(v.shape())
                            && q.shape().equals(k.shape().with(2, q.size(2))),
                    name(),
                    () -> "q " + in[0].describe() + ", k " + in[1].describe() + ", v " + in[2].describe()
                            + " do not fit; pass [B, heads, N, headDim] and twice [B, heads, M, headDim]");
            Tensor bias = in.length == 4 ? in[3].contiguous() : null;
            if (bias != null) {
                checkBias(name(), q, bias, Shape.of(q.size(0), q.size(1), q.size(2), k.size(2)));
            }
            Tensor out = Tensor.empty(q.device(), q.dtype(), q.shape());
            Tensor lse = Tensor.empty(q.device(), Op.wide(q.dtype()), Shape.of(q.size(0), q.size(1), q.size(2)));
            q.kernels()
                    .attention()
                    .attention(
                            shape(q, k, bias),
                            new AttentionTensors(q.buffer(), k.buffer(), v.buffer(), Op.bufferOrNull(bias)),
                            out.buffer(),
                            lse.buffer());
            if (bias == null) {
                context.save(q, k, v, out.detach(), lse);
            } else {
                context.save(q, k, v, out.detach(), lse, bias);
            }
            return out;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor q = context.saved(0);
            Tensor k = context.saved(1);
            Tensor v = context.saved(2);
            Tensor bias = context.savedCount() == 6 ? context.saved(5) : null;
            Tensor dq = Tensor.empty(dy.device(), dy.dtype(), q.shape());
            Tensor dk = Tensor.empty(dy.device(), dy.dtype(), k.shape());
            Tensor dv = Tensor.empty(dy.device(), dy.dtype(), v.shape());
            Tensor dbias = bias != null && context.needsGradient(3)
                    ? Tensor.empty(dy.device(), dy.dtype(), bias.shape())
                    : null;
            dy.kernels()
                    .attention()
                    .attentionBackward(
                            shape(q, k, bias),
                            new AttentionTensors(q.buffer(), k.buffer(), v.buffer(), Op.bufferOrNull(bias)),
                            context.saved(3).buffer(),
                            context.saved(4).buffer(),
                            dy.buffer(),
                            new AttentionTensors(dq.buffer(), dk.buffer(), dv.buffer(), Op.bufferOrNull(dbias)));
            return bias == null ? new Tensor[] {dq, dk, dv} : new @Nullable Tensor[] {dq, dk, dv, dbias};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            Tensor q = in[0];
            long bytes = output.byteSize();
            for (Tensor x : in) {
                bytes += x.byteSize();
            }
            return AttentionOps.cost(q.size(0), q.size(1), q.size(2), in[1].size(2), q.size(3), bytes);
        }
    }
}
