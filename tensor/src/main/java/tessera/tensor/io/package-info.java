/**
 * Files of arrays: safetensors, npy and npz, read and written without trusting them. The package knows nothing of tensors;
 * an array is a name, a stored type, a shape and bytes.
 *
 * <p>Start at {@link tessera.tensor.io.Safetensors}, {@link tessera.tensor.io.Npy} or {@link tessera.tensor.io.Npz}, one a
 * format; all hand out {@link tessera.tensor.io.ArrayData}. {@link tessera.tensor.io.FileSummary} tells what a file holds
 * without reading its values. What is wrong with a file is a {@link tessera.tensor.io.TensorFileException}.
 */
@NullMarked
package tessera.tensor.io;

import org.jspecify.annotations.NullMarked;
