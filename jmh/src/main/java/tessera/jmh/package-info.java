/**
 * Benchmarks, each beside what it is to be compared with. Start at {@link tessera.jmh.EncoderBenchmark}; {@code ./tessera bench -l}
 * lists them all.
 */
@NullMarked
package tessera.jmh;

import org.jspecify.annotations.NullMarked;
