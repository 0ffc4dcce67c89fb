/**
 * Files of arrays: safetensors, npy and npz, read and written without trusting them. The package knows nothing of tensors;
 * an array is a name, a stored type, a shape and bytes.
 */
@NullMarked
package tessera.tensor.io;

import org.jspecify.annotations.NullMarked;
