package tessera.jmh.gpu;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;

/** The optimiser over all parameters of the encoder. */
final class OptimiserCases extends FamilyCases {
    OptimiserCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        int depth = sizes.config().depth();
        // Of one block: four matrices, then norms and biases.
        long[] lengths = {3L * d * d, (long) d * d, 4L * d * d, 4L * d * d, d, d, d, d, d, 3L * d, d, 4L * d};
        double parameters = (double) depth * Arrays.stream(lengths).sum();
        String shape = depth + " blocks, " + Math.round(parameters) + " parameters";
        add(new KernelCase(
                "optimiser.globalNorm",
                "global norm",
                shape,
                depth,
                1,
                true,
                (blocks, s) -> blocks / depth * parameters * s,
                (blocks, s) -> blocks / depth * parameters * 2,
                false,
                false,
                (kernels, in, blocks) -> {
                    Buffer[] gradients = new Buffer[Math.toIntExact(blocks * lengths.length)];
                    Arrays.setAll(gradients, i -> in.normal(lengths[i % lengths.length]));
                    Buffer norm = in.masterOutput(1);
                    return () -> kernels.optimiser().globalNorm(gradients, norm);
                }));
        add(new KernelCase(
                "optimiser.adamW",
                "AdamW",
                shape + "; bf16: gradients and shadows",
                depth,
                1,
                true,
                (blocks, s) -> blocks / depth * parameters * 28,
                (blocks, s) -> blocks / depth * parameters * 14,
                false,
                false,
                (kernels, in, blocks) -> {
                    int count = Math.toIntExact(blocks * lengths.length);
                    boolean shadowed = in.type() == DType.BF16;
                    Buffer[] p = new Buffer[count];
                    Buffer[] g = new Buffer[count];
                    Buffer[] m = new Buffer[count];
                    Buffer[] v = new Buffer[count];
                    @Nullable Buffer[] shadows = new Buffer[count];
                    double[] decay = new double[count];
                    for (int i = 0; i < count; i++) {
                        long length = lengths[i % lengths.length];
                        p[i] = in.written(in.master(length));
                        g[i] = in.normal(length);
                        m[i] = in.written(in.master(length));
                        v[i] = in.written(in.positive(length));
                        shadows[i] = shadowed ? in.shadowOutput(length) : null;
                        decay[i] = length > 4L * d ? .05 : 0;
                    }
                    AdamWTensors tensors = new AdamWTensors(p, g, m, v, shadowed ? shadows : null, decay);
                    AdamWStep step = new AdamWStep(1e-3, .9, .95, 1e-8, 3, null);
                    return () -> kernels.optimiser().adamW(tensors, step);
                }));
    }
}
