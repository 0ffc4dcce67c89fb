/**
 * Real recordings: reading any video FFmpeg can decode into u8 frames, and cutting clips from them.
 *
 * <p>Start at {@link tessera.distill.video.Video}. Plain arrays out, no tensors: u8 values {@code [T, H, W, 3]} in RGB order.
 */
@NullMarked
package tessera.distill.video;

import org.jspecify.annotations.NullMarked;
