/**
 * Sound as pictures, for networks that see pictures, as "Multimodal distillation for egocentric action recognition" (ICCV 2023) teaches
 * with it. Start at {@link tessera.nn.audio.MelSpectrogram}; the network is a Swin transformer of one channel, which {@link
 * tessera.nn.audio.OneChannel} makes of one that was trained on three.
 */
@NullMarked
package tessera.nn.audio;

import org.jspecify.annotations.NullMarked;
