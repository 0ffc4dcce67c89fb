@NullMarked
package tessera.distill.egosim;

import org.jspecify.annotations.NullMarked;
