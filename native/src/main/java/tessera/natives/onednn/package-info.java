/**
 * Bindings of oneDNN's matrix products on a CPU, by their C names and in C terms. Start with {@link OneDnn}, whose {@link
 * OneDnn#finding} says whether the library is there; a failing call is a {@link OneDnnException}.
 */
@NullMarked
package tessera.natives.onednn;

import org.jspecify.annotations.NullMarked;
