/** Bridges to other bindings of CUDA, for programs that use them already. */
@NullMarked
package tessera.natives.interop;

import org.jspecify.annotations.NullMarked;
