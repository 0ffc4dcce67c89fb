@NullMarked
package tessera.jmh;

import org.jspecify.annotations.NullMarked;
