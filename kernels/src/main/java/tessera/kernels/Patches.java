package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Patches of a video, and what masked autoencoders reconstruct of them.
 *
 * <p>Types: patches, targets and predictions are f32 or f64 on the CPU, f32 or bf16 on a GPU. Videos are u8, f32 or f64, on a GPU u8
 * or f32. The gradient of a video and a loss have the type of the patches, on a GPU always f32. Indices are i32.
 */
public interface Patches {
    /**
     * Cuts patches out of a video, normalises and flattens them: row r = (b, j) of {@code out} is the patch {@code
     * indices[b, j]} of sample b as a vector in the order (c, dt, dy, dx), each value {@code (pixel * scale - mean[c]) /
     * std[c]}. Only visible patches are ever read.
     *
     * @param video addressed by the geometry's strides
     * @param indices i32 {@code [batch, count]}, or null for all patches in order
     * @param out {@code [batch, count, patchLength]}
     */
    void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out);

    /**
     * Gradient of {@link #gatherPatches} with respect to a floating video: adds {@code dout * scale / std[c]} of each
     * patch to {@code dvideo}, which the caller has cleared.
     */
    void scatterPatches(PatchGeometry geometry, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo);

    /**
     * What masked autoencoders reconstruct (VideoMAE, norm_pix_loss): the listed patches as {@link PatchTarget} says.
     *
     * @param indices i32 {@code [batch, count]}
     * @param target {@code [batch, count, patchLength]}
     */
    void reconstructionTarget(PatchTarget which, Buffer video, Buffer indices, Buffer target);

    /**
     * Mean squared error against {@link #reconstructionTarget}, without materialising the target.
     *
     * @param loss one element: mean over {@code batch * count * patchLength}
     * @param dprediction gradient of the loss, shaped as the prediction, or null
     */
    void reconstructionLoss(
            PatchTarget which,
            Buffer video,
            Buffer indices,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction);

    /**
     * How patches become targets: in the order (dt, dy, dx, c), normalised per patch and channel over the patch's pixels by mean
     * and unbiased standard deviation, {@code (x - mean) / (sqrt(var) + eps)}, or left raw without {@code normalise}. The video
     * holds values x = pixel * scale (before mean and std); a video that was already normalised by std is the same with eps /
     * std, so the geometry has the scale and std that apply and {@code eps}.
     *
     * @param count patches of a sample
     */
    record PatchTarget(PatchGeometry geometry, long count, double eps, boolean normalise) {}

    /**
     * Where the patches of a video lie.
     *
     * @param batch samples
     * @param frames height width channels size of one sample. Where it is no multiple of the patch, the last patch of the axis
     *     reaches beyond the video, and what lies there is zero after normalisation and has no gradient; only {@link
     *     #gatherPatches} and {@link #scatterPatches} take such sizes
     * @param tubelet frames per patch
     * @param patch pixels per patch side
     * @param strideB strides of the video in elements along batch, time, row, column and channel, so that channel-last
     *     frames and channel-first tensors are read alike
     * @param scale factor on raw values (1/255 for u8 pixels)
     * @param mean subtracted per channel after scaling
     * @param std divided by per channel
     */
    record PatchGeometry(
            long batch,
            int frames,
            int height,
            int width,
            int channels,
            int tubelet,
            int patch,
            long strideB,
            long strideT,
            long strideY,
            long strideX,
            long strideC,
            double scale,
            double[] mean,
            double[] std) {
        /** Patches along time. */
        public int slots() {
            return Math.ceilDiv(frames, tubelet);
        }

        /** Patches in the plane of one slot. */
        public int plane() {
            return Math.ceilDiv(height, patch) * across();
        }

        /** Patches in one row of the plane. */
        public int across() {
            return Math.ceilDiv(width, patch);
        }

        /** Whether patches reach beyond the video. */
        public boolean padded() {
            return frames % tubelet != 0 || height % patch != 0 || width % patch != 0;
        }

        /** Patches of one sample. */
        public int patches() {
            return slots() * plane();
        }

        /** Values of one patch. */
        public int patchLength() {
            return channels * tubelet * patch * patch;
        }
    }
}
