/**
 * What a GPU is measured by: every kernel, whole models, and PyTorch beside them. Start at {@link tessera.jmh.gpu.GpuBenchmark}, which the
 * bundle runs.
 */
@NullMarked
package tessera.jmh.gpu;

import org.jspecify.annotations.NullMarked;
