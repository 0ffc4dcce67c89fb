package tessera.nn.videomae;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.DropPath;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.tensor.Patches;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Masked autoencoder with an optional classifier on the masked mean feature (MM-CDFSL's first stage). Parameter names are
 * those of the public checkpoints: {@code encoder.*}, {@code encoder_to_decoder}, {@code mask_token}, {@code decoder.*},
 * {@code fc_norm}, {@code head_action}.
 */
public final class VideoMaePretraining implements AutoCloseable {
    /** The weight of the patch embedding. */
    public static final String EMBEDDING = "encoder.patch_embed.proj.weight";

    private final VideoMaeConfig config;
    private final VideoMaeEncoder encoder;
    private final VideoMaeDecoder decoder;
    private final @Nullable LayerNorm fcNorm;
    private final @Nullable Linear headAction;

    /**
     * Builds the model.
     *
     * @param classes classes of the source domain, 0 for a plain autoencoder
     */
    public VideoMaePretraining(Params params, VideoMaeConfig config, int classes) {
        this(params, config, classes, null);
    }

    /**
     * Builds the model.
     *
     * @param classes classes of the source domain, 0 for a plain autoencoder
     * @param motion the basis in which {@value #EMBEDDING} is kept and learned, or null for pixels, as in every file
     */
    public VideoMaePretraining(Params params, VideoMaeConfig config, int classes, @Nullable MotionBasis motion) {
        this.config = config;
        encoder = new VideoMaeEncoder(params.at("encoder"), config, motion);
        decoder = new VideoMaeDecoder(params, config);
        fcNorm = classes > 0 ? new LayerNorm(params.at("fc_norm"), config.embedDim(), config.outputNormEps()) : null;
        headAction = classes > 0 ? Linear.fanIn(params.at("head_action"), config.embedDim(), classes) : null;
    }

    public VideoMaeConfig config() {
        return config;
    }

    /** The encoder, for features. */
    public VideoMaeEncoder encoder() {
        return encoder;
    }

    /** Features of the visible tokens, {@code [B, Nvis, D]}; in training, {@code drop} leaves the encoder's branches out. */
    public Tensor encode(Tensor video, TokenMask mask, DropPath drop) {
        return encoder.forward(video, mask.visible(), drop);
    }

    /** Predicted patches of the masked tokens, {@code [B, Nmask, patchLength]}. */
    public Tensor reconstruct(Tensor features, TokenMask mask) {
        return decoder.forward(features, mask);
    }

    /** Mean squared error of the prediction against the per-patch normalised video (MAE, CVPR 2022, section 4.1). */
    public Tensor reconstructionLoss(Tensor prediction, Tensor video, TokenMask mask) {
        return config.patches().reconstructionLoss(prediction, video, mask.masked(), 1e-6, true);
    }

    /**
     * Mean squared error of the prediction against the video, {@code [B, T, H, W, C]}, normalised over each channel of each clip: light and dark
     * places count, which a small model learns long before what is left of a patch without its mean.
     */
    public Tensor clipReconstructionLoss(Tensor prediction, Tensor video, TokenMask mask) {
        Patches patches = config.patches();
        return Patches.plain(patches.channels(), patches.tubelet(), patches.patch())
                .reconstructionLoss(prediction, normalised(video), mask.masked(), 0, false);
    }

    /** The video in f32, {@code [B, T, H, W, C]}, each channel of each clip with mean 0 and deviation 1; one of a single value is 0. */
    public static Tensor normalised(Tensor video) {
        long batch = video.size(0);
        long channels = video.size(4);
        long values = video.shape().count() / batch / channels;
        Tensor ones = Tensor.full(video.device(), DType.F32, Shape.of(values), 1);
        Tensor zeros = Tensor.full(video.device(), DType.F32, Shape.of(values), 0);
        return video.to(DType.F32)
                .permute(0, 4, 1, 2, 3)
                .contiguous()
                .reshape(batch * channels, values)
                .layerNorm(ones, zeros, 1e-6)
                .reshape(batch, channels, video.size(1), video.size(2), video.size(3))
                .permute(0, 2, 3, 4, 1);
    }

    /**
     * Class scores from the mean of the visible features.
     *
     * @param dropout share of the feature's elements that (seed, stream) drop, .5 in MM-CDFSL's training; 0 outside training
     * @throws IllegalStateException if the model has no classes
     */
    public Tensor classify(Tensor features, double dropout, long seed, long stream) {
        if (fcNorm == null || headAction == null) {
            throw new IllegalStateException("classify: the model was built without classes");
        }
        Tensor feature = fcNorm.forward(features.mean(1)); // [B, D]
        return headAction.forward(dropout > 0 ? feature.dropout(dropout, seed, stream) : feature); // [B, classes]
    }

    @Override
    public void close() {
        encoder.close();
        decoder.close();
    }
}
