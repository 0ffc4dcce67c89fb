package tessera.nn.audio;

import tessera.tensor.Autograd;
import tessera.tensor.Tensor;

/** Weights of networks that see one channel instead of that channel repeated. */
public final class OneChannel {
    private OneChannel() {}

    /**
     * The patch weight for one channel that gives what a weight of several gives where all of them are equal: its sum over them. The
     * authors repeat a spectrogram to three channels; with this weight the network sees it once.
     *
     * @param weight {@code [out, channels, ..]}, a convolution's
     * @return {@code [out, 1, ..]}, outside the gradient's record; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if the weight has fewer than two axes
     */
    public static Tensor of(Tensor weight) {
        if (weight.rank() < 2) {
            throw new IllegalArgumentException(
                    "one channel: the weight is " + weight.describe() + "; pass a convolution's, [out, channels, ..]");
        }
        long[] sizes = weight.shape().toArray();
        sizes[1] = 1;
        return Autograd.noGrad(() -> weight.sum(1).reshape(sizes));
    }
}
