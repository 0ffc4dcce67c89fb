/**
 * Bridges to other bindings of CUDA, for programs that use them already; the only package of this module that every module
 * sees. {@link JCudaBridge} turns buffers' addresses and streams' handles into JCuda's objects.
 */
@NullMarked
package tessera.natives.interop;

import org.jspecify.annotations.NullMarked;
