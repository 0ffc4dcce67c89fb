package tessera.nn;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import tessera.tensor.Autograd;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/**
 * Weights of models of pictures for models that see sound or flow. Multimodal distillation (Radevski et al., ICCV 2023) starts all
 * of them from one checkpoint of three channels, by making pictures of the inputs: a spectrogram is repeated to three channels,
 * flow is a picture (u, v, 0). Here sound has one channel and flow two, and the patch embedding is changed so that it gives the
 * same.
 */
public final class PictureWeights {
    /** Motion in pixels that level 255 of a picture of flow stands for, as it was published for EPIC-KITCHENS; level 0 is as much the other way. */
    public static final double FLOW_BOUND = 20;

    private static final int CHANNELS = 3;
    private static final double LEVELS = 255;

    private PictureWeights() {}

    /** Normalisation of public checkpoints' pictures, ImageNet's; the patch sizes mean nothing. */
    static Patches imageNet() {
        return new Patches(
                CHANNELS, 1, 1, 1 / LEVELS, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});
    }

    /**
     * The kernel for one channel that gives what a kernel of several gives where all of them are equal: its sum over them.
     *
     * @param kernel {@code [out, channels, ..]}, a convolution's
     * @return {@code [out, 1, ..]}, outside the gradient's record; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if the kernel has fewer than two axes
     */
    public static Tensor oneChannel(Tensor kernel) {
        if (kernel.rank() < 2) {
            throw new IllegalArgumentException(
                    "one channel: the kernel is " + kernel.describe() + "; pass a convolution's, [out, channels, ..]");
        }
        long[] sizes = kernel.shape().toArray();
        sizes[1] = 1;
        return Autograd.noGrad(() -> kernel.sum(1).reshape(sizes));
    }

    /**
     * A convolution.
     *
     * @param kernel {@code [out, channels, tubelet, patch, patch]}
     * @param bias {@code [out]}
     */
    public record Convolution(Tensor kernel, Tensor bias) {}

    /**
     * The convolution for flow in pixels that gives what one for pictures gives of the picture (u, v, 0), whose levels 0 to 255 are
     * {@code -}{@link #FLOW_BOUND} to {@link #FLOW_BOUND} pixels and not rounded: normalisations are folded into kernel and bias, and so is the
     * third channel. At the end of clips that are no whole number of patches the two differ, as padding is 0 after normalisation.
     *
     * @param pictures of three channels
     * @param seen how pictures are normalised
     * @param flow how flow is normalised
     * @return of two channels, outside the gradient's record; its tensors belong to the innermost open scope, else to the caller
     */
    public static Convolution flow(Convolution pictures, Patches seen, Patches flow) {
        return Autograd.noGrad(() -> {
            Tensor[] kernels = new Tensor[2];
            Tensor bias = pictures.bias.add(perOutput(pictures.kernel, 2).mul(normalised(seen, 2, 0)));
            for (int c = 0; c < kernels.length; c++) {
                // A normalised value n is (n std + mean) / scale pixels, and x pixels are at level (x / bound + 1) 255
                // / 2.
                double perPixel = seen.scale() * LEVELS / 2 / FLOW_BOUND / seen.std()[c];
                double slope = perPixel * flow.std()[c] / flow.scale();
                double level = perPixel * flow.mean()[c] / flow.scale() + normalised(seen, c, LEVELS / 2);
                kernels[c] = pictures.kernel.slice(1, c, c + 1).mul(slope);
                bias = bias.add(perOutput(pictures.kernel, c).mul(level));
            }
            return new Convolution(Tensor.concat(1, kernels), bias);
        });
    }

    private static double normalised(Patches patches, int channel, double level) {
        return (patches.scale() * level - patches.mean()[channel]) / patches.std()[channel];
    }

    /** The sum of a channel's kernel, {@code [out]}. */
    private static Tensor perOutput(Tensor kernel, int channel) {
        return kernel.slice(1, channel, channel + 1).reshape(kernel.size(0), -1).sum(1);
    }

    /**
     * Weights for a model, where those of a file are of a model of pictures and the model sees sound (one channel) or flow (two);
     * others stay as they are.
     *
     * @param weights of the file, under this code's names
     * @param described metadata of the file; where they do not describe a model of three channels, pictures are normalised as public
     *     checkpoints' are
     * @param wanted metadata of the model
     * @return the weights, of which changed ones are outside the gradient's record and belong to the innermost open scope
     * @throws CheckpointException if the file's model takes other channels than the model, and the model cannot be started from it
     */
    public static Map<String, Tensor> fit(
            Architecture architecture,
            Map<String, Tensor> weights,
            Map<String, String> described,
            Map<String, String> wanted) {
        Optional<String> layer = architecture.patchEmbedding();
        Tensor kernel = layer.map(name -> weights.get(name + ".weight")).orElse(null);
        Tensor bias = layer.map(name -> weights.get(name + ".bias")).orElse(null);
        // What is missing or misshapen is told by who builds the model.
        if (layer.isEmpty() || kernel == null || bias == null || kernel.rank() != 5) {
            return weights;
        }
        Patches model = new ConfigEntries(wanted).patches();
        long channels = kernel.size(1);
        if (channels == model.channels()) {
            return weights;
        }
        if (channels != CHANNELS || model.channels() > 2) {
            throw new CheckpointException("the file holds a model of clips of " + channels + " channels but the model"
                    + " takes " + model.channels() + "; pass a file of the same modality, or one of pictures (3"
                    + " channels) for sound (1) or flow (2)");
        }
        Map<String, Tensor> fitted = new LinkedHashMap<>(weights);
        if (model.channels() == 1) {
            fitted.put(layer.get() + ".weight", oneChannel(kernel));
        } else {
            Patches own = new ConfigEntries(described).patches();
            Convolution flow =
                    flow(new Convolution(kernel, bias), own.channels() == CHANNELS ? own : imageNet(), model);
            fitted.put(layer.get() + ".weight", flow.kernel);
            fitted.put(layer.get() + ".bias", flow.bias);
        }
        return fitted;
    }
}
