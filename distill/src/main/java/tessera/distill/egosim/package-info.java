/**
 * EgoSim: a procedural benchmark of first-person hand actions. Every clip is a function of (seed, split, domain, class,
 * clip index) and comes with five aligned modalities: RGB frames, optical flow, hand-pose heat maps, boxes of hands and objects,
 * and sound.
 *
 * <p>This is version 2. Clips of version 1 had 2 objects of each kind in a target domain and 8 in homes, the same for every seed and
 * split; their sensors erred alike in every domain, at rest and in motion; their frames were sharp; squeezing a sponge
 * and lifting a hammer were among the unlabelled classes. Runs note the version and the seed, and are not
 * resumed on clips of another one. The student that comes with Tessera was trained on version 2.
 *
 * <p>Novel classes are made of known parts. Of the 16 test classes 4 recombine a verb and a noun of the labelled source classes; 9 more
 * have a verb or noun that unlabelled target clips alone show; 3 have one that no clip of training is about (squeeze bottle, turn hammer,
 * shake hammer), as has 1 of the 10 validation classes (slide hammer). {@link tessera.distill.egosim.ActionClass#isComposedOf} tells. Objects of
 * every kind lie around in clips of all splits.
 *
 * <p>Things are drawn from the benchmark's seed, 16 of a kind in homes and 12 in each target domain, a third of which is for training clips, for
 * validation and for test each: no thing in a test clip was in an unlabelled one.
 *
 * <p>What recurs fastest, shaking, does so up to 5.1 times a clip, so 16 frames show every motion as it is. 8 frames do not: 5 to 7 % of a
 * split's clips, a seventh to a quarter of those whose motion recurs, would seem slower than they are.
 *
 * <p>Start at {@link tessera.distill.egosim.EgoSim}, which renders a clip, and {@link tessera.distill.egosim.EgoSimClips},
 * which renders sets of them for training and judging.
 */
@NullMarked
package tessera.distill.egosim;

import org.jspecify.annotations.NullMarked;
