package tessera.distill.train;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.DoubleStream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.tensor.Autograd;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** How much each teacher of an ensemble counts (Radevski et al., ICCV 2023). */
public interface Weighting {
    /**
     * Weights of the teachers' logits, without a gradient.
     *
     * @param logits {@code [B, classes]} of each teacher
     * @param labels i32 {@code [B]}; null unless {@link #needsLabels}
     * @return {@code [teachers]}, or {@code [B, teachers]} for weights of each clip
     */
    Tensor weights(List<Tensor> logits, @Nullable Tensor labels);

    /** Whether the weights depend on labels. */
    default boolean needsLabels() {
        return false;
    }

    /** Every teacher the same, {@code 1 / teachers}. */
    static Weighting uniform() {
        return (logits, labels) -> {
            double[] each = new double[logits.size()];
            Arrays.fill(each, 1.0 / each.length);
            return tensor(logits.getFirst(), each);
        };
    }

    /** Weights of one's own, one for each teacher. */
    static Weighting given(double... weights) {
        double[] own = weights.clone();
        return (logits, labels) -> {
            if (own.length != logits.size()) {
                throw new IllegalArgumentException(
                        own.length + " weights for " + logits.size() + " teachers; pass one for each");
            }
            return tensor(logits.getFirst(), own);
        };
    }

    /**
     * Teachers that did better on held-out clips count more, the same for every clip: {@code softmax_t(-losses_t / temperature)}.
     *
     * @param losses mean cross-entropy of each teacher on clips that it was not trained on
     */
    static Weighting dataSet(double temperature, double... losses) {
        return given(softmin(temperature, losses));
    }

    /** The weights of {@link #dataSet}. */
    static double[] softmin(double temperature, double... losses) {
        double least = DoubleStream.of(losses).min().orElse(0);
        double[] weights = DoubleStream.of(losses)
                .map(loss -> Math.exp((least - loss) / positive(temperature)))
                .toArray();
        double sum = DoubleStream.of(weights).sum();
        return DoubleStream.of(weights).map(weight -> weight / sum).toArray();
    }

    /** Teachers that know a clip better count more for it: {@code softmax_t(-CE_bt / temperature)}. */
    static Weighting perSample(double temperature) {
        positive(temperature);
        return new Weighting() {
            @Override
            public Tensor weights(List<Tensor> logits, @Nullable Tensor labels) {
                Tensor right = Objects.requireNonNull(labels, "labels");
                return Autograd.noGrad(() -> {
                    long rows = right.size(0);
                    Tensor[] ofLabel = new Tensor[logits.size()];
                    for (int t = 0; t < ofLabel.length; t++) {
                        Tensor scores = logits.get(t).to(wide(logits.get(t))).logSoftmax();
                        ofLabel[t] = scores.reshape(rows, scores.size(1), 1)
                                .gatherRows(right.reshape(rows, 1)) // minus the cross-entropy, [B, 1, 1]
                                .reshape(rows, 1);
                    }
                    return Tensor.concat(1, ofLabel).mul(1 / temperature).softmax(); // [B, teachers]
                });
            }

            @Override
            public boolean needsLabels() {
                return true;
            }
        };
    }

    private static double positive(double temperature) {
        if (!(temperature > 0)) {
            throw new IllegalArgumentException(
                    "teachers are weighted at a temperature of " + temperature + "; pass a positive number such as 1");
        }
        return temperature;
    }

    /** Filled on the device, without a copy from the host, so that a step can be recorded. */
    private static Tensor tensor(Tensor like, double[] weights) {
        Tensor[] each = new Tensor[weights.length];
        for (int t = 0; t < each.length; t++) {
            each[t] = Tensor.full(like.device(), wide(like), Shape.of(1), weights[t]);
        }
        return Tensor.concat(0, each);
    }

    private static DType wide(Tensor like) {
        return like.dtype() == DType.F64 ? DType.F64 : DType.F32;
    }
}
