@NullMarked
package tessera.nn;

import org.jspecify.annotations.NullMarked;
