/**
 * Sound as pictures, for networks that see pictures, as "Multimodal distillation for egocentric action recognition" (ICCV 2023) teaches
 * with it. Start at {@link tessera.nn.audio.MelSpectrogram}; the network is a Swin transformer of one channel, whose weights {@link
 * tessera.nn.PictureWeights} makes of those of one that was trained on three.
 */
@NullMarked
package tessera.nn.audio;

import org.jspecify.annotations.NullMarked;
