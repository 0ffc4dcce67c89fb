@NullMarked
package tessera.tensor;

import org.jspecify.annotations.NullMarked;
