@NullMarked
package tessera.distill;

import org.jspecify.annotations.NullMarked;
