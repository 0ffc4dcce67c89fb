/**
 * What the CPU's kernels stand on: {@link tessera.kernels.cpu.HostMemory} lends memory, {@link tessera.kernels.cpu.Workers} runs
 * loops on all threads, {@link tessera.kernels.cpu.Gemm} multiplies matrices. Start with Workers: every kernel is a body of its
 * {@code parallelFor}, or of its {@code repeatableFor}, which a recorded graph prepares once and runs many times. The kernels are in {@code scalar} and {@code vector}, who chooses between them in {@code device}; this
 * package knows none of the three.
 */
@NullMarked
package tessera.kernels.cpu;

import org.jspecify.annotations.NullMarked;
