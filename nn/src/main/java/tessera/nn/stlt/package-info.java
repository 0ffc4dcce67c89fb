/**
 * The Spatial-Temporal Layout Transformer (Radevski, Moens and Tuytelaars, "Revisiting spatio-temporal layouts for compositional action
 * recognition", BMVC 2021), which recognises actions by the boxes of objects and hands, as "Multimodal distillation for egocentric
 * action recognition" (ICCV 2023) teaches with it. Start at {@link tessera.nn.stlt.StltConfig}, the sizes; {@link
 * tessera.nn.stlt.StltModel} gives features of clips, and {@link tessera.nn.stlt.StltNames} reads public checkpoints.
 */
@NullMarked
package tessera.nn.stlt;

import org.jspecify.annotations.NullMarked;
