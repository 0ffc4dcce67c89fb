package tessera.nn.videomae;

import static java.util.Objects.requireNonNull;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.nn.DropPath;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.TokenReduction;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * VideoMAE's encoder with a normed mean feature and an optional linear head. The feature is {@code fc_norm(mean over
 * visible tokens)}; MM-CDFSL's models also norm every token before the mean ({@link VideoMaeConfig#encoderNorm}), and others take
 * the first visible token as it is ({@link VideoMaeConfig#meanPooling}).
 * Parameter names {@code encoder.*}, {@code fc_norm.*} and {@code head.*}.
 */
public final class VideoMaeClassifier implements VideoModel {
    private final VideoMaeConfig config;
    private final VideoMaeEncoder encoder;
    private final @Nullable LayerNorm fcNorm;
    private final @Nullable Linear head;

    /**
     * Builds the model.
     *
     * @param classes outputs of the head, 0 for features only
     */
    public VideoMaeClassifier(Params params, VideoMaeConfig config, int classes) {
        this.config = config;
        encoder = new VideoMaeEncoder(params.at("encoder"), config);
        fcNorm = config.meanPooling()
                ? new LayerNorm(params.at("fc_norm"), config.embedDim(), config.outputNormEps())
                : null;
        head = classes > 0 ? Linear.fanIn(params.at("head"), config.embedDim(), classes) : null;
    }

    @Override
    public VideoMaeConfig config() {
        return config;
    }

    /** The encoder, for features of single tokens. */
    public VideoMaeEncoder encoder() {
        return encoder;
    }

    @Override
    public Tensor features(Tensor video, @Nullable Tensor visible, DropPath drop) {
        return feature(encoder.forward(video, visible, drop));
    }

    @Override
    public Tensor maskedFeatures(Tensor video, List<TokenMask> masks) {
        List<Tensor> visible = masks.stream().map(TokenMask::visible).toList();
        return feature(encoder.encode(embed(video, visible))); // [P * B, D]
    }

    @Override
    public Map<Integer, Tensor> tokens(Tensor video, List<Tensor> visible, Set<Integer> blocks) {
        return encoder.tokens(embed(video, visible), blocks);
    }

    /** Patches seen through several masks, {@code [P * B, Nvis, D]}; through none all of them, {@code [B, N, D]}. */
    Tensor embed(Tensor video, List<Tensor> visible) {
        if (visible.isEmpty()) {
            return encoder.embed(video, null);
        }
        Tensor[] embedded = visible.stream()
                .map(tokens -> encoder.embed(video, tokens)) // [B, Nvis, D]
                .toArray(Tensor[]::new);
        return embedded.length == 1 ? embedded[0] : Tensor.concat(0, embedded);
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

    @Override
    public Tensor feature(Tensor tokens) {
        // [B, N, D] to [B, D]
        return fcNorm == null
                ? tokens.slice(1, 0, 1).contiguous().reshape(tokens.size(0), tokens.size(2))
                : fcNorm.forward(tokens.mean(1));
    }

    /** The feature of the mean of a clip's tokens, {@code [B, D]} to {@code [B, D]}, where features are means. */
    Tensor ofMean(Tensor mean) {
        return requireNonNull(fcNorm, "the feature is no mean").forward(mean);
    }

    @Override
    public VideoModel reduced(TokenReduction reduction) {
        if (fcNorm == null) {
            throw new IllegalArgumentException(
                    reduction + " takes tokens away but the feature of this model is its first token; leave it away");
        }
        return new ReducedVideoMae(this, reduction);
    }

    @Override
    public void pack() {
        encoder.pack();
    }

    @Override
    public void close() {
        encoder.close();
    }
}
