/**
 * Finding and opening native libraries, for every binding: {@link NativeLibraries} is where to start. It looks in the places
 * that its page lists, unpacks what a jar carries, and says as a {@link NativeFinding} what came of it.
 *
 * <p>The bindings themselves are the packages below: {@code cuda}, {@code onednn}, and {@code interop} for programs that use
 * another binding of CUDA.
 */
@NullMarked
package tessera.natives;

import org.jspecify.annotations.NullMarked;
