/**
 * The command line {@code tessera}: one class per command, registered in {@link tessera.distill.cli.Main}.
 *
 * <p>Exit codes: 0 success, 1 failure, 2 bad usage or bad input. Results go to standard output, everything else to
 * standard error. With {@code --json} standard output carries exactly one JSON object.
 */
@NullMarked
package tessera.distill.cli;

import org.jspecify.annotations.NullMarked;
