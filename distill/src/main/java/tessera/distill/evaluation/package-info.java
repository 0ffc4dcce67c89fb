/**
 * Measuring what a student has learned: its features of a set of clips, and measures of a classifier's quality on plain arrays.
 *
 * <p>Start at {@link tessera.distill.evaluation.Classification}; episodes of few examples are in {@link
 * tessera.distill.fewshot}.
 */
@NullMarked
package tessera.distill.evaluation;

import org.jspecify.annotations.NullMarked;
