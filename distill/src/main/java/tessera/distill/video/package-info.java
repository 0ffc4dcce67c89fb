/**
 * Real recordings: reading any video FFmpeg can decode into u8 frames, and cutting it into clips. Start at {@link
 * tessera.distill.video.Video}; how frames are chosen and resized lies in {@code tessera.nn.inference}.
 *
 * <p>Plain arrays out, no tensors: a {@link tessera.nn.inference.VideoClip} holds u8 values {@code [T, H, W, 3]} in RGB order.
 */
@NullMarked
package tessera.distill.video;

import org.jspecify.annotations.NullMarked;
