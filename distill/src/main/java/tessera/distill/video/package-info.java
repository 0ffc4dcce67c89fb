/**
 * Real recordings: reading any video FFmpeg can decode into u8 frames, choosing frames, and image operations on them.
 *
 * <p>Plain arrays out, no tensors: a {@link tessera.distill.video.VideoClip} holds u8 values {@code [T, H, W, 3]} in RGB order.
 */
@NullMarked
package tessera.distill.video;

import org.jspecify.annotations.NullMarked;
