@NullMarked
package tessera.kernels;

import org.jspecify.annotations.NullMarked;
