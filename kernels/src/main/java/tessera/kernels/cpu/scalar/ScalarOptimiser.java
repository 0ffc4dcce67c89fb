package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Optimiser;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** The optimiser in double, one tensor after the other. Results do not depend on the number of threads. */
public class ScalarOptimiser implements Optimiser {
    private static final double CLIP_EPS = 1e-6;

    protected final Workers workers;
    private final Blocks blocks;

    public ScalarOptimiser(Workers workers) {
        this.workers = workers;
        this.blocks = new Blocks(workers);
    }

    @Override
    public void globalNorm(Buffer[] gradients, Buffer norm) {
        double total = 0;
        for (Buffer gradient : gradients) {
            total += sumOfSquares(gradient);
        }
        Elements.set(norm, 0, Math.sqrt(total));
    }

    private double sumOfSquares(Buffer x) {
        return blocks.sum(x.length(), (from, n, a, b) -> {
            Elements.load(x, from, n, a, 0);
            double sum = 0;
            for (int i = 0; i < n; i++) {
                sum += a[i] * a[i];
            }
            return sum;
        });
    }

    /** What gradients are multiplied by; {@code Math.min} lets NaN through. */
    protected static double clipFactor(@Nullable Clip clip) {
        return clip == null ? 1 : Math.min(1, clip.largest() / (Elements.get(clip.norm(), 0) + CLIP_EPS));
    }

    @Override
    public void adamW(AdamWTensors tensors, AdamWStep step) {
        double factor = clipFactor(step.clip());
        for (int i = 0; i < tensors.parameters().length; i++) {
            adamW(tensors, i, step, factor);
        }
    }

    private void adamW(AdamWTensors tensors, int tensor, AdamWStep step, double factor) {
        Buffer parameter = tensors.parameters()[tensor];
        Buffer gradient = tensors.gradients()[tensor];
        Buffer first = tensors.firstMoments()[tensor];
        Buffer second = tensors.secondMoments()[tensor];
        Buffer shadow = tensors.shadows() == null ? null : tensors.shadows()[tensor];
        double decay = tensors.decay()[tensor];
        double lr = step.lr();
        double beta1 = step.beta1();
        double beta2 = step.beta2();
        double eps = step.eps();
        double correction1 = 1 - Math.pow(beta1, (double) step.step());
        double correction2 = 1 - Math.pow(beta2, (double) step.step());
        blocks.forEach(parameter.length(), (from, n, p, g) -> {
            double[] m = new double[n];
            double[] v = new double[n];
            Elements.load(parameter, from, n, p, 0);
            Elements.load(gradient, from, n, g, 0);
            Elements.load(first, from, n, m, 0);
            Elements.load(second, from, n, v, 0);
            for (int i = 0; i < n; i++) {
                g[i] *= factor;
                m[i] = beta1 * m[i] + (1 - beta1) * g[i];
                v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
                p[i] *= 1 - lr * decay;
                p[i] -= lr * (m[i] / correction1) / (Math.sqrt(v[i] / correction2) + eps);
            }
            Elements.store(p, 0, n, parameter, from);
            if (shadow != null) {
                Elements.store(p, 0, n, shadow, from);
            }
            Elements.store(m, 0, n, first, from);
            Elements.store(v, 0, n, second, from);
        });
    }
}
