package tessera.nn;

import org.jspecify.annotations.Nullable;
import tessera.tensor.Tensor;

/**
 * VideoMAE's encoder with a normed mean feature and an optional linear head. The feature is {@code fc_norm(mean over
 * visible tokens)}; MM-CDFSL's models also norm every token before the mean ({@link VideoMaeConfig#encoderNorm}).
 * Parameter names {@code encoder.*}, {@code fc_norm.*} and {@code head.*}.
 */
public final class VideoMaeClassifier implements AutoCloseable {
    private final VideoMaeConfig config;
    private final VideoMaeEncoder encoder;
    private final LayerNorm fcNorm;
    private final @Nullable Linear head;

    /**
     * Builds the model.
     *
     * @param classes outputs of the head, 0 for features only
     */
    public VideoMaeClassifier(Params params, VideoMaeConfig config, int classes) {
        this.config = config;
        encoder = new VideoMaeEncoder(params.at("encoder"), config);
        fcNorm = new LayerNorm(params.at("fc_norm"), config.embedDim(), config.outputNormEps());
        head = classes > 0 ? Linear.fanIn(params.at("head"), config.embedDim(), classes) : null;
    }

    public VideoMaeConfig config() {
        return config;
    }

    /** The encoder, for features of single tokens. */
    public VideoMaeEncoder encoder() {
        return encoder;
    }

    /**
     * Features of clips.
     *
     * @param video {@code [B, T, H, W, C]}
     * @param visible i32 {@code [B, Nvis]}, or null for all tokens
     * @return {@code [B, D]}
     */
    public Tensor features(Tensor video, @Nullable Tensor visible) {
        return features(video, visible, DropPath.NONE);
    }

    /** As {@link #features(Tensor, Tensor)} in training, where {@code drop} leaves the encoder's branches out. */
    public Tensor features(Tensor video, @Nullable Tensor visible, DropPath drop) {
        return pool(encoder.forward(video, visible, drop));
    }

    /** Class scores of clips, {@code [B, classes]}. */
    public Tensor forward(Tensor video, @Nullable Tensor visible) {
        return forward(video, visible, DropPath.NONE);
    }

    /** As {@link #forward(Tensor, Tensor)} in training, where {@code drop} leaves the encoder's branches out. */
    public Tensor forward(Tensor video, @Nullable Tensor visible, DropPath drop) {
        if (head == null) {
            throw new IllegalStateException("forward: the model was built without classes; call features");
        }
        return head.forward(features(video, visible, drop));
    }

    Tensor pool(Tensor tokens) {
        return fcNorm.forward(tokens.mean(1)); // [B, N, D] to [B, D]
    }

    /** Lays the weights out for inference; later changes of the parameters do not show. */
    public void pack() {
        encoder.pack();
    }

    @Override
    public void close() {
        encoder.close();
    }
}
