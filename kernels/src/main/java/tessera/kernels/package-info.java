/**
 * Devices, memory and every numerical primitive on raw buffers; the only package of its module that others see.
 *
 * <p>Start with {@link Device}: it finds a CPU or GPU, allocates {@link Buffer}s of a {@link DType}, orders work by {@link
 * Stream}, {@link Event} and {@link Graph}, and gives the {@link Kernels}, one interface for each family of primitives. The
 * backends are the packages {@code cpu} and {@code cuda}, which nobody names: each is a {@link DeviceProvider}. A new primitive
 * is a method of its family's interface and of the class of that family in each backend.
 */
@NullMarked
package tessera.kernels;

import org.jspecify.annotations.NullMarked;
