/**
 * Few-shot classification: episodes, heads on pooled features, students that are tuned to each episode, and accuracy with its
 * interval.
 *
 * <p>Start at {@link tessera.distill.fewshot.FewShotEvaluation}. Heads work on plain arrays in f64, so that they can be used with
 * features from any model.
 */
@NullMarked
package tessera.distill.fewshot;

import org.jspecify.annotations.NullMarked;
