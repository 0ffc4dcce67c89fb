/**
 * Files that a run leaves for people and programs: logged numbers, JSON, charts and a page of them.
 *
 * <p>Start at {@link tessera.distill.report.HtmlReport} for the page and {@link tessera.distill.report.MetricsLog} for numbers. Pages and
 * charts are built by one thread.
 */
@NullMarked
package tessera.distill.report;

import org.jspecify.annotations.NullMarked;
