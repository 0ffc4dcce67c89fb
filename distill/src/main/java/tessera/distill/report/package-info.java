/** What a run shows of itself: progress, logged metrics, charts and the report page. */
@NullMarked
package tessera.distill.report;

import org.jspecify.annotations.NullMarked;
