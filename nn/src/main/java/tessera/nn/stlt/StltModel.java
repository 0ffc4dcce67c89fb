package tessera.nn.stlt;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.DropPath;
import tessera.nn.Dropout;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Params;
import tessera.nn.VideoModel;
import tessera.tensor.Autograd;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * The Spatial-Temporal Layout Transformer. The boxes of each frame, with a class token in front, go through the spatial transformer, which
 * does not look at padding; the class token that comes out stands for the frame. The frames with their learned positions, and a
 * class token behind them, go through the temporal transformer, where each token sees those up to itself. The feature is the
 * class token that comes out.
 *
 * <p>Parameters are named as in the authors' code: {@code temporal_transformer.*}, below it {@code layout_embedding.*} for the
 * spatial transformer, with {@code layout_embedding.category_box_embeddings.*}, and layers as PyTorch names them ({@code
 * transformer.layers.0.self_attn.in_proj_weight}). Fresh layers differ from each other; PyTorch's encoder starts them as copies of
 * one.
 *
 * <p>Training drops elements where the authors' code does, by the rate of the configuration and the seed and stream of the {@link
 * DropPath} that {@link #features} is given, whose own rate must be 0: nothing is dropped under {@link DropPath#NONE}.
 */
public final class StltModel implements VideoModel {
    static final String ROOT = "temporal_transformer";

    /** Added to scores that must not count: {@code exp} of it is 0 in every type. */
    private static final double NEVER = -1e9;
    /** Places of dropout before the layers: boxes and frames. */
    private static final int BOXES = 0;

    private static final int FRAMES = 1;
    private static final int LAYERS = 2;

    private final StltConfig config;
    private final DType dtype;
    private final DType compute;
    private final BoxEmbedding boxEmbedding;
    private final Tensor frameToken;
    private final List<EncoderLayer> spatial = new ArrayList<>();
    private final Tensor positions;
    private final LayerNorm norm;
    private final Tensor clipToken;
    private final List<EncoderLayer> temporal = new ArrayList<>();
    private final Tensor causal;

    public StltModel(Params params, StltConfig config) {
        this.config = config;
        dtype = params.dtype();
        compute = params.compute();
        int d = config.width();
        Params outer = params.at(ROOT);
        Params layout = outer.at("layout_embedding");
        boxEmbedding = new BoxEmbedding(layout.at("category_box_embeddings"), config);
        frameToken = layout.get("cls_token", Init.constant(0), 1, 1, d);
        layers(layout, config.spatialLayers(), spatial);
        positions = outer.at("position_embeddings")
                .get(
                        "weight",
                        (device, type, shape, seed, stream) -> Tensor.normal(device, type, shape, seed, stream, 0, 1),
                        config.frames(),
                        d);
        norm = new LayerNorm(outer.at("layer_norm"), d, BoxEmbedding.EPS);
        clipToken = outer.get("cls_token", Init.constant(0), 1, 1, d);
        layers(outer, config.temporalLayers(), temporal);
        causal = causal(params.device(), compute, config.heads(), config.frames() + 1);
    }

    private void layers(Params params, int count, List<EncoderLayer> to) {
        for (int i = 0; i < count; i++) {
            Params layer = params.at("transformer").at("layers").at(i);
            to.add(new EncoderLayer(layer, config.width(), config.heads()));
        }
    }

    /** Scores' bias {@code [1, heads, tokens, tokens]}: no token sees a later one. */
    private static Tensor causal(Device device, DType dtype, int heads, int tokens) {
        double[] values = new double[heads * tokens * tokens];
        for (int row = 0; row < heads * tokens; row++) {
            Arrays.fill(values, row * tokens + row % tokens + 1, (row + 1) * tokens, NEVER);
        }
        Tensor bias = Tensor.empty(device, dtype, Shape.of(1, heads, tokens, tokens));
        try (Tensor host = Tensor.of(values, 1, heads, tokens, tokens)) {
            bias.copyFrom(host);
        }
        return bias;
    }

    @Override
    public StltConfig config() {
        return config;
    }

    @Override
    public Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop) {
        if (visible != null) {
            throw new IllegalArgumentException("stlt: tokens are hidden but it sees every box; pass no mask");
        }
        if (drop.rate() > 0 && Autograd.isRecording()) {
            throw new IllegalArgumentException("stlt: it has no branches to leave out at a rate of " + drop.rate()
                    + "; train with drop path 0, its configuration has a dropout");
        }
        Dropout dropout = drop.dropout(config.dropout());
        Tensor tokens = tokens(layouts(clips, dropout), dropout); // [B, T + 1, D]
        return tokens.slice(1, config.frames(), config.frames() + 1)
                .reshape(clips.size(0), config.width())
                .to(dtype);
    }

    /** A vector of each frame's boxes, {@code [B, T, boxes, 1, 8]} to {@code [B, T, D]}. */
    Tensor layouts(Tensor clips, Dropout dropout) {
        check(clips);
        long frames = clips.size(0) * config.frames();
        int d = config.width();
        Tensor boxes = clips.to(dtype).reshape(frames * config.boxes(), StltConfig.CHANNELS);
        Tensor embedded = dropout.apply(boxEmbedding.forward(boxes), BOXES).reshape(frames, config.boxes(), d);
        Tensor tokens = Tensor.concat(
                1, frameToken.expand(frames, 1, d).to(compute), embedded.to(compute)); // [B T, 1 + boxes, D]
        Tensor encoded = encode(spatial, tokens, padding(boxes, frames), dropout.from(LAYERS));
        return encoded.slice(1, 0, 1).reshape(clips.size(0), config.frames(), d).to(dtype);
    }

    private void check(Tensor clips) {
        Shape needed = Shape.of(
                clips.rank() == 5 ? clips.size(0) : 1, config.frames(), config.boxes(), 1, StltConfig.CHANNELS);
        if (!clips.shape().equals(needed) || !clips.dtype().isFloating()) {
            throw new IllegalArgumentException("stlt: clips are " + clips.describe() + " but boxes are f32 "
                    + needed.toString().replaceFirst("^\\[\\d+", "[batch")
                    + ": corners, score, class, side and state of each box; pass these");
        }
    }

    /** Scores' bias {@code [B T, heads, 1 + boxes, 1 + boxes]}: padding is not seen. */
    private Tensor padding(Tensor boxes, long frames) {
        int tokens = config.boxes() + 1;
        Tensor padding = BoxEmbedding.padding(boxes).mul(NEVER).reshape(frames, config.boxes());
        Tensor seen = Tensor.full(boxes.device(), dtype, Shape.of(frames, 1), 0);
        return Tensor.concat(1, seen, padding)
                .to(compute)
                .reshape(frames, 1, 1, tokens)
                .expand(frames, config.heads(), tokens, tokens)
                .contiguous();
    }

    /** What the temporal transformer makes of frames and, last, the clip: {@code [B, T, D]} to {@code [B, T + 1, D]}. */
    Tensor tokens(Tensor layouts, Dropout dropout) {
        Tensor frames = dropout.apply(norm.forward(layouts.add(positions)), FRAMES); // [B, T, D]
        Tensor last = clipToken.expand(frames.size(0), 1, config.width());
        Tensor tokens = Tensor.concat(1, frames.to(compute), last.to(compute)); // [B, T + 1, D]
        int before = LAYERS + EncoderLayer.PLACES * config.spatialLayers();
        return encode(temporal, tokens, causal, dropout.from(before));
    }

    private static Tensor encode(List<EncoderLayer> layers, Tensor x, Tensor bias, Dropout dropout) {
        for (int i = 0; i < layers.size(); i++) {
            x = layers.get(i).forward(x, bias, dropout.from(i * EncoderLayer.PLACES)); // [B, N, D]
        }
        return x;
    }

    @Override
    public void pack() {
        spatial.forEach(layer -> layer.pack(compute));
        temporal.forEach(layer -> layer.pack(compute));
    }

    @Override
    public void close() {
        boxEmbedding.close();
        causal.close();
        spatial.forEach(EncoderLayer::close);
        temporal.forEach(EncoderLayer::close);
    }
}
