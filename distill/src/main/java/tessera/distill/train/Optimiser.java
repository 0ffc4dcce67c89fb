package tessera.distill.train;

import java.util.Locale;
import java.util.Map;
import tessera.nn.AdamW;
import tessera.tensor.Tensor;

/**
 * How AdamW updates the weights.
 *
 * @param beta1 decay of the first moment
 * @param beta2 decay of the second moment
 * @param eps added to the root of the second moment
 * @param weightDecay of the parameters that decay
 * @param decays which parameters decay
 * @param clipNorm largest norm of all gradients together, 0 for any
 */
public record Optimiser(double beta1, double beta2, double eps, double weightDecay, Decays decays, double clipNorm) {

    /** Which parameters decay. */
    public enum Decays {
        /** Matrices, not vectors, biases and the mask token. */
        MATRICES,
        /** Every parameter. */
        ALL;

        /** In lower case, as settings are written. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    AdamW of(Map<String, Tensor> parameters) {
        AdamW adamW = new AdamW(
                parameters,
                beta1,
                beta2,
                eps,
                weightDecay,
                decays == Decays.ALL ? name -> true : AdamW.matrices(parameters));
        return clipNorm > 0 ? adamW.clipNorm(clipNorm) : adamW;
    }
}
