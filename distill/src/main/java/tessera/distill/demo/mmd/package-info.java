/**
 * The second system, multimodal distillation (Radevski et al., "Multimodal Distillation for Egocentric Action Recognition", ICCV
 * 2023), on EgoSim, judged and reported: what {@code tessera demo --system mmd} runs.
 *
 * <p>Start at {@link tessera.distill.demo.mmd.MmdDemo}. A {@link tessera.distill.demo.mmd.MmdPlan} says everything that is done, a
 * {@link tessera.distill.demo.mmd.MmdResult} what came out, and {@link tessera.distill.demo.mmd.MmdReport} writes it for people.
 */
@NullMarked
package tessera.distill.demo.mmd;

import org.jspecify.annotations.NullMarked;
