/**
 * Few-shot classification on pooled features: episodes, the logistic-regression head, and accuracy with its interval.
 *
 * <p>Start at {@link tessera.distill.fewshot.FewShotEvaluation}. Everything here works on plain arrays in f64, so that it can be
 * used with features from any model.
 */
@NullMarked
package tessera.distill.fewshot;

import org.jspecify.annotations.NullMarked;
