@NullMarked
package tessera.distill.data;

import org.jspecify.annotations.NullMarked;
