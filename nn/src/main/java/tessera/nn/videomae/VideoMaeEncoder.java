package tessera.nn.videomae;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Block;
import tessera.nn.DropPath;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.TokenGroups;
import tessera.nn.TokenReduction;
import tessera.tensor.Tensor;
import tessera.tensor.Tokens;

/** VideoMAE's encoder: embeds the visible patches, adds sine positions, runs the blocks. Parameter names {@code encoder.*}. */
public final class VideoMaeEncoder implements AutoCloseable {
    private final VideoMaeConfig config;
    private final DType compute;
    private final Linear patchEmbed;
    private final Tensor positions;
    private final List<Block> blocks = new ArrayList<>();
    private final @Nullable LayerNorm norm;
    private final @Nullable Supplier<Linear> moving;

    public VideoMaeEncoder(Params params, VideoMaeConfig config) {
        this(params, config, null);
    }

    /**
     * Builds the encoder.
     *
     * @param motion in which the weight of the patch embedding is kept and learned, or null for pixels
     */
    VideoMaeEncoder(Params params, VideoMaeConfig config, @Nullable MotionBasis motion) {
        this.config = config;
        int d = config.embedDim();
        int p = config.patches().patch();
        Params proj = params.at("patch_embed").at("proj");
        Init init = Init.fanIn(config.patches().patchLength());
        Tensor weight = proj.get(
                "weight", init, d, config.patches().channels(), config.patches().tubelet(), p, p);
        Tensor bias = proj.get("bias", init, d);
        patchEmbed = Linear.of(proj, "weight", weight, bias);
        compute = params.compute();
        moving = motion == null
                ? null
                : () -> Linear.of(proj, "weight", motion.toPixels(weight).to(compute), bias);
        positions = SinePositions.table(params.device(), compute, config.tokens(), d);
        for (int i = 0; i < config.depth(); i++) {
            blocks.add(new Block(
                    params.at("blocks").at(i),
                    d,
                    config.mlpDim(),
                    config.heads(),
                    config.layerNormEps(),
                    config.keyBias()));
        }
        norm = config.encoderNorm() ? new LayerNorm(params.at("norm"), d, config.layerNormEps()) : null;
    }

    /**
     * Features of the visible tokens.
     *
     * @param video {@code [B, T, H, W, C]}
     * @param visible i32 {@code [B, Nvis]}, or null for all tokens
     * @return {@code [B, Nvis, D]}
     */
    public Tensor forward(Tensor video, @Nullable Tensor visible) {
        return forward(video, visible, DropPath.NONE);
    }

    /** As {@link #forward(Tensor, Tensor)} in training, where {@code drop} leaves branches out while gradients are recorded. */
    public Tensor forward(Tensor video, @Nullable Tensor visible, DropPath drop) {
        return encode(embed(video, visible), drop);
    }

    /** Embedded visible patches with their positions, {@code [B, Nvis, D]}. */
    Tensor embed(Tensor video, @Nullable Tensor visible) {
        Tensor patches = config.patches().gather(video, visible, compute); // [B, Nvis, C * dt * p * p]
        Linear embedding = moving == null ? patchEmbed : moving.get();
        return Tokens.addPositions(embedding.forward(patches), positions, visible); // [B, Nvis, D]
    }

    /**
     * The first patches of runs with their positions, the clips one behind the other, {@code [1, R, D]}.
     *
     * @param sizes where the lengths of the runs count
     */
    TokenGroups embed(Tensor video, RunLengths runs, TokenReduction.Sizes sizes) {
        long clips = video.size(0);
        Tensor one = video.reshape(1, clips * video.size(1), video.size(2), video.size(3), video.size(4));
        int[] ofAll = runs.tokensOfAll(Math.toIntExact(clips), config.tokens());
        Tensor patches = config.patches().gather(one, row(video, ofAll), compute); // [1, R, C * dt * p * p]
        Tensor x = Tokens.addPositions(patchEmbed.forward(patches), positions, row(video, runs.tokens()));
        return TokenGroups.packed(x, runs.counts(), runs.lengths(), sizes);
    }

    private static Tensor row(Tensor beside, int[] indices) {
        Tensor row = Tensor.of(indices, 1, indices.length);
        return beside.device().isHost() ? row : row.to(beside.device());
    }

    /** Runs the blocks and the norm, in each of which so many tokens of a clip are merged away; the tokens are used up. */
    TokenGroups encode(TokenGroups tokens, int merged) {
        TokenGroups x = tokens;
        for (Block block : blocks) {
            x = block.forward(x, merged);
        }
        return norm == null ? x : x.with(norm.forward(x.x()));
    }

    /** Runs the blocks and the norm; without recording, x is used up. */
    Tensor encode(Tensor x) {
        return encode(x, DropPath.NONE);
    }

    private Tensor encode(Tensor x, DropPath drop) {
        for (int i = 0; i < blocks.size(); i++) {
            x = blocks.get(i).forward(x, drop.ofBlock(i, blocks.size())); // [B, Nvis, D]
        }
        return norm == null ? x : norm.forward(x);
    }

    /**
     * The tokens after some of the blocks, {@link Pooling#LAST} for the last with the norm; x is used up.
     *
     * @return {@code [B, Nvis, D]} for each of {@code wanted}
     */
    Map<Integer, Tensor> tokens(Tensor x, Set<Integer> wanted) {
        Map<Integer, Tensor> tokens = new HashMap<>();
        int end = wanted.contains(Pooling.LAST) ? blocks.size() : Collections.max(wanted);
        Tensor y = x;
        for (int i = 0; i <= end; i++) {
            boolean goesOn = i < end || wanted.contains(Pooling.LAST);
            if (wanted.contains(i)) {
                tokens.put(i, goesOn ? y.mul(1) : y); // a copy, for the next block uses them up
            }
            if (i < end) {
                y = blocks.get(i).forward(y);
            }
        }
        if (wanted.contains(Pooling.LAST)) {
            tokens.put(Pooling.LAST, norm == null ? y : norm.forward(y));
        }
        return tokens;
    }

    void pack() {
        patchEmbed.pack(compute);
        blocks.forEach(block -> block.pack(compute));
    }

    @Override
    public void close() {
        patchEmbed.close();
        blocks.forEach(Block::close);
        positions.close();
    }
}
