/**
 * EgoSim: a procedural benchmark of first-person hand actions. Every clip is a function of (seed, split, domain, class,
 * clip index) and comes with three aligned modalities: RGB frames, optical flow and hand-pose heat maps.
 */
@NullMarked
package tessera.distill.egosim;

import org.jspecify.annotations.NullMarked;
