/**
 * The kernels in f32 with the Vector API, one class a family that has anything to gain: each extends the plain Java one, overrides
 * what it does faster, and leaves other types to it. Loaded only where the Vector API is readable. Results do not depend on the
 * number of threads. Start with {@link tessera.kernels.cpu.vector.VectorElementwise}; loads, stores and functions of vectors are in
 * {@code VectorMath}, loops over memory in {@code VectorRuns}, sums in a fixed order in {@code VectorSums}.
 */
@NullMarked
package tessera.kernels.cpu.vector;

import org.jspecify.annotations.NullMarked;
