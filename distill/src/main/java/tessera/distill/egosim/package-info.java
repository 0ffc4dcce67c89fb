/**
 * EgoSim: a procedural benchmark of first-person hand actions. Every clip is a function of (seed, split, domain, class,
 * clip index) and comes with five aligned modalities: RGB frames, optical flow, hand-pose heat maps, boxes of hands and objects,
 * and sound.
 *
 * <p>Start at {@link tessera.distill.egosim.EgoSim}, which renders a clip, and {@link tessera.distill.egosim.EgoSimClips},
 * which renders sets of them for training and judging.
 */
@NullMarked
package tessera.distill.egosim;

import org.jspecify.annotations.NullMarked;
