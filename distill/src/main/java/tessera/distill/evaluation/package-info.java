/** Measures of a classifier's quality, on plain arrays. */
@NullMarked
package tessera.distill.evaluation;

import org.jspecify.annotations.NullMarked;
