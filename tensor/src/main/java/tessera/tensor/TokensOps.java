package tessera.tensor;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Tokens.DecoderShape;
import tessera.kernels.Tokens.TokenIndices;
import tessera.kernels.Tokens.TokenShape;

/** Operations that pick, place and mark tokens by index lists. */
final class TokensOps {
    private TokensOps() {}

    private static void checkIndices(String name, Tensor indices, long batch) {
        Op.check(
                indices.dtype() == DType.I32 && indices.rank() == 2 && indices.size(0) == batch,
                name,
                () -> "indices are " + indices.describe() + "; pass i32[" + batch + ", count]");
    }

    /** Inputs x {@code [B, N, D]} and indices {@code [B, M]}. */
    record GatherRows() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(in[0].rank() == 3, name(), () -> "x is " + in[0].describe() + "; pass [batch, tokens, width]");
            checkIndices(name(), in[1], in[0].size(0));
            Tensor x = in[0].contiguous();
            Tensor indices = in[1].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape().with(1, indices.size(1)));
            x.kernels()
                    .tokens()
                    .gatherRows(
                            new TokenShape(x.size(0), x.size(1), indices.size(1), x.size(2)),
                            x.buffer(),
                            indices.buffer(),
                            y.buffer());
            context.save(indices);
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Shape x = context.inputShape(0);
            Tensor indices = context.saved(0);
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), x);
            dy.kernels()
                    .tokens()
                    .scatterRows(
                            new TokenShape(x.size(0), x.size(1), indices.size(1), x.size(2)),
                            dy.buffer(),
                            indices.buffer(),
                            dx.buffer());
            return new @Nullable Tensor[] {dx, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(0, 2 * output.byteSize() + in[1].byteSize());
        }
    }

    /**
     * The adjoint of {@link GatherRows}: inputs x {@code [B, M, D]} and indices {@code [B, M]} of rows to which those of x are added.
     *
     * @param count rows of the result
     */
    record ScatterRows(long count) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(in[0].rank() == 3, name(), () -> "x is " + in[0].describe() + "; pass [batch, tokens, width]");
            checkIndices(name(), in[1], in[0].size(0));
            Op.check(
                    in[1].size(1) == in[0].size(1) && count >= 0,
                    name(),
                    () -> "x is " + in[0].describe() + " and the indices " + in[1].describe() + " of " + count
                            + " rows; pass one index for each token, and 0 rows or more");
            Tensor x = in[0].contiguous();
            Tensor indices = in[1].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape().with(1, count));
            x.kernels().tokens().scatterRows(shape(x.shape()), x.buffer(), indices.buffer(), y.buffer());
            context.save(indices);
            return y;
        }

        private TokenShape shape(Shape x) {
            return new TokenShape(x.size(0), count, x.size(1), x.size(2));
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), context.inputShape(0));
            dy.kernels()
                    .tokens()
                    .gatherRows(shape(dx.shape()), dy.buffer(), context.saved(0).buffer(), dx.buffer());
            return new @Nullable Tensor[] {dx, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(in[0].shape().count(), in[0].byteSize() + output.byteSize() + in[1].byteSize());
        }
    }

    private static TokenShape rows(Shape x, long selected) {
        return new TokenShape(x.size(0), x.size(1), selected, x.size(2));
    }

    /** Inputs x {@code [B, N, D]}, index {@code [M]} and its inverse {@code [N]}. */
    record Rearrange() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(in[0].rank() == 3, name(), () -> "x is " + in[0].describe() + "; pass [batch, tokens, width]");
            Op.check(
                    in[1].dtype() == DType.I32
                            && in[1].rank() == 1
                            && in[2].dtype() == DType.I32
                            && in[2].shape().equals(Shape.of(in[0].size(1))),
                    name(),
                    () -> "x is " + in[0].describe() + ", the index " + in[1].describe() + " and the inverse "
                            + in[2].describe()
                            + "; pass the row of each place, i32[places], and the place of each row, i32["
                            + in[0].size(1) + "]");
            Op.sameDevice(name(), in[0], in[1]);
            Op.sameDevice(name(), in[0], in[2]);
            Tensor x = in[0].contiguous();
            Tensor index = in[1].contiguous();
            Tensor inverse = in[2].contiguous();
            if (context.isRecording() && x.device().isHost()) {
                checkInverse(name(), index, inverse);
            }
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape().with(1, index.size(0)));
            x.kernels().tokens().selectRows(rows(x.shape(), index.size(0)), x.buffer(), index.buffer(), y.buffer());
            context.save(inverse);
            return y;
        }

        /** A wrong inverse would be a wrong gradient without a word; on a GPU the lists are not at hand. */
        private static void checkInverse(String name, Tensor index, Tensor inverse) {
            int[] rows = index.segment().toArray(ValueLayout.JAVA_INT);
            int[] places = inverse.segment().toArray(ValueLayout.JAVA_INT);
            for (int i = 0; i < places.length; i++) {
                int place = places[i];
                if (place != -1 && (place < 0 || place >= rows.length || rows[place] != i)) {
                    throw new IllegalArgumentException(name + ": the inverse has row " + i + " in place " + place
                            + " but the index has not; pass the place where the index has the row, or -1");
                }
            }
            long filled = IntStream.of(rows).filter(row -> row >= 0).count();
            long known = IntStream.of(places).filter(place -> place >= 0).count();
            Op.check(
                    filled == known,
                    name,
                    () -> "the index fills " + filled + " places but its inverse knows of " + known
                            + "; use each row once at most and say where it is");
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor inverse = context.saved(0);
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), context.inputShape(0));
            dy.kernels()
                    .tokens()
                    .selectRows(rows(dy.shape(), inverse.size(0)), dy.buffer(), inverse.buffer(), dx.buffer());
            return new @Nullable Tensor[] {dx, null, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(0, 2 * output.byteSize() + in[1].byteSize());
        }
    }

    /** Inputs a table {@code [V, D]} and an index of any shape. */
    record Embedding() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(in[0].rank() == 2, name(), () -> "the table is " + in[0].describe() + "; pass [rows, width]");
            Op.check(
                    in[1].dtype() == DType.I32,
                    name(),
                    () -> "the index is " + in[1].describe() + "; pass rows of the table as i32");
            Op.sameDevice(name(), in[0], in[1]);
            Tensor table = in[0].contiguous();
            Tensor index = in[1].contiguous();
            long[] sizes = Arrays.copyOf(index.shape().toArray(), index.rank() + 1);
            sizes[index.rank()] = table.size(1);
            Tensor y = Tensor.empty(table.device(), table.dtype(), Shape.of(sizes));
            table.kernels()
                    .tokens()
                    .selectRows(shape(table.shape(), index), table.buffer(), index.buffer(), y.buffer());
            context.save(index);
            return y;
        }

        private static TokenShape shape(Shape table, Tensor index) {
            return new TokenShape(1, table.size(0), index.shape().count(), table.size(1));
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Shape table = context.inputShape(0);
            Tensor index = context.saved(0);
            Tensor dtable = Tensor.empty(dy.device(), dy.dtype(), table);
            dy.kernels().tokens().sumRows(shape(table, index), dy.buffer(), index.buffer(), dtable.buffer());
            return new @Nullable Tensor[] {dtable, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(0, 2 * output.byteSize() + in[1].byteSize());
        }
    }

    /** Inputs x {@code [B, M, D]}, a fixed table {@code [N, D]} and, unless all rows are taken in order, indices {@code [B, M]}. */
    record AddPositions() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0], in[1]);
            Tensor x = in[0].contiguous();
            Op.check(
                    x.rank() == 3 && in[1].rank() == 2 && in[1].size(1) == x.size(2),
                    name(),
                    () -> "x is " + in[0].describe() + " and the table " + in[1].describe()
                            + "; pass [batch, tokens, width] and [positions, width]");
            Op.check(
                    !in[1].requiresGrad(),
                    name(),
                    () -> "the table requires a gradient but positions are fixed; pass table.detach()");
            if (in.length == 3) {
                checkIndices(name(), in[2], x.size(0));
            }
            Op.check(
                    in.length == 3 ? in[2].size(1) == x.size(1) : x.size(1) <= in[1].size(0),
                    name(),
                    () -> "x has " + x.size(1) + " tokens; pass one index per token, or no more tokens than the "
                            + in[1].size(0) + " positions");
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels()
                    .tokens()
                    .addRows(
                            new TokenShape(x.size(0), in[1].size(0), x.size(1), x.size(2)),
                            x.buffer(),
                            Op.buffer(in[1]),
                            in.length == 3 ? Op.buffer(in[2]) : null,
                            y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            d[0] = dy;
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(output.shape().count(), 3 * output.byteSize());
        }
    }

    /** Inputs visible {@code [B, Nv, D]}, mask token {@code [.., D]}, table {@code [N, D]} and the two index lists. */
    record AssembleDecoder() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor visible = in[0].contiguous();
            Op.floating(name(), in[0], in[1], in[2]);
            Op.check(
                    visible.rank() == 3,
                    name(),
                    () -> "visible is " + in[0].describe() + "; pass [batch, tokens, width]");
            long batch = visible.size(0);
            long d = visible.size(2);
            checkIndices(name(), in[3], batch);
            checkIndices(name(), in[4], batch);
            Op.check(
                    in[3].size(1) == visible.size(1)
                            && in[1].shape().count() == d
                            && in[2].rank() == 2
                            && in[2].size(1) == d
                            && !in[2].requiresGrad(),
                    name(),
                    () -> "visible " + in[0].describe() + ", mask token " + in[1].describe() + ", table "
                            + in[2].describe() + " and visible indices " + in[3].describe()
                            + " do not fit; pass [B, Nv, D], [D], fixed [N, D] and i32[B, Nv]");
            long masked = in[4].size(1);
            Tensor y = Tensor.empty(visible.device(), visible.dtype(), Shape.of(batch, visible.size(1) + masked, d));
            visible.kernels()
                    .tokens()
                    .assembleDecoder(
                            new DecoderShape(batch, visible.size(1), masked, d),
                            visible.buffer(),
                            new TokenIndices(Op.buffer(in[3]), Op.buffer(in[4])),
                            Op.buffer(in[1]),
                            Op.buffer(in[2]),
                            y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Shape visible = context.inputShape(0);
            Tensor dvisible = Tensor.empty(dy.device(), dy.dtype(), visible);
            Tensor dtoken = Tensor.empty(dy.device(), dy.dtype(), context.inputShape(1));
            dy.kernels()
                    .tokens()
                    .assembleDecoderBackward(
                            new DecoderShape(
                                    visible.size(0),
                                    visible.size(1),
                                    context.inputShape(4).size(1),
                                    visible.size(2)),
                            dy.buffer(),
                            dvisible.buffer(),
                            dtoken.buffer());
            return new @Nullable Tensor[] {dvisible, dtoken, null, null, null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(output.shape().count(), 2 * output.byteSize() + in[0].byteSize());
        }
    }
}
