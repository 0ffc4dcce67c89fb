/**
 * All stages of MM-CDFSL on EgoSim, judged and reported: what {@code tessera demo} runs.
 *
 * <p>Start at {@link tessera.distill.demo.Demo}. A {@link tessera.distill.demo.DemoPlan} says everything that is done, a {@link
 * tessera.distill.demo.DemoResult} what came out, and {@link tessera.distill.demo.DemoReport} writes it for people.
 */
@NullMarked
package tessera.distill.demo;

import org.jspecify.annotations.NullMarked;
