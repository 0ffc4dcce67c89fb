/**
 * Measures of a classifier's quality, on plain arrays. Start at {@link tessera.distill.evaluation.Classification}.
 */
@NullMarked
package tessera.distill.evaluation;

import org.jspecify.annotations.NullMarked;
