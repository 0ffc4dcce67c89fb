package tessera.nn.inference;

import java.util.List;
import java.util.function.Function;
import tessera.kernels.Device;
import tessera.nn.ModelConfig;
import tessera.nn.Pooling;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A head with its copy on the device, laid out for a student's features, of which it may use a part. */
record Classifier(Head head, Tensor weight, Tensor bias) {
    /** @param features how the student pools: by all parts of the head's pooling, and perhaps by others */
    static Classifier of(Head head, Pooling features, ModelConfig model, Device device) {
        return Scope.outside(() -> {
            try (Scope scope = Scope.open()) {
                Tensor weight = onDevice(
                        Tensor.of(weights(head, features, model), head.classes(), features.width(model)), device);
                Tensor bias = onDevice(Tensor.of(head.bias()), device);
                return new Classifier(head, scope.keep(weight), scope.keep(bias));
            }
        });
    }

    /**
     * Class probabilities by several heads.
     *
     * @param features f32 {@code [passes * B, D]}, pass by pass
     * @return f32 {@code [B, classes of all heads]}, the heads one after the other
     */
    static Tensor probabilities(List<Classifier> heads, Tensor features, int passes, Aggregation aggregation) {
        return each(heads, head -> aggregation.probabilities(features, passes, head.weight, head.bias));
    }

    /** Class scores by several heads of features {@code [B, D]}, f32 {@code [B, classes of all heads]}. */
    static Tensor scores(List<Classifier> heads, Tensor features) {
        return each(heads, head -> features.linear(head.weight, head.bias));
    }

    private static Tensor each(List<Classifier> heads, Function<Classifier, Tensor> answer) {
        Tensor[] each = heads.stream().map(answer).toArray(Tensor[]::new); // [B, classes]
        return each.length == 1 ? each[0] : Tensor.concat(1, each);
    }

    /** The head's weights where its pooling's values stand, and 0 for all others. */
    private static float[] weights(Head head, Pooling features, ModelConfig model) {
        float[] own = head.weight();
        if (features.equals(head.pooling())) {
            return own;
        }
        int[] places = features.select(head.pooling(), model);
        int width = features.width(model);
        float[] weights = new float[head.classes() * width];
        for (int i = 0; i < own.length; i++) {
            weights[i / places.length * width + places[i % places.length]] = own[i];
        }
        return weights;
    }

    private static Tensor onDevice(Tensor host, Device device) {
        Tensor here = Tensor.empty(device, host.dtype(), host.shape());
        here.copyFrom(host);
        return here;
    }

    void close() {
        weight.close();
        bias.close();
    }
}
