/** Measures of a classifier's quality, on plain arrays. */
@NullMarked
package tessera.distill.metrics;

import org.jspecify.annotations.NullMarked;
