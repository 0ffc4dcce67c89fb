package tessera.nn.stlt;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Boxes as vectors: {@code norm(class + linear(corners) + linear(score) + side + state)}, where class, side and state are rows of tables,
 * and row 0 of each is zero and stays so.
 *
 * <p>All of it is one linear layer over the corners, the score and a column for each row of the tables but row 0, which is 1 where
 * the number is that row's. So nothing depends on numbers being known on the host, and a number that no row has adds nothing.
 */
final class BoxEmbedding implements AutoCloseable {
    private static final int CORNERS = 4;
    private static final int MEASURED = CORNERS + 1;
    private static final int CLASS = MEASURED;
    private static final int SIDE = CLASS + 1;
    private static final int STATE = SIDE + 1;
    /** Added to variances: more than most layers' variances are, the authors' choice. */
    static final double EPS = .1;

    private final Tensor cornersWeight;
    private final Tensor cornersBias;
    private final Tensor scoreWeight;
    private final Tensor scoreBias;
    private final Tensor classes;
    private final Tensor sides;
    private final Tensor states;
    private final LayerNorm norm;
    /** The number that each column of the tables stands for, {@code [1, columns]}. */
    private final Tensor numbers;

    BoxEmbedding(Params params, StltConfig config) {
        int d = config.width();
        classes = table(params.at("category_embeddings"), config.classes(), d);
        Params corners = params.at("box_embedding");
        cornersWeight = corners.get("weight", Init.fanIn(CORNERS), d, CORNERS);
        cornersBias = corners.get("bias", Init.fanIn(CORNERS), d);
        Params score = params.at("score_embedding");
        scoreWeight = score.get("weight", Init.fanIn(1), d, 1);
        scoreBias = score.get("bias", Init.fanIn(1), d);
        sides = table(params.at("side_embedding"), config.sides(), d);
        states = table(params.at("state_embedding"), config.states(), d);
        norm = new LayerNorm(params.at("layer_norm"), d, EPS);
        numbers = numbers(params.device(), params.dtype(), config);
    }

    /** Normal values with a first row of zeros. */
    private static Tensor table(Params params, int rows, int width) {
        return params.get(
                "weight",
                (device, dtype, shape, seed, stream) -> Autograd.noGrad(() -> {
                    try (Tensor none = Tensor.full(device, dtype, Shape.of(1, width), 0);
                            Tensor drawn =
                                    Tensor.normal(device, dtype, Shape.of(rows - 1, width), seed, stream, 0, 1)) {
                        return Tensor.concat(0, none, drawn);
                    }
                }),
                rows,
                width);
    }

    private static Tensor numbers(Device device, DType dtype, StltConfig config) {
        int[] rows = {config.classes(), config.sides(), config.states()};
        double[] values = new double[rows[0] + rows[1] + rows[2] - rows.length];
        int at = 0;
        for (int count : rows) {
            for (int number = 1; number < count; number++) {
                values[at++] = number;
            }
        }
        Tensor numbers = Tensor.empty(device, dtype, Shape.of(1, values.length));
        try (Tensor host = Tensor.of(values, 1, values.length)) {
            numbers.copyFrom(host);
        }
        return numbers;
    }

    /** {@code [rows, 8]} to {@code [rows, D]}. */
    Tensor forward(Tensor boxes) {
        Tensor columns = Tensor.concat(1, boxes.slice(1, 0, MEASURED), chosen(boxes)); // [rows, columns]
        Tensor weight = Tensor.concat(
                1, cornersWeight, scoreWeight, withoutFirst(classes), withoutFirst(sides), withoutFirst(states));
        return norm.forward(columns.linear(weight, cornersBias.add(scoreBias)));
    }

    /** 1 in the column of each number, 0 in the others. */
    private Tensor chosen(Tensor boxes) {
        Tensor given = Tensor.concat(
                1,
                repeated(boxes, CLASS, classes.size(0) - 1),
                repeated(boxes, SIDE, sides.size(0) - 1),
                repeated(boxes, STATE, states.size(0) - 1));
        return isZero(given.sub(numbers));
    }

    private static Tensor repeated(Tensor boxes, int channel, long count) {
        return boxes.slice(1, channel, channel + 1).expand(boxes.size(0), count);
    }

    /** 1 where a whole number is 0, 0 where it is another. */
    private static Tensor isZero(Tensor x) {
        return x.abs().neg().add(1).relu();
    }

    /** 1 for boxes of padding, 0 for others: {@code [rows, 8]} to {@code [rows, 1]}. */
    static Tensor padding(Tensor boxes) {
        return isZero(boxes.slice(1, CLASS, CLASS + 1));
    }

    private static Tensor withoutFirst(Tensor table) {
        return table.slice(0, 1, table.size(0)).transpose(0, 1); // [D, rows - 1]
    }

    @Override
    public void close() {
        numbers.close();
    }
}
