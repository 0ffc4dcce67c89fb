/**
 * Swin3D, the video Swin transformer (Liu et al., "Video Swin transformer", CVPR 2022), with the sizes, names and padding of
 * torchvision's. Start at {@link tessera.nn.swin.SwinConfig}, the sizes; {@link tessera.nn.swin.SwinModel} gives features of clips,
 * and {@link tessera.nn.swin.SwinNames} reads and writes public checkpoints.
 */
@NullMarked
package tessera.nn.swin;

import org.jspecify.annotations.NullMarked;
