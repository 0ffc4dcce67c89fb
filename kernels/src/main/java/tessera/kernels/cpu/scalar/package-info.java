/**
 * The kernels in plain Java, f32 and f64 alike and accumulated in double, one class a family. They are the path of f64, what remains
 * where the Vector API is not to be had, and what faster kernels are compared with; so a new primitive begins here. Start with
 * {@link tessera.kernels.cpu.scalar.ScalarElementwise}. Matrix products are those of {@link tessera.kernels.cpu.GemmMatmul}.
 */
@NullMarked
package tessera.kernels.cpu.scalar;

import org.jspecify.annotations.NullMarked;
