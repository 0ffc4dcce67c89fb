package tessera.nn.videomae;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Fixed sine positions over the flattened token index (Vaswani et al., 2017; VideoMAE). */
public final class SinePositions {
    private SinePositions() {}

    /**
     * The table {@code [tokens, width]}: row n, column j holds the sine (even j) or cosine (odd j) of {@code n / 10000^(2
     * floor(j / 2) / width)}, computed in f64. It belongs to the caller.
     */
    public static Tensor table(Device device, DType dtype, int tokens, int width) {
        double[] values = new double[tokens * width];
        for (int n = 0; n < tokens; n++) {
            for (int j = 0; j < width; j++) {
                int pair = j / 2;
                double angle = n / Math.pow(10000, 2.0 * pair / width);
                values[n * width + j] = j % 2 == 0 ? Math.sin(angle) : Math.cos(angle);
            }
        }
        Tensor table = Tensor.empty(device, dtype, Shape.of(tokens, width));
        try (Tensor source = Tensor.of(values, tokens, width)) {
            table.copyFrom(source);
        }
        return table;
    }
}
