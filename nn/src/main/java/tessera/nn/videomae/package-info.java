/**
 * VideoMAE (Tong et al., NeurIPS 2022) and the classifiers MM-CDFSL (ECCV 2024) makes of it. Start at {@link
 * tessera.nn.videomae.VideoMaeConfig}, the sizes; {@link tessera.nn.videomae.VideoMaeClassifier} gives features of clips, {@link
 * tessera.nn.videomae.VideoMaePretraining} is the autoencoder, and {@link tessera.nn.videomae.VideoMaeNames} reads public
 * checkpoints.
 */
@NullMarked
package tessera.nn.videomae;

import org.jspecify.annotations.NullMarked;
