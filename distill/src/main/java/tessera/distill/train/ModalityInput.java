package tessera.distill.train;

import java.util.List;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.SampleLayout;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/**
 * What a model sees of a modality: patches on the token grid that all modalities share, and their normalisation.
 *
 * @param grid tokens per side of the plane
 * @param tubelet frames of a patch
 */
public record ModalityInput(Geometry geometry, int grid, int tubelet, FlowStats flowStats) {
    /** Frames of a patch in the published models. */
    public static final int TUBELET = 2;

    public ModalityInput {
        if (grid < 1 || geometry.size() % grid != 0 || geometry.poseSize() % grid != 0) {
            throw new IllegalArgumentException(
                    "a token grid of " + grid + " x " + grid + " does not divide pictures of " + geometry.size()
                            + " and heat maps of " + geometry.poseSize() + " pixels");
        }
        if (tubelet < 1 || geometry.frames() % tubelet != 0) {
            throw new IllegalArgumentException(
                    "patches of " + tubelet + " frames do not divide clips of " + geometry.frames() + " frames");
        }
    }

    /** Patches of a modality, normalised as its layout says, or with the statistics of flow where that leaves it open. */
    public Patches patches(Modality modality) {
        SampleLayout layout = modality.layout();
        boolean measured = layout.mean().isEmpty();
        return new Patches(
                layout.channels(),
                tubelet,
                geometry.side(modality) / grid,
                layout.values().scale(),
                numbers(measured ? flowStats.mean() : layout.mean()),
                numbers(measured ? flowStats.std() : layout.std()));
    }

    private static double[] numbers(List<? extends Number> list) {
        return list.stream().mapToDouble(Number::doubleValue).toArray();
    }

    /** A model of a modality with the given sizes. */
    public VideoMaeConfig config(Modality modality, ModelSize size) {
        int side = geometry.side(modality);
        return new VideoMaeConfig(
                patches(modality),
                geometry.frames(),
                side,
                side,
                size.embedDim(),
                size.depth(),
                size.heads(),
                size.decoderDim(),
                size.decoderDepth(),
                size.decoderHeads(),
                1e-6,
                1e-6,
                true,
                false);
    }

    /** Widths and depths of a model, whatever its input. */
    public record ModelSize(int embedDim, int depth, int heads, int decoderDim, int decoderDepth, int decoderHeads) {}
}
