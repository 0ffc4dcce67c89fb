/**
 * NVIDIA GPUs.
 *
 * <p>{@link CudaDevices} is what {@link tessera.kernels.Device} finds; {@link CudaDevice} is where to start. Below it are three
 * groups of classes: streams, events, graphs and memory ({@code CudaStream}, {@code CudaEvent}, {@code CudaGraph}, {@code
 * CudaMemory}, {@code CudaTransfers}); the way from a source to a launch ({@code CudaCode} finds or compiles machine code, {@code
 * CudaModule}, {@code CudaFunction} and {@code CudaVariants} look kernels up in it, {@code CudaLaunch} enqueues them); and one class
 * for each family of primitives, which computes in the {@code .cu} file of the family's name beside these classes ({@code CudaNorms}
 * in {@code norms.cu}), products in cuBLASLt and cuBLAS ({@code CudaMatmul}). {@code CudnnAttention} is a second provider of
 * attention.
 */
@NullMarked
package tessera.kernels.cuda;

import org.jspecify.annotations.NullMarked;
