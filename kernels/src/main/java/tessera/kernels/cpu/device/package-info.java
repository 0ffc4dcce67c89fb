/**
 * The CPU as a {@link tessera.kernels.Device}, found by {@link java.util.ServiceLoader}. Start with {@link
 * tessera.kernels.cpu.device.CpuKernels}, which chooses the class of each family.
 */
@NullMarked
package tessera.kernels.cpu.device;

import org.jspecify.annotations.NullMarked;
