package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Patches.PatchGeometry;

/**
 * How a modality's video becomes patch vectors: patch size and normalisation. Immutable and thread-safe.
 *
 * <p>Videos are {@code [B, T, H, W, C]} tensors, u8 or floating; a channel-first video is passed as a permuted view. Tokens
 * are numbered (t, y, x), t slowest.
 *
 * @param channels channels of the video
 * @param tubelet frames per patch
 * @param patch pixels per patch side
 * @param scale factor on raw values before normalisation, 1/255 for u8 pixels
 * @param mean per channel, subtracted after scaling
 * @param std per channel, divided by
 * @param pads whether videos that are no whole number of patches are taken too, see {@link #padded}
 */
public record Patches(int channels, int tubelet, int patch, double scale, double[] mean, double[] std, boolean pads) {

    public Patches {
        Op.check(
                channels > 0 && tubelet > 0 && patch > 0,
                "patches",
                () -> channels + " channels and patches of " + tubelet + " x " + patch + " x " + patch
                        + " are not possible; pass positive sizes");
        int means = mean.length;
        int stds = std.length;
        Op.check(
                means == channels && stds == channels,
                "patches",
                () -> means + " means and " + stds + " standard deviations given for " + channels
                        + " channels; pass one of each per channel");
        mean = mean.clone();
        std = std.clone();
    }

    /** Patches of videos that are a whole number of patches. */
    public Patches(int channels, int tubelet, int patch, double scale, double[] mean, double[] std) {
        this(channels, tubelet, patch, scale, mean, std, false);
    }

    /**
     * These patches for videos of any size: at the end of each axis that is no multiple of the patch, zeros are added after
     * normalisation. Only {@link #gather} takes such videos.
     */
    public Patches padded() {
        return new Patches(channels, tubelet, patch, scale, mean, std, true);
    }

    /** Patches of a video whose values are used as they are. */
    public static Patches plain(int channels, int tubelet, int patch) {
        double[] ones = new double[channels];
        java.util.Arrays.fill(ones, 1);
        return new Patches(channels, tubelet, patch, 1, new double[channels], ones);
    }

    /** Values of one patch. */
    public int patchLength() {
        return channels * tubelet * patch * patch;
    }

    PatchGeometry geometry(Shape video, long[] strides) {
        return new PatchGeometry(
                video.size(0),
                Math.toIntExact(video.size(1)),
                Math.toIntExact(video.size(2)),
                Math.toIntExact(video.size(3)),
                channels,
                tubelet,
                patch,
                strides[0],
                strides[1],
                strides[2],
                strides[3],
                strides[4],
                scale,
                mean,
                std);
    }

    /**
     * Normalised patch vectors in the order (c, dt, dy, dx); only the listed patches are read.
     *
     * @param video {@code [B, T, H, W, C]}
     * @param indices i32 {@code [B, M]}, or null for all patches
     * @return {@code [B, M, patchLength]}
     */
    public Tensor gather(Tensor video, @Nullable Tensor indices) {
        return apply(new PatchesOps.GatherPatches(this), video, indices);
    }

    /**
     * As {@link #gather(Tensor, Tensor)}, in a type of the caller's.
     *
     * @param dtype f32, for an f64 video f64, or on a GPU bf16
     */
    public Tensor gather(Tensor video, @Nullable Tensor indices, DType dtype) {
        return apply(new PatchesOps.GatherPatches(this, dtype), video, indices);
    }

    private static Tensor apply(PatchesOps.GatherPatches op, Tensor video, @Nullable Tensor indices) {
        return indices == null ? Op.apply(op, video) : Op.apply(op, video, indices);
    }

    /**
     * What a masked autoencoder reconstructs: the listed patches in the order (dt, dy, dx, c), each channel of each patch
     * normalised to mean 0 and (unbiased) standard deviation 1.
     *
     * @param eps added to the standard deviation, 1e-6 in VideoMAE
     * @param normalise false for raw values
     */
    public Tensor reconstructionTarget(Tensor video, Tensor indices, double eps, boolean normalise) {
        return Op.apply(new PatchesOps.ReconstructionTarget(this, eps, normalise), video, indices);
    }

    /** Mean squared error of a prediction {@code [B, M, patchLength]} against {@link #reconstructionTarget}, in one pass. */
    public Tensor reconstructionLoss(Tensor prediction, Tensor video, Tensor indices, double eps, boolean normalise) {
        return Op.apply(new PatchesOps.ReconstructionLoss(this, eps, normalise), prediction, video, indices);
    }
}
