@NullMarked
package tessera.natives;

import org.jspecify.annotations.NullMarked;
