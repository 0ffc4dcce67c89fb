/**
 * Bindings of the CUDA driver and of NVIDIA's libraries, by their C names and in C terms, one class a library. Start with {@link
 * CudaLibraries}, which finds and opens them, and {@link CudaDriver}.
 *
 * <p>A status other than success is a {@link CudaException} whose message says what to do; {@link CudaStatus} lists what the driver
 * answers, {@code CudaCalls} checks what the other libraries answer. Nothing here owns a handle: who creates one destroys it.
 */
@NullMarked
package tessera.natives.cuda;

import org.jspecify.annotations.NullMarked;
