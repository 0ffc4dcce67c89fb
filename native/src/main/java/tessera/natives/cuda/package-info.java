@NullMarked
package tessera.natives.cuda;

import org.jspecify.annotations.NullMarked;
