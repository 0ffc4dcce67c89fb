@NullMarked
package tessera.tensor.io;

import org.jspecify.annotations.NullMarked;
