/** What a GPU is measured by: every kernel, whole models, and PyTorch beside them. */
@NullMarked
package tessera.jmh.gpu;

import org.jspecify.annotations.NullMarked;
