@NullMarked
package tessera.distill.stage;

import org.jspecify.annotations.NullMarked;
