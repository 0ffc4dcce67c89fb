package tessera.distill.stage;

import java.util.Arrays;
import tessera.distill.egosim.FlowStats;
import tessera.distill.egosim.Geometry;
import tessera.distill.egosim.Modality;
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

    private static final double[] RGB_MEAN = {.485, .456, .406};
    private static final double[] RGB_STD = {.229, .224, .225};
    private static final int JOINTS = 21;

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

    /** Patches of a modality. Pictures and heat maps are u8 with 255 as one. */
    public Patches patches(Modality modality) {
        int patch = (modality == Modality.POSE ? geometry.poseSize() : geometry.size()) / grid;
        return switch (modality) {
            case RGB -> new Patches(3, tubelet, patch, 1 / 255.0, RGB_MEAN, RGB_STD);
            case FLOW ->
                new Patches(
                        2,
                        tubelet,
                        patch,
                        1,
                        flowStats.mean().stream().mapToDouble(v -> v).toArray(),
                        flowStats.std().stream().mapToDouble(v -> v).toArray());
            case POSE -> {
                double[] third = new double[JOINTS];
                Arrays.fill(third, .3);
                yield new Patches(JOINTS, tubelet, patch, 1 / 255.0, third, third);
            }
        };
    }

    /** A model of a modality with the given sizes. */
    public VideoMaeConfig config(Modality modality, ModelSize size) {
        int side = modality == Modality.POSE ? geometry.poseSize() : geometry.size();
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
    public record ModelSize(int embedDim, int depth, int heads, int decoderDim, int decoderDepth, int decoderHeads) {
        /** ViT-S with the decoder of the papers. */
        public static final ModelSize SMALL = new ModelSize(384, 12, 6, 192, 4, 3);
    }
}
