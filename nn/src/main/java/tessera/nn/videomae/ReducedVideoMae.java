package tessera.nn.videomae;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.nn.DropPath;
import tessera.nn.TokenGroups;
import tessera.nn.TokenReduction;
import tessera.nn.VideoModel;
import tessera.tensor.Autograd;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A VideoMAE that computes fewer tokens than it is shown, on the weights of another, which owns them; see {@link TokenReduction}. */
final class ReducedVideoMae implements VideoModel {
    private final VideoMaeClassifier whole;
    private final TokenReduction reduction;

    ReducedVideoMae(VideoMaeClassifier whole, TokenReduction reduction) {
        this.whole = whole;
        this.reduction = reduction;
    }

    @Override
    public VideoMaeConfig config() {
        return whole.config();
    }

    @Override
    public Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop) {
        return through(clips, visible == null ? List.of() : List.of(visible));
    }

    @Override
    public Tensor maskedFeatures(Tensor clips, List<TokenMask> masks) {
        return through(clips, masks.stream().map(TokenMask::visible).toList());
    }

    private Tensor through(Tensor clips, List<Tensor> visible) {
        if (Autograd.isRecording()) {
            throw new IllegalStateException(
                    reduction
                            + " is for inference, but gradients are recorded; call it within Autograd.noGrad, or train on all tokens");
        }
        VideoMaeEncoder encoder = whole.encoder();
        Double threshold = reduction.threshold();
        TokenGroups embedded = threshold == null || clips.size(0) == 0
                ? TokenGroups.of(whole.embed(clips, visible), reduction.sizes())
                : encoder.embed(clips, RunLengths.of(clips, visible, config(), threshold), reduction.sizes());
        return whole.ofMean(encoder.encode(embedded, reduction.merged()).mean());
    }

    @Override
    public Map<Integer, Tensor> tokens(Tensor clips, List<Tensor> visible, Set<Integer> blocks) {
        throw new IllegalArgumentException(reduction
                + " forgets where tokens lie, so there are none to pool; take the features, which is the pooling mean");
    }

    @Override
    public Tensor feature(Tensor tokens) {
        return whole.feature(tokens);
    }

    @Override
    public VideoModel reduced(TokenReduction other) {
        return whole.reduced(other);
    }

    @Override
    public void pack() {
        whole.pack();
    }

    @Override
    public void close() {
        // The weights are another's.
    }
}
