package tessera.nn.videomae;

import java.util.ArrayList;
import java.util.List;
import tessera.nn.Block;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;
import tessera.tensor.Tokens;

/**
 * VideoMAE's decoder: visible tokens first, mask tokens after, then a patch vector for each masked token. Parameter names
 * {@code encoder_to_decoder}, {@code mask_token} and {@code decoder.*}.
 */
final class VideoMaeDecoder {
    private final Linear encoderToDecoder;
    private final Tensor maskToken;
    private final Tensor positions;
    private final List<Block> blocks = new ArrayList<>();
    private final LayerNorm norm;
    private final Linear head;

    VideoMaeDecoder(Params params, VideoMaeConfig config) {
        int d = config.decoderDim();
        encoderToDecoder = Linear.withoutBias(params.at("encoder_to_decoder"), config.embedDim(), d);
        maskToken = params.get("mask_token", Init.truncatedNormal(.02, .02), 1, 1, d);
        positions = SinePositions.table(params.device(), params.compute(), config.tokens(), d);
        Params decoder = params.at("decoder");
        for (int i = 0; i < config.decoderDepth(); i++) {
            blocks.add(new Block(
                    decoder.at("blocks").at(i), d, config.decoderHeads(), config.layerNormEps(), config.keyBias()));
        }
        norm = new LayerNorm(decoder.at("norm"), d, config.outputNormEps());
        head = Linear.xavier(decoder.at("head"), d, config.patches().patchLength());
    }

    /** From visible features {@code [B, Nvis, D]} to predicted patches {@code [B, Nmask, patchLength]}. */
    Tensor forward(Tensor features, TokenMask mask) {
        Tensor visible = encoderToDecoder.forward(features); // [B, Nvis, d]
        Tensor x = Tokens.assembleDecoder(visible, maskToken, positions, mask); // [B, N, d]
        for (Block block : blocks) {
            x = block.forward(x); // [B, N, d]
        }
        Tensor hidden = x.slice(1, mask.visibleCount(), x.size(1)); // [B, Nmask, d]
        return head.forward(norm.forward(hidden)); // [B, Nmask, patchLength]
    }

    void close() {
        blocks.forEach(Block::close);
        positions.close();
    }
}
