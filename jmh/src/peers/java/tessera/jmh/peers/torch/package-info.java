/** PyTorch in this JVM as a peer; built with the Maven profile {@code peers}. */
@NullMarked
package tessera.jmh.peers.torch;

import org.jspecify.annotations.NullMarked;
