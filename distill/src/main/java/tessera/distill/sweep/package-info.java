/**
 * Every combination of some settings of inference on one's own student and clips: accuracy, time, work and memory, and which combinations
 * are worth choosing. Start at {@link tessera.distill.sweep.Sweep}; what is varied is an {@link tessera.distill.sweep.SweepAxis}.
 */
@NullMarked
package tessera.distill.sweep;

import org.jspecify.annotations.NullMarked;
