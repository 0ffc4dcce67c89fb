/**
 * Studies on EgoSim by a plan, judged and reported: what {@code tessera demo} runs.
 *
 * <p>Start at {@link tessera.distill.demo.Demo}. A {@link tessera.distill.demo.DemoPlan} says everything that is done, {@link
 * tessera.distill.demo.ShippedPlans} has those that come with the program, a {@link tessera.distill.demo.DemoResult} says what came out,
 * and {@link tessera.distill.demo.DemoReport} writes it for people.
 */
@NullMarked
package tessera.distill.demo;

import org.jspecify.annotations.NullMarked;
